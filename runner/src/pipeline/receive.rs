//! Takes alerts in: identity, match, pre-gate and new runs, in one durable transaction before the sender is
//! answered.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use staunch_core::alert::Alert;
use staunch_core::decision::{Code, Decision, Reason, Stage};
use staunch_core::event::{self, Event, Fact, Outside, payload};
use staunch_core::gate::{self, PreGateFacts};
use staunch_core::id::{AlertId, Digest, RunId};
use staunch_core::permit::PlanPermit;
use staunch_core::policy::Runbook;
use staunch_core::policy::gate::is_irreversible;
use staunch_core::policy::prepare::{Occasion, Prepared, prepare};
use staunch_core::record::{AlertRecord, Identity as Kind, Known, identify, may_pass};
use staunch_core::run::{Flow, Mode, Outcome, Run, VerifyPlan};
use staunch_core::window::Subject;

use super::drive::Start;
use super::index::Identity;
use super::limits::Wish;
use super::plugins::Loaded;
use super::scribe::{Line, ScribeError};
use super::shared::{Rules, Shared};
use super::turns::Place;
use super::{ReadError, Refusal, drills, resolved, views};

/// How many of an alert's latest runs are looked at when it repeats.
const RUNS_OF_AN_ALERT: usize = 8;

/// What became of one alert of a delivery.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Accepted {
    /// Its id; the same for a repeat.
    #[schema(value_type = Option<String>)]
    pub id: Option<AlertId>,
    /// Its fingerprint.
    pub fingerprint: String,
    /// Whether it was known already.
    pub duplicate: bool,
    /// The runs so far.
    #[schema(value_type = Vec<String>)]
    pub runs: Vec<RunId>,
}

/// A delivery on its way into the journal.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) lines: Vec<Line>,
    accepted: Vec<Accepted>,
    new_runs: Vec<NewRun>,
    known: Vec<(Identity, Known)>,
    /// Firings that had ended and were followed by another one.
    fired_again: Vec<AlertId>,
    /// Records that this delivery made or changed: a batch may hold the same alert twice.
    pub(super) records: BTreeMap<AlertId, AlertRecord>,
}

/// A run that begins while its beginning is on its way to the disk.
pub(super) struct NewRun {
    pub(super) run: Run,
    pub(super) about: Option<Arc<Alert>>,
    pub(super) permit: PlanPermit,
    pub(super) place: Place,
}

/// What asks for a run.
pub(super) struct Request<'a> {
    pub(super) alert: Option<(&'a AlertId, &'a Arc<Alert>)>,
    pub(super) labels: &'a BTreeMap<String, String>,
    pub(super) target: Option<&'a str>,
    pub(super) input: Option<&'a serde_json::Value>,
    pub(super) by: Option<&'a str>,
    pub(super) comment: Option<&'a str>,
    pub(super) mode: Mode,
    /// The exact plugin, where it is not the installed one that is meant.
    pub(super) exact: Option<Digest>,
    /// Whether it waits for its turn behind an unended run of the same runbook at the same target.
    pub(super) queues: bool,
    /// Why the person who asks passes change freezes, if they do.
    pub(super) glass: Option<&'a str>,
    /// The synthetic alert of a drill, and that the runbook answers to it.
    pub(super) drill: Option<(&'a Arc<Alert>, &'a Decision)>,
}

impl<'a> Request<'a> {
    /// The alert that the run is about, received or synthetic.
    fn about(&self) -> Option<&'a Arc<Alert>> {
        self.alert.map(|(_, alert)| alert).or(self.drill.map(|(alert, _)| alert))
    }
}

/// Takes in the alerts of one body. Durable when it returns.
///
/// # Errors
/// When the queue is full or the journal cannot be written: nothing of it was taken in then.
pub(super) async fn receive(
    shared: &Arc<Shared>,
    source: &str,
    body: &[u8],
    alerts: Vec<Alert>,
) -> Result<Vec<Accepted>, Refusal> {
    let rules = shared.rules();
    if !shared.scribe.journal().accepting() {
        return Err(Refusal::JournalUnavailable);
    }
    let identities: Vec<Identity> =
        alerts.iter().map(|alert| Identity::of(source, &alert.fingerprint)).collect();
    let _held = shared.alerts.hold(&identities).await;
    let lines = vec![delivered(shared, source, body, alerts.len())];
    let mut batch = Batch { lines, ..Batch::default() };
    for (alert, identity) in alerts.into_iter().zip(identities) {
        if let Err(error) = batch.take(shared, &rules, source, alert, identity).await {
            batch.give_up(shared);
            return Err(error);
        }
    }
    batch.finish(shared).await
}

fn delivered(shared: &Shared, source: &str, body: &[u8], alerts: usize) -> Line {
    let leaf = event::Delivered {
        source: source.to_owned(),
        body_digest: Digest::of(body),
        alerts: u32::try_from(alerts).unwrap_or(u32::MAX),
    };
    let outside = payload::Delivered { body: String::from_utf8_lossy(body).into_owned() };
    let fact = Fact::Delivered(leaf, Outside::Kept(outside));
    Line { event: Arc::new(shared.scribe.event(None, None, fact)), views: Vec::new() }
}

impl Batch {
    /// The firing that an alert is about, of this batch or of memory: the one with the same start, else the last.
    fn known_to(&self, shared: &Shared, alert: &Alert, identity: Identity) -> Option<Known> {
        let of_batch =
            || self.known.iter().rev().filter(|(other, _)| *other == identity).map(|(_, known)| known);
        let stored = shared.alerts.get(identity, alert.starts_at);
        let same = |known: &&Known| known.starts_at == alert.starts_at;
        let known = of_batch().find(same).or(stored.as_ref().filter(same)).or_else(|| of_batch().next());
        known.or(stored.as_ref()).cloned()
    }

    async fn take(
        &mut self,
        shared: &Arc<Shared>,
        rules: &Rules,
        source: &str,
        alert: Alert,
        identity: Identity,
    ) -> Result<(), Refusal> {
        let known = match self.known_to(shared, &alert, identity) {
            Some(known) => Some(known),
            None => shared.known_before(source, &alert).await?,
        };
        match (identify(&alert, known.as_ref()), known) {
            (Kind::New, before) => {
                self.new_alert(shared, rules, source, alert, identity)?;
                self.fired_again.extend(before.map(|known| known.id));
            }
            (Kind::Repeat, Some(known)) => self.repeat(shared, rules, alert, &known).await?,
            (Kind::Resolves, Some(known)) => self.resolve(shared, &alert, identity, &known).await?,
            (Kind::AlreadyOver, Some(known)) => {
                let runs =
                    self.record(shared, &known.id).await?.map(|record| record.runs).unwrap_or_default();
                self.accepted.push(Accepted {
                    id: Some(known.id),
                    fingerprint: alert.fingerprint,
                    duplicate: true,
                    runs,
                });
            }
            // The end of a firing that was never heard of: kept, for the record.
            (_, None) => self.new_alert(shared, rules, source, alert, identity)?,
        }
        Ok(())
    }

    fn new_alert(
        &mut self,
        shared: &Arc<Shared>,
        rules: &Rules,
        source: &str,
        mut alert: Alert,
        identity: Identity,
    ) -> Result<(), Refusal> {
        let id = AlertId::from_bits(shared.scribe.clock().id_bits());
        alert.id = Some(id.clone());
        let alert = Arc::new(alert);
        let now = shared.now();
        let routed = rules.policies.routing().route(&alert, now);
        let mut decisions = vec![Decision::pass(now, Stage::Intake, source, "received and authentic")];
        decisions.push(Decision::pass(now, Stage::Dedup, &alert.fingerprint, "not known before"));
        decisions.extend(routed.decisions);
        let mut run_lines = Vec::new();
        let runs =
            self.start_runs(shared, rules, &routed.runbooks, (&id, &alert), &mut decisions, &mut run_lines)?;
        let fact = Fact::AlertReceived(
            event::AlertReceived {
                source: source.to_owned(),
                status: alert.status,
                severity: alert.severity,
            },
            Outside::Kept(payload::AlertReceived {
                alert: Arc::clone(&alert),
                decisions,
                runs: runs.clone(),
            }),
        );
        let event = shared.scribe.event(None, Some(&id), fact);
        if let Some(record) = AlertRecord::begin(&event) {
            self.lines.push(Line { event: Arc::new(event), views: vec![views::alert(&record)] });
            self.known.push((identity, Known::from(&record)));
            self.records.insert(id.clone(), record);
        }
        self.lines.extend(run_lines);
        self.accepted.push(Accepted {
            id: Some(id),
            fingerprint: alert.fingerprint.clone(),
            duplicate: false,
            runs,
        });
        Ok(())
    }

    /// A repeat starts nothing, except that a match that was lost to something that passes is tried again.
    async fn repeat(
        &mut self,
        shared: &Arc<Shared>,
        rules: &Rules,
        alert: Alert,
        known: &Known,
    ) -> Result<(), Refusal> {
        let Some(mut record) = self.record(shared, &known.id).await? else { return Ok(()) };
        let now = shared.now();
        let mut decisions = vec![Decision::refuse(
            now,
            Stage::Dedup,
            &alert.fingerprint,
            Code::Duplicate,
            "the same firing again",
        )];
        let mut run_lines = Vec::new();
        let mut lost = record.lost.clone();
        lost.extend(lost_at_the_gate(shared, &record).await?);
        let again: Vec<Arc<Runbook>> =
            lost.iter().filter_map(|name| rules.policies.runbook(name).cloned()).collect();
        let about = record.alert.clone().unwrap_or_else(|| Arc::new(alert));
        let runs =
            self.start_runs(shared, rules, &again, (&known.id, &about), &mut decisions, &mut run_lines)?;
        let outside = payload::AlertRepeated { decisions, runs };
        let fact = Fact::AlertRepeated(event::AlertRepeated {}, Outside::Kept(outside));
        self.change(shared, &mut record, fact);
        self.lines.extend(run_lines);
        self.accepted.push(Accepted {
            id: Some(known.id.clone()),
            fingerprint: about.fingerprint.clone(),
            duplicate: true,
            runs: record.runs.clone(),
        });
        self.records.insert(known.id.clone(), record);
        Ok(())
    }

    async fn resolve(
        &mut self,
        shared: &Arc<Shared>,
        alert: &Alert,
        identity: Identity,
        known: &Known,
    ) -> Result<(), ReadError> {
        let Some(mut record) = self.record(shared, &known.id).await? else { return Ok(()) };
        let leaf = event::AlertResolved { ends_at: alert.ends_at };
        self.change(shared, &mut record, Fact::AlertResolved(leaf, Outside::Kept(payload::AlertResolved {})));
        self.known.push((identity, Known::from(&record)));
        self.accepted.push(Accepted {
            id: Some(known.id.clone()),
            fingerprint: alert.fingerprint.clone(),
            duplicate: true,
            runs: record.runs.clone(),
        });
        self.records.insert(known.id.clone(), record);
        Ok(())
    }

    pub(super) fn change(&mut self, shared: &Shared, record: &mut AlertRecord, fact: Fact) {
        let event = shared.scribe.event(None, Some(&record.id), fact);
        record.apply(&event);
        self.lines.push(Line { event: Arc::new(event), views: vec![views::alert(record)] });
    }

    async fn record(&self, shared: &Shared, id: &AlertId) -> Result<Option<AlertRecord>, ReadError> {
        match self.records.get(id) {
            Some(record) => Ok(Some(record.clone())),
            None => shared.alert(id).await,
        }
    }

    pub(super) fn start_runs(
        &mut self,
        shared: &Arc<Shared>,
        rules: &Rules,
        runbooks: &[Arc<Runbook>],
        alert: (&AlertId, &Arc<Alert>),
        decisions: &mut Vec<Decision>,
        lines: &mut Vec<Line>,
    ) -> Result<Vec<RunId>, Refusal> {
        let mut ids = Vec::new();
        for runbook in runbooks {
            // Only what would make a run is turned away: a resolve or a repeat is never held up by the queue.
            if !shared.has_room() {
                return Err(Refusal::QueueFull);
            }
            let request = Request {
                alert: Some(alert),
                labels: &alert.1.labels,
                target: None,
                input: None,
                by: None,
                comment: None,
                mode: Mode::Act,
                exact: None,
                queues: false,
                drill: None,
                glass: None,
            };
            match new_run(shared, rules, runbook, &request) {
                Ok((line, run)) => {
                    // That the match is not lost; the rest of how it began stands with the run.
                    let begun = |decision: &&Decision| decision.stage == Stage::Dedup;
                    decisions.extend(run.run.decisions.iter().filter(begun).cloned());
                    ids.push(run.run.id.clone());
                    lines.push(line);
                    self.new_runs.push(run);
                }
                Err(refusals) => decisions.extend(refusals),
            }
        }
        Ok(ids)
    }

    pub(super) async fn finish(mut self, shared: &Arc<Shared>) -> Result<Vec<Accepted>, Refusal> {
        let mut lines = std::mem::take(&mut self.lines);
        for before in std::mem::take(&mut self.fired_again) {
            match shared.fired_again(&before).await {
                Ok(more) => lines.extend(more),
                Err(error) => {
                    self.give_up(shared);
                    return Err(error.into());
                }
            }
        }
        // A run that can begin at once has its plan, and its first intent, soon enough to share a wait for the disk.
        let company = self.new_runs.iter().any(|new| matches!(new.place, Place::Now(_)));
        let begun = match shared.scribe.begin(lines, company).await {
            Ok(begun) => begun,
            Err(error) => {
                self.give_up(shared);
                return Err(error.into());
            }
        };
        for NewRun { run, about, permit, place } in self.new_runs.drain(..) {
            let live = shared.live_after(run, about, begun.beginning());
            shared.launch(live, Start::Fresh(permit, place));
        }
        begun.durable().await.map_err(ScribeError::from)?;
        for (identity, known) in self.known.drain(..) {
            shared.alerts.put(identity, known);
        }
        for record in self.records.values().filter(|record| record.ended_at.is_some()) {
            for live in record.runs.iter().filter_map(|run| shared.runs.get(run)) {
                live.wake();
                shared.tracker.spawn(resolved::cancel(Arc::clone(shared), live));
            }
        }
        Ok(self.accepted)
    }

    /// Gives back what was reserved for runs that will not be.
    pub(super) fn give_up(&mut self, shared: &Shared) {
        for new in self.new_runs.drain(..) {
            let target = new.run.target.as_deref().unwrap_or_default();
            shared.runs.release(&new.run.runbook, target, &new.run.id);
        }
    }
}

/// The runbooks whose last run for an alert was planned, and then stopped at the gate by something that passes.
async fn lost_at_the_gate(shared: &Shared, record: &AlertRecord) -> Result<Vec<String>, ReadError> {
    let mut last: BTreeMap<String, bool> = BTreeMap::new();
    for id in record.runs.iter().rev().take(RUNS_OF_AN_ALERT) {
        let Some(run) = shared.run(id).await? else { continue };
        let code = run.reason.as_ref().map(|reason| reason.code);
        let lost = run.outcome == Some(Outcome::Refused) && code.is_some_and(may_pass);
        last.entry(run.runbook).or_insert(lost);
    }
    Ok(last.into_iter().filter(|(_, lost)| *lost).map(|(runbook, _)| runbook).collect())
}

/// Makes a run ready to begin: renders, checks, asks the pre-gate, takes its place and its turn.
///
/// # Errors
/// The refusing decisions. Nothing is reserved then.
pub(super) fn new_run(
    shared: &Arc<Shared>,
    rules: &Rules,
    runbook: &Arc<Runbook>,
    request: &Request<'_>,
) -> Result<(Line, NewRun), Vec<Decision>> {
    let now = shared.now();
    let id = RunId::from_bits(shared.scribe.clock().id_bits());
    let refuse = |stage: Stage, subject: &str, reason: Reason| {
        vec![Decision::refuse(now, stage, subject, reason.code, reason.message)]
    };
    let plugins = runbook
        .steps
        .iter()
        .map(|step| {
            let plugin = match request.exact {
                Some(digest) => shared.plugins.anew(&step.plugin, digest),
                None => shared.plugins.current(&step.plugin),
            };
            plugin.map_err(|reason| refuse(Stage::Plan, &step.plugin, reason))
        })
        .collect::<Result<Vec<Arc<Loaded>>, _>>()?;
    if !can_undo(runbook, &plugins) {
        let message = "the runbook wants undo, and none of its plugins can take back what it does";
        return Err(refuse(Stage::Plan, &runbook.name, Reason::new(Code::NoUndo, message)));
    }
    let occasion = Occasion {
        run: &id,
        alert: request.about().map(Arc::as_ref),
        labels: request.labels,
        target: request.target,
        input: request.input,
    };
    let prepared = prepare(runbook, &occasion, |name| rules.config.hosts.canonical(name))
        .map_err(|reason| refuse(Stage::Match, &runbook.name, reason))?;
    if request.drill.is_some() {
        drills::may_begin(shared, request.mode, &prepared.target)
            .map_err(|reason| refuse(Stage::Policy, &runbook.name, reason))?;
    }
    for (plugin, input) in plugins.iter().zip(&prepared.inputs) {
        plugin.check_input(input).map_err(|reason| refuse(Stage::Plan, &runbook.name, reason))?;
    }
    let (permit, mut decisions) = admit(shared, rules, runbook, &id, &prepared.target, request)?;
    // Of a received alert it stands in the alert's own trace.
    decisions.splice(0..0, request.drill.map(|(_, matched)| matched.clone()));
    let place = shared.turns.ask((!runbook.parallel).then_some(prepared.target.as_str()));
    if matches!(place, Place::Full) {
        shared.runs.release(&runbook.name, &prepared.target, &id);
        let message = format!("too many runs wait for their turn at {}", prepared.target);
        return Err(vec![Decision::refuse(now, Stage::Limit, &runbook.name, Code::QueueFull, message)]);
    }
    let queued = matches!(place, Place::Later(_));
    let fact = created(shared, rules, runbook, &plugins, prepared, queued, decisions, request);
    let event = shared.scribe.event(Some(&id), request.alert.map(|(id, _)| id), fact);
    let run = begin(&event);
    let line = Line { views: vec![views::run(&run)], event: Arc::new(event) };
    Ok((line, NewRun { run, about: request.about().cloned(), permit, place }))
}

/// Whether something can be taken back, where the runbook wants that.
fn can_undo(runbook: &Runbook, plugins: &[Arc<Loaded>]) -> bool {
    !runbook.wants_undo()
        || plugins.iter().any(|plugin| plugin.prepared().exports(crate::sandbox::Export::Undo))
}

fn begin(event: &Event) -> Run {
    Run::begin(event).expect("a run-created event with an id begins a run")
}

/// Asks the pre-gate, and takes the runbook's place at the target.
fn admit(
    shared: &Shared,
    rules: &Rules,
    runbook: &Runbook,
    id: &RunId,
    target: &str,
    request: &Request<'_>,
) -> Result<(PlanPermit, Vec<Decision>), Vec<Decision>> {
    let reserved = shared.runs.reserve(&runbook.name, target, id);
    let plugins: Vec<&str> = runbook.steps.iter().map(|step| step.plugin.as_str()).collect();
    let out = shared.plugins.out_of_service(plugins.iter().copied(), &rules.config.replacements);
    let out: Vec<(&str, &str)> = out.iter().map(|(name, word)| (name.as_str(), word.as_str())).collect();
    let halted = shared.halted(&runbook.name, &plugins, Some(target));
    let subject = Subject {
        labels: request.labels,
        target: Some(target),
        runbook: &runbook.name,
        plugins: &plugins,
        safe: runbook.safe,
    };
    let windows = shared.windows_over(&subject, request.about().is_some(), request.glass.and(request.by));
    let (labels, mode, drill) = (request.labels, request.mode, request.drill.is_some());
    let wish = Wish { run: id, runbook, plugins: &plugins, target, labels, mode, drill };
    let limit = shared.limit_of_wish(rules, &wish);
    let breakers = &shared.books.breakers;
    let breaker = || breakers.ask(shared.now(), id, plugins.iter().copied(), Some(target));
    let breaker = if mode == Mode::Act || drill { breaker() } else { None };
    let facts = PreGateFacts {
        target: Some(target),
        unended: reserved.as_ref().err().filter(|_| !request.queues),
        out_of_service: &out,
        alert_over: false,
        halted: halted.as_deref(),
        windows: &windows.decisions,
        breaker: breaker.as_deref(),
        limit: limit.as_ref(),
    };
    let admitted = gate::pre_gate(shared.now(), id, &runbook.name, &facts);
    if admitted.is_err() && reserved.is_ok() {
        shared.runs.release(&runbook.name, target, id);
    }
    admitted
}

#[expect(
    clippy::too_many_arguments,
    reason = "each is one part of the event, and this is the one place that makes it"
)]
fn created(
    shared: &Shared,
    rules: &Rules,
    runbook: &Runbook,
    plugins: &[Arc<Loaded>],
    prepared: Prepared,
    queued: bool,
    decisions: Vec<Decision>,
    request: &Request<'_>,
) -> Fact {
    let irreversible = plugins
        .iter()
        .enumerate()
        .any(|(step, plugin)| is_irreversible(runbook, step, &shared.plugins.facts(plugin)));
    let millis = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let verify = runbook.verify.as_ref().map(|verify| VerifyPlan {
        within_ms: millis(verify.within),
        stable_for_ms: millis(verify.stable_for),
        interval_ms: millis(verify.interval),
        probes: prepared.probes,
    });
    let leaf = event::RunCreated {
        runbook: runbook.name.clone(),
        policy: shared.policy_digest(runbook),
        plugins: plugins.iter().map(|plugin| (plugin.name().to_owned(), plugin.digest())).collect(),
        mode: request.mode,
        queued,
        irreversible,
        drill: request.drill.is_some(),
    };
    let outside = payload::RunCreated {
        host: rules.config.hosts.find(&prepared.target).map(|host| host.canonical().to_owned()),
        target: Some(prepared.target),
        inputs: prepared.inputs,
        labels: request.labels.clone().into(),
        verify,
        by: request.by.map(str::to_owned),
        comment: request.comment.map(str::to_owned),
        decisions,
        flow: Flow::of(runbook),
        drill: request.drill.map(|(alert, _)| Arc::clone(alert)),
    };
    Fact::RunCreated(leaf, Outside::Kept(outside))
}
