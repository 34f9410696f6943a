//! How steps follow each other: conditions, retries, and what a failure means for the rest.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::read::Reading;
use crate::id::{Digest, RunId};
use crate::policy::problem::Position;
use crate::policy::reader::{Fields, is_name};
use crate::policy::template::Condition;
use crate::policy::yaml::Node;

/// The keys of a step beside `plugin`, `input` and `effects`.
pub(super) const KEYS: [&str; 3] = ["when", "retry", "on_failure"];

const RETRY_KEYS: [&str; 4] = ["times", "backoff", "longest", "jitter"];

/// The most times that a step is tried again.
const MOST_RETRIES: i64 = 20;

/// The most names under `tell`.
const MOST_TOLD: usize = 32;

/// What a failed step means for the run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// The steps after it are not done.
    #[default]
    Stop,
    /// The steps after it are done all the same.
    Continue,
    /// The steps after it are not done, and what was done is taken back.
    Undo,
}

/// When what a run did is taken back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Undo {
    /// Not by itself.
    #[default]
    Never,
    /// When the probes say that it did not help.
    WhenNotFixed,
    /// When the alert is over.
    WhenResolved,
}

/// How often, and when, a step is tried again: only where its plugin says that trying again can help, and with
/// the same idempotency keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// How often, beside the first time.
    pub times: u32,
    /// The time before the first retry; each later one waits twice as long.
    #[serde(with = "millis")]
    pub backoff: Duration,
    /// The longest time before a retry, without its jitter.
    #[serde(with = "millis")]
    pub longest: Duration,
    /// Up to so much more, drawn from the run, so that many runs do not come back at once.
    #[serde(with = "millis")]
    pub jitter: Duration,
}

/// Times as whole milliseconds.
mod millis {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

impl Retry {
    /// The time to wait before a retry, the first being 1; `None` when there is none left.
    #[must_use]
    pub fn delay(&self, run: &RunId, step: u32, retry: u32) -> Option<Duration> {
        if retry == 0 || retry > self.times {
            return None;
        }
        let doubled = 1u32.checked_shl(retry - 1).and_then(|factor| self.backoff.checked_mul(factor));
        let backoff = doubled.unwrap_or(self.longest).min(self.longest);
        let digest = Digest::of_parts(&[run.as_str().as_bytes(), &step.to_be_bytes(), &retry.to_be_bytes()]);
        let drawn = digest.as_bytes().iter().take(8).fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        let most = u64::try_from(self.jitter.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        Some(backoff + Duration::from_millis(drawn % most))
    }
}

/// What a step says beside its plugin and input.
pub(super) struct Flow {
    pub(super) when: Option<Condition>,
    pub(super) retry: Option<Retry>,
    pub(super) on_failure: OnFailure,
}

impl Reading<'_> {
    pub(super) fn flow(&mut self, fields: Fields<'_>, what: &str) -> Flow {
        let when = self.optional(fields, "when", |this, node| {
            let key = format!("{what}.when");
            let text = this.reader.text(node, &key)?;
            let condition = this.templates.compile_condition(&key, text);
            condition.map_err(|error| this.template_error(node.at, &error.key, &error.message)).ok()
        });
        let retry = self.optional(fields, "retry", |this, node| this.retry(node, &format!("{what}.retry")));
        let words = [("stop", OnFailure::Stop), ("continue", OnFailure::Continue), ("undo", OnFailure::Undo)];
        let on_failure =
            self.optional(fields, "on_failure", |this, node| this.reader.word(node, "on_failure", &words));
        Flow { when, retry, on_failure: on_failure.unwrap_or(OnFailure::Stop) }
    }

    fn retry(&mut self, node: &Node, what: &str) -> Option<Retry> {
        let fields = self.reader.fields(node, what, &RETRY_KEYS);
        let times = self.reader.required(fields, "times", what);
        let times = times.and_then(|node| self.reader.integer(node, "times", 1, MOST_RETRIES));
        let mut duration = |key: &str, default: u64| {
            let read = self.optional(fields, key, |this, node| this.reader.duration(node, key));
            read.unwrap_or(Duration::from_secs(default))
        };
        let (backoff, longest, jitter) =
            (duration("backoff", 1), duration("longest", 5 * 60), duration("jitter", 0));
        if backoff.is_zero() || longest < backoff {
            self.reader.error(node.at, format!("{what} needs 0s < backoff <= longest"));
        }
        Some(Retry { times: u32::try_from(times?).ok()?, backoff, longest, jitter })
    }

    /// The runbook that follows when this one did not fix it, and where the file says so.
    pub(super) fn next(&mut self, fields: Fields<'_>) -> Option<(String, Position)> {
        self.optional(fields, "next", |this, node| {
            Some((this.reader.name(node, "next")?.to_owned(), node.at))
        })
    }

    pub(super) fn undo(&mut self, fields: Fields<'_>) -> Undo {
        let words = [
            ("never", Undo::Never),
            ("when-not-fixed", Undo::WhenNotFixed),
            ("when-resolved", Undo::WhenResolved),
        ];
        let undo = self.optional(fields, "undo", |this, node| this.reader.word(node, "undo", &words));
        undo.unwrap_or(Undo::Never)
    }

    pub(super) fn tell(&mut self, fields: Fields<'_>) -> Vec<String> {
        let names = self.optional(fields, "tell", |this, node| {
            let names = this.reader.texts(node, "tell")?;
            if let Some(name) = names.iter().find(|name| !is_name(name)) {
                this.reader.error(node.at, crate::policy::reader::not_a_name("each of tell", name));
            }
            if names.len() > MOST_TOLD {
                this.reader.error(node.at, format!("tell may name at most {MOST_TOLD}"));
            }
            Some(names)
        });
        names.unwrap_or_default()
    }

    pub(super) fn flag(&mut self, fields: Fields<'_>, key: &str) -> bool {
        self.optional(fields, key, |this, node| this.reader.boolean(node, key)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::runbook::{Runbook, read};

    const BASE: &str = "runbook: a\nmatch: ['x=\"y\"']\n";

    fn runbook(text: &str) -> Result<Runbook, String> {
        let read = read("r.yaml", &format!("{BASE}{text}\n"));
        let joined = |problems: Vec<crate::policy::Problem>| {
            problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        read.map(|(runbook, _)| runbook).map_err(joined)
    }

    #[test]
    fn steps_follow_each_other_as_the_runbook_says() {
        let runbook = runbook(
            "steps:
  - { plugin: p, on_failure: continue, retry: { times: 3, backoff: 2s, longest: 5s, jitter: 1s } }
  - { plugin: q, when: \"steps[0].status == 'failed'\", on_failure: undo }
undo: when-resolved
safe: true
cancel_when_resolved: true
tell: [team-chat, owner]",
        )
        .unwrap();
        let seconds = Duration::from_secs;
        let retry = Retry { times: 3, backoff: seconds(2), longest: seconds(5), jitter: seconds(1) };
        assert_eq!((runbook.steps[0].retry, runbook.steps[0].on_failure), (Some(retry), OnFailure::Continue));
        let when = runbook.steps[1].when.as_ref().unwrap();
        assert_eq!(
            (when.source(), runbook.steps[1].on_failure),
            ("steps[0].status == 'failed'", OnFailure::Undo)
        );
        assert_eq!(
            (runbook.undo, runbook.safe, runbook.cancel_when_resolved),
            (Undo::WhenResolved, true, true)
        );
        assert_eq!(runbook.tell, ["team-chat", "owner"]);
    }

    #[test]
    fn what_is_not_said_is_as_it_always_was() {
        let runbook = runbook("steps: [{ plugin: p }]").unwrap();
        let step = &runbook.steps[0];
        assert!(step.when.is_none() && step.retry.is_none() && step.on_failure == OnFailure::Stop);
        assert!(runbook.undo == Undo::Never && !runbook.safe && !runbook.cancel_when_resolved);
    }

    #[test]
    fn a_retry_waits_twice_as_long_each_time_up_to_a_bound_and_ends() {
        let seconds = Duration::from_secs;
        let retry = Retry { times: 4, backoff: seconds(2), longest: seconds(6), jitter: seconds(1) };
        let run = RunId::from_bits(7);
        for (number, least) in [(1, 2), (2, 4), (3, 6), (4, 6)] {
            let delay = retry.delay(&run, 0, number).unwrap();
            assert!(seconds(least) <= delay && delay <= seconds(least + 1), "{number}: {delay:?}");
            assert_eq!(Some(delay), retry.delay(&run, 0, number), "the same after a restart");
        }
        assert_eq!((retry.delay(&run, 0, 0), retry.delay(&run, 0, 5)), (None, None));
        let most = Retry { times: 20, ..retry };
        assert!(most.delay(&run, 0, 20).unwrap() <= seconds(7));
    }

    #[test]
    fn problems_are_told_with_their_places() {
        for (text, wanted) in [
            ("steps: [{ plugin: p, when: 'labels.x ==' }]", "r.yaml:3:28: template \"steps[0].when\""),
            ("steps: [{ plugin: p, retry: { backoff: 1s } }]", "steps[0].retry needs the key \"times\""),
            ("steps: [{ plugin: p, retry: { times: 0 } }]", "times must be from 1 to 20"),
            ("steps: [{ plugin: p, retry: { times: 1, backoff: 10m } }]", "0s < backoff <= longest"),
            ("steps: [{ plugin: p, on_failure: retry }]", "valid are stop, continue, undo"),
            ("steps: [{ plugin: p }]\nundo: always", "valid are never, when-not-fixed, when-resolved"),
            ("steps: [{ plugin: p }]\nsafe: 1", "safe must be true or false"),
            ("steps: [{ plugin: p }]\ntell: ['a b']", "each of tell cannot be \"a b\""),
        ] {
            let problems = runbook(text).map(|_| ()).unwrap_err();
            assert!(problems.contains(wanted), "{text}: {problems}");
        }
    }
}
