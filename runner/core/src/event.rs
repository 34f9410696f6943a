//! The journal's words: what can happen, and how it is written down.
//!
//! An event is a **leaf**, which anyone may keep for ever, and often a **payload**, which holds all that came
//! from outside (bodies, labels, inputs, arguments, answers, comments, people's names) and can be removed. The
//! leaf commits to the payload: its member `payload` is `sha256:` of `salt ‖ bytes`.
//!
//! Leaves and payloads are JSON. Names of kinds and members are never reused with another meaning; `v` counts
//! up when a reader of an older version could go wrong.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::alert::{Alert, Severity, Status};
use crate::breaker::Breaker;
use crate::decision::{Code, Decision};
use crate::effect::{Answer, Call, EffectStatus, Repeat};
use crate::halt::{Scope, ScopeKind};
use crate::id::{Digest, HaltId, RunId, SilenceId, TokenId};
use crate::plan::StepPlan;
use crate::run::{
    Approval, Ask, EffectRecord, Flow, Mode, Outcome, Passes, ProbeAnswer, UndoState, Verdict, VerifyPlan,
};
use crate::schedule::Occurrence;
use crate::standing::{Intervention, Record};

#[macro_use]
mod words;
mod error;
mod form;
mod outside;

use form::{LeafIn, json_bytes, parse};

pub use error::EventError;
pub use form::{Encoded, Event, MAX_LEAF, PAYLOAD_MEMBER, VERSION, commitment};
pub use outside::Outside;

facts! {
    /// The daemon started to serve.
    DaemonStarted = "daemon-started" {
        leaf {
            /// The program's version.
            version: String,
            /// Digest of the configuration file.
            config: Digest,
            /// Digest over all policy files.
            policies: Digest,
        }
        payload {}
    }
    /// The daemon stopped in order.
    DaemonStopped = "daemon-stopped" { leaf {} payload {} }
    /// Configuration and policies were loaded again.
    ConfigurationLoaded = "configuration-loaded" {
        leaf {
            /// Digest of the configuration file.
            config: Digest,
            /// Digest over all policy files.
            policies: Digest,
        }
        payload {}
    }
    /// Nothing else happened for a while: silence is provable.
    Heartbeat = "heartbeat" { leaf {} payload {} }
    /// A source delivered a body.
    Delivered = "delivered" {
        leaf {
            /// The source's name in the configuration.
            source: String,
            /// Digest of the body.
            body_digest: Digest,
            /// How many alerts it held.
            alerts: u32,
        }
        payload {
            /// The body, as text where it is UTF-8.
            body: String,
        }
    }
    /// A delivery was refused: not authentic, malformed, too large.
    DeliveryRefused = "delivery-refused" {
        leaf {
            /// The source's name in the configuration, if it is one.
            source: Option<String>,
            /// The problem's code.
            code: String,
        }
        payload {
            /// The problem in a sentence.
            message: String,
        }
    }
    /// An alert fires for the first time, or again after it was over.
    AlertReceived = "alert-received" {
        leaf {
            /// The source's name in the configuration.
            source: String,
            /// Firing or resolved.
            status: Status,
            /// How bad.
            severity: Severity,
        }
        payload {
            /// The alert.
            alert: Alert,
            /// What was decided about it at once.
            decisions: Vec<Decision>,
            /// The runs that were made for it.
            runs: Vec<RunId>,
        }
    }
    /// The same firing was delivered again.
    AlertRepeated = "alert-repeated" {
        leaf {}
        payload {
            /// What was decided about it now.
            decisions: Vec<Decision>,
            /// The runs that were made for it now.
            runs: Vec<RunId>,
        }
    }
    /// A window or silence ended, and a match that was lost to it was tried again.
    AlertTakenUp = "alert-taken-up" {
        leaf {}
        payload {
            /// What was decided about it now.
            decisions: Vec<Decision>,
            /// The runs that were made for it now.
            runs: Vec<RunId>,
        }
    }
    /// The alert is over.
    AlertResolved = "alert-resolved" {
        leaf {
            /// When, by the sender.
            ends_at: Option<DateTime<Utc>>,
        }
        payload {}
    }
    /// The alert was not heard of for too long.
    AlertStale = "alert-stale" { leaf {} payload {} }
    /// A run was made for an alert or by hand.
    RunCreated = "run-created" {
        leaf {
            /// The runbook.
            runbook: String,
            /// Digest of the runbook, guardrails and people files.
            policy: Digest,
            /// The plugins of its steps, with the exact bytes.
            plugins: Vec<(String, Digest)>,
            /// Plan only, or act.
            mode: Mode,
            /// Whether it waits for its turn at the target.
            queued: bool,
            /// Whether an effect of it cannot be taken back.
            irreversible: bool,
            /// Whether it is a drill.
            #[serde(default, skip_serializing_if = "std::ops::Not::not")]
            drill: bool,
        }
        payload {
            /// The target, as the runbook's template gives it.
            target: Option<String>,
            /// The host that the target denotes.
            host: Option<String>,
            /// The rendered inputs of the steps.
            inputs: Vec<Value>,
            /// The labels that the templates saw.
            labels: std::collections::BTreeMap<String, String>,
            /// How recovery is verified.
            verify: Option<VerifyPlan>,
            /// Who started it by hand.
            by: Option<String>,
            /// Why it was started by hand.
            comment: Option<String>,
            /// What was decided before.
            decisions: Vec<Decision>,
            /// How the steps follow each other, and what follows them.
            #[serde(default, skip_serializing_if = "Flow::is_silent")]
            flow: Flow,
            /// The synthetic alert of a drill.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            drill: Option<Box<Alert>>,
        }
    }
    /// The run is planned now.
    RunPlanning = "run-planning" { leaf {} payload {} }
    /// The run has a plan.
    RunPlanned = "run-planned" {
        leaf {
            /// The plan's digest.
            plan: Digest,
            /// How many effects it holds.
            effects: u32,
            /// Whether people are asked.
            ask: bool,
            /// Digest of the policy that it was judged by.
            policy: Digest,
        }
        payload {
            /// The plan, step by step.
            steps: Vec<StepPlan>,
            /// Whom to ask, if anybody.
            asked: Option<Ask>,
            /// What was decided over the plan.
            decisions: Vec<Decision>,
            /// What the plugins logged.
            log: Vec<String>,
            /// What differs from the plan before it.
            changes: Vec<String>,
            /// What would take the steps back, in the order in which that is done.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            undo: Vec<StepPlan>,
        }
    }
    /// A person approved the plan.
    RunApproved = "run-approved" {
        leaf {
            /// The plan that was shown.
            plan: Digest,
            /// The policy under which it was decided.
            policy: Digest,
        }
        payload {
            /// Who, and what they said.
            approval: Approval,
        }
    }
    /// Nobody answered for a while, and somebody else is told.
    RunEscalated = "run-escalated" {
        leaf {
            /// The rung of the ladder, from 0.
            rung: u32,
            /// Who is told, by the name in the runbook.
            to: String,
        }
        payload {}
    }
    /// A person took the run over, to do it by hand: it does no further effect.
    RunTakenOver = "run-taken-over" {
        leaf {}
        payload {
            /// Who.
            by: String,
            /// What they said.
            comment: Option<String>,
        }
    }
    /// The run was given back: it is planned anew and asks anew.
    RunGivenBack = "run-given-back" {
        leaf {}
        payload {
            /// Who.
            by: String,
            /// What they said.
            comment: Option<String>,
        }
    }
    /// A person broke the glass: the run passes what would have held it.
    GlassBroken = "glass-broken" {
        leaf {
            /// What it passes.
            passes: Passes,
            /// The plan that was shown; none where there was no plan yet.
            plan: Option<Digest>,
        }
        payload {
            /// Who.
            by: String,
            /// Why: a justification that a second person reviews.
            reason: String,
        }
    }
    /// A second person looked at why the glass was broken.
    JustificationReviewed = "justification-reviewed" {
        leaf {
            /// Which time that the glass of this run was broken, from 0.
            glass: u32,
            /// Whether it was justified.
            justified: bool,
        }
        payload {
            /// Who reviewed it.
            by: String,
            /// What they said.
            comment: Option<String>,
        }
    }
    /// The gate made an act permit.
    RunPermitted = "run-permitted" {
        leaf {
            /// The plan that the permit is bound to.
            plan: Digest,
            /// Whether people approved it.
            approved: bool,
        }
        payload {}
    }
    /// An effect is about to be done. Durable before it is.
    EffectIntended = "effect-intended" {
        leaf {
            /// The step, from 0; the undo of step 0 is 1000, and so on.
            step: u32,
            /// The effect within the step, from 0.
            effect: u32,
            /// The capability.
            capability: String,
            /// The function.
            function: String,
            /// The idempotency key, the same in every retry.
            key: String,
            /// What may be done when it is in doubt.
            repeat: Repeat,
            /// Whether the plan holds it.
            planned: bool,
            /// Fuel left.
            fuel: u64,
        }
        payload {
            /// The call.
            call: Call,
            /// Why, in the plugin's words.
            reason: String,
            /// How that which it acts on was just before, where that tells later whether it happened.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            before: Option<Value>,
        }
    }
    /// What became of an intended effect.
    EffectSettled = "effect-settled" {
        leaf {
            /// The step.
            step: u32,
            /// The effect within the step.
            effect: u32,
            /// Done, failed or unknown.
            status: EffectStatus,
        }
        payload {
            /// What the plugin was answered; none for an effect in doubt.
            answer: Option<Answer>,
            /// The person who settled it, if one did.
            by: Option<String>,
            /// What they said.
            comment: Option<String>,
        }
    }
    /// A reading while the run acts.
    ReadingMade = "reading-made" {
        leaf {
            /// The step.
            step: u32,
            /// The capability.
            capability: String,
            /// The function.
            function: String,
            /// Fuel left.
            fuel: u64,
            /// How often the host looked.
            polls: u32,
        }
        payload {
            /// The call.
            call: Call,
            /// The answer.
            answer: Answer,
        }
    }
    /// A reading that the run rests on was made again before the run went on, and answers otherwise: from this call
    /// of the step on, its plugin is asked anew. What was done since stays done.
    ReadingChanged = "reading-changed" {
        leaf {
            /// The step.
            step: u32,
            /// How many of the step's calls before it still hold.
            calls: u32,
            /// The capability.
            capability: String,
            /// The function.
            function: String,
        }
        payload {
            /// The call.
            call: Call,
            /// What it answered.
            before: Answer,
            /// What it answers.
            now: Answer,
        }
    }
    /// The broker refused a call.
    CallDenied = "call-denied" {
        leaf {
            /// The step.
            step: u32,
            /// The capability.
            capability: String,
            /// The function.
            function: String,
            /// Fuel left.
            fuel: u64,
        }
        payload {
            /// The call.
            call: Call,
            /// What the plugin was told.
            answer: Answer,
        }
    }
    /// A step's plugin came to its end.
    StepEnded = "step-ended" {
        leaf {
            /// The step.
            step: u32,
            /// `returned`, `failed` or a trap's word.
            ending: String,
            /// Fuel used.
            fuel: u64,
        }
        payload {
            /// The plugin's result.
            result: Option<Value>,
            /// The error's code and message.
            error: Option<String>,
            /// What it logged.
            log: Vec<String>,
        }
    }
    /// A step is left out, because its condition does not hold.
    StepSkipped = "step-skipped" {
        leaf {
            /// The step.
            step: u32,
        }
        payload {
            /// Why.
            message: String,
        }
    }
    /// A step failed in a way that may pass, and is tried again.
    StepRetried = "step-retried" {
        leaf {
            /// The step.
            step: u32,
            /// Which retry, from 1.
            retry: u32,
            /// When.
            due: DateTime<Utc>,
        }
        payload {
            /// How it failed.
            message: String,
        }
    }
    /// The run waits for people, after something may have been done.
    RunParked = "run-parked" {
        leaf {
            /// Why.
            code: Code,
            /// The step.
            step: u32,
        }
        payload {
            /// Why, in a sentence.
            message: String,
            /// The effect in question.
            question: Option<EffectRecord>,
            /// Whom to ask.
            asked: Option<Ask>,
        }
    }
    /// The run goes on after it was parked.
    RunResumed = "run-resumed" { leaf {} payload {} }
    /// A person, or the time, ended the waiting after something may have been done: no further effect, and the
    /// probes have the word.
    RunGivenUp = "run-given-up" {
        leaf {
            /// Why.
            code: Code,
        }
        payload {
            /// Why, in a sentence.
            message: String,
            /// The person, if one did.
            by: Option<String>,
            /// What they said.
            comment: Option<String>,
        }
    }
    /// The probes look whether the world recovered.
    RunVerifying = "run-verifying" { leaf {} payload {} }
    /// What the probes said.
    RunProbed = "run-probed" {
        leaf {
            /// Before the first effect, or after the last.
            baseline: bool,
            /// One word a probe.
            answers: Vec<ProbeAnswer>,
        }
        payload {
            /// One sentence a probe.
            details: Vec<String>,
        }
    }
    /// What the run did is taken back, and then it ends like this.
    RunUndoing = "run-undoing" {
        leaf {
            /// How.
            outcome: Outcome,
            /// What the probes said.
            verdict: Option<Verdict>,
            /// Why it ends so.
            code: Code,
            /// Whether that waits until the alert is over.
            waits: bool,
        }
        payload {
            /// Why it ends so, in a sentence.
            message: String,
            /// Why it is taken back.
            why: String,
        }
    }
    /// The alert is over, and the undo that waited for that begins.
    UndoBegun = "undo-begun" { leaf {} payload {} }
    /// The undo came to its end.
    UndoEnded = "undo-ended" {
        leaf {
            /// Where it stands.
            state: UndoState,
            /// Why.
            code: Code,
        }
        payload {
            /// Why, in a sentence.
            message: String,
        }
    }
    /// The run is over. Nothing follows.
    RunEnded = "run-ended" {
        leaf {
            /// How.
            outcome: Outcome,
            /// What the probes said, where they were asked.
            verdict: Option<Verdict>,
            /// Why.
            code: Code,
        }
        payload {
            /// Why, in a sentence.
            message: String,
            /// The person who ended it, if one did.
            by: Option<String>,
            /// What they said.
            comment: Option<String>,
            /// What was decided at the end.
            decisions: Vec<Decision>,
        }
    }
    /// After a run that was thought to have fixed it, a person had to step in or the alert fired again: it counts as
    /// one that did not. The run stays as it ended.
    RunIntervened = "run-intervened" {
        leaf {
            /// What happened.
            how: Intervention,
        }
        payload {
            /// Who, where a person did it.
            by: Option<String>,
        }
    }
    /// A runbook has a schedule from now on, or another one, or none any more.
    ScheduleSet = "schedule-set" {
        leaf {
            /// The runbook.
            runbook: String,
            /// The expression and its zone; none when it has no schedule any more.
            calendar: Option<String>,
            /// Times after this one run.
            from: DateTime<Utc>,
        }
        payload {}
    }
    /// A time of a schedule came, and a run was made for it.
    OccurrenceDue = "occurrence-due" {
        leaf {
            /// The runbook.
            runbook: String,
            /// Which time, and when it starts.
            occurrence: Occurrence,
            /// The run that was made for it.
            made: RunId,
        }
        payload {}
    }
    /// A time of a schedule passed without a run.
    OccurrenceMissed = "occurrence-missed" {
        leaf {
            /// The runbook.
            runbook: String,
            /// Which time, and when it would have started.
            occurrence: Occurrence,
            /// Why.
            code: Code,
        }
        payload {
            /// Why, in a sentence.
            message: String,
        }
    }
    /// A person made a silence.
    SilenceCreated = "silence-created" {
        leaf {
            /// Its id.
            id: SilenceId,
            /// Its first instant.
            starts_at: DateTime<Utc>,
            /// The first instant after it.
            ends_at: DateTime<Utc>,
        }
        payload {
            /// Which labels, in Alertmanager's syntax.
            matchers: Vec<String>,
            /// Who made it.
            by: String,
            /// Why.
            comment: String,
        }
    }
    /// A person ended a silence before its time.
    SilenceExpired = "silence-expired" {
        leaf {
            /// Its id.
            id: SilenceId,
        }
        payload {
            /// Who ended it.
            by: String,
        }
    }
    /// The state of a circuit breaker changed.
    BreakerChanged = "breaker-changed" {
        leaf {
            /// The plugin.
            plugin: String,
            /// The state that it left: `closed`, `open`, `half-open`.
            from: String,
            /// The state that it is in.
            to: String,
            /// The run whose beginning or end changed it.
            of_run: Option<RunId>,
        }
        payload {
            /// The target; `None`: the plugin's own breaker.
            target: Option<String>,
            /// Why.
            why: String,
            /// Who, where a person did it.
            by: Option<String>,
            /// The breaker as it is now.
            breaker: Breaker,
        }
    }
    /// A plugin version was installed.
    PluginInstalled = "plugin-installed" {
        leaf {
            /// Its name.
            name: String,
            /// Its version.
            version: String,
            /// Its release counter.
            release: u64,
            /// Digest of the component.
            digest: Digest,
            /// Key ids of the signatures that counted.
            signers: Vec<String>,
            /// Its place on the trust ladder.
            standing: String,
        }
        payload {
            /// Who installed it.
            by: String,
            /// Why it got another than the initial standing, or an older release.
            comment: Option<String>,
        }
    }
    /// A plugin moved on the trust ladder, or out of it.
    PluginMoved = "plugin-moved" {
        leaf {
            /// Its name.
            plugin: String,
            /// Digest of the component.
            digest: Digest,
            /// Where it stood.
            from: Option<String>,
            /// Where it stands.
            to: String,
            /// `rate`, `demotions`, `reinstated`, `revoked`.
            cause: String,
            /// The runs that caused it.
            runs: Vec<RunId>,
        }
        payload {
            /// Why: the numbers, or the person's reason.
            message: String,
            /// Who, where a person did it.
            by: Option<String>,
            /// The record as it is now.
            record: Record,
        }
    }
    /// A plugin was refused.
    PluginRefused = "plugin-refused" {
        leaf {
            /// The refusal's code.
            code: String,
        }
        payload {
            /// Its name, as far as it can be told.
            name: String,
            /// Why.
            message: String,
        }
    }
    /// An access token was made.
    TokenCreated = "token-created" {
        leaf {
            /// Its id.
            token: TokenId,
            /// Its roles.
            roles: Vec<String>,
            /// When it ends to be good.
            expires: Option<DateTime<Utc>>,
        }
        payload {
            /// Whose it is.
            name: String,
            /// SHA-256 of the token.
            hash: Digest,
            /// Who made it.
            by: String,
        }
    }
    /// An access token is no longer good.
    TokenRevoked = "token-revoked" {
        leaf {
            /// Its id.
            token: TokenId,
        }
        payload {
            /// Who revoked it.
            by: String,
        }
    }
    /// Somebody threw the kill switch. Durable before they are told so.
    Halted = "halted" {
        leaf {
            /// Its id.
            halt: HaltId,
            /// What kind of thing it covers.
            scope: ScopeKind,
        }
        payload {
            /// What it covers.
            scope: Scope,
            /// Why.
            reason: String,
            /// Who.
            by: String,
        }
    }
    /// A halt is no longer in force.
    HaltReleased = "halt-released" {
        leaf {
            /// Its id.
            halt: HaltId,
        }
        payload {
            /// Who released it.
            by: String,
            /// Why.
            reason: Option<String>,
        }
    }
    /// The file that halts everything was seen.
    HaltFileSeen = "halt-file-seen" {
        leaf {}
        payload {
            /// Its first line.
            reason: Option<String>,
        }
    }
    /// The file that halts everything is gone.
    HaltFileGone = "halt-file-gone" { leaf {} payload {} }
}

#[cfg(test)]
mod tests;
