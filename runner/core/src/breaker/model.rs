//! The breaker against a model of its own words: legal moves only, at most one trial, back-off that nothing but a
//! failed trial lengthens, over restarts and clocks that are set.

use std::time::Duration;

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use super::tests::{at, run};
use super::*;

const SETTINGS: Settings = Settings {
    failures: 2,
    sample: 2,
    failure_rate: 50,
    window: Duration::from_secs(20 * 60),
    cooldown: Duration::from_secs(10 * 60),
    longest_cooldown: Duration::from_secs(40 * 60),
    successes: 2,
};

#[derive(Debug, Clone, PartialEq)]
enum Is {
    Closed,
    /// Since when, for how long; `None`: by hand.
    Open(DateTime<Utc>, Option<Duration>),
    /// Good trials, and the one under way.
    HalfOpen(u32, Option<u128>),
}

#[derive(Debug, Clone)]
struct Model {
    clock: i64,
    time: DateTime<Utc>,
    is: Is,
    /// How long it was open last, since it was closed.
    backed_off: Option<Duration>,
    /// Ends within the closed state: when, and whether good.
    ends: Vec<(DateTime<Utc>, bool)>,
    /// Runs that passed and are not over.
    under_way: Vec<u128>,
    next: u128,
    passed: bool,
}

#[derive(Debug, Clone)]
enum Step {
    Tick(i64),
    Begin,
    End(usize, Grade),
    Trip,
    Reset,
    Restart,
}

impl Model {
    fn nth(&self, nth: usize) -> Option<u128> {
        (!self.under_way.is_empty()).then(|| self.under_way[nth % self.under_way.len()])
    }

    fn open(&mut self) {
        let lasts = self.backed_off.map_or(SETTINGS.cooldown, |before| before * 2);
        let lasts = lasts.min(SETTINGS.longest_cooldown);
        self.backed_off = Some(lasts);
        self.is = Is::Open(self.time, Some(lasts));
        self.ends.clear();
    }

    fn begin(&mut self) {
        let id = self.next;
        self.next += 1;
        self.passed = match &mut self.is {
            Is::Closed => true,
            Is::Open(_, None) | Is::HalfOpen(_, Some(_)) => false,
            Is::Open(since, Some(lasts)) => {
                let over = self.time >= *since + *lasts;
                if over {
                    self.is = Is::HalfOpen(0, Some(id));
                }
                over
            }
            Is::HalfOpen(_, trial) => {
                *trial = Some(id);
                true
            }
        };
        if self.passed {
            self.under_way.push(id);
        }
    }

    fn end(&mut self, nth: usize, grade: Grade) {
        let Some(id) = self.nth(nth) else { return };
        self.under_way.retain(|other| *other != id);
        match &mut self.is {
            Is::Closed if grade != Grade::Neither => {
                self.ends.push((self.time, grade == Grade::Good));
                let (time, window) = (self.time, SETTINGS.window);
                self.ends.retain(|(end, _)| *end + window > time);
                let bad = self.ends.iter().filter(|(_, good)| !good).count();
                if bad >= 2 && bad * 2 >= self.ends.len() {
                    self.open();
                }
            }
            Is::HalfOpen(good, trial) if *trial == Some(id) => {
                *trial = None;
                match grade {
                    Grade::Neither => {}
                    Grade::Bad => self.open(),
                    Grade::Good if *good == 1 => self.close(),
                    Grade::Good => *good = 1,
                }
            }
            Is::Closed | Is::Open(..) | Is::HalfOpen(..) => {}
        }
    }

    fn close(&mut self) {
        self.is = Is::Closed;
        self.backed_off = None;
        self.ends.clear();
    }
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self {
            clock: 0,
            time: at(-1_000_000),
            is: Is::Closed,
            backed_off: None,
            ends: Vec::new(),
            under_way: Vec::new(),
            next: 1,
            passed: false,
        })
        .boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Step> {
        let grade = prop_oneof![3 => Just(Grade::Bad), 3 => Just(Grade::Good), 1 => Just(Grade::Neither)];
        prop_oneof![
            4 => (0..15_i64).prop_map(Step::Tick),
            1 => (-60..0_i64).prop_map(Step::Tick),
            8 => Just(Step::Begin),
            8 => ((0..6_usize), grade).prop_map(|(nth, grade)| Step::End(nth, grade)),
            1 => Just(Step::Trip),
            1 => Just(Step::Reset),
            1 => Just(Step::Restart),
        ]
        .boxed()
    }

    fn apply(mut state: Self, step: &Step) -> Self {
        match step {
            Step::Tick(by) => {
                state.clock += by;
                return state;
            }
            Step::Restart => return state,
            Step::End(..) if state.under_way.is_empty() => return state,
            Step::Begin | Step::End(..) | Step::Trip | Step::Reset => {}
        }
        state.time = state.time.max(at(state.clock));
        match step {
            Step::Begin => state.begin(),
            Step::End(nth, grade) => state.end(*nth, *grade),
            Step::Trip => {
                state.is = Is::Open(state.time, None);
                state.ends.clear();
            }
            Step::Reset => state.close(),
            Step::Tick(_) | Step::Restart => {}
        }
        state
    }
}

#[derive(Debug)]
struct Real {
    breaker: Breaker,
    before: Model,
}

struct BreakerTest;

impl StateMachineTest for BreakerTest {
    type SystemUnderTest = Real;
    type Reference = Model;

    fn init_test(model: &Model) -> Real {
        Real { breaker: Breaker::new(), before: model.clone() }
    }

    fn apply(mut real: Real, model: &Model, step: Step) -> Real {
        let now = at(model.clock);
        let from = real.breaker.state().as_str();
        let moved = match step {
            Step::Tick(_) => None,
            Step::Begin => {
                let id = run(real.before.next);
                let asked = real.breaker.ask(now, &id);
                let begun = real.breaker.begin(now, &id);
                assert_eq!(asked.is_ok(), begun.is_ok(), "asking says what beginning would");
                assert_eq!(begun.is_ok(), model.passed, "{begun:?}");
                begun.ok().and_then(|(_, moved)| moved)
            }
            Step::End(nth, grade) => {
                let id = real.before.nth(nth).map(run);
                id.and_then(|id| real.breaker.record(&SETTINGS, now, &id, grade))
            }
            Step::Trip => Some(real.breaker.trip(now, "ada", "because").unwrap()),
            Step::Reset => Some(real.breaker.reset(now, "ada", "because").unwrap()),
            Step::Restart => {
                let row = serde_json::to_vec(&real.breaker).unwrap();
                real.breaker = serde_json::from_slice(&row).unwrap();
                None
            }
        };
        let to = real.breaker.state().as_str();
        match &moved {
            Some(moved) => assert_eq!((moved.from, moved.to, moved.at), (from, to, model.time)),
            None => assert_eq!(from, to, "no move goes untold"),
        }
        let by_hand = matches!(step, Step::Trip | Step::Reset);
        let legal =
            [("closed", "open"), ("open", "half-open"), ("half-open", "open"), ("half-open", "closed")];
        assert!(from == to || by_hand || legal.contains(&(from, to)), "{from} to {to}");
        real.before = model.clone();
        real
    }

    fn check_invariants(real: &Real, model: &Model) {
        let state = real.breaker.state();
        match &model.is {
            Is::Closed => assert_eq!(state, &State::Closed {}),
            Is::Open(begun, lasts) => {
                let State::Open { since, until, .. } = state else { panic!("{state:?}") };
                assert_eq!((since, *until), (begun, lasts.map(|lasts| *begun + lasts)));
            }
            Is::HalfOpen(so_far, tries) => {
                let State::HalfOpen { good, trial, .. } = state else { panic!("{state:?}") };
                assert_eq!((good, trial), (so_far, &tries.map(run)));
            }
        }
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]
    #[test]
    fn moves_legally_and_lets_one_trial_through_at_a_time(sequential 1..100 => BreakerTest);
}
