//! The one way out of the sandbox.
//!
//! Every call of a guest passes [`reading`] or [`effect`]: authorise, write down, perform (or record, or answer
//! from the journal), write down, answer. Plan, act, rehearsal and replay are the same code with another
//! [`Mode`]. A refusal is an ordinary answer, and journaled too.

mod doubt;
mod invalid;
mod resume;

pub use self::doubt::Found;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use staunch_core::effect::{Access, Answer, Call, CallError, EffectStatus, Repeat};
use tokio::time::Instant;
use wasmtime::StoreContextMut;

use super::cap::types;
use super::capability::{self, Kind};
use super::grants::Grants;
use super::job::{Denial, EffectRecord, Mode, ReadingRecord};
use super::ledger::{Intent, LedgerError, Outcome, Reading, Verdict};
use super::limits::MAX_INTENT_TEXT;
use super::run::Run;
use super::scrub::Scrub;
use super::stop::Stop;
use super::world::World;

/// How often a repeatable effect in doubt is sent, the first time included.
pub const MAX_SENDS: u32 = 3;

/// A call of one function, with its arguments.
pub(super) trait Function: Send + Sync + Sized {
    /// Its place in the table.
    const FUNCTION: &'static capability::Function;
    /// Its result, as the guest gets it and as JSON.
    type Output: Serialize + DeserializeOwned + Scrub + Send;
    /// What the grants said about this call.
    type Leave: Send + Sync;

    /// What it acts on. `host` is the host that the run's target denotes.
    fn target(&self, host: Option<&str>) -> String;

    /// Whether it acts on the run's host.
    fn host_bound(&self) -> bool;

    /// All arguments but reason, key and assumption.
    fn arguments(&self) -> Value;

    /// Asks the grants.
    fn authorise(&self, grants: &Grants) -> Result<Self::Leave, CallError>;

    /// What may be done about it in doubt.
    fn repeat(&self, _leave: &Self::Leave) -> Repeat {
        match Self::FUNCTION.kind {
            Kind::Effect(repeat) => repeat,
            Kind::Own | Kind::Reading | Kind::Await => Repeat::Repeatable,
        }
    }

    /// What a plan assumes of the answer unless the plugin says otherwise.
    fn assume(&self) -> Self::Output;

    /// How often the host looked at the world for this answer.
    fn polls(_output: &Self::Output) -> u32 {
        1
    }

    /// Does it, and gives up at the deadline.
    fn perform(
        &self,
        site: Site<'_, Self::Leave>,
    ) -> impl Future<Output = Result<Self::Output, Failure>> + Send;

    /// For effects: how that which it acts on is before it, where that tells later whether it happened.
    fn before(&self, _site: Site<'_, Self::Leave>) -> impl Future<Output = Option<Value>> + Send {
        std::future::ready(None)
    }

    /// For effects in doubt: asks the world whether it happened, by what it was [before](Self::before).
    fn reconcile(
        &self,
        _before: &Value,
        _site: Site<'_, Self::Leave>,
    ) -> impl Future<Output = Found<Self::Output>> + Send {
        std::future::ready(Found::Unknown)
    }

    /// For readings that wait: looks once and waits no more.
    fn hurry(&mut self) {}

    /// For readings: whether two results tell the same. What changes with every look is left out.
    fn same(before: &Value, now: &Value) -> bool {
        before == now
    }
}

/// Where and within what a call is performed.
#[derive(Debug)]
pub(super) struct Site<'a, Leave> {
    pub(super) world: &'a World,
    pub(super) leave: &'a Leave,
    pub(super) deadline: Instant,
    /// For effects: the idempotency key.
    pub(super) key: Option<&'a str>,
}

/// Why performing failed, and whether the world may have changed nevertheless.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: CallError,
    pub(super) in_doubt: bool,
}

impl Failure {
    /// It did not happen, or it happened with a known result.
    pub(super) fn known(code: &str, message: impl Into<String>, retryable: bool) -> Self {
        Self {
            error: CallError { code: code.to_owned(), message: message.into(), retryable },
            in_doubt: false,
        }
    }

    /// It may have happened.
    pub(super) fn in_doubt(code: &str, message: impl Into<String>) -> Self {
        Self {
            error: CallError { code: code.to_owned(), message: message.into(), retryable: false },
            in_doubt: true,
        }
    }
}

/// What a host function gives back to its guest, or why the run ends.
pub(super) type Answered<T> = wasmtime::Result<Result<T, types::Error>>;

/// A reading: answered live also in a plan.
pub(super) async fn reading<F: Function>(
    mut store: StoreContextMut<'_, Run>,
    function: Result<F, CallError>,
) -> Answered<F::Output> {
    let fuel = store.get_fuel()?;
    let run = store.data_mut();
    run.count_call()?;
    let function = match function {
        Ok(function) => function,
        Err(error) => return invalid::refuse(run, F::FUNCTION, Access::Reading, error, fuel).await,
    };
    let call = call_of(&function, run)?;
    if let Some(recorded) = run.replayed(&call, Access::Reading, fuel)? {
        if let Some(before) = run.old_call() {
            resume::read_again(run, function, &recorded, before).await?;
        }
        return replay_reading::<F>(run, call, recorded.answer, fuel);
    }
    let leave = match leave_for(&function, run) {
        Ok(leave) => leave,
        Err(error) => return deny(run, call, error, fuel).await,
    };
    if F::FUNCTION.kind == Kind::Await && run.job.mode.plans() && !run.effects.is_empty() {
        let output = function.assume();
        let answer = Answer::Ok(encode(&output)?.into());
        note_reading(run, call, answer, Noted { assumed: true, polls: 0, fuel }).await?;
        return Ok(Ok(output));
    }
    let (answer, output, polls) = match &run.job.mode {
        Mode::Rehearse(backend) => {
            let answer = backend.answer(&call).await;
            let output = decode::<F>(&call, &answer)?;
            (answer, output, 1)
        }
        Mode::Plan | Mode::Act { .. } | Mode::Replay => {
            let world = run.world.clone();
            let site = Site { world: &world, leave: &leave, deadline: run.deadline, key: None };
            let (answer, output) = perform(&function, site).await?;
            let polls = output.as_ref().map_or(1, F::polls);
            (answer, output.map_err(|failure| failure.error.into()), polls)
        }
    };
    note_reading(run, call, answer, Noted { assumed: false, polls, fuel }).await?;
    Ok(output)
}

/// An effect: recorded in a plan, performed when acting.
pub(super) async fn effect<F: Function>(
    mut store: StoreContextMut<'_, Run>,
    function: Result<F, CallError>,
    intent: types::Intent,
) -> Answered<F::Output> {
    let fuel = store.get_fuel()?;
    let run = store.data_mut();
    run.count_call()?;
    let function = match function.and_then(|function| intent.check().map(|()| function)) {
        Ok(function) => function,
        Err(error) => return invalid::refuse(run, F::FUNCTION, Access::Effect, error, fuel).await,
    };
    let call = call_of(&function, run)?;
    if let Some(recorded) = run.replayed(&call, Access::Effect, fuel)? {
        return replay_effect(run, &function, recorded, intent);
    }
    let leave = match leave_for(&function, run) {
        Ok(leave) => leave,
        Err(error) => return deny(run, call, error, fuel).await,
    };
    let repeat = run.job.grants.repeat(F::FUNCTION, function.repeat(&leave));
    if run.job.mode.plans() {
        return plan_effect(run, &function, call, repeat, intent);
    }
    let (index, unplanned) = match admit(run, &call)? {
        Admission::Perform { index, unplanned } => (index, unplanned),
        Admission::Deny(error) => return deny(run, call, error, fuel).await,
    };
    let key = idempotency_key(run, index, intent.idempotency_key.as_deref());
    let effect = Effect { index, call, reason: intent.reason, key, repeat, unplanned, fuel };
    if let Mode::Rehearse(backend) = &run.job.mode {
        let answer = backend.answer(&effect.call).await;
        let output = decode::<F>(&effect.call, &answer)?;
        let status = if answer.is_ok() { EffectStatus::Done } else { EffectStatus::Failed };
        effect.note(run, answer, status);
        return Ok(output);
    }
    act(run, &function, &leave, effect).await
}

/// An effect on its way through the broker.
struct Effect {
    index: u32,
    call: Call,
    reason: String,
    key: String,
    repeat: Repeat,
    unplanned: bool,
    fuel: u64,
}

impl Effect {
    fn intent<'a>(&'a self, before: Option<&'a Value>) -> Intent<'a> {
        Intent {
            before,
            index: self.index,
            call: &self.call,
            reason: &self.reason,
            key: &self.key,
            repeat: self.repeat,
            unplanned: self.unplanned,
            fuel: self.fuel,
        }
    }

    /// Why it ends here when the kill switch is met after so many sends.
    fn halted(&self, reason: String, sends: u32) -> Stop {
        if sends == 0 {
            return Stop::Halted(reason);
        }
        let message = format!("halted before it could be sent again: {reason}");
        Stop::InDoubt { index: self.index, call: Box::new(self.call.clone()), message }
    }

    /// Why it ends here when its intent is not written.
    fn unwritten(&self, error: LedgerError, sends: u32) -> Stop {
        match error {
            LedgerError::Halted(reason) => self.halted(reason, sends),
            LedgerError::Unavailable(message) => Stop::Ledger(message),
        }
    }

    async fn settle(&self, run: &Run, answer: &Answer, status: EffectStatus) -> Result<(), Stop> {
        let outcome = Outcome { index: self.index, call: &self.call, answer, status, fuel: self.fuel };
        run.job.ledger.settle(outcome).await.map_err(|error| Stop::Ledger(error.to_string()))
    }

    fn note(self, run: &mut Run, answer: Answer, status: EffectStatus) {
        run.effects.push(EffectRecord {
            index: self.index,
            call: self.call,
            reason: self.reason,
            key: Some(self.key),
            repeat: self.repeat,
            status,
            answer,
            unplanned: self.unplanned,
            replayed: false,
        });
    }
}

/// Intent, halt, perform, outcome. Only this function changes the world.
async fn act<F: Function>(
    run: &mut Run,
    function: &F,
    leave: &F::Leave,
    effect: Effect,
) -> Answered<F::Output> {
    let (world, deadline) = (run.world.clone(), run.deadline);
    let site = || Site { world: &world, leave, deadline, key: Some(&effect.key) };
    let mut sends = doubt::sent_before(run, &effect)?;
    let (answer, output, status) = loop {
        let before = function.before(site()).await;
        let intent = effect.intent(before.as_ref());
        run.job.ledger.intend(intent).await.map_err(|error| effect.unwritten(error, sends))?;
        if let Some(reason) = run.job.ledger.halted() {
            // What was sent before and is in doubt stays in doubt.
            let status = if sends == 0 { EffectStatus::Denied } else { EffectStatus::Unknown };
            let stop = effect.halted(reason, sends);
            let answer = Answer::Err(CallError::denied(stop.to_string()));
            effect.settle(run, &answer, status).await?;
            effect.note(run, answer, status);
            return Err(stop.into());
        }
        let performed = perform(function, site()).await?;
        let tried = doubt::look(function, site(), before.as_ref(), performed).await?;
        effect.settle(run, &tried.answer, tried.status).await?;
        sends += 1;
        let again = tried.may_be_sent_again(effect.repeat) && sends < MAX_SENDS;
        if !again || Instant::now() >= run.deadline {
            break (tried.answer, tried.output, tried.status);
        }
    };
    if let (Mode::Act { cover, .. }, false) = (&mut run.job.mode, effect.unplanned) {
        cover.answered(effect.index, &answer);
    }
    let (index, call) = (effect.index, effect.call.clone());
    let bytes = weight(&answer);
    effect.note(run, answer, status);
    match output {
        Ok(output) => {
            run.count_bytes(bytes)?;
            Ok(Ok(output))
        }
        Err(failure) if failure.in_doubt => {
            Err(Stop::InDoubt { index, call: Box::new(call), message: failure.error.message }.into())
        }
        Err(failure) => Ok(Err(failure.error.into())),
    }
}

enum Admission {
    Perform { index: u32, unplanned: bool },
    Deny(CallError),
}

/// Plan, halt and policy.
fn admit(run: &mut Run, call: &Call) -> Result<Admission, Stop> {
    if let Some(reason) = run.job.ledger.halted() {
        return Err(Stop::Halted(reason));
    }
    let covered = match &mut run.job.mode {
        Mode::Act { cover, .. } => cover.admit(call),
        Mode::Plan | Mode::Rehearse(_) | Mode::Replay => None,
    };
    if matches!(run.job.mode, Mode::Rehearse(_)) {
        return Ok(Admission::Perform { index: run.unplanned_index(call), unplanned: false });
    }
    let unplanned = covered.is_none();
    if unplanned && run.approved {
        let reason = "it is not in the approved plan".to_owned();
        return Err(Stop::Parked { call: Box::new(call.clone()), reason });
    }
    match run.job.ledger.judge(call, unplanned) {
        Verdict::Allow => {}
        Verdict::Deny(message) => return Ok(Admission::Deny(CallError::denied(message))),
        Verdict::Park(reason) => return Err(Stop::Parked { call: Box::new(call.clone()), reason }),
    }
    let index = match covered {
        Some(index) => index,
        None => run.unplanned_index(call),
    };
    Ok(Admission::Perform { index, unplanned })
}

/// What the grants and the export allow, before any mode.
fn leave_for<F: Function>(function: &F, run: &Run) -> Result<F::Leave, CallError> {
    if F::FUNCTION.kind.access() == Some(Access::Effect) && !run.job.export.may_act() {
        return Err(CallError::denied(format!(
            "{}.{} is an effect, and `{}` may only look",
            F::FUNCTION.capability,
            F::FUNCTION.name,
            run.job.export.name()
        )));
    }
    let leave = function.authorise(&run.job.grants)?;
    if function.host_bound() {
        check_host(run.job.host.as_deref(), matches!(run.job.mode, Mode::Rehearse(_)))?;
    }
    Ok(leave)
}

/// Every host of `hosts:` is the one that Staunch itself runs on: the configuration takes no other.
fn check_host(host: Option<&str>, scripted: bool) -> Result<(), CallError> {
    let message = match host {
        Some(_) => return Ok(()),
        None if scripted => return Ok(()),
        None => "the run's target is no name of a host in `hosts:` of staunch.yaml, so nothing on a host can be meant"
            .to_owned(),
    };
    Err(CallError { code: "target-unknown".to_owned(), message, retryable: false })
}

fn call_of<F: Function>(function: &F, run: &mut Run) -> Result<Call, Stop> {
    let call = Call {
        capability: F::FUNCTION.capability.into(),
        function: F::FUNCTION.name.into(),
        target: function.target(run.job.host.as_deref()).into(),
        arguments: function.arguments().into(),
    };
    run.count_bytes(call.target.len() + weight_of(&call.arguments))?;
    Ok(call)
}

async fn perform<F: Function>(
    function: &F,
    site: Site<'_, F::Leave>,
) -> wasmtime::Result<(Answer, Result<F::Output, Failure>)> {
    let (world, deadline) = (site.world, site.deadline);
    // The capability keeps to the deadline itself and knows best what is in doubt then; this is the backstop.
    let backstop = deadline + std::time::Duration::from_secs(2);
    let mut output = match tokio::time::timeout_at(backstop, function.perform(site)).await {
        Ok(output) => output,
        Err(_) => Err(Failure::in_doubt("timeout", "no answer within the run's deadline")),
    };
    let secrets = world.secrets();
    let scrubber = secrets.scrubber();
    let answer = match &mut output {
        Ok(output) => {
            output.scrub(scrubber);
            Answer::Ok(encode(output)?.into())
        }
        Err(failure) => {
            failure.error.scrub(scrubber);
            Answer::Err(failure.error.clone())
        }
    };
    Ok((answer, output))
}

async fn deny<T>(run: &mut Run, call: Call, error: CallError, fuel: u64) -> Answered<T> {
    let answer = Answer::Err(error.clone());
    run.job.ledger.denied(&call, &answer, fuel).await.map_err(|error| Stop::Ledger(error.to_string()))?;
    run.denials.push(Denial { call, error: error.clone() });
    Ok(Err(error.into()))
}

struct Noted {
    assumed: bool,
    polls: u32,
    fuel: u64,
}

async fn note_reading(run: &mut Run, call: Call, answer: Answer, noted: Noted) -> wasmtime::Result<()> {
    let Noted { assumed, polls, fuel } = noted;
    let reading = Reading { call: &call, answer: &answer, assumed, polls, fuel };
    run.job.ledger.reading(reading).await.map_err(|error| Stop::Ledger(error.to_string()))?;
    let bytes = weight(&answer);
    let after_effects = u32::try_from(run.effects.len()).unwrap_or(u32::MAX);
    run.readings.push(ReadingRecord { call, answer, after_effects, assumed, polls, replayed: false });
    run.count_bytes(bytes)?;
    Ok(())
}

fn replay_reading<F: Function>(
    run: &mut Run,
    call: Call,
    answer: Option<Answer>,
    fuel: u64,
) -> Answered<F::Output> {
    let Some(answer) = answer else {
        return Err(Stop::Diverged { expected: None, call: Box::new(call), fuel }.into());
    };
    let output = decode::<F>(&call, &answer)?;
    let after_effects = u32::try_from(run.effects.len()).unwrap_or(u32::MAX);
    run.readings.push(ReadingRecord {
        call,
        answer,
        after_effects,
        assumed: false,
        polls: 0,
        replayed: true,
    });
    Ok(output)
}

fn replay_effect<F: Function>(
    run: &mut Run,
    function: &F,
    recorded: staunch_core::plan::Recorded,
    intent: types::Intent,
) -> Answered<F::Output> {
    let index = recorded.index.unwrap_or_default();
    let Some(answer) = recorded.answer.clone() else {
        let message = "its outcome is not known since the run was interrupted".to_owned();
        return Err(Stop::InDoubt { index, call: Box::new(recorded.call), message }.into());
    };
    run.cover_replayed(&recorded, &answer);
    let output = decode::<F>(&recorded.call, &answer)?;
    if recorded.index.is_none() {
        if let Answer::Err(error) = answer {
            run.denials.push(Denial { call: recorded.call, error });
        }
        return Ok(output);
    }
    let repeat = match function.authorise(&run.job.grants) {
        Ok(leave) => run.job.grants.repeat(F::FUNCTION, function.repeat(&leave)),
        Err(_) => Repeat::Once,
    };
    let key = idempotency_key(run, index, intent.idempotency_key.as_deref());
    run.effects.push(EffectRecord {
        index,
        call: recorded.call,
        reason: intent.reason,
        key: Some(key),
        repeat,
        status: if answer.is_ok() { EffectStatus::Done } else { EffectStatus::Failed },
        answer,
        unplanned: false,
        replayed: true,
    });
    Ok(output)
}

fn plan_effect<F: Function>(
    run: &mut Run,
    function: &F,
    call: Call,
    repeat: Repeat,
    intent: types::Intent,
) -> Answered<F::Output> {
    let output = match assumption(function, intent.assume.as_deref())? {
        Ok(output) => output,
        Err(error) => return Ok(Err(error.into())),
    };
    let answer = Answer::Ok(encode(&output)?.into());
    run.count_bytes(weight(&answer))?;
    run.effects.push(EffectRecord {
        index: u32::try_from(run.effects.len()).unwrap_or(u32::MAX),
        call,
        reason: intent.reason,
        key: None,
        repeat,
        status: EffectStatus::Planned,
        answer,
        unplanned: false,
        replayed: false,
    });
    Ok(Ok(output))
}

/// The default answer, with the members that the plugin states over it.
fn assumption<F: Function>(
    function: &F,
    stated: Option<&str>,
) -> wasmtime::Result<Result<F::Output, CallError>> {
    let default = function.assume();
    let Some(stated) = stated else { return Ok(Ok(default)) };
    let mut value = encode(&default)?;
    let refuse = |error: serde_json::Error| CallError {
        code: "invalid-argument".to_owned(),
        message: format!(
            "the assumed answer is no result of {}.{}: {error}",
            F::FUNCTION.capability,
            F::FUNCTION.name
        ),
        retryable: false,
    };
    let stated: Value = match serde_json::from_str(stated) {
        Ok(stated) => stated,
        Err(error) => return Ok(Err(refuse(error))),
    };
    match (&mut value, stated) {
        (Value::Object(members), Value::Object(stated)) => members.extend(stated),
        (value, stated) => *value = stated,
    }
    Ok(serde_json::from_value(value).map_err(refuse))
}

/// `base32(SHA-256(run, step, ordinal))`, lower case, without padding; a key of the plugin is mixed in. The ordinal
/// is the effect's place in the plan; effects of plans that the run acted on before have other ones.
fn idempotency_key(run: &Run, index: u32, stated: Option<&str>) -> String {
    let mut hasher = Sha256::new();
    hasher.update(run.job.run.as_str());
    hasher.update([0]);
    hasher.update(run.job.step.to_be_bytes());
    let ordinal = run.job.resume.epoch << 16 | index;
    hasher.update(ordinal.to_be_bytes());
    if let Some(stated) = stated {
        hasher.update(stated);
    }
    base32(&hasher.finalize())
}

fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut text = String::with_capacity((bytes.len() * 8).div_ceil(5));
    let (mut buffer, mut bits) = (0_u32, 0);
    for byte in bytes {
        buffer = buffer << 8 | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(ALPHABET[(buffer >> bits & 31) as usize]));
        }
        buffer &= (1 << bits) - 1;
    }
    if bits > 0 {
        text.push(char::from(ALPHABET[(buffer << (5 - bits) & 31) as usize]));
    }
    text
}

fn encode(output: &impl Serialize) -> wasmtime::Result<Value> {
    Ok(serde_json::to_value(output)?)
}

/// A JSON answer as the guest gets it.
fn decode<F: Function>(call: &Call, answer: &Answer) -> Answered<F::Output> {
    match answer {
        Answer::Ok(value) => match <F::Output as serde::Deserialize>::deserialize(&**value) {
            Ok(output) => Ok(Ok(output)),
            Err(error) => Err(Stop::BadAnswer {
                call: Box::new(call.clone()),
                answer: Box::new(answer.clone()),
                message: error.to_string(),
            }
            .into()),
        },
        Answer::Err(error) => Ok(Err(error.clone().into())),
    }
}

/// About how many bytes an answer takes in the journal.
fn weight(answer: &Answer) -> usize {
    match answer {
        Answer::Ok(value) => weight_of(value),
        Answer::Err(error) => error.code.len() + error.message.len() + 16,
    }
}

pub(super) fn weight_of(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 2,
        Value::Array(items) => 2 + items.iter().map(|item| weight_of(item) + 1).sum::<usize>(),
        Value::Object(members) => {
            2 + members.iter().map(|(name, member)| name.len() + 4 + weight_of(member)).sum::<usize>()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
    }
}

impl types::Intent {
    fn check(&self) -> Result<(), CallError> {
        let key = self.idempotency_key.as_deref().unwrap_or_default();
        for (name, text) in [("reason", self.reason.as_str()), ("idempotency-key", key)] {
            if text.len() > MAX_INTENT_TEXT {
                return Err(CallError {
                    code: "invalid-argument".to_owned(),
                    message: format!("the intent's {name} is longer than {MAX_INTENT_TEXT} bytes"),
                    retryable: false,
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base32_is_that_of_rfc_4648() {
        for (bytes, text) in
            [("", ""), ("f", "my"), ("fo", "mzxq"), ("foo", "mzxw6"), ("foobar", "mzxw6ytboi")]
        {
            assert_eq!(base32(bytes.as_bytes()), text);
        }
    }
}
