//! One entry of a decision trace: which stage said what about which subject, and why.
//!
//! `why` of an alert or a run is a list of these. Codes are a closed list: programs may rely on them, and the
//! documentation lists each. Never here: how a decision is made; that is `policy`, and the pre-gate and gate.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::text::Text;

/// What one stage on the road of an alert decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// When it was decided.
    #[serde(serialize_with = "crate::stamp::serialize")]
    pub at: DateTime<Utc>,
    /// The stage that decided.
    pub stage: Stage,
    /// What it was decided about: a runbook, plugin, target or effect by its name.
    pub subject: Text,
    /// What was decided.
    pub result: Outcome,
    /// Why, for programs.
    pub code: Code,
    /// Why, for people: one sentence that names the thing.
    pub message: Text,
}

impl Decision {
    /// The stage let it through.
    #[must_use]
    pub fn pass(at: DateTime<Utc>, stage: Stage, subject: &str, message: impl Into<Text>) -> Self {
        Self::new(at, stage, subject, Outcome::Pass, Code::Passed, message)
    }

    /// The stage said no.
    #[must_use]
    pub fn refuse(
        at: DateTime<Utc>,
        stage: Stage,
        subject: &str,
        code: Code,
        message: impl Into<Text>,
    ) -> Self {
        Self::new(at, stage, subject, Outcome::Refuse, code, message)
    }

    /// The stage wants people to decide.
    #[must_use]
    pub fn ask(at: DateTime<Utc>, stage: Stage, subject: &str, code: Code, message: impl Into<Text>) -> Self {
        Self::new(at, stage, subject, Outcome::Ask, code, message)
    }

    /// A decision with all its members.
    #[must_use]
    pub fn new(
        at: DateTime<Utc>,
        stage: Stage,
        subject: &str,
        result: Outcome,
        code: Code,
        message: impl Into<Text>,
    ) -> Self {
        Self { at, stage, subject: Text::of(subject), result, code, message: message.into() }
    }

    /// The reason that a refused or waiting run shows.
    #[must_use]
    pub fn reason(&self) -> Reason {
        Reason { code: self.code, message: self.message.as_str().to_owned() }
    }
}

/// Why something is as it is: the `reason` of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// For programs.
    pub code: Code,
    /// For people.
    pub message: String,
}

impl Reason {
    /// A reason from its parts.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

/// The result of one stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Go on to the next stage.
    Pass,
    /// It ends here.
    Refuse,
    /// People decide.
    Ask,
}

/// A text that is no word of a closed list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {what}; valid are {valid}")]
pub struct UnknownWord {
    text: String,
    what: &'static str,
    valid: String,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $what:literal, { $($(#[doc = $means:literal])+ $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[doc = $means])+ #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// All words, in their documented order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word, as in JSON.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            /// What it means: the sentence of the documentation.
            #[must_use]
            pub fn means(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($means),+).trim_ascii(),)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                Self::ALL.iter().copied().find(|word| word.as_str() == text).ok_or_else(|| UnknownWord {
                    text: text.chars().take(80).collect(),
                    what: $what,
                    valid: Self::ALL.iter().map(|word| word.as_str()).collect::<Vec<_>>().join(", "),
                })
            }
        }
    };
}

words! {
    /// The stages of the road, in the order in which an alert meets them.
    Stage, "stage", {
        /// The alert was received, or was not.
        Intake = "intake",
        /// Whether it is known already.
        Dedup = "dedup",
        /// Which runbooks answer to it.
        Match = "match",
        /// The kill switch.
        Halt = "halt",
        /// Maintenance windows and change freezes.
        Window = "window",
        /// The plugin's place on the trust ladder.
        Standing = "standing",
        /// The circuit breaker of plugin and target.
        Breaker = "breaker",
        /// Rates, cooldowns, concurrency and blast radius.
        Limit = "limit",
        /// What the guardrails say.
        Policy = "policy",
        /// Whether people must approve, and whether they did.
        Gate = "gate",
        /// What the plugin would do.
        Plan = "plan",
        /// What became of the steps: left out, tried again, taken back, followed by another runbook.
        Act = "act",
    }
}

words! {
    /// Why, in a word. A closed list.
    Code, "code", {
        /// The stage had nothing against it.
        Passed = "passed",
        /// The alert was received before and starts nothing new.
        Duplicate = "duplicate",
        /// No runbook answers to the alert.
        NoMatch = "no-match",
        /// The alert is over, so no runbook is asked.
        Resolved = "resolved",
        /// The alert was not heard of for too long.
        Stale = "stale",
        /// The sender is not who it should be.
        NotAuthentic = "not-authentic",
        /// A maintenance window or change freeze covers it.
        Window = "window",
        /// A silence covers it.
        Silence = "silence",
        /// A halt covers it.
        Halt = "halt",
        /// A limit is used up.
        Limit = "limit",
        /// More targets at once are in trouble than automation may act on alone: people decide for all of them.
        Storm = "storm",
        /// Another run of the runbook at the target has not ended.
        Busy = "busy",
        /// The queue is full.
        QueueFull = "queue-full",
        /// The breaker of plugin and target is open.
        Breaker = "breaker",
        /// The plugin version's standing does not allow it.
        Standing = "standing",
        /// The guardrails do not permit it.
        Policy = "policy",
        /// It is a drill, and drills do not act there.
        Drill = "drill",
        /// The person may not do this.
        Role = "role",
        /// The person does not count: separation of duties, or approved before.
        Separation = "separation",
        /// The runbook, or the plugin's standing, lets it plan and no more.
        Observe = "observe",
        /// People must approve it.
        ApprovalNeeded = "approval-needed",
        /// People approved it.
        Approved = "approved",
        /// Approvals are missing.
        Quorum = "quorum",
        /// The gate wants a comment with each approval.
        CommentNeeded = "comment-needed",
        /// A person broke the glass, and owes a justification.
        GlassBroken = "glass-broken",
        /// A person said no.
        Rejected = "rejected",
        /// Nobody decided in time.
        Expired = "expired",
        /// A person cancelled it.
        Cancelled = "cancelled",
        /// A person took over.
        TakenOver = "taken-over",
        /// The run waits for nobody, so there is nothing to decide about it.
        NotWaiting = "not-waiting",
        /// The run has ended, and nothing about it can be changed.
        AlreadyEnded = "already-ended",
        /// No such effect of the run is in doubt.
        NotInDoubt = "not-in-doubt",
        /// The target is no name of a configured host, and the effect needs a host.
        TargetUnknown = "target-unknown",
        /// The members of the group are not known.
        PopulationUnknown = "population-unknown",
        /// The alert was over before anything was done.
        NoLongerNeeded = "no-longer-needed",
        /// The time of a schedule passed without a run.
        Missed = "missed",
        /// Nobody decided about the run, or its turn did not come, for too long.
        WaitingTooLong = "waiting-too-long",
        /// The probes passed before the first effect.
        RecoveredBeforeActing = "recovered-before-acting",
        /// The plan has no effect.
        NothingToDo = "nothing-to-do",
        /// The plugin's signature does not satisfy the trust policy.
        Signature = "signature",
        /// The runbook names a plugin that is not installed.
        PluginUnknown = "plugin-unknown",
        /// The plugin's bytes are not those that were installed.
        PluginChanged = "plugin-changed",
        /// A template of the runbook cannot be rendered for this alert.
        Template = "template",
        /// The input violates the plugin's schema.
        Input = "input",
        /// No grant allows the call.
        Grant = "grant",
        /// The secret is unknown, or bound to another slot or host.
        Secret = "secret",
        /// The plan is no longer the one that was shown.
        PlanChanged = "plan-changed",
        /// A reading that the run rests on answers otherwise than before.
        ReadingChanged = "reading-changed",
        /// The effect is outside the plan.
        Unplanned = "unplanned",
        /// Nobody knows whether an effect happened.
        InDoubt = "in-doubt",
        /// The plugin ended with an error.
        PluginError = "plugin-error",
        /// The plugin trapped.
        Trap = "trap",
        /// The plugin used up its fuel, memory, calls or another of its bounds.
        Exhausted = "exhausted",
        /// The deadline passed.
        Deadline = "deadline",
        /// A replay did not make the same calls.
        Diverged = "diverged",
        /// The journal cannot be written.
        Journal = "journal",
        /// The host failed.
        Internal = "internal",
        /// All probes passed for long enough, and one had failed before.
        Verified = "verified",
        /// A probe still fails.
        StillFailing = "still-failing",
        /// No probe failed before the run, so that the run fixed it cannot be said.
        NotFailingBefore = "not-failing-before",
        /// A probe gave no answer.
        NoAnswer = "no-answer",
        /// The runbook has no probe.
        NoProbe = "no-probe",
        /// The plugin did what it is for.
        Completed = "completed",
        /// The runbook wants undo, and none of its plugins can take back what it does.
        NoUndo = "no-undo",
        /// The condition of the step does not hold.
        Skipped = "skipped",
        /// The step failed in a way that may pass, and is tried again.
        Retried = "retried",
        /// What was done is taken back, or will be.
        Undone = "undone",
        /// What was done is not taken back.
        NotUndone = "not-undone",
        /// The run did not fix it, and the runbook says what follows.
        Next = "next",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_prints_as_in_json_and_parses_back() {
        for &code in Code::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
            assert_eq!(code.as_str().parse::<Code>().unwrap(), code);
            assert!(code.means().ends_with('.'), "{code}");
        }
        for &stage in Stage::ALL {
            assert_eq!(serde_json::to_value(stage).unwrap(), stage.as_str());
            assert_eq!(stage.as_str().parse::<Stage>().unwrap(), stage);
        }
    }

    #[test]
    fn unknown_word_names_the_valid_ones() {
        let error = "gatee".parse::<Stage>().unwrap_err().to_string();
        assert!(error.contains("\"gatee\" is not a stage") && error.contains("window, standing"), "{error}");
    }
}
