//! One execution: what goes in, and what comes out.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use staunch_core::effect::{Answer, Call, CallError, EffectStatus, Repeat};
use staunch_core::id::RunId;
use staunch_core::plan::{Cover, PlannedEffect, PlannedReading, Recorded};

use super::grants::Grants;
use super::guest::Prepared;
use super::ledger::{Backend, Ledger};
use super::limits::Limits;

/// Which export is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Export {
    /// `remediation.remediate`
    Remediate,
    /// `connector.deliver`
    Deliver,
    /// `check.inspect`: effects are refused.
    Inspect,
    /// `verification.verify`: effects are refused.
    Verify,
    /// `undo.undo`
    Undo,
}

impl Export {
    /// Whether it may have effects at all.
    #[must_use]
    pub fn may_act(self) -> bool {
        match self {
            Self::Remediate | Self::Deliver | Self::Undo => true,
            Self::Inspect | Self::Verify => false,
        }
    }
}

/// What the broker does with effects. The permit must be of the same kind.
pub enum Mode {
    /// Readings are live, effects are recorded and answered as the plugin assumes.
    Plan,
    /// Effects are performed.
    Act {
        /// The effects of the plan.
        cover: Cover,
        /// How many they are: effects outside the plan are numbered after them.
        planned: u32,
    },
    /// Everything is answered by a scripted world, which also says whether the pass plans or acts.
    Rehearse(Arc<dyn Backend>),
    /// Everything is answered by [`Job::replay`]; a call beyond it is a divergence. For auditors.
    Replay,
}

impl Mode {
    /// Whether effects are recorded instead of done.
    pub(super) fn plans(&self) -> bool {
        match self {
            Self::Plan => true,
            Self::Rehearse(backend) => backend.planning(),
            Self::Act { .. } | Self::Replay => false,
        }
    }
}

impl fmt::Debug for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plan => "Plan",
            Self::Act { .. } => "Act",
            Self::Rehearse(_) => "Rehearse",
            Self::Replay => "Replay",
        })
    }
}

/// One execution of one plugin.
pub struct Job {
    /// The plugin.
    pub prepared: Arc<Prepared>,
    /// What is called.
    pub export: Export,
    /// Its input, as JSON text.
    pub input: String,
    /// For [`Export::Undo`]: the JSON text of the outcome's details.
    pub outcome: Option<String>,
    /// The run.
    pub run: RunId,
    /// The step of the run, from 0.
    pub step: u32,
    /// When the run began: the guest's clock.
    pub began: DateTime<Utc>,
    /// The guest's randomness.
    pub seed: [u8; 32],
    /// The host that the run's target denotes; `None` if it denotes no host.
    pub host: Option<String>,
    /// What it may do.
    pub grants: Arc<Grants>,
    /// What it may use.
    pub limits: Limits,
    /// The journal and the judge.
    pub ledger: Arc<dyn Ledger>,
    /// Calls that were made before: they are answered from here, in order, and must be the same at the same
    /// fuel; then the execution goes on in its mode.
    pub replay: Vec<Recorded>,
    /// What is known of the executions before it besides.
    pub resume: Resume,
    /// What is done with effects.
    pub mode: Mode,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("run", &self.run)
            .field("step", &self.step)
            .field("export", &self.export)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

/// What an execution knows of those before it, beside the calls that are replayed. Nothing, for a first one.
#[derive(Debug, Clone, Default)]
pub struct Resume {
    /// So many of the replayed calls are old. A reading among them is made again, and when it answers otherwise,
    /// the execution ends there.
    pub old: usize,
    /// Effects that were done and that are not among the replayed calls, because the readings before them have
    /// changed: one that is met again is answered from here, and not done again.
    pub done: Vec<Recorded>,
    /// The effect in doubt that may be sent again.
    pub again: Option<Again>,
    /// How many effects outside the plan have a number already.
    pub outside: u32,
    /// Effects outside the plan that are sent again because the step is tried again, with their numbers: the same effect
    /// gets the same number, and so the same key.
    pub sent_again: Vec<(u32, Call)>,
    /// How often the run was planned anew since it began to act: effects of different plans have different keys.
    pub epoch: u32,
}

/// An effect in doubt that may be sent again.
#[derive(Debug, Clone)]
pub struct Again {
    /// Its place among the step's effects.
    pub index: u32,
    /// The effect.
    pub call: Call,
    /// How often it was sent.
    pub sends: u32,
    /// Whether the world says that it did not happen: then also one that must not be sent twice may be.
    pub undone: bool,
}

/// How an execution ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// The plugin's result. `remediate`: `{summary, changed, details}`; `deliver`: `{id}`; `inspect`:
    /// `{findings}`; `verify`: `{verdict}`; `undo`: `{summary}`.
    Returned(Value),
    /// The plugin's own error.
    Failed(CallError),
    /// The plugin broke, or a bound ended it.
    Trapped {
        /// `fuel deadline memory table stack calls journal hostcall random abi result answer export unreachable
        /// trap panic engine`
        code: &'static str,
        /// A sentence for people.
        message: String,
    },
    /// An effect needs an approval of its own; it was not done.
    Parked {
        /// The effect.
        call: Call,
        /// Why it needs one.
        reason: String,
    },
    /// Nobody knows whether an effect happened, and it must not be sent again: a person settles it.
    InDoubt {
        /// Its place among the step's effects.
        index: u32,
        /// The effect.
        call: Call,
        /// What went wrong.
        message: String,
    },
    /// The kill switch, with its reason.
    Halted(String),
    /// A replayed reading is old, and answers otherwise now.
    ReadingChanged {
        /// How many calls of the replay still hold: those before it.
        calls: u32,
        /// The reading.
        call: Call,
        /// What it answered.
        before: Answer,
        /// What it answers.
        now: Answer,
    },
    /// A replay met something else than the journal holds.
    Diverged {
        /// What the journal holds at this place; `None` past its end.
        expected: Option<Recorded>,
        /// What the guest called.
        call: Call,
        /// The fuel that was left.
        fuel: u64,
    },
    /// The journal cannot be written; nothing more was done.
    LedgerUnavailable(String),
    /// The permit is for another run or another mode: nothing ran.
    NotPermitted(String),
}

/// An effect of this execution.
#[derive(Debug, Clone, PartialEq)]
pub struct EffectRecord {
    /// Its place among the step's effects.
    pub index: u32,
    /// What.
    pub call: Call,
    /// Why, in the plugin's words.
    pub reason: String,
    /// The idempotency key; `None` in a plan.
    pub key: Option<String>,
    /// What may be done about it in doubt.
    pub repeat: Repeat,
    /// Where it stands.
    pub status: EffectStatus,
    /// What the plugin was told.
    pub answer: Answer,
    /// Whether it is outside the plan.
    pub unplanned: bool,
    /// Whether it was answered from the journal.
    pub replayed: bool,
}

/// A reading of this execution.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadingRecord {
    /// What.
    pub call: Call,
    /// What it answered.
    pub answer: Answer,
    /// How many effects had been planned or done before it.
    pub after_effects: u32,
    /// Whether the answer was assumed.
    pub assumed: bool,
    /// How often the host looked.
    pub polls: u32,
    /// Whether it was answered from the journal.
    pub replayed: bool,
}

/// A call that the broker refused.
#[derive(Debug, Clone, PartialEq)]
pub struct Denial {
    /// What.
    pub call: Call,
    /// What the plugin was told.
    pub error: CallError,
}

/// How bad a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// For authors.
    Debug,
    /// For the record.
    Info,
    /// Something is odd.
    Warn,
    /// Something is wrong.
    Error,
}

impl LogLevel {
    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// A line of the plugin's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// How bad.
    pub level: LogLevel,
    /// The text.
    pub message: String,
}

/// What an execution did.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// How it ended.
    pub ending: Ending,
    /// Its effects, in order.
    pub effects: Vec<EffectRecord>,
    /// Its readings, in order.
    pub readings: Vec<ReadingRecord>,
    /// What the broker refused, in order.
    pub denials: Vec<Denial>,
    /// The plugin's log.
    pub log: Vec<LogLine>,
    /// Lines that had no room.
    pub log_dropped: u32,
    /// The fuel that was used.
    pub fuel: u64,
    /// How long it took.
    pub duration: Duration,
}

impl Report {
    pub(super) fn refused(ending: Ending) -> Self {
        Self {
            ending,
            effects: Vec::new(),
            readings: Vec::new(),
            denials: Vec::new(),
            log: Vec::new(),
            log_dropped: 0,
            fuel: 0,
            duration: Duration::ZERO,
        }
    }

    /// The effects and readings of a plan.
    #[must_use]
    pub fn into_plan(self) -> (Vec<PlannedEffect>, Vec<PlannedReading>) {
        let effects = self.effects.into_iter().map(|effect| PlannedEffect {
            call: effect.call,
            reason: effect.reason,
            assumed: effect.answer,
            repeat: effect.repeat,
        });
        let readings = self.readings.into_iter().map(|reading| PlannedReading {
            call: reading.call,
            answer: reading.answer,
            after_effects: reading.after_effects,
            assumed: reading.assumed,
        });
        (effects.collect(), readings.collect())
    }
}
