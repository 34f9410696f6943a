//! Standing: never up but by a person, down only by what counts, and after a restart by the same count as before.

use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use staunch_core::policy::Standing;
use staunch_core::standing::{Intervention, Report, interval};

use super::super::standings::Hand;
use super::*;

const SAMPLE: usize = 4;
const RUNS: usize = 8;
const AGAIN: i64 = 3_600;

const CONFIG: &str = "standing: { sample: 4, runs: 8, outage: 100%, canary: 0 }\n\
                      breaker: { failures: 200, plugin: { failures: 200, sample: 200 } }\n";

/// One run that counts.
#[derive(Debug, Clone)]
struct Told {
    number: u64,
    second: i64,
    good: bool,
}

#[derive(Debug, Clone)]
struct Model {
    second: i64,
    standing: Standing,
    /// What counts since the last move.
    counted: Vec<Told>,
    /// When it was moved down by what counted.
    demotions: usize,
    next: u64,
}

#[derive(Debug, Clone)]
enum Step {
    Wait(i64),
    Ends(Outcome),
    Traps,
    ByHand,
    RunAgain(usize),
    Reinstate,
    Revoke,
    Restart { anew: bool },
}

impl Model {
    fn recent(&self) -> impl Iterator<Item = &Told> {
        self.counted.iter().rev().take(RUNS)
    }

    /// What comes of the count now.
    fn judge(&mut self) {
        let (sample, good) = (self.recent().count(), self.recent().filter(|told| told.good).count());
        if sample < SAMPLE || self.standing.autonomy().is_none() {
            return;
        }
        let high = interval(u32::try_from(good).unwrap(), u32::try_from(sample).unwrap()).unwrap().high;
        let to = match self.standing {
            _ if high >= 0.8 => return,
            _ if high < 0.5 || self.demotions >= 2 => Standing::Deprecated,
            Standing::Automatic => Standing::Approve,
            Standing::Approve => Standing::Observe,
            Standing::Observe | Standing::Deprecated | Standing::Revoked => return,
        };
        self.standing = to;
        self.demotions += 1;
        self.counted.clear();
    }

    fn counts(&mut self, number: u64, good: bool) {
        self.counted.push(Told { number, second: self.second, good });
        self.judge();
    }
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self { second: 0, standing: Standing::Automatic, counted: Vec::new(), demotions: 0, next: 0 })
            .boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Step> {
        let outcome = prop_oneof![
            6 => Just(Outcome::Fixed),
            4 => Just(Outcome::NotFixed),
            1 => Just(Outcome::Unknown),
            1 => Just(Outcome::Cancelled),
        ];
        prop_oneof![
            2 => (1..3_000_i64).prop_map(Step::Wait),
            12 => outcome.prop_map(Step::Ends),
            2 => Just(Step::Traps),
            2 => Just(Step::ByHand),
            3 => (0..RUNS).prop_map(Step::RunAgain),
            2 => Just(Step::Reinstate),
            1 => Just(Step::Revoke),
            3 => any::<bool>().prop_map(|anew| Step::Restart { anew }),
        ]
        .boxed()
    }

    fn apply(mut state: Self, step: &Step) -> Self {
        // A step takes a second, and a run another one.
        let runs = matches!(step, Step::Ends(_) | Step::Traps | Step::ByHand);
        state.second += if runs { 2 } else { 1 };
        let number = state.next;
        match *step {
            Step::Wait(by) => state.second += by,
            Step::Ends(outcome) => {
                state.next += 1;
                match outcome {
                    Outcome::Fixed => state.counts(number, true),
                    Outcome::NotFixed => state.counts(number, false),
                    _ => {}
                }
            }
            Step::Traps => {
                state.next += 1;
                state.counts(number, false);
            }
            // What a person tries is not held against it.
            Step::ByHand => state.next += 1,
            Step::RunAgain(nth) => {
                let earliest = state.second - AGAIN;
                let told = state.recent().nth(nth).filter(|told| told.good && told.second >= earliest);
                if let Some(number) = told.map(|told| told.number) {
                    let turned = state.counted.iter_mut().find(|told| told.number == number).unwrap();
                    turned.good = false;
                    state.judge();
                }
            }
            Step::Reinstate => {
                let to = match state.standing {
                    Standing::Automatic => return state,
                    Standing::Approve => Standing::Automatic,
                    Standing::Observe => Standing::Approve,
                    Standing::Deprecated | Standing::Revoked => Standing::Observe,
                };
                state.standing = to;
                state.counted.clear();
            }
            Step::Revoke => {
                if state.standing != Standing::Revoked {
                    state.standing = Standing::Revoked;
                    state.counted.clear();
                }
            }
            Step::Restart { .. } => {}
        }
        state
    }
}

type Real = super::Real<Model>;

/// A run at a target of its own, so that it can be named by it.
fn target(number: u64) -> String {
    format!("t{number}")
}

impl Real {
    fn ends(&mut self, by: Option<&str>, ending: &str, outcome: Outcome, code: Code) {
        let (world, number) = (&mut self.world, self.before.next);
        world.begin(number, "r", &target(number), by, None);
        world.permit(number, false).unwrap();
        world.act(number, 0);
        world.wait(seconds(1));
        world.end(number, Some(ending), outcome, code);
    }

    fn report(&self) -> Report {
        self.world.pipeline().standing(PLUGIN).unwrap()
    }
}

struct StandingTest;

impl StateMachineTest for StandingTest {
    type SystemUnderTest = Real;
    type Reference = Model;

    fn init_test(model: &Model) -> Real {
        Real { world: World::new(CONFIG, &[("r", "")]), before: model.clone() }
    }

    fn apply(mut real: Real, model: &Model, step: Step) -> Real {
        real.world.wait(seconds(1));
        let before = real.report().standing;
        match step {
            Step::Wait(by) => real.world.wait(seconds(by)),
            Step::Ends(outcome) => real.ends(None, "returned", outcome, Code::Completed),
            Step::Traps => real.ends(None, "trap", Outcome::Unknown, Code::Trap),
            Step::ByHand => real.ends(Some("ada"), "returned", Outcome::NotFixed, Code::Completed),
            Step::RunAgain(nth) => {
                let number = real.before.recent().nth(nth).map_or(u64::MAX, |told| told.number);
                let world = &real.world;
                let shared = &world.pipeline().0;
                let (how, place) = (Intervention::RunAgain, target(number));
                let lines = shared.acted_by_hand("r", Some(&place), how, "ada");
                let lines = world.runtime.block_on(lines).unwrap();
                world.runtime.block_on(shared.scribe.commit(lines)).unwrap();
            }
            Step::Reinstate | Step::Revoke => {
                let hand = if matches!(step, Step::Revoke) { Hand::Revoke } else { Hand::Reinstate(None) };
                let moved = real.world.pipeline().move_plugin(PLUGIN, hand, "ada", "because");
                let moved = real.world.runtime.block_on(moved);
                assert_eq!(moved.is_ok(), model.standing != real.before.standing, "{moved:?}");
            }
            Step::Restart { anew } => real.world.restart(anew),
        }
        let after = real.report().standing;
        assert!(after.rank() <= before.rank() || matches!(step, Step::Reinstate), "never up by itself");
        real.before = model.clone();
        real
    }

    fn check_invariants(real: &Real, model: &Model) {
        let report = real.report();
        let good = model.recent().filter(|told| told.good).count();
        let counted = (report.standing, report.sample as usize, report.fixed as usize);
        assert_eq!(counted, (model.standing, model.recent().count(), good), "{report:#?}");
    }
}

prop_state_machine! {
    #![proptest_config(few())]
    #[test]
    fn never_up_without_a_person_over_restarts_of_the_real_store(sequential 20..40 => StandingTest);
}
