//! What people ask for: starting, approving, rejecting, cancelling, settling.
//!
//! Each is decided over the run under its lock and written down before it is true; the run's own task goes on
//! from there. All ways to a run (HTTP, shell, console) come through here.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use serde_json::Value;
use staunch_core::alert::Alert;
use staunch_core::decision::{self, Code, Decision, Reason};
use staunch_core::effect::{Answer, CallError, EffectStatus};
use staunch_core::event::{self, Fact, Outside, payload};
use staunch_core::gate;
use staunch_core::id::Digest;
use staunch_core::plan::Plan;
use staunch_core::policy::{Person, Runbook, runbook};
use staunch_core::record::is_quiet;
use staunch_core::run::{self, Approval, Mode, Outcome, Passes, Run, State};
use staunch_core::standing::Intervention;

use super::Refusal;
use super::drills;
use super::drive::{self, End, Start};
use super::live::{LiveRun, Wait};
use super::planning;
use super::quorum::question;
use super::receive::{Request, new_run};
use super::rule;
use super::scribe::Line;
use super::shared::Shared;
use super::{signed, views};
use crate::plugin::VerifiedPlugin;

/// A run to be started by hand.
#[derive(Debug, Clone, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartRequest {
    /// The runbook.
    pub runbook: String,
    /// What to act on, instead of what the runbook says.
    pub target: Option<String>,
    /// The input of the first step; its members win over the runbook's.
    #[schema(value_type = Option<Object>)]
    pub input: Option<Value>,
    /// They fill the templates as an alert's would.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Why.
    pub reason: String,
    /// `plan` (shows what would be done) or `act`.
    #[schema(value_type = String)]
    #[serde(default = "plan_only")]
    pub mode: Mode,
    /// Whether it is a drill: a synthetic alert that is asked everything and counted nowhere, and that acts only where
    /// drills may. Its target and input are what the runbook makes of the alert.
    #[serde(default)]
    pub drill: bool,
    /// The normalised alert of a drill; one that the runbook's matchers and `labels` demand when absent.
    #[schema(value_type = Option<Object>)]
    pub alert: Option<Alert>,
    /// Why it cannot wait for the end of the change freeze that covers it: a second person reviews that.
    pub break_glass: Option<String>,
}

fn plan_only() -> Mode {
    Mode::Plan
}

/// What became of an effect in doubt, as a person found out.
#[derive(Debug, Clone, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SettleRequest {
    /// Its index among the run's effects in doubt's step; of the first one in doubt when absent.
    pub effect: Option<u32>,
    /// The step; of the first one in doubt when absent.
    pub step: Option<u32>,
    /// `done`, `not-done` or `abandon`.
    pub outcome: Settlement,
    /// What the plugin is told, when it was done: the function's result.
    #[schema(value_type = Option<Object>)]
    pub answer: Option<Value>,
    /// How that is known.
    pub comment: Option<String>,
}

/// What became of an effect in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Settlement {
    /// It happened.
    Done,
    /// It did not happen.
    NotDone,
    /// It is not known, and the run is given up.
    Abandon,
}

/// Starts a runbook by hand.
///
/// # Errors
/// When there is no such runbook, or the pre-gate refuses.
pub(super) async fn start(
    shared: &Arc<Shared>,
    person: &Person,
    request: StartRequest,
) -> Result<Run, Refusal> {
    let rules = shared.rules();
    if request.reason.trim().is_empty() {
        return Err(Refusal::Invalid { field: "reason", message: "a reason is needed".to_owned() });
    }
    if let Some(reason) = &request.break_glass {
        let wrong = |message: &str| Refusal::Invalid { field: "break_glass", message: message.to_owned() };
        if reason.trim().is_empty() {
            return Err(wrong("a reason is needed"));
        }
        if request.mode == Mode::Plan {
            return Err(wrong("only a run that acts passes a change freeze"));
        }
    }
    let Some(runbook) = rules.policies.runbook(&request.runbook).cloned() else {
        let message = format!("there is no runbook {:?}", request.runbook);
        return Err(Refusal::Invalid { field: "runbook", message });
    };
    if request.drill {
        return drills::start(shared, person, &runbook, &request).await;
    }
    if request.alert.is_some() {
        let message = "only a drill has an alert of its own: set drill".to_owned();
        return Err(Refusal::Invalid { field: "alert", message });
    }
    let request = Request {
        alert: None,
        labels: &request.labels,
        target: request.target.as_deref(),
        input: request.input.as_ref(),
        by: Some(&person.name),
        comment: Some(&request.reason),
        mode: request.mode,
        exact: None,
        queues: false,
        drill: None,
        glass: request.break_glass.as_deref(),
    };
    begin(shared, &runbook, &request).await
}

/// One plugin to be run once.
#[derive(Debug, Clone, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PluginRunRequest {
    /// Its input.
    #[schema(value_type = Object)]
    pub input: Value,
    /// What to act on.
    pub target: Option<String>,
    /// Why.
    pub reason: String,
    /// `plan` or `act`.
    #[schema(value_type = String)]
    #[serde(default = "plan_only")]
    pub mode: Mode,
}

/// Runs a verified plugin once, by a runbook of one step that asks people as a runbook without a gate does.
///
/// # Errors
/// When the plugin cannot be used, or the pre-gate refuses.
pub(super) async fn run_plugin(
    shared: &Arc<Shared>,
    person: &Person,
    verified: VerifiedPlugin,
    request: &PluginRunRequest,
) -> Result<Run, Refusal> {
    let initial = shared.rules().config.initial_standing;
    let (plugin, digest) = (verified.manifest().name.clone(), verified.digest());
    let name = format!("plugin-run-{plugin}");
    let text = format!(
        "runbook: {name}\nmatch: []\nautonomy: approve\nsteps: [{{ plugin: {plugin}, input: {{}} }}]\n"
    );
    let (runbook, _) = runbook::read(&name, &text).map_err(|problems| {
        let message = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        Refusal::Invalid { field: "plugin", message }
    })?;
    let runbook = Arc::new(runbook);
    shared.plugins.lend(verified, initial, shared.now()).map_err(Refusal::Conflict)?;
    shared.one_step.lock().unwrap_or_else(PoisonError::into_inner).insert(name, Arc::clone(&runbook));
    let labels = BTreeMap::new();
    let request = Request {
        alert: None,
        labels: &labels,
        target: request.target.as_deref(),
        input: Some(&request.input),
        by: Some(&person.name),
        comment: Some(&request.reason),
        mode: request.mode,
        exact: Some(digest),
        queues: false,
        drill: None,
        glass: None,
    };
    begin(shared, &runbook, &request).await
}

/// Makes a run that a person asked for, and launches it once its beginning is durable.
pub(super) async fn begin(
    shared: &Arc<Shared>,
    runbook: &Arc<Runbook>,
    request: &Request<'_>,
) -> Result<Run, Refusal> {
    let rules = shared.rules();
    if !shared.has_room() {
        return Err(Refusal::QueueFull);
    }
    let (line, mut new) =
        new_run(shared, &rules, runbook, request).map_err(|decisions| refused(&decisions))?;
    let target = new.run.target.clone().unwrap_or_default();
    let mut lines = vec![line];
    if let (Some(reason), Some(by)) = (request.glass, request.by) {
        match glass_line(shared, &mut new.run, by, reason) {
            Ok(line) => lines.push(line),
            Err(refusal) => {
                shared.runs.release(&runbook.name, &target, &new.run.id);
                return Err(refusal);
            }
        }
    }
    if let Some(by) = request.by.filter(|_| request.mode == Mode::Act) {
        let how = Intervention::RunAgain;
        match shared.acted_by_hand(&runbook.name, new.run.target.as_deref(), how, by).await {
            Ok(more) => lines.extend(more),
            Err(error) => {
                shared.runs.release(&runbook.name, &target, &new.run.id);
                return Err(error.into());
            }
        }
    }
    if let Err(error) = shared.scribe.commit(lines).await {
        shared.runs.release(&runbook.name, &target, &new.run.id);
        return Err(error.into());
    }
    let run = new.run.clone();
    let live = shared.live(new.run, new.about);
    shared.launch(live, Start::Fresh(new.permit, new.place));
    Ok(run)
}

/// What is written down of a glass that was broken to begin a run; `run` is as it is after it.
fn glass_line(shared: &Shared, run: &mut Run, by: &str, reason: &str) -> Result<Line, Refusal> {
    if !run.decisions.iter().any(|said| said.code == Code::GlassBroken) {
        let message = "no change freeze covers the run: there is nothing to pass";
        return Err(Refusal::Conflict(Reason::new(Code::Window, message)));
    }
    let outside = payload::GlassBroken { by: by.to_owned(), reason: reason.to_owned() };
    let leaf = event::GlassBroken { passes: Passes::Freeze, plan: None };
    let fact = Fact::GlassBroken(leaf, Outside::Kept(outside));
    let event = shared.scribe.event(Some(&run.id), None, fact);
    run.apply(&event).map_err(|error| Refusal::Record(error.into()))?;
    tracing::error!(
        run.id = %run.id, person = by,
        "{by} broke the glass to start run {} in a change freeze: a second person has to review why", run.id
    );
    Ok(Line { views: views::of_run(run, &event.fact), event: Arc::new(event) })
}

fn refused(decisions: &[Decision]) -> Refusal {
    let reason = decisions.first().map_or_else(|| Reason::new(Code::Internal, "refused"), Decision::reason);
    match reason.code {
        Code::Input | Code::Template => Refusal::Invalid { field: "input", message: reason.message },
        _ => Refusal::Conflict(reason),
    }
}

/// What a person says yes to, and how.
#[derive(Debug, Clone)]
pub struct Yes {
    /// The plan that was shown.
    pub plan: Digest,
    /// What they say with it.
    pub comment: Option<String>,
    /// The DSSE envelope in which they signed it, if they did.
    pub envelope: Option<Value>,
    /// Where it was said of all runs of a storm at once: the digest over what was shown.
    pub storm: Option<Digest>,
}

/// Approves the plan that was shown. Plans anew first, when the plan is old or the rules changed.
///
/// # Errors
/// When the run does not wait, the person does not count, or the plan is no longer the shown one.
pub(super) async fn approve(
    shared: &Arc<Shared>,
    live: &Arc<LiveRun>,
    person: &Person,
    yes: Yes,
) -> Result<Run, Refusal> {
    let run = live.snapshot().await;
    // Whoever does not count is told so before anything is planned for them.
    let ask = question(shared, &run)?;
    let given = Yes { plan: run.plan.unwrap_or(yes.plan), ..yes.clone() };
    shared.would_count(&run, ask, person, &approval(shared, person, given, None))?;
    shared.still_asks(&run)?;
    if let Some(envelope) = &yes.envelope {
        let rules = shared.rules();
        let keys = rules.people_keys.get(&person.name).map(Vec::as_slice).unwrap_or_default();
        signed::check(envelope, (&person.name, keys), (&run.id, yes.plan, yes.comment.as_deref()))?;
    }
    up_to_date(shared, live, &run, yes.plan).await?;
    let approved = live
        .decide(Wait::Durable, |run| {
            let ask = question(shared, run)?;
            let plan = as_shown(shared, run, yes.plan)?;
            let approval = approval(shared, person, yes, Some(run.policy));
            shared.would_count(run, ask, person, &approval)?;
            shared.still_asks(run)?;
            let leaf = event::RunApproved { plan, policy: run.policy };
            Ok::<_, Refusal>(vec![Fact::RunApproved(leaf, Outside::Kept(payload::RunApproved { approval }))])
        })
        .await?;
    live.wake();
    Ok(approved)
}

/// The yes of a person, given now.
fn approval(shared: &Shared, person: &Person, yes: Yes, policy: Option<Digest>) -> Approval {
    Approval {
        by: person.name.clone(),
        at: shared.now(),
        plan: yes.plan,
        comment: yes.comment,
        subject: person.subject.clone(),
        roles: person.roles.iter().cloned().collect(),
        policy,
        envelope: yes.envelope,
        storm: yes.storm,
    }
}

/// Nobody decides about what is halted, or what a window covers: it stays as it is until that ends.
fn not_halted(shared: &Shared, run: &Run) -> Result<(), Refusal> {
    if let Some(why) = shared.halted_run(run) {
        return Err(Refusal::Conflict(Reason::new(Code::Halt, why)));
    }
    let windows = shared.windows_over_run(run).decisions;
    let refusal = windows.iter().find(|said| said.result == decision::Outcome::Refuse);
    refusal.map_or(Ok(()), |said| Err(Refusal::Conflict(said.reason())))
}

/// Why nothing can be decided about a run that puts no question.
pub(super) fn asks_nobody(run: &Run) -> Refusal {
    let reason = match run.outcome {
        Some(outcome) => Reason::new(Code::AlreadyEnded, format!("the run has ended: {}", outcome.as_str())),
        None => Reason::new(Code::NotWaiting, format!("the run is {} and asks nobody", run.state.as_str())),
    };
    Refusal::Conflict(reason)
}

/// Sees to it that the plan that was shown is what would be done now: plans anew when it is old or the rules changed.
///
/// # Errors
/// When the run is halted, or its plan is another one.
pub(super) async fn up_to_date(
    shared: &Arc<Shared>,
    live: &Arc<LiveRun>,
    run: &Run,
    shown: Digest,
) -> Result<(), Refusal> {
    let _plan = as_shown(shared, run, shown)?;
    let old = run.planned_at.is_none_or(|at| shared.now() - at > gate::PLAN_GOOD_FOR);
    if old || shared.rules_changed(run) { replan(shared, live, run).await } else { Ok(()) }
}

/// The plan that was shown, when it is still the run's.
///
/// # Errors
/// When the run is halted or a window covers it, or its plan is another one.
pub(super) fn as_shown(shared: &Shared, run: &Run, shown: Digest) -> Result<Digest, Refusal> {
    not_halted(shared, run)?;
    let same = run.plan.filter(|plan| *plan == shown);
    same.ok_or_else(|| Refusal::PlanChanged { run: Box::new(run.clone()), changes: Vec::new() })
}

/// Plans a waiting run anew; when the plan differs, it waits on the new one and the approval is refused.
pub(super) async fn replan(shared: &Arc<Shared>, live: &Arc<LiveRun>, run: &Run) -> Result<(), Refusal> {
    let permit = gate::permit_replan(run).map_err(Refusal::Conflict)?;
    let events = shared.events_of(&run.id).await?;
    let planned = planning::plan_again(shared, live, run, permit, &events)
        .await
        .map_err(|over| Refusal::Conflict(over.reason))?;
    let ruling = rule::rule(shared, live, run, &planned.plan);
    if run.state == State::Waiting
        && let Some(over) = over_by_rule(&ruling)
    {
        let reason = over.reason.clone();
        live.record(
            vec![planned.fact(None, ruling.decisions, Vec::new()), over.fact(None, None)],
            Wait::Durable,
        )
        .await?;
        live.wake();
        return Err(Refusal::Conflict(reason));
    }
    if let Some(reason) = ruling.refused {
        return Err(Refusal::Conflict(reason));
    }
    let before = plan_in(run);
    let mut changes = planned.plan.changes_since(&before);
    // Rules that ask for less than before do not take back a question that was put.
    let asked = ruling.ask.unwrap_or_else(|| shared.question_for(run));
    let same_question = run.ask.as_ref().is_some_and(|before| before.same_question(&asked));
    let same = run.plan == Some(planned.plan.digest) && same_question;
    if !same_question {
        changes.push("the rules ask for other approvals now".to_owned());
    }
    // A run that was given back puts its question from the beginning.
    let ask = if same && run.planned_at.is_some() { run.ask.clone() } else { Some(asked) };
    let fact = planned.fact(ask, ruling.decisions, changes.clone());
    live.record(vec![fact], Wait::Durable).await?;
    if same {
        return Ok(());
    }
    Err(Refusal::PlanChanged { run: Box::new(Run::clone(&*live.snapshot().await)), changes })
}

/// How a run ends that waited and that the rules, as they are now, do not let act.
///
/// What a window refuses goes on waiting: windows end.
fn over_by_rule(ruling: &rule::Ruling) -> Option<End> {
    if let Some(reason) = ruling.refused.clone() {
        if is_quiet(reason.code) {
            return None;
        }
        return Some(End::because(Outcome::Refused, reason));
    }
    ruling
        .observe
        .then(|| End::new(Outcome::Observed, Code::Observe, "nothing lets it do more than plan now"))
}

/// Decides again about all runs that wait, because the rules changed. What is decided the same keeps its
/// approvals.
pub(super) async fn decide_again(shared: Arc<Shared>) {
    for live in shared.runs.all() {
        let run = live.snapshot().await;
        // What somebody has in hand is decided again when it is given back.
        if run.state != State::Waiting || run.held.is_some() {
            continue;
        }
        match replan(&shared, &live, &run).await {
            Ok(()) | Err(Refusal::Conflict(_) | Refusal::PlanChanged { .. }) => {}
            Err(error) => {
                tracing::warn!(run.id = %run.id, error = %error, "run {} is not decided again", run.id);
            }
        }
        // What was approved before counts again, when it is decided the same.
        live.wake();
    }
}

/// The plan that a run holds, for comparing.
fn plan_in(run: &Run) -> Plan {
    let planned = |(step, input): (&run::Step, &run::Step)| staunch_core::plan::StepPlan {
        plugin: step.plugin.clone(),
        plugin_digest: step.plugin_digest,
        input: input.input.clone().unwrap_or_default(),
        effects: super::act::planned_effects(step),
        readings: Vec::new(),
    };
    let steps = run.steps.iter().map(|step| planned((step, step))).collect();
    let undo = run.undo.iter().flat_map(|undo| undo.steps.iter().zip(&run.steps).rev().map(planned));
    Plan::with_undo(&run.id, &run.runbook, steps, undo.collect())
}

/// Says no to a waiting or parked run.
///
/// # Errors
/// When the run waits for nobody.
pub(super) async fn reject(
    shared: &Shared,
    live: &LiveRun,
    person: &Person,
    comment: Option<String>,
) -> Result<Run, Refusal> {
    let run = live
        .decide(Wait::Durable, |run| {
            if !matches!(run.state, State::Waiting | State::Parked) {
                return Err(asks_nobody(run));
            }
            // Who decided first has decided.
            shared.still_asks(run)?;
            Ok(vec![given_up(run, person, Outcome::Rejected, (Code::Rejected, "a person said no"), comment)])
        })
        .await?;
    live.wake();
    Ok(run)
}

/// How a run comes to its end that a person ends: at once before any effect; after one, the probes have the word.
pub(super) fn given_up(
    run: &Run,
    person: &Person,
    outcome: Outcome,
    (code, message): (Code, &str),
    comment: Option<String>,
) -> Fact {
    if run.state != State::Running && !run.touched_the_world() {
        return End::new(outcome, code, message).fact(Some(&person.name), comment);
    }
    drive::given_up(Reason::new(code, message), Some(person), comment)
}

/// Ends a run that is no longer wanted. One that acts gets no further effect and ends by itself.
///
/// # Errors
/// When the run has ended.
pub(super) async fn cancel(live: &LiveRun, person: &Person, comment: Option<String>) -> Result<Run, Refusal> {
    // First of all it gets no further effect; what else follows is written down then.
    live.stop(Code::Cancelled, format!("cancelled by {}", person.name));
    let run = live
        .decide(Wait::Durable, |run| {
            if run.state == State::Ended {
                return Err(asks_nobody(run));
            }
            Ok(vec![given_up(
                run,
                person,
                Outcome::Cancelled,
                (Code::Cancelled, "a person cancelled it"),
                comment,
            )])
        })
        .await?;
    live.wake();
    Ok(run)
}

/// Says what became of an effect in doubt; when it was the last one, the run goes on.
///
/// # Errors
/// When nothing of the run is in doubt.
pub(super) async fn settle(
    shared: &Shared,
    live: &LiveRun,
    person: &Person,
    request: SettleRequest,
) -> Result<Run, Refusal> {
    let run = live
        .decide(Wait::Durable, |run| {
            // What is halted stays parked: it goes on after the release; what somebody holds, when it is given back.
            let goes_on = shared.halted_run(run).is_none() && run.held.is_none();
            settlement(run, person, request, goes_on)
        })
        .await?;
    live.wake();
    Ok(run)
}

fn settlement(
    run: &Run,
    person: &Person,
    request: SettleRequest,
    goes_on: bool,
) -> Result<Vec<Fact>, Refusal> {
    let doubts = run.in_doubt();
    let wanted = |(step, effect): &&(u32, u32)| {
        request.step.is_none_or(|wanted| wanted == *step)
            && request.effect.is_none_or(|wanted| wanted == *effect)
    };
    let Some(&(step, effect)) = doubts.iter().find(wanted).filter(|_| run.state == State::Parked) else {
        let message = "the run has no such effect in doubt".to_owned();
        return Err(Refusal::Conflict(Reason::new(Code::NotInDoubt, message)));
    };
    let (status, answer) = match request.outcome {
        Settlement::Done => {
            // Unless the person knows the answer, it is the one that the plan assumed.
            let assumed = || {
                let record = run.step(step).and_then(|s| s.effects.get(effect as usize));
                record.and_then(|record| record.assumed.clone())
            };
            let answer = request.answer.map(|answer| Answer::Ok(answer.into())).or_else(assumed);
            (EffectStatus::Done, answer.unwrap_or(Answer::Ok(Value::Null.into())))
        }
        Settlement::NotDone => (
            EffectStatus::Failed,
            Answer::Err(CallError {
                code: "not-done".to_owned(),
                message: "a person found that it did not happen".to_owned(),
                retryable: true,
            }),
        ),
        Settlement::Abandon => {
            let why = (Code::InDoubt, "an effect stayed in doubt, and the run was given up");
            return Ok(vec![given_up(run, person, Outcome::Unknown, why, request.comment)]);
        }
    };
    let outside = payload::EffectSettled {
        answer: Some(answer),
        by: Some(person.name.clone()),
        comment: request.comment,
    };
    let leaf = event::EffectSettled { step, effect, status };
    let mut facts = vec![Fact::EffectSettled(leaf, Outside::Kept(outside))];
    // A run that also asks about a new plan goes on when that is approved.
    if doubts.len() == 1 && goes_on && run.ask.is_none() {
        facts.push(drive::resumed());
    }
    Ok(facts)
}
