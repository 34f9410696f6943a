//! What the end of a run means for the standing of its plugin.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::decision::Code;
use crate::id::RunId;
use crate::run::{Mode, Outcome, RETURNED, Run, SKIPPED};

/// The end of a run, as far as the standing of one of its plugins is concerned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ended {
    /// The run.
    pub run: RunId,
    /// When it was permitted to act; when it was made, if it never was.
    pub began_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: DateTime<Utc>,
    /// How.
    pub outcome: Outcome,
    /// Whether the plugin trapped, or used up one of its bounds.
    pub trapped: bool,
    /// Whether a person took the run over before it ended.
    pub taken_over: bool,
    /// Whether it was to plan only.
    pub plan_only: bool,
    /// Whether a person started it.
    pub manual: bool,
    /// Whether it was a test or a drill.
    pub rehearsal: bool,
}

impl Ended {
    /// What a run says about the plugin of one of its steps; `None` while it is not over, and when that plugin
    /// neither acted nor trapped. `rehearsal`: whether it was a test or a drill.
    #[must_use]
    pub fn of(run: &Run, step: usize, rehearsal: bool) -> Option<Self> {
        let ending = run.steps.get(step)?.ending.as_deref().filter(|word| *word != SKIPPED);
        let code = run.reason.as_ref().map(|reason| reason.code);
        let is_trap = |code: Code| matches!(code, Code::Trap | Code::Exhausted);
        // A trap while planning leaves no ending; whose it was is certain where there is one plugin only.
        let trapped_in_plan = ending.is_none() && run.steps.len() == 1 && code.is_some_and(is_trap);
        let trapped_in_act = ending.is_some_and(|word| word != RETURNED && word.parse().is_ok_and(is_trap));
        let trapped = trapped_in_plan || trapped_in_act;
        if ending.is_none() && !trapped {
            return None;
        }
        let given_up = run.given_up.as_ref().map(|reason| reason.code);
        Some(Self {
            run: run.id.clone(),
            began_at: run.started_at.unwrap_or(run.created_at),
            ended_at: run.ended_at?,
            outcome: run.outcome?,
            trapped,
            taken_over: code == Some(Code::TakenOver) || given_up == Some(Code::TakenOver),
            plan_only: run.mode == Mode::Plan,
            manual: run.by.is_some(),
            rehearsal,
        })
    }
}

/// What a run counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// It fixed it.
    Fixed,
    /// It did not.
    NotFixed,
    /// The plugin trapped: by its own doing.
    Trapped,
    /// Nobody can tell. Shown, and not counted.
    Unknown,
}

impl Class {
    /// Whether it counts for or against the plugin.
    #[must_use]
    pub fn counts(self) -> bool {
        match self {
            Self::Fixed | Self::NotFixed | Self::Trapped => true,
            Self::Unknown => false,
        }
    }
}

/// What the end of a run counts as; `None` when it says nothing about the plugin.
#[must_use]
pub fn classify(ended: &Ended) -> Option<Class> {
    if ended.plan_only || ended.manual || ended.rehearsal {
        return None;
    }
    match ended.outcome {
        // What a person put right, the plugin did not.
        Outcome::Fixed if ended.taken_over => Some(Class::NotFixed),
        Outcome::Fixed => Some(Class::Fixed),
        Outcome::NotFixed => Some(Class::NotFixed),
        // A trap is known to have happened, whatever the probes could tell after it.
        Outcome::Failed | Outcome::Unknown if ended.trapped => Some(Class::Trapped),
        Outcome::Unknown => Some(Class::Unknown),
        Outcome::Failed
        | Outcome::Done
        | Outcome::Observed
        | Outcome::Refused
        | Outcome::Rejected
        | Outcome::Expired
        | Outcome::Cancelled => None,
    }
}

/// What people, or the alert, said after a run that was thought to have fixed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Intervention {
    /// A person took over.
    TakenOver,
    /// A person ran it again.
    RunAgain,
    /// The same alert fired again.
    FiredAgain,
}

impl Intervention {
    /// What happened, in words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TakenOver => "a person took over",
            Self::RunAgain => "a person ran it again",
            Self::FiredAgain => "the alert fired again",
        }
    }
}
