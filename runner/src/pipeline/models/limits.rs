//! Limits: in no window more than the rate allows, whatever is reserved, done, given back, and whenever it restarts.

use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use staunch_core::run::Mode;

use super::super::limits::Wish;
use super::*;

const TARGETS: [&str; 3] = ["a", "b", "c"];
const RUNBOOKS: [&str; 2] = ["r", "s"];
const WINDOW: i64 = 60;
const PER_TARGET: usize = 2;
const ACTIONS: usize = 4;
const CONCURRENT: usize = 3;
const COOLDOWN: i64 = 20;

/// No breaker has a say, and no standing.
const CONFIG: &str =
    "limits: { actions: 4 per 60s }\nbreaker: { failures: 200 }\nstanding: { sample: 200, runs: 200 }\n";
const RUNBOOK: &str = "limits: { per_target: 2 per 60s, concurrent: 3, cooldown: { after_failure: 20s } }\n";

/// One run that was permitted.
#[derive(Debug, Clone)]
struct Told {
    runbook: usize,
    target: usize,
    acted: Option<i64>,
    end: Option<(i64, bool)>,
}

#[derive(Debug, Clone, Default)]
struct Model {
    second: i64,
    runs: BTreeMap<u64, Told>,
    next: u64,
}

#[derive(Debug, Clone)]
enum Step {
    Tick(i64),
    Begin { runbook: usize, target: usize },
    Act(usize),
    End(usize, bool),
    GiveBack(usize),
    Restart { anew: bool },
}

impl Model {
    fn nth(&self, nth: usize, such: impl Fn(&Told) -> bool) -> Option<u64> {
        let open: Vec<u64> = self
            .runs
            .iter()
            .filter(|(_, told)| told.end.is_none() && such(told))
            .map(|(id, _)| *id)
            .collect();
        (!open.is_empty()).then(|| open[nth % open.len()])
    }

    fn count(&self, counts: impl Fn(&Told) -> bool) -> usize {
        self.runs.values().filter(|told| counts(told)).count()
    }

    /// What is pending counts now; what acted, from then on.
    fn passes(&self, runbook: usize, target: usize) -> bool {
        let since = self.second - WINDOW;
        let counts = |told: &Told| told.acted.is_none_or(|acted| acted > since);
        let here = |told: &Told| told.runbook == runbook && told.target == target;
        let cooling = |told: &Told| told.end.is_some_and(|(end, good)| !good && end > self.second - COOLDOWN);
        self.count(counts) < ACTIONS
            && self.count(|told| counts(told) && here(told)) < PER_TARGET
            && self.count(|told| told.end.is_none() && told.runbook == runbook) < CONCURRENT
            && self.count(|told| cooling(told) && here(told)) == 0
    }

    fn assert_laws(&self) {
        let crowded = |target: Option<(usize, usize)>, most: usize| {
            let chosen = self.runs.values().filter(|t| target.is_none_or(|it| it == (t.runbook, t.target)));
            let mut acted: Vec<i64> = chosen.filter_map(|told| told.acted).collect();
            acted.sort_unstable();
            acted.windows(most + 1).any(|some| some[most] < some[0] + WINDOW)
        };
        assert!(!crowded(None, ACTIONS), "{self:#?}");
        for place in (0..RUNBOOKS.len()).flat_map(|r| (0..TARGETS.len()).map(move |t| (r, t))) {
            assert!(!crowded(Some(place), PER_TARGET), "{self:#?}");
        }
    }
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self::default()).boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Step> {
        prop_oneof![
            4 => (1..25_i64).prop_map(Step::Tick),
            8 => (0..RUNBOOKS.len(), 0..TARGETS.len())
                .prop_map(|(runbook, target)| Step::Begin { runbook, target }),
            5 => (0..8_usize).prop_map(Step::Act),
            4 => ((0..8_usize), any::<bool>()).prop_map(|(nth, good)| Step::End(nth, good)),
            2 => (0..8_usize).prop_map(Step::GiveBack),
            3 => any::<bool>().prop_map(|anew| Step::Restart { anew }),
        ]
        .boxed()
    }

    fn apply(mut state: Self, step: &Step) -> Self {
        // Each step takes a second, so that no two things happen at the same one.
        state.second += 1;
        let now = state.second;
        match *step {
            Step::Tick(by) => state.second += by,
            Step::Begin { runbook, target } => {
                if state.passes(runbook, target) {
                    state.runs.insert(state.next, Told { runbook, target, acted: None, end: None });
                }
                state.next += 1;
            }
            Step::Act(nth) => {
                let id = state.nth(nth, |told| told.acted.is_none());
                if let Some(told) = id.and_then(|id| state.runs.get_mut(&id)) {
                    told.acted = Some(now);
                }
            }
            Step::End(nth, good) => {
                let id = state.nth(nth, |told| told.acted.is_some());
                if let Some(told) = id.and_then(|id| state.runs.get_mut(&id)) {
                    told.end = Some((now, good));
                }
            }
            Step::GiveBack(nth) => {
                if let Some(id) = state.nth(nth, |told| told.acted.is_none()) {
                    state.runs.remove(&id);
                }
            }
            Step::Restart { .. } => {}
        }
        state
    }
}

type Real = super::Real<Model>;

struct LimitsTest;

impl StateMachineTest for LimitsTest {
    type SystemUnderTest = Real;
    type Reference = Model;

    fn init_test(model: &Model) -> Real {
        let runbooks = RUNBOOKS.map(|name| (name, RUNBOOK));
        Real { world: World::new(CONFIG, &runbooks), before: model.clone() }
    }

    fn apply(mut real: Real, model: &Model, step: Step) -> Real {
        let world = &mut real.world;
        world.wait(seconds(1));
        match step {
            Step::Tick(by) => world.wait(seconds(by)),
            Step::Begin { runbook, target } => {
                let number = real.before.next;
                world.begin(number, RUNBOOKS[runbook], TARGETS[target], None, None);
                let permitted = world.permit(number, false);
                let passes = model.runs.contains_key(&number);
                assert_eq!(permitted.is_ok(), passes, "{permitted:?}");
                if let Err(code) = permitted {
                    assert_eq!(code, Code::Limit);
                    world.end(number, None, Outcome::Refused, code);
                }
            }
            Step::Act(nth) => {
                if let Some(number) = real.before.nth(nth, |told| told.acted.is_none()) {
                    world.act(number, 0);
                }
            }
            Step::End(nth, good) => {
                let outcome = if good { Outcome::Fixed } else { Outcome::NotFixed };
                if let Some(number) = real.before.nth(nth, |told| told.acted.is_some()) {
                    world.end(number, Some("returned"), outcome, Code::Completed);
                }
            }
            Step::GiveBack(nth) => {
                if let Some(number) = real.before.nth(nth, |told| told.acted.is_none()) {
                    world.end(number, None, Outcome::Cancelled, Code::NoLongerNeeded);
                }
            }
            Step::Restart { anew } => world.restart(anew),
        }
        real.before = model.clone();
        real
    }

    fn check_invariants(real: &Real, model: &Model) {
        model.assert_laws();
        let shared = &real.world.pipeline().0;
        let rules = shared.rules();
        for (runbook, name) in RUNBOOKS.iter().enumerate() {
            for (target, place) in TARGETS.iter().enumerate() {
                let wish = Wish {
                    run: &id(u64::MAX),
                    runbook: rules.policies.runbook(name).unwrap(),
                    plugins: &[PLUGIN],
                    target: place,
                    labels: &BTreeMap::new(),
                    mode: Mode::Act,
                    drill: false,
                };
                let stop = shared.limit_of_wish(&rules, &wish);
                assert_eq!(stop.is_none(), model.passes(runbook, target), "{name} at {place}: {stop:?}");
            }
        }
    }
}

prop_state_machine! {
    #![proptest_config(few())]
    #[test]
    fn never_more_than_the_limit_over_restarts_of_the_real_store(sequential 20..40 => LimitsTest);
}
