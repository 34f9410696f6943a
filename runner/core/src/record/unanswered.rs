//! Alerts that lead nowhere: they fire, and nothing is done about them, or nothing goes on.

use chrono::{DateTime, TimeDelta, Utc};

use super::{AlertRecord, Standing};
use crate::decision::{Code, Outcome, Reason};
use crate::run::{Outcome as RunOutcome, Run, State};

/// How long a run may wait for people or its turn before its alert counts as unanswered.
pub const PATIENCE: TimeDelta = TimeDelta::minutes(30);

/// Why an alert leads nowhere; `None` where it does not fire, or something is or was done about it. `runs` are those
/// of the alert that are still known.
///
/// It is answered as soon as one of its runs goes on, or came to an end that a rule or the time did not force.
#[must_use]
pub fn unanswered(
    record: &AlertRecord,
    runs: &[Run],
    now: DateTime<Utc>,
    patience: TimeDelta,
) -> Option<Reason> {
    if record.status != Standing::Firing {
        return None;
    }
    let mut stuck = None;
    for run in runs {
        stuck = Some(stuck_run(run, now, patience)?);
    }
    stuck.or_else(|| Some(unmatched(record)))
}

/// Why a run is no answer; `None` where it is one.
fn stuck_run(run: &Run, now: DateTime<Utc>, patience: TimeDelta) -> Option<Reason> {
    let since = match run.state {
        State::Ended => {
            let denied = matches!(run.outcome, Some(RunOutcome::Refused | RunOutcome::Expired));
            let unsaid = || Reason::new(Code::Policy, "a rule said no");
            return denied.then(|| run.reason.clone().unwrap_or_else(unsaid));
        }
        State::Queued => run.created_at,
        State::Waiting => run.planned_at.unwrap_or(run.created_at),
        State::Parked => run.parked_at.unwrap_or(run.created_at),
        State::Planning | State::Running | State::Verifying | State::Undoing => return None,
    };
    if now - since < patience {
        return None;
    }
    let waited = (now - since).to_std().unwrap_or_default();
    let waited = crate::policy::duration::print(std::time::Duration::from_secs(waited.as_secs() / 60 * 60));
    let state = run.state.as_str();
    let message = format!("run {} of {} is {state} for {waited}", run.id, run.runbook);
    Some(Reason::new(Code::WaitingTooLong, message))
}

/// The last decision against an alert that has no run.
fn unmatched(record: &AlertRecord) -> Reason {
    let refusals = record.decisions.iter().filter(|decision| decision.result == Outcome::Refuse);
    let last =
        refusals.filter(|decision| decision.code != Code::Duplicate).max_by_key(|decision| decision.at);
    last.map_or_else(|| Reason::new(Code::NoMatch, "no runbook answers to it"), |said| said.reason())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::decision::{Decision, Stage};
    use crate::id::AlertId;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(minute * 60, 0).unwrap()
    }

    fn record(decisions: Vec<Decision>) -> AlertRecord {
        AlertRecord {
            id: AlertId::from_bits(1),
            source: "s".to_owned(),
            alert: None,
            status: Standing::Firing,
            received_at: at(0),
            last_seen: at(0),
            ended_at: None,
            repeats: 0,
            runs: Vec::new(),
            lost: BTreeSet::new(),
            decisions,
        }
    }

    fn refused(minute: i64, stage: Stage, code: Code) -> Decision {
        Decision::refuse(at(minute), stage, "r", code, "no")
    }

    fn check(record: &AlertRecord, runs: &[Run], minute: i64, wanted: Option<Code>) {
        let reason = unanswered(record, runs, at(minute), PATIENCE);
        assert_eq!(reason.map(|reason| reason.code), wanted, "{runs:?}");
    }

    #[test]
    fn an_alert_without_a_run_tells_what_refused_it_last() {
        check(&record(Vec::new()), &[], 0, Some(Code::NoMatch));
        let decisions = vec![
            refused(0, Stage::Window, Code::Window),
            refused(1, Stage::Limit, Code::Limit),
            refused(2, Stage::Dedup, Code::Duplicate),
        ];
        check(&record(decisions), &[], 3, Some(Code::Limit));
        let over = AlertRecord { status: Standing::Resolved, ..record(Vec::new()) };
        check(&over, &[], 3, None);
    }

    #[test]
    fn a_run_answers_unless_it_was_denied_or_waits_too_long() {
        let record = record(Vec::new());
        let waiting = Run { planned_at: Some(at(1)), ..crate::gate::tests::waiting(1, &[]) };
        check(&record, std::slice::from_ref(&waiting), 30, None);
        check(&record, std::slice::from_ref(&waiting), 31, Some(Code::WaitingTooLong));
        let mut ended = Run { state: State::Ended, ..waiting.clone() };
        for (outcome, wanted) in [
            (RunOutcome::Refused, Some(Code::Policy)),
            (RunOutcome::Expired, Some(Code::Policy)),
            (RunOutcome::Fixed, None),
            (RunOutcome::Rejected, None),
        ] {
            (ended.outcome, ended.reason) = (Some(outcome), None);
            check(&record, std::slice::from_ref(&ended), 60, wanted);
            check(&record, &[waiting.clone(), ended.clone()], 60, wanted);
        }
        let running = Run { state: State::Running, ..waiting.clone() };
        check(&record, &[waiting, running], 60, None);
    }
}
