//! Standing against the laws that people rely on: never up but by a person, what does not count changes nothing,
//! and the row alone is enough to go on from.

use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use super::tests::{at, ended, record, run};
use super::*;
use crate::policy::facts::Standing;
use crate::run::Outcome;

/// A small sample, so that much happens.
const SAMPLE: u32 = 4;

fn settings() -> Settings {
    Settings { runs: 8, sample: SAMPLE, ..Settings::default() }
}

/// A run as it is told, and what it counts as by the model: good, bad, or not at all.
#[derive(Debug, Clone)]
struct Told {
    id: u128,
    minute: i64,
    good: bool,
}

#[derive(Debug, Clone)]
struct Model {
    minute: i64,
    /// What counts since the last move.
    counted: Vec<Told>,
    next: u128,
}

#[derive(Debug, Clone)]
enum Step {
    Wait(i64),
    Counts(bool),
    Trap,
    Outage(bool),
    CountsNot(usize),
    FiredAgain(usize),
    Reinstate,
    Revoke,
    Restart,
}

/// Ends that say nothing about the plugin, whatever the probes said.
fn not_counted(kind: usize, id: u128, minute: i64) -> Ended {
    let of = |outcome| ended(id, minute, outcome);
    let kinds = [
        Ended { manual: true, ..of(Outcome::NotFixed) },
        Ended { plan_only: true, ..of(Outcome::NotFixed) },
        Ended { rehearsal: true, ..of(Outcome::NotFixed) },
        Ended { manual: true, trapped: true, ..of(Outcome::Failed) },
        of(Outcome::Unknown),
        of(Outcome::Observed),
        of(Outcome::Cancelled),
        of(Outcome::Refused),
        of(Outcome::Failed),
    ];
    let kind = kind % kinds.len();
    kinds.into_iter().nth(kind).unwrap()
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self { minute: 1, counted: Vec::new(), next: 1 }).boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Step> {
        prop_oneof![
            2 => (0..2_000_i64).prop_map(Step::Wait),
            10 => any::<bool>().prop_map(Step::Counts),
            2 => Just(Step::Trap),
            2 => any::<bool>().prop_map(Step::Outage),
            4 => (0..9_usize).prop_map(Step::CountsNot),
            3 => (0..8_usize).prop_map(Step::FiredAgain),
            2 => Just(Step::Reinstate),
            1 => Just(Step::Revoke),
            2 => Just(Step::Restart),
        ]
        .boxed()
    }

    fn apply(mut state: Self, step: &Step) -> Self {
        if let Step::Wait(minutes) = step {
            state.minute += minutes;
        }
        state.minute += 1;
        state.next += 1;
        state
    }
}

#[derive(Debug)]
struct Real {
    record: Record,
    model: Model,
}

impl Real {
    /// What the model makes of one more counted run, or one that turned; and what the record must do.
    fn judge(&self) -> Option<Standing> {
        let recent: Vec<&Told> = self
            .model
            .counted
            .iter()
            .rev()
            .filter(|told| told.minute > self.model.minute - 30 * 1_440)
            .take(8)
            .collect();
        let good = recent.iter().filter(|told| told.good).count();
        let sample = recent.len();
        let standing = self.record.standing();
        if sample < SAMPLE as usize || standing.autonomy().is_none() {
            return None;
        }
        let sample = u32::try_from(sample).unwrap();
        let high = interval(u32::try_from(good).unwrap(), sample).unwrap().high;
        let since = at(self.model.minute - 90 * 1_440);
        let demotions = self.record.moves().filter(|moved| moved.is_demotion() && moved.at > since).count();
        if high >= 0.8 {
            None
        } else if high < 0.5 || demotions >= 2 {
            Some(Standing::Deprecated)
        } else {
            match standing {
                Standing::Automatic => Some(Standing::Approve),
                Standing::Approve => Some(Standing::Observe),
                Standing::Observe | Standing::Deprecated | Standing::Revoked => None,
            }
        }
    }

    fn note(&mut self, ended: &Ended, good: Option<bool>) {
        let (id, minute) = (self.model.next, self.model.minute);
        if let Some(good) = good {
            self.model.counted.push(Told { id, minute, good });
        }
        let wanted = good.and_then(|_| self.judge());
        let moved = self.record.note(&settings(), at(minute), ended, false).map(|moved| moved.to);
        assert_eq!(moved, wanted, "{:?}", self.model);
        if moved.is_some() {
            self.model.counted.clear();
        }
    }
}

struct StandingTest;

impl StateMachineTest for StandingTest {
    type SystemUnderTest = Real;
    type Reference = Model;

    fn init_test(model: &Model) -> Real {
        Real { record: record(Standing::Automatic), model: model.clone() }
    }

    fn apply(mut real: Real, model: &Model, step: Step) -> Real {
        let counted = std::mem::take(&mut real.model.counted);
        real.model = Model { counted, ..model.clone() };
        let (id, minute, now) = (model.next, model.minute, at(model.minute));
        let before = real.record.standing();
        match step {
            Step::Wait(_) => {}
            Step::Counts(good) => {
                let outcome = if good { Outcome::Fixed } else { Outcome::NotFixed };
                real.note(&ended(id, minute, outcome), Some(good));
            }
            Step::Trap => {
                let trapped = Ended { trapped: true, ..ended(id, minute, Outcome::Failed) };
                real.note(&trapped, Some(false));
            }
            Step::Outage(good) => {
                let outcome = if good { Outcome::Fixed } else { Outcome::NotFixed };
                assert_eq!(real.record.note(&settings(), now, &ended(id, minute, outcome), true), None);
                if good {
                    real.model.counted.push(Told { id, minute, good });
                }
            }
            Step::CountsNot(kind) => real.note(&not_counted(kind, id, minute), None),
            Step::FiredAgain(nth) => {
                let told = real.model.counted.iter().rev().take(8).nth(nth).cloned();
                let turns = told.as_ref().is_some_and(|told| told.good && told.minute >= minute - 60);
                let about = told.as_ref().map_or(u128::MAX, |told| told.id);
                if turns {
                    let turned = real.model.counted.iter_mut().find(|told| told.id == about).unwrap();
                    turned.good = false;
                }
                let wanted = if turns { real.judge() } else { None };
                let how = Intervention::FiredAgain;
                let moved = real.record.intervened(&settings(), now, &run(about), how, false);
                assert_eq!(moved.map(|moved| moved.to), wanted);
                if wanted.is_some() {
                    real.model.counted.clear();
                }
            }
            Step::Reinstate => {
                let moved =
                    real.record.reinstate(&settings(), now, "ada", "because", None).map(|moved| moved.to);
                match moved {
                    Ok(to) => assert_eq!(to.rank(), before.rank().max(1) + 1, "one step"),
                    Err(error) => assert_eq!((error, before), (MoveError::AtTop, Standing::Automatic)),
                }
                if moved.is_ok() {
                    real.model.counted.clear();
                }
            }
            Step::Revoke => {
                if real.record.revoke(now, "ada", "because").is_ok() {
                    real.model.counted.clear();
                }
            }
            Step::Restart => {
                let row = serde_json::to_vec(&real.record).unwrap();
                real.record = serde_json::from_slice(&row).unwrap();
            }
        }
        let after = real.record.standing();
        assert!(after.rank() <= before.rank() || matches!(step, Step::Reinstate), "never up by itself");
        real
    }

    fn check_invariants(real: &Real, _: &Model) {
        let report = real.record.report(&settings(), at(real.model.minute));
        assert!(report.in_force.rank() <= report.standing.rank());
        assert_eq!(report.fixed + report.not_fixed + report.trapped, report.sample);
        assert!(report.sample <= 8 && report.unknown <= 8 && report.excused <= 8);
        let bad_news = report.moves.iter().filter(|moved| moved.is_demotion());
        for moved in bad_news {
            assert!(!moved.runs.is_empty() && moved.by.is_none(), "a demotion names its runs");
        }
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]
    #[test]
    fn never_up_without_a_person_and_only_by_what_counts(sequential 1..120 => StandingTest);
}
