//! Whether a unit was started, stopped or restarted since the intent to do so: by its invocation, which is another
//! one after each start, and by the time of its last stop.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use staunch_core::effect::CallError;
use tokio::time::Instant;

use super::UnitStatus;
use super::bus::Bus;
use crate::sandbox::broker::Found;

/// Between two looks while a job of the unit is under way.
const POLL: Duration = Duration::from_millis(100);

/// What of a unit a change leaves its trace in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Trace {
    /// The active state: `active`, `inactive`, `failed`, ...
    pub(super) active: String,
    /// The id of the invocation; empty before the first one.
    pub(super) invocation: String,
    /// When it was last inactive, in microseconds of the wall clock; 0 if never.
    pub(super) stopped_at: u64,
}

/// A unit as the manager shows it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) status: UnitStatus,
    pub(super) stopped_at: u64,
    /// Whether a job of it waits or is under way.
    pub(super) job: bool,
}

impl Seen {
    fn trace(&self) -> Trace {
        Trace {
            active: self.status.active.clone(),
            invocation: self.status.invocation.clone(),
            stopped_at: self.stopped_at,
        }
    }
}

/// What an effect does to a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Start,
    Stop,
    Restart,
}

impl Change {
    /// What is to be written down with the intent.
    pub(super) async fn before(self, bus: &Bus, unit: &str, deadline: Instant) -> Option<Value> {
        let seen = bus.look(unit, deadline).await.ok()?;
        serde_json::to_value(seen.trace()).ok()
    }

    /// Asks the manager until the deadline whether the change came about.
    pub(super) async fn ask(
        self,
        bus: &Bus,
        unit: &str,
        before: &Value,
        deadline: Instant,
    ) -> Found<UnitStatus> {
        let Ok(before) = Trace::deserialize(before) else { return Found::Unknown };
        loop {
            let Ok(seen) = bus.look(unit, deadline).await else { return Found::Unknown };
            let found = self.judge(&before, seen);
            if found != Found::Unknown || Instant::now() + POLL >= deadline {
                return found;
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Whether the change came about between two looks. While a job of the unit is under way, nobody knows.
    fn judge(self, before: &Trace, now: Seen) -> Found<UnitStatus> {
        if now.job {
            return Found::Unknown;
        }
        let started = now.status.invocation != before.invocation;
        let runs = matches!(now.status.active.as_str(), "active" | "reloading");
        let stands = matches!(now.status.active.as_str(), "inactive" | "failed");
        let happened = match self {
            Self::Restart => started,
            Self::Start => started || runs,
            Self::Stop => stands || started || now.stopped_at != before.stopped_at,
        };
        if !happened {
            return Found::NotDone;
        }
        if self != Self::Stop && now.status.active == "failed" {
            let message = format!("the unit was started and is failed ({}) now", now.status.sub);
            return Found::Failed(CallError { code: "job-failed".to_owned(), message, retryable: true });
        }
        Found::Done(now.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(active: &str, invocation: &str, stopped_at: u64) -> Trace {
        Trace { active: active.to_owned(), invocation: invocation.to_owned(), stopped_at }
    }

    fn judged(change: Change, before: (&str, &str, u64), now: (&str, &str, u64), job: bool) -> &'static str {
        let now = trace(now.0, now.1, now.2);
        let status = UnitStatus {
            load: "loaded".to_owned(),
            active: now.active,
            sub: "any".to_owned(),
            invocation: now.invocation,
        };
        let seen = Seen { status, stopped_at: now.stopped_at, job };
        match change.judge(&trace(before.0, before.1, before.2), seen) {
            Found::Done(_) => "done",
            Found::Failed(error) => {
                assert_eq!(error.code, "job-failed");
                "failed"
            }
            Found::NotDone => "not done",
            Found::Unknown => "unknown",
        }
    }

    #[test]
    fn a_restart_happened_when_the_unit_has_another_invocation() {
        let failed = ("failed", "a", 1);
        for (now, job, wanted) in [
            (("active", "b", 1), false, "done"),
            (("inactive", "b", 5), false, "done"),
            (("failed", "b", 5), false, "failed"),
            (("failed", "a", 1), false, "not done"),
            (("failed", "a", 1), true, "unknown"),
            (("activating", "b", 1), true, "unknown"),
            (("inactive", "a", 9), false, "not done"),
        ] {
            assert_eq!(judged(Change::Restart, failed, now, job), wanted, "{now:?}");
        }
        assert_eq!(judged(Change::Restart, ("inactive", "", 0), ("active", "b", 0), false), "done");
    }

    #[test]
    fn a_start_happened_when_it_runs_and_a_stop_when_it_stood() {
        for (change, before, now, wanted) in [
            (Change::Start, ("inactive", "a", 1), ("active", "b", 1), "done"),
            (Change::Start, ("active", "a", 1), ("active", "a", 1), "done"),
            (Change::Start, ("inactive", "a", 1), ("inactive", "a", 1), "not done"),
            (Change::Start, ("failed", "a", 1), ("failed", "b", 2), "failed"),
            (Change::Stop, ("active", "a", 1), ("inactive", "a", 2), "done"),
            (Change::Stop, ("active", "a", 1), ("failed", "a", 2), "done"),
            (Change::Stop, ("active", "a", 1), ("active", "b", 2), "done"),
            (Change::Stop, ("active", "a", 1), ("active", "a", 1), "not done"),
            (Change::Stop, ("inactive", "a", 1), ("inactive", "a", 1), "done"),
        ] {
            assert_eq!(judged(change, before, now, false), wanted, "{change:?} {before:?} {now:?}");
            assert_eq!(judged(change, before, now, true), "unknown");
        }
    }

    #[test]
    fn a_trace_reads_as_it_was_written() {
        let trace = trace("active", "0a", 7);
        let written = serde_json::to_value(&trace).unwrap();
        assert_eq!(written, serde_json::json!({ "active": "active", "invocation": "0a", "stopped_at": 7 }));
        assert_eq!(Trace::deserialize(&written).unwrap(), trace);
    }
}
