use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::*;
use crate::decision::{self, Code};
use crate::id::RunId;
use crate::run::Outcome;

mod blast;
mod files;

/// A moment so many seconds after some beginning.
pub(super) fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
}

pub(super) fn run(number: u128) -> RunId {
    RunId::from_bits(number)
}

pub(super) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn rate(text: &str) -> Option<Rate> {
    Some(text.parse().unwrap())
}

/// A run of runbook `r` with plugin `p` at a target.
#[derive(Debug, Clone)]
struct Ask {
    run: RunId,
    runbook: &'static str,
    plugins: Vec<String>,
    target: &'static str,
    service: Option<&'static str>,
    approved: bool,
}

fn ask(number: u128, target: &'static str) -> Ask {
    let plugins = vec!["p".to_owned()];
    Ask { run: run(number), runbook: "r", plugins, target, service: None, approved: false }
}

impl Ask {
    fn request<'a>(&'a self, limits: &'a Limits) -> Request<'a> {
        Request {
            run: &self.run,
            runbook: self.runbook,
            limits,
            plugins: &self.plugins,
            target: Some(self.target),
            service: self.service,
            approved: self.approved,
        }
    }
}

struct World {
    ledger: Ledger,
    global: GlobalLimits,
    limits: Limits,
}

impl World {
    fn new(limits: Limits) -> Self {
        Self { ledger: Ledger::default(), global: GlobalLimits::default(), limits }
    }

    fn reserve(&mut self, second: i64, ask: &Ask) -> Result<Reservation, Stop> {
        let request = ask.request(&self.limits);
        self.ledger.reserve(at(second), &self.global, &request, Population::NoGroup)
    }

    /// Reserves, acts, and ends in the same second.
    fn act(&mut self, second: i64, ask: &Ask, outcome: Outcome) {
        self.reserve(second, ask).unwrap();
        self.ledger.acted(at(second), &ask.run).unwrap();
        self.ledger.settle(at(second), &ask.run, outcome).unwrap();
    }

    fn refused(&mut self, second: i64, ask: &Ask) -> Refusal {
        match self.reserve(second, ask) {
            Err(Stop::Refused(refusal)) => refusal,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_rate_holds_in_every_window_and_says_when_there_is_room() {
    let mut world = World::new(Limits { per_target: rate("2 per 10m"), ..Limits::default() });
    world.act(0, &ask(1, "a"), Outcome::Fixed);
    world.act(300, &ask(2, "a"), Outcome::Fixed);
    world.act(300, &ask(3, "b"), Outcome::Fixed);
    let refusal = world.refused(599, &ask(4, "a"));
    assert_eq!(
        (refusal.code, refusal.limit, refusal.free_at),
        (Code::Limit, LimitName::PerTarget, Some(at(600)))
    );
    assert_eq!(
        refusal.message,
        "per_target: 2 of 2 actions of r at a in 10m are taken; again at 2027-01-15T08:10:00Z, in 1s"
    );
    world.act(600, &ask(4, "a"), Outcome::Fixed);
    assert_eq!(world.refused(601, &ask(5, "a")).free_at, Some(at(900)));
}

#[test]
fn what_may_still_act_counts_as_acting_now() {
    let mut world = World::new(Limits { per_target: rate("1 per 10m"), ..Limits::default() });
    world.reserve(0, &ask(1, "a")).unwrap();
    let refusal = world.refused(86_400, &ask(2, "a"));
    assert_eq!(refusal.free_at, None);
    assert!(refusal.message.ends_with("again after a run that may still act has ended"), "{refusal:?}");
    world.ledger.acted(at(86_400), &run(1)).unwrap();
    assert_eq!(world.refused(86_401, &ask(2, "a")).free_at, Some(at(87_000)));
    world.ledger.acted(at(86_500), &run(1)).unwrap();
    assert_eq!(world.refused(86_501, &ask(2, "a")).free_at, Some(at(87_100)), "the latest effect counts");
}

#[test]
fn gives_back_what_was_not_used_and_nothing_else() {
    let mut world = World::new(Limits { per_target: rate("1 per 10m"), ..Limits::default() });
    world.reserve(0, &ask(1, "a")).unwrap();
    assert!(world.ledger.release(at(1), &run(1)));
    assert!(!world.ledger.release(at(1), &run(1)));
    world.reserve(2, &ask(2, "a")).unwrap();
    world.ledger.acted(at(3), &run(2)).unwrap();
    assert!(!world.ledger.release(at(4), &run(2)), "it acted");
    assert_eq!(world.ledger.get(&run(2)).unwrap().ended, Some(End { at: at(4), success: false }));
    world.refused(5, &ask(3, "a"));
    assert_eq!(world.ledger.settle(at(9), &run(2), Outcome::Fixed), None, "the first end stays");
    assert_eq!(world.ledger.acted(at(9), &run(2)), None);
}

#[test]
fn each_rate_counts_what_its_name_says() {
    let other = |number, target| Ask { runbook: "other", ..ask(number, target) };
    let of_service = |number, runbook| Ask { service: Some("shop"), runbook, ..ask(number, "z") };
    let one = rate("1 per 1m");
    let no = GlobalLimits::default;
    for (limits, global, passes, refused) in [
        (Limits { per_target: one, ..Limits::default() }, no(), other(2, "a"), ask(3, "a")),
        (Limits { per_runbook: one, ..Limits::default() }, no(), other(2, "b"), ask(3, "c")),
        (
            Limits { per_plugin: one, ..Limits::default() },
            no(),
            Ask { plugins: vec!["q".to_owned()], ..ask(2, "b") },
            other(3, "c"),
        ),
        (Limits { per_service: one, ..Limits::default() }, no(), of_service(2, "r"), of_service(3, "r")),
        (Limits::default(), GlobalLimits { per_target: one, ..no() }, ask(2, "b"), other(3, "a")),
        (Limits::default(), GlobalLimits { per_runbook: one, ..no() }, other(2, "a"), ask(3, "c")),
        (
            Limits::default(),
            GlobalLimits { per_service: one, ..no() },
            of_service(2, "r"),
            of_service(3, "x"),
        ),
        (
            Limits::default(),
            GlobalLimits { per_plugin: one, ..no() },
            Ask { plugins: vec!["q".to_owned()], ..ask(2, "a") },
            Ask { plugins: vec!["x".to_owned(), "q".to_owned()], ..other(3, "c") },
        ),
        (Limits::default(), GlobalLimits { actions: rate("2 per 1m"), ..no() }, ask(2, "b"), other(3, "c")),
    ] {
        let mut world = World { global, ..World::new(limits) };
        world.act(0, &ask(1, "a"), Outcome::Fixed);
        world.reserve(1, &passes).unwrap_or_else(|stop| panic!("{stop:?} {passes:?}"));
        assert!(world.reserve(2, &refused).is_err(), "{refused:?} {:?} {:?}", world.limits, world.global);
    }
}

#[test]
fn cooldown_follows_how_the_last_run_there_ended() {
    let cooldown = Cooldown { after_success: Some(seconds(60)), after_failure: Some(seconds(600)) };
    let mut world = World::new(Limits { cooldown, ..Limits::default() });
    world.act(0, &ask(1, "a"), Outcome::Fixed);
    let refusal = world.refused(59, &ask(2, "a"));
    assert_eq!((refusal.limit, refusal.free_at), (LimitName::Cooldown, Some(at(60))));
    assert!(refusal.message.contains("r succeeded at a less than 1m ago"), "{refusal:?}");
    world.act(59, &ask(3, "b"), Outcome::Fixed);
    world.act(60, &ask(4, "a"), Outcome::Unknown);
    let refusal = world.refused(659, &ask(5, "a"));
    assert!(refusal.message.contains("r did not succeed at a less than 10m ago"), "{refusal:?}");
    world.reserve(660, &ask(5, "a")).unwrap();
}

#[test]
fn concurrency_counts_the_runs_that_are_not_over() {
    let mut world = World::new(Limits { concurrent: Some(1), ..Limits::default() });
    world.global.concurrent = Some(2);
    world.reserve(0, &ask(1, "a")).unwrap();
    let refusal = world.refused(0, &ask(2, "b"));
    assert_eq!(refusal.message, "concurrent: 1 of 1 runs of r act already; again when one ends");
    world.reserve(0, &Ask { runbook: "s", ..ask(3, "c") }).unwrap();
    let refusal = world.refused(0, &Ask { runbook: "t", ..ask(4, "d") });
    assert_eq!(refusal.message, "concurrent: 2 of 2 runs act already; again when one ends");
    world.ledger.settle(at(1), &run(1), Outcome::NotFixed).unwrap();
    world.reserve(1, &ask(2, "b")).unwrap();
}

#[test]
fn a_run_that_goes_on_is_not_stopped_by_its_own_part() {
    let limits = Limits { per_target: rate("1 per 10m"), concurrent: Some(1), ..Limits::default() };
    let mut world = World::new(limits);
    world.reserve(0, &ask(1, "a")).unwrap();
    world.ledger.acted(at(1), &run(1)).unwrap();
    let again = world.reserve(3_600, &ask(1, "a")).unwrap();
    assert_eq!((again.reserved_at, again.acted_at, again.pending), (at(0), Some(at(1)), true));
    assert_eq!(world.ledger.len(), 1);
}

#[test]
fn a_clock_that_is_set_back_frees_nothing() {
    let mut world = World::new(Limits { per_target: rate("1 per 10m"), ..Limits::default() });
    world.act(1_000, &ask(1, "a"), Outcome::Fixed);
    assert_eq!(world.refused(-1_000_000, &ask(2, "a")).free_at, Some(at(1_600)));
    let rows: Vec<Reservation> = world.ledger.get(&run(1)).cloned().into_iter().collect();
    world.ledger = Ledger::restore(rows, Sightings::default());
    assert_eq!(world.ledger.time(at(-5)), at(1_000), "nor over a restart");
    world.refused(-5, &ask(2, "a"));
    world.reserve(1_600, &ask(2, "a")).unwrap();
}

#[test]
fn forgets_only_what_no_window_reaches() {
    let limits = Limits {
        per_target: rate("1 per 1m"),
        cooldown: Cooldown { after_failure: Some(seconds(300)), after_success: None },
        ..Limits::default()
    };
    let mut world = World::new(limits.clone());
    let horizon = Horizon::new(&world.global, [("r", &limits)]);
    world.act(0, &ask(1, "a"), Outcome::Fixed);
    world.act(0, &Ask { runbook: "gone", ..ask(2, "b") }, Outcome::Fixed);
    world.reserve(0, &ask(3, "c")).unwrap();
    assert_eq!(world.ledger.forget(at(299), &horizon), [run(2)]);
    assert_eq!(world.ledger.forget(at(300), &horizon), [run(1)]);
    assert_eq!(world.ledger.forget(at(999_999), &horizon), [], "what is open stays");
    let wide = GlobalLimits { actions: rate("5 per 1h"), ..GlobalLimits::default() };
    assert_eq!(Horizon::new(&wide, [("r", &limits)]).of("another"), seconds(3_600));
}

#[test]
fn a_storm_asks_one_question_for_all_its_targets() {
    let storm = Some(Storm { targets: 2, within: seconds(300) });
    let mut world = World::new(Limits { storm, ..Limits::default() });
    world.act(0, &ask(1, "a"), Outcome::Fixed);
    world.ledger.sighted(at(100), "r", "b");
    world.ledger.sighted(at(100), "another", "x");
    world.reserve(100, &ask(2, "a")).unwrap();
    let Err(stop) = world.reserve(101, &ask(3, "c")) else { panic!() };
    let Stop::Asks(question) = &stop else { panic!("{stop:?}") };
    assert_eq!((question.count, question.subject()), (3, "r"));
    assert_eq!(question.targets, ["a", "b", "c"]);
    let decision = stop.decision(at(101), "r");
    assert_eq!((decision.result, decision.code), (decision::Outcome::Ask, Code::Storm));
    assert_eq!(
        decision.message,
        "3 targets were in trouble within 5m (a, b, c), more than the 2 that r may act on alone: one decision for \
         all of them is needed"
    );
    world.reserve(102, &Ask { approved: true, ..ask(3, "c") }).unwrap();
    world.ledger.settle(at(102), &run(2), Outcome::Fixed).unwrap();
    world.ledger.settle(at(102), &run(3), Outcome::Fixed).unwrap();
    assert!(world.reserve(401, &ask(4, "d")).is_err(), "what was answered for lately still counts");
    world.reserve(402, &ask(4, "d")).unwrap();
}

#[test]
fn a_storm_over_everything_counts_all_runbooks_and_a_refusal_goes_before_the_question() {
    let mut world = World::new(Limits { concurrent: Some(1), ..Limits::default() });
    world.global.storm = Some(Storm { targets: 1, within: seconds(300) });
    world.reserve(0, &Ask { runbook: "s", ..ask(1, "a") }).unwrap();
    let Err(Stop::Asks(question)) = world.reserve(1, &ask(2, "b")) else { panic!() };
    assert_eq!((question.runbook.as_deref(), question.subject()), (None, "all runbooks"));
    world.reserve(2, &Ask { approved: true, ..ask(2, "b") }).unwrap();
    assert!(matches!(world.reserve(3, &ask(3, "c")), Err(Stop::Refused(_))));
}

#[test]
fn sightings_are_bounded_and_outlive_a_restart() {
    let mut ledger = Ledger::default();
    for number in 0..3_000 {
        ledger.sighted(at(number), "r", &format!("host-{number}"));
    }
    let stored = serde_json::to_vec(ledger.sightings()).unwrap();
    assert!(stored.len() < 100_000, "{}", stored.len());
    let sightings: Sightings = serde_json::from_slice(&stored).unwrap();
    let ledger = Ledger::restore([], sightings);
    assert_eq!(ledger.time(at(0)), at(2_999));
    let limits = Limits { storm: Some(Storm { targets: 500, within: seconds(900) }), ..Limits::default() };
    let left = ledger.left(at(2_999), &GlobalLimits::default(), [("r", &limits)]);
    assert_eq!((left[0].used, left[0].left), (900, Some(0)), "those of the last 15 minutes");
}

#[test]
fn a_full_ledger_reserves_nothing_more() {
    let mut world = World::new(Limits::default());
    for number in 0..MOST_ROWS as u128 {
        world.reserve(0, &ask(number, "a")).unwrap();
    }
    assert_eq!(world.refused(0, &ask(u128::MAX, "a")).limit, LimitName::Ledger);
    world.reserve(0, &ask(7, "a")).unwrap();
}

#[test]
fn shows_what_is_left() {
    let limits = Limits { per_target: rate("1 per 10m"), concurrent: Some(3), ..Limits::default() };
    let mut world = World::new(limits.clone());
    world.global.actions = rate("30 per 10m");
    world.act(0, &ask(1, "a"), Outcome::Fixed);
    world.reserve(60, &ask(2, "b")).unwrap();
    let left = world.ledger.left(at(60), &world.global, [("r", &limits)]);
    let shown: Vec<_> = left
        .iter()
        .map(|line| {
            (line.limit.as_str(), line.runbook.as_deref(), line.subject.as_deref(), line.used, line.left)
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("actions", None, None, 2, Some(28)),
            ("per_target", Some("r"), Some("a"), 1, Some(0)),
            ("per_target", Some("r"), Some("b"), 1, Some(0)),
            ("concurrent", Some("r"), None, 1, Some(2)),
        ]
    );
    assert_eq!((left[1].free_at, left[2].free_at), (Some(at(600)), None));
    let json = serde_json::to_value(&left[0]).unwrap();
    assert_eq!((&json["limit"], &json["rule"]), (&"actions".into(), &"30 per 10m".into()));
}

/// Facts about a group that was seen at second 0 and is good for a minute.
pub(super) fn roll(members: &[&str], healthy: Option<&[&str]>) -> Roll {
    let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
    Roll {
        group: "web".to_owned(),
        members: set(members),
        healthy: healthy.map(set),
        at: at(0),
        good_for: seconds(60),
    }
}
