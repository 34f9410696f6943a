//! The ledger against a model so simple that it can be seen to be right: a list of all that ever happened.
//!
//! Laws, in any order of reserving, acting, ending, giving back, restarting and setting clocks: in no window are
//! more actions reserved, or begun, than the rate allows; never do more runs act at once than may; and what the
//! model would let pass, passes.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use super::tests::{at, run, seconds};
use super::*;
use crate::policy::duration;
use crate::run::Outcome;

const TARGETS: [&str; 3] = ["a", "b", "c"];
const RUNBOOKS: [&str; 2] = ["r", "s"];
const WINDOW: Duration = Duration::from_secs(60);
const PER_TARGET: u32 = 2;
const ACTIONS: u32 = 4;
const CONCURRENT: u32 = 3;
const COOLDOWN: Duration = Duration::from_secs(20);

fn limits() -> Limits {
    Limits {
        per_target: Some(Rate { most: PER_TARGET, per: WINDOW }),
        concurrent: Some(CONCURRENT),
        cooldown: Cooldown { after_failure: Some(COOLDOWN), after_success: None },
        ..Limits::default()
    }
}

fn global() -> GlobalLimits {
    GlobalLimits { actions: Some(Rate { most: ACTIONS, per: WINDOW }), ..GlobalLimits::default() }
}

/// One run, as it went.
#[derive(Debug, Clone)]
struct Told {
    runbook: usize,
    target: usize,
    reserved: DateTime<Utc>,
    effects: Vec<DateTime<Utc>>,
    end: Option<(DateTime<Utc>, bool)>,
}

impl Told {
    fn last(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        match (self.effects.last(), self.end) {
            (Some(effect), _) => *effect,
            (None, Some((end, _))) => end,
            (None, None) => now,
        }
    }
}

#[derive(Debug, Clone)]
struct Model {
    clock: i64,
    time: DateTime<Utc>,
    /// When it was last tidied up.
    kept: DateTime<Utc>,
    runs: BTreeMap<u128, Told>,
    next: u128,
    /// Whether the latest reservation passed, by the model.
    passes: bool,
}

#[derive(Debug, Clone)]
enum Step {
    Tick(i64),
    Reserve { runbook: usize, target: usize },
    Act(usize),
    Settle(usize, bool),
    Release(usize),
    Restart { tidy: bool },
}

impl Model {
    /// The number of the so-manieth run that is not over.
    fn open(&self, nth: usize) -> Option<u128> {
        let open: Vec<u128> =
            self.runs.iter().filter(|(_, told)| told.end.is_none()).map(|(id, _)| *id).collect();
        (!open.is_empty()).then(|| open[nth % open.len()])
    }

    fn count(&self, counts: impl Fn(&Told) -> bool) -> u32 {
        u32::try_from(self.runs.values().filter(|told| counts(told)).count()).unwrap()
    }

    fn would_pass(&self, runbook: usize, target: usize) -> bool {
        let now = self.time;
        let counts = |told: &Told| told.last(now) > duration::before(now, WINDOW);
        let at_target = |told: &Told| told.runbook == runbook && told.target == target;
        let cooling =
            |told: &Told| told.end.is_some_and(|(end, good)| !good && end > duration::before(now, COOLDOWN));
        self.count(counts) < ACTIONS
            && self.count(|told| counts(told) && at_target(told)) < PER_TARGET
            && self.count(|told| told.end.is_none() && told.runbook == runbook) < CONCURRENT
            && self.count(|told| cooling(told) && at_target(told)) == 0
    }

    /// Whether more than `most` of these moments lie in some window.
    fn crowded(mut moments: Vec<DateTime<Utc>>, most: u32) -> bool {
        let most = most as usize;
        moments.sort();
        moments.windows(most + 1).any(|some| some[most] < duration::after(some[0], WINDOW))
    }

    fn assert_laws(&self) {
        let moments = |of: &dyn Fn(&Told) -> Option<DateTime<Utc>>, target: Option<(usize, usize)>| {
            let chosen = self.runs.values().filter(|t| target.is_none_or(|it| it == (t.runbook, t.target)));
            chosen.filter_map(of).collect::<Vec<_>>()
        };
        let reserved = |told: &Told| Some(told.reserved);
        let begun = |told: &Told| told.effects.first().copied();
        for of in [&reserved as &dyn Fn(&Told) -> Option<DateTime<Utc>>, &begun] {
            assert!(!Self::crowded(moments(of, None), ACTIONS), "{self:#?}");
            for runbook in 0..RUNBOOKS.len() {
                for target in 0..TARGETS.len() {
                    assert!(!Self::crowded(moments(of, Some((runbook, target))), PER_TARGET), "{self:#?}");
                }
            }
        }
    }
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        let (time, kept) = (at(-100_000), at(-100_000));
        Just(Self { clock: 0, time, kept, runs: BTreeMap::new(), next: 1, passes: false }).boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Step> {
        let reserve = (0..RUNBOOKS.len(), 0..TARGETS.len());
        prop_oneof![
            4 => (0..30_i64).prop_map(Step::Tick),
            1 => (-200..0_i64).prop_map(Step::Tick),
            6 => reserve.prop_map(|(runbook, target)| Step::Reserve { runbook, target }),
            3 => (0..8_usize).prop_map(Step::Act),
            3 => ((0..8_usize), any::<bool>()).prop_map(|(nth, good)| Step::Settle(nth, good)),
            2 => (0..8_usize).prop_map(Step::Release),
            1 => any::<bool>().prop_map(|tidy| Step::Restart { tidy }),
        ]
        .boxed()
    }

    fn apply(mut state: Self, step: &Step) -> Self {
        if let Step::Tick(by) = step {
            state.clock += by;
            return state;
        }
        if let Step::Restart { tidy: false } = step {
            // What is written down is the latest that is known.
            let moments = state.runs.values().flat_map(|told| {
                told.effects.iter().copied().chain([told.reserved]).chain(told.end.map(|(end, _)| end))
            });
            state.time = moments.max().unwrap_or(state.kept).max(state.kept);
            return state;
        }
        state.time = state.time.max(at(state.clock));
        let now = state.time;
        match step {
            Step::Reserve { runbook, target } => {
                state.passes = state.would_pass(*runbook, *target);
                if state.passes {
                    let (runbook, target) = (*runbook, *target);
                    let told = Told { runbook, target, reserved: now, effects: Vec::new(), end: None };
                    state.runs.insert(state.next, told);
                }
                state.next += 1;
            }
            Step::Act(nth) => {
                let id = state.open(*nth);
                if let Some(told) = id.and_then(|id| state.runs.get_mut(&id)) {
                    told.effects.push(now);
                }
            }
            Step::Settle(nth, good) => {
                let id = state.open(*nth);
                if let Some(told) = id.and_then(|id| state.runs.get_mut(&id)) {
                    told.end = Some((now, *good));
                }
            }
            Step::Release(nth) => {
                let Some(id) = state.open(*nth) else { return state };
                match state.runs.get_mut(&id) {
                    Some(told) if !told.effects.is_empty() => told.end = Some((now, false)),
                    _ => drop(state.runs.remove(&id)),
                }
            }
            Step::Restart { .. } => state.kept = now,
            Step::Tick(_) => {}
        }
        state
    }
}

/// What the ledger is tested as. The model before the step is needed to know which run the step is about.
#[derive(Debug)]
struct Real {
    ledger: Ledger,
    before: Model,
}

struct LedgerTest;

impl StateMachineTest for LedgerTest {
    type SystemUnderTest = Real;
    type Reference = Model;

    fn init_test(model: &Model) -> Real {
        Real { ledger: Ledger::default(), before: model.clone() }
    }

    fn apply(mut real: Real, model: &Model, step: Step) -> Real {
        let now = at(model.clock);
        let open = |nth: usize| real.before.open(nth);
        // A step about no run tells the ledger the time all the same.
        let named = |nth: usize| run(open(nth).unwrap_or(0));
        let limits = limits();
        match step {
            Step::Tick(_) => {}
            Step::Reserve { runbook, target } => {
                let id = run(real.before.next);
                let request = Request {
                    run: &id,
                    runbook: RUNBOOKS[runbook],
                    limits: &limits,
                    plugins: &[],
                    target: Some(TARGETS[target]),
                    service: None,
                    approved: false,
                };
                let asked = real.ledger.ask(now, &global(), &request, Population::NoGroup);
                let reserved = real.ledger.reserve(now, &global(), &request, Population::NoGroup);
                assert_eq!(asked, reserved, "asking says what reserving would");
                assert_eq!(reserved.is_ok(), model.passes, "{reserved:?}");
                if let Err(Stop::Refused(Refusal { free_at: Some(free_at), .. })) = reserved {
                    assert!(free_at > model.time);
                }
            }
            Step::Act(nth) => {
                let acted = real.ledger.acted(now, &named(nth)).is_some();
                assert_eq!(acted, open(nth).is_some());
            }
            Step::Settle(nth, good) => {
                let outcome = if good { Outcome::Fixed } else { Outcome::NotFixed };
                let settled = real.ledger.settle(now, &named(nth), outcome).is_some();
                assert_eq!(settled, open(nth).is_some());
            }
            Step::Release(nth) => {
                let released = real.ledger.release(now, &named(nth));
                let gone = open(nth).is_some_and(|id| !model.runs.contains_key(&id));
                assert_eq!(released, gone, "what acted is not given back");
            }
            Step::Restart { tidy } => {
                if tidy {
                    real.ledger.forget(now, &Horizon::new(&global(), RUNBOOKS.map(|name| (name, &limits))));
                }
                let ids = (0..real.before.next).map(run);
                let rows: Vec<Reservation> = ids.filter_map(|id| real.ledger.get(&id).cloned()).collect();
                let bytes = serde_json::to_vec(&rows).unwrap();
                let rows: Vec<Reservation> = serde_json::from_slice(&bytes).unwrap();
                let sightings = real.ledger.sightings().clone();
                real.ledger = Ledger::restore(rows, sightings);
            }
        }
        real.before = model.clone();
        real
    }

    fn check_invariants(real: &Real, model: &Model) {
        model.assert_laws();
        let open = model.runs.values().filter(|told| told.end.is_none()).count();
        assert_eq!(real.ledger.open().count(), open);
        let horizon = seconds(3_600);
        assert!(real.ledger.counting(model.time, horizon).count() <= model.runs.len());
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]
    #[test]
    fn never_more_than_the_limit_in_any_window(sequential 1..80 => LedgerTest);
}
