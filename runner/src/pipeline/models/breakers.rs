//! Breakers: they open, try and close by what ends in the journal, and are after a restart what they were.

use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use staunch_core::breaker::State;

use super::super::breakers::{Hand, Whose};
use super::*;

const WINDOW: i64 = 600;
const COOLDOWN: i64 = 300;
const LONGEST: i64 = 1_200;

/// The breaker of the plugin alone, over all targets, has no say.
const CONFIG: &str = "breaker: { failures: 2, sample: 2, failure_rate: 50%, window: 10m, cooldown: 5m, \
                      longest_cooldown: 20m, successes: 2, plugin: { failures: 200, sample: 200 } }\n\
                      standing: { sample: 200, runs: 200 }\n";

#[derive(Debug, Clone, PartialEq)]
enum Is {
    Closed,
    /// Until when; `None`: until somebody closes it.
    Open(Option<i64>),
    /// Good trials so far, and the run that tries.
    HalfOpen(u32, Option<u64>),
}

#[derive(Debug, Clone)]
struct Model {
    second: i64,
    is: Is,
    /// How long it was open last since it was closed.
    lasted: Option<i64>,
    ends: Vec<(i64, bool)>,
    under_way: Vec<u64>,
    next: u64,
    passed: bool,
}

#[derive(Debug, Clone)]
enum Step {
    Tick(i64),
    Begin,
    End(usize, Outcome),
    Trip,
    Reset,
    Restart { anew: bool },
}

impl Model {
    fn nth(&self, nth: usize) -> Option<u64> {
        (!self.under_way.is_empty()).then(|| self.under_way[nth % self.under_way.len()])
    }

    fn open(&mut self) {
        let lasts = self.lasted.map_or(COOLDOWN, |before| before * 2).min(LONGEST);
        (self.lasted, self.is) = (Some(lasts), Is::Open(Some(self.second + lasts)));
        self.ends.clear();
    }

    fn close(&mut self) {
        (self.lasted, self.is) = (None, Is::Closed);
        self.ends.clear();
    }

    fn begin(&mut self) {
        let id = self.next;
        self.passed = match &mut self.is {
            Is::Closed => true,
            Is::Open(until) => {
                let tries = until.is_some_and(|until| self.second >= until);
                if tries {
                    self.is = Is::HalfOpen(0, Some(id));
                }
                tries
            }
            Is::HalfOpen(_, Some(_)) => false,
            Is::HalfOpen(_, trial) => {
                *trial = Some(id);
                true
            }
        };
        if self.passed {
            self.under_way.push(id);
        }
        self.next += 1;
    }

    fn end(&mut self, nth: usize, outcome: Outcome) {
        let Some(id) = self.nth(nth) else { return };
        self.under_way.retain(|other| *other != id);
        let good = match outcome {
            Outcome::Fixed => Some(true),
            Outcome::NotFixed => Some(false),
            _ => None,
        };
        match (&mut self.is, good) {
            (Is::Closed, Some(good)) => {
                self.ends.push((self.second, good));
                let earliest = self.second - WINDOW;
                self.ends.retain(|(end, _)| *end > earliest);
                let bad = self.ends.iter().filter(|(_, good)| !good).count();
                if bad >= 2 && bad * 2 >= self.ends.len() {
                    self.open();
                }
            }
            (Is::HalfOpen(so_far, trial), good) if *trial == Some(id) => {
                *trial = None;
                match good {
                    None => {}
                    Some(false) => self.open(),
                    Some(true) if *so_far == 1 => self.close(),
                    Some(true) => *so_far = 1,
                }
            }
            _ => {}
        }
    }
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self {
            second: 0,
            is: Is::Closed,
            lasted: None,
            ends: Vec::new(),
            under_way: Vec::new(),
            next: 0,
            passed: false,
        })
        .boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Step> {
        let outcome = prop_oneof![
            4 => Just(Outcome::NotFixed),
            3 => Just(Outcome::Fixed),
            1 => Just(Outcome::Unknown),
        ];
        prop_oneof![
            4 => (1..400_i64).prop_map(Step::Tick),
            8 => Just(Step::Begin),
            8 => ((0..6_usize), outcome).prop_map(|(nth, outcome)| Step::End(nth, outcome)),
            1 => Just(Step::Trip),
            1 => Just(Step::Reset),
            3 => any::<bool>().prop_map(|anew| Step::Restart { anew }),
        ]
        .boxed()
    }

    fn apply(mut state: Self, step: &Step) -> Self {
        state.second += 1;
        match *step {
            Step::Tick(by) => state.second += by,
            Step::Begin => state.begin(),
            Step::End(nth, outcome) => state.end(nth, outcome),
            Step::Trip => {
                state.is = Is::Open(None);
                state.ends.clear();
            }
            Step::Reset => state.close(),
            Step::Restart { .. } => {}
        }
        state
    }
}

type Real = super::Real<Model>;

fn whose() -> Whose {
    Whose { plugin: PLUGIN.to_owned(), target: Some("t".to_owned()) }
}

struct BreakerTest;

impl StateMachineTest for BreakerTest {
    type SystemUnderTest = Real;
    type Reference = Model;

    fn init_test(model: &Model) -> Real {
        Real { world: World::new(CONFIG, &[("r", "")]), before: model.clone() }
    }

    fn apply(mut real: Real, model: &Model, step: Step) -> Real {
        let world = &mut real.world;
        world.wait(seconds(1));
        let by_hand = |world: &World, hand| {
            let moved = world.pipeline().breaker_by_hand(whose(), hand, "ada", "because");
            drop(world.runtime.block_on(moved).unwrap());
        };
        match step {
            Step::Tick(by) => world.wait(seconds(by)),
            Step::Begin => {
                let number = real.before.next;
                world.begin(number, "r", "t", None, None);
                let permitted = world.permit(number, false);
                assert_eq!(permitted.is_ok(), model.passed, "{permitted:?}");
                match permitted {
                    Ok(()) => world.act(number, 0),
                    Err(code) => {
                        assert_eq!(code, Code::Breaker);
                        world.end(number, None, Outcome::Refused, code);
                    }
                }
            }
            Step::End(nth, outcome) => {
                if let Some(number) = real.before.nth(nth) {
                    world.end(number, Some("returned"), outcome, Code::Completed);
                }
            }
            Step::Trip => by_hand(world, Hand::Trip),
            Step::Reset => by_hand(world, Hand::Reset),
            Step::Restart { anew } => world.restart(anew),
        }
        real.before = model.clone();
        real
    }

    fn check_invariants(real: &Real, model: &Model) {
        let breakers = real.world.pipeline().breakers();
        let breaker = breakers.iter().find(|(name, _)| *name == whose()).map(|(_, breaker)| breaker);
        let state = breaker.map_or(State::Closed {}, |breaker| breaker.state().clone());
        let second = |at: &DateTime<Utc>| at.timestamp() - BEGINNING;
        let is = match &state {
            State::Closed {} => Is::Closed,
            State::Open { until, .. } => Is::Open(until.as_ref().map(second)),
            State::HalfOpen { good, trial, .. } => {
                let number = |run: &RunId| (0..model.next).find(|number| id(*number) == *run).unwrap();
                Is::HalfOpen(*good, trial.as_ref().map(number))
            }
        };
        assert_eq!(is, model.is, "{breaker:?}");
        let remembered = breaker.map_or(0, |breaker| breaker.results().count());
        assert!(remembered <= model.ends.len().max(200), "{breaker:?}");
    }
}

prop_state_machine! {
    #![proptest_config(few())]
    #[test]
    fn moves_as_the_ends_say_over_restarts_of_the_real_store(sequential 20..40 => BreakerTest);
}
