//! The gate: a run acts only on the words of two people who count in that very moment, and a restart changes nothing
//! of who they are.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use staunch_core::id::TokenId;
use staunch_core::policy::Person;

use super::super::requests::{self, Yes};
use super::*;

const PEOPLE: [&str; 4] = ["ada", "ben", "cleo", "dan"];
/// The token of this one ends to be good by itself.
const LEAVES: usize = 3;
const LEAVES_AT: i64 = 20;
/// How long a question stands: shorter than a plan is good for, so that nobody has to plan again.
const STANDS: i64 = 40;
const GATE: &str = "autonomy: approve\ngate: { approvals: 2, roles: [operator], expires: 40s }\n";

/// One run that asks, or was permitted.
#[derive(Debug, Clone, Default)]
struct Asked {
    at: i64,
    starter: Option<usize>,
    approvals: BTreeSet<usize>,
    permitted: bool,
}

#[derive(Debug, Clone, Default)]
struct Model {
    second: i64,
    runs: BTreeMap<u64, Asked>,
    gone: BTreeSet<usize>,
    next: u64,
    accepted: bool,
}

#[derive(Debug, Clone)]
enum Step {
    Tick(i64),
    Ask(Option<usize>),
    Approve(usize, usize),
    Revoke(usize),
    Permit(usize),
    Restart { anew: bool },
}

impl Model {
    fn nth(&self, nth: usize) -> Option<u64> {
        (!self.runs.is_empty()).then(|| *self.runs.keys().nth(nth % self.runs.len()).unwrap())
    }

    fn is_here(&self, person: usize) -> bool {
        let left = person == LEAVES && self.second >= LEAVES_AT;
        !left && !self.gone.contains(&person)
    }

    /// Whose approvals count.
    fn counted(&self, run: &Asked) -> Vec<&'static str> {
        let counts = |person: &&usize| self.is_here(**person) && run.starter != Some(**person);
        run.approvals.iter().filter(counts).map(|person| PEOPLE[*person]).collect()
    }

    fn is_open(&self, run: &Asked) -> bool {
        self.second < run.at + STANDS
    }

    /// Whether it may act, or go on acting.
    fn may_act(&self, run: &Asked) -> bool {
        self.is_open(run) && self.counted(run).len() >= 2
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
            3 => (1..12_i64).prop_map(Step::Tick),
            3 => prop::option::of(0..PEOPLE.len()).prop_map(Step::Ask),
            12 => (0..4_usize, 0..PEOPLE.len()).prop_map(|(nth, person)| Step::Approve(nth, person)),
            1 => (0..PEOPLE.len()).prop_map(Step::Revoke),
            4 => (0..4_usize).prop_map(Step::Permit),
            3 => any::<bool>().prop_map(|anew| Step::Restart { anew }),
        ]
        .boxed()
    }

    fn apply(mut state: Self, step: &Step) -> Self {
        // No second passes by itself: approvals may come at the same microsecond.
        match *step {
            Step::Tick(by) => state.second += by,
            Step::Ask(starter) => {
                let asked = Asked { at: state.second, starter, ..Asked::default() };
                state.runs.insert(state.next, asked);
                state.next += 1;
            }
            Step::Approve(nth, person) => {
                let Some(number) = state.nth(nth) else { return state };
                let run = state.runs[&number].clone();
                // Whoever is gone has no token to say it with; enough is enough.
                state.accepted = state.is_open(&run)
                    && !run.permitted
                    && state.is_here(person)
                    && run.starter != Some(person)
                    && !run.approvals.contains(&person)
                    && state.counted(&run).len() < 2;
                if state.accepted {
                    state.runs.get_mut(&number).unwrap().approvals.insert(person);
                }
            }
            Step::Revoke(person) => {
                state.gone.insert(person);
            }
            Step::Permit(nth) => {
                let Some(number) = state.nth(nth) else { return state };
                let may = state.may_act(&state.runs[&number]);
                state.runs.get_mut(&number).unwrap().permitted |= may;
            }
            Step::Restart { .. } => {}
        }
        state
    }
}

struct Real {
    world: World,
    tokens: Vec<TokenId>,
    before: Model,
}

impl std::fmt::Debug for Real {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.before.fmt(f)
    }
}

fn operator(name: &str) -> Person {
    let roles = ["operator".to_owned()].into();
    Person { name: name.to_owned(), roles, groups: BTreeSet::new(), subject: None }
}

impl Real {
    /// Says yes as a request would; whether it was taken.
    fn approve(&self, number: u64, person: usize) -> bool {
        let (shared, live) = (&self.world.pipeline().0, &self.world.runs[&number]);
        let yes = Yes { plan: Digest::of(b"plan"), comment: None, envelope: None, storm: None };
        let person = operator(PEOPLE[person]);
        self.world.runtime.block_on(requests::approve(shared, live, &person, yes)).is_ok()
    }
}

struct GateTest;

impl StateMachineTest for GateTest {
    type SystemUnderTest = Real;
    type Reference = Model;

    fn init_test(model: &Model) -> Real {
        let world = World::new("{}\n", &[("r", GATE)]);
        let tokens = PEOPLE.iter().enumerate().map(|(person, name)| {
            let expires = (person == LEAVES).then(|| world.now() + seconds(LEAVES_AT));
            let roles = vec!["operator".to_owned()];
            let made = world.pipeline().create_token(name, roles, expires, "root");
            world.runtime.block_on(made).unwrap().0.id
        });
        let tokens = tokens.collect();
        Real { world, tokens, before: model.clone() }
    }

    fn apply(mut real: Real, model: &Model, step: Step) -> Real {
        match step {
            Step::Tick(by) => real.world.wait(seconds(by)),
            Step::Ask(starter) => {
                let shared = Arc::clone(&real.world.pipeline().0);
                let runbook = shared.runbook("r").unwrap();
                let ask = Ask::new(&runbook.gate, real.world.now());
                let (number, starter) = (real.before.next, starter.map(|person| PEOPLE[person]));
                real.world.begin(number, "r", &format!("t{number}"), starter, Some(ask));
            }
            Step::Approve(nth, person) => {
                if let Some(number) = real.before.nth(nth).filter(|_| model.is_here(person)) {
                    assert_eq!(real.approve(number, person), model.accepted, "{model:#?}");
                }
            }
            Step::Revoke(person) => {
                let revoked = real.world.pipeline().revoke_token(&real.tokens[person], "root");
                drop(real.world.runtime.block_on(revoked).unwrap());
            }
            Step::Permit(nth) => {
                if let Some(number) = real.before.nth(nth).filter(|it| !real.before.runs[it].permitted) {
                    let permit = real.world.pipeline().0.permit_of_people(&real.world.run(number));
                    assert_eq!(permit.is_ok(), model.runs[&number].permitted, "{permit:?}");
                    if permit.is_ok() {
                        real.world.permit(number, true).unwrap();
                    }
                }
            }
            Step::Restart { anew } => real.world.restart(anew),
        }
        real.before = model.clone();
        real
    }

    fn check_invariants(real: &Real, model: &Model) {
        let shared = &real.world.pipeline().0;
        for (number, asked) in &model.runs {
            let run = real.world.run(*number);
            if asked.permitted {
                let goes_on = shared.permit_resumed(&run);
                assert_eq!(goes_on.is_ok(), model.may_act(asked), "{goes_on:?}");
                continue;
            }
            let mut counted = shared.quorum(&run).unwrap().counted;
            counted.sort();
            assert_eq!(counted, model.counted(asked), "{run:#?}");
            let permit = shared.permit_of_people(&run);
            assert_eq!(permit.is_ok(), model.may_act(asked), "{permit:?}");
        }
    }
}

prop_state_machine! {
    #![proptest_config(few())]
    #[test]
    fn never_acts_without_two_people_over_restarts_of_the_real_store(sequential 20..40 => GateTest);
}
