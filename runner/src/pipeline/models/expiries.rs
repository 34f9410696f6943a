//! Every end that only the clock brings, in the pipeline: just before, at, and after its moment. The clock stands
//! still until a test moves it.

use std::collections::BTreeSet;
use std::time::Duration;

use staunch_core::alert::{Alert, Severity, Status};
use staunch_core::gate::{PARKED_FOR, PLAN_GOOD_FOR};
use staunch_core::policy::Person;
use staunch_core::record::Standing as Firing;
use staunch_core::run::State;
use staunch_core::silence::Matchers;

use super::super::drive::{self, Start};
use super::super::limits::Wish;
use super::super::requests::{self, Yes};
use super::super::silences::SilenceRequest;
use super::super::{Refusal, stale};
use super::*;

/// The last moment before another.
const INSTANT: TimeDelta = TimeDelta::microseconds(1);

fn moment(since: TimeDelta) -> DateTime<Utc> {
    DateTime::from_timestamp(BEGINNING, 0).unwrap() + since
}

/// A question that stands for so long.
fn ask(approvals: u32, stands: TimeDelta) -> Ask {
    Ask {
        approvals,
        roles: vec!["operator".to_owned()],
        expires: moment(stands),
        separation: true,
        escalate: Vec::new(),
        deputies: None,
        comment: false,
    }
}

fn with_people(names: &[&str], expires: Option<DateTime<Utc>>) -> World {
    let world = World::new("{}\n", &[("r", "")]);
    for name in names {
        let made = world.pipeline().create_token(name, vec!["operator".to_owned()], expires, "root");
        drop(world.runtime.block_on(made).unwrap());
    }
    world
}

impl World {
    fn at(&self, since: TimeDelta) {
        self.clock.set(moment(since));
    }

    fn approve(&self, number: u64, name: &str) -> Result<Run, Refusal> {
        let roles = ["operator".to_owned()].into();
        let person = Person { name: name.to_owned(), roles, groups: BTreeSet::new(), subject: None };
        let yes = Yes { plan: Digest::of(b"plan"), comment: None, envelope: None, storm: None };
        let (shared, live) = (&self.pipeline().0, &self.runs[&number]);
        self.runtime.block_on(requests::approve(shared, live, &person, yes))
    }

    /// Lets the run's own task go on from here, in the background.
    fn drive(&self, number: u64, start: Start) {
        let (shared, live) = (Arc::clone(&self.pipeline().0), Arc::clone(&self.runs[&number]));
        drop(self.runtime.spawn(drive::drive(shared, live, start)));
    }

    /// Lets the run's task look at the clock; the run once it has had time to.
    fn looked(&self, number: u64, enough: impl Fn(&Run) -> bool) -> Arc<Run> {
        self.runtime.block_on(async {
            let live = &self.runs[&number];
            for _ in 0..200 {
                live.wake();
                tokio::time::sleep(Duration::from_millis(2)).await;
                let run = live.snapshot().await;
                if enough(&run) {
                    return run;
                }
            }
            live.snapshot().await
        })
    }

    /// The run's task has looked at the clock some times, and nothing came of it.
    fn stays(&self, number: u64, state: State) {
        self.runtime.block_on(async {
            for _ in 0..5 {
                self.runs[&number].wake();
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        assert_eq!(self.run(number).state, state);
    }

    /// The run's task has looked at the clock, and the run is over.
    fn ends(&self, number: u64) -> Arc<Run> {
        let run = self.looked(number, |run| run.state == State::Ended);
        assert_eq!(run.state, State::Ended, "{run:#?}");
        run
    }
}

fn ended_by(run: &Run) -> (Option<Outcome>, Option<Code>) {
    (run.outcome, run.reason.as_ref().map(|reason| reason.code))
}

#[test]
fn a_question_is_over_at_its_moment_and_not_before() {
    let stands = seconds(50);
    let mut world = with_people(&["ada", "ben"], None);
    world.begin(0, "r", "t", None, Some(ask(2, stands)));
    world.drive(0, Start::Waiting);
    world.at(stands - INSTANT);
    world.stays(0, State::Waiting);
    drop(world.approve(0, "ada").unwrap());
    world.at(stands);
    let late = world.approve(0, "ben").unwrap_err();
    assert!(matches!(&late, Refusal::Conflict(reason) if reason.code == Code::Expired), "{late}");
    let run = world.ends(0);
    assert_eq!(ended_by(&run), (Some(Outcome::Expired), Some(Code::Expired)));
}

#[test]
fn a_question_that_ended_while_nobody_looked_is_over_after_the_restart() {
    let stands = seconds(50);
    let mut world = with_people(&["ada"], None);
    world.begin(0, "r", "t", None, Some(ask(1, stands)));
    drop(world.approve(0, "ada").unwrap());
    world.at(stands);
    world.restart(true);
    world.drive(0, Start::Waiting);
    assert_eq!(ended_by(&world.ends(0)), (Some(Outcome::Expired), Some(Code::Expired)), "default deny");
}

#[test]
fn a_permit_of_people_holds_as_long_as_their_question_stood() {
    let stands = seconds(50);
    let mut world = with_people(&["ada"], None);
    world.begin(0, "r", "t", None, Some(ask(1, stands)));
    drop(world.approve(0, "ada").unwrap());
    world.permit(0, true).unwrap();
    for restarts in [false, true] {
        if restarts {
            world.restart(false);
        }
        let goes_on = |since| {
            world.at(since);
            world.pipeline().0.permit_resumed(&world.run(0)).map(drop).map_err(|reason| reason.code)
        };
        assert_eq!(goes_on(stands - INSTANT), Ok(()));
        assert_eq!(goes_on(stands), Err(Code::Expired));
        assert_eq!(goes_on(stands + INSTANT), Err(Code::Expired));
    }
}

#[test]
fn a_plan_is_approved_as_it_was_shown_for_a_minute() {
    for (since, good) in
        [(PLAN_GOOD_FOR - INSTANT, true), (PLAN_GOOD_FOR, true), (PLAN_GOOD_FOR + INSTANT, false)]
    {
        let mut world = with_people(&["ada"], None);
        world.begin(0, "r", "t", None, Some(ask(1, seconds(600))));
        world.at(since);
        // Its plugin is not there: planning it anew, as an old plan must be, does not come to its end.
        let approved = world.approve(0, "ada");
        assert_eq!(approved.is_ok(), good, "{since}: {approved:?}");
    }
}

#[test]
fn a_person_counts_until_their_token_ends() {
    let leaves = seconds(20);
    let mut world = with_people(&["ada"], Some(moment(leaves)));
    world.begin(0, "r", "t", None, Some(ask(1, seconds(50))));
    drop(world.approve(0, "ada").unwrap());
    let permit = |world: &World, since| {
        world.at(since);
        world.pipeline().0.permit_of_people(&world.run(0)).map(drop).map_err(|reason| reason.code)
    };
    assert_eq!(permit(&world, leaves - INSTANT), Ok(()));
    assert_eq!(permit(&world, leaves), Err(Code::Quorum));
    world.restart(false);
    assert_eq!(permit(&world, leaves), Err(Code::Quorum));
}

#[test]
fn a_run_is_parked_for_a_day_and_no_longer() {
    let mut world = World::new("{}\n", &[("r", "")]);
    world.begin(0, "r", "t", None, None);
    world.permit(0, false).unwrap();
    world.tell(0, vec![intended(0)]);
    let leaf = event::RunParked { code: Code::InDoubt, step: 0 };
    let outside = payload::RunParked { message: "in doubt".to_owned(), question: None, asked: None };
    world.tell(0, vec![Fact::RunParked(leaf, Outside::Kept(outside))]);
    world.drive(0, Start::Parked);
    world.at(PARKED_FOR - INSTANT);
    world.stays(0, State::Parked);
    world.at(PARKED_FOR);
    let run = world.ends(0);
    assert_eq!(run.given_up.as_ref().map(|reason| reason.code), Some(Code::Expired), "{run:#?}");
    assert_eq!(run.outcome, Some(Outcome::Unknown), "what was done is not known");
}

#[test]
fn what_a_person_holds_is_theirs_for_a_day() {
    let mut world = World::new("{}\n", &[("r", "")]);
    world.begin(0, "r", "t", None, Some(ask(1, PARKED_FOR * 7)));
    let outside = payload::RunTakenOver { by: "ada".to_owned(), comment: None };
    world.tell(0, vec![Fact::RunTakenOver(event::RunTakenOver {}, Outside::Kept(outside))]);
    world.drive(0, Start::Waiting);
    world.at(PARKED_FOR - INSTANT);
    world.stays(0, State::Waiting);
    world.at(PARKED_FOR);
    assert_eq!(ended_by(&world.ends(0)), (Some(Outcome::Cancelled), Some(Code::TakenOver)));
}

#[test]
fn a_silence_covers_from_its_start_until_its_end() {
    let mut world = World::new("{}\n", &[("r", "")]);
    let (starts, ends) = (seconds(10), seconds(20));
    let request = SilenceRequest {
        matchers: Matchers::parse(&["job=\"web\""]).unwrap(),
        starts_at: moment(starts),
        ends_at: moment(ends),
        comment: "because".to_owned(),
    };
    drop(world.runtime.block_on(world.pipeline().silence(request, "ada")).unwrap());
    let labels = BTreeMap::from([("job".to_owned(), "web".to_owned())]);
    for restarts in [false, true] {
        if restarts {
            world.at(starts);
            world.restart(true);
        }
        for (since, silent) in
            [(starts - INSTANT, false), (starts, true), (ends - INSTANT, true), (ends, false)]
        {
            world.at(since);
            let subject = staunch_core::window::Subject {
                labels: &labels,
                target: Some("t"),
                runbook: "r",
                plugins: &[PLUGIN],
                safe: false,
            };
            let ruling = world.pipeline().0.windows_over(&subject, true, None);
            assert_eq!(ruling.autonomy.is_none(), silent, "{since}: {ruling:?}");
        }
    }
}

#[test]
fn a_window_holds_from_its_start_until_its_end_whenever_its_calendar_was_seen() {
    let windows = "windows:\n  \
         - { name: once, kind: maintenance, from: '2027-01-15T08:00:10Z', until: '2027-01-15T08:00:20Z' }\n  \
         - { name: daily, kind: freeze, time_zone: UTC, start: '2027-01-15T08:01:00', duration: 1m, \
         recurrence: FREQ=DAILY }\n";
    let mut world = World::new("{}\n", &[("r", "")]);
    world.runbooks.push(("windows.yaml".to_owned(), windows.to_owned()));
    world.restart(false);
    let day = 86_400;
    let (open, shut) = ([10, 60, 60 + day], [20, 120, 120 + day]);
    let edges: Vec<(TimeDelta, bool)> = open
        .iter()
        .zip(&shut)
        .flat_map(|(from, until)| {
            let (from, until) = (seconds(*from), seconds(*until));
            [(from - INSTANT, false), (from, true), (until - INSTANT, true), (until, false)]
        })
        .collect();
    // Forwards, and backwards: a clock that is set back is told the truth, too.
    for (since, covered) in edges.iter().chain(edges.iter().rev()) {
        world.at(*since);
        let subject = staunch_core::window::Subject {
            labels: &BTreeMap::new(),
            target: Some("t"),
            runbook: "r",
            plugins: &[PLUGIN],
            safe: false,
        };
        let ruling = world.pipeline().0.windows_over(&subject, true, None);
        assert_eq!(ruling.autonomy.is_none(), *covered, "{since}: {ruling:?}");
    }
}

fn alert() -> Alert {
    Alert {
        id: None,
        source: "s".to_owned(),
        fingerprint: "f".to_owned(),
        status: Status::Firing,
        severity: Severity::Warning,
        title: None,
        description: None,
        service: None,
        target: None,
        labels: BTreeMap::from([("alertname".to_owned(), "Down".to_owned())]),
        annotations: BTreeMap::new(),
        starts_at: None,
        ends_at: None,
        links: Vec::new(),
        raw_digest: Digest::of(b"raw"),
    }
}

#[test]
fn an_alert_that_nobody_speaks_of_any_more_is_stale_after_its_time() {
    let world = World::new("{}\n", &[("r", "")]);
    let pipeline = world.pipeline();
    let told = |since| {
        world.at(since);
        let heard = pipeline.receive("s", bytes::Bytes::from_static(b"{}"), vec![alert()]);
        world.runtime.block_on(heard).unwrap().remove(0).id.unwrap()
    };
    let first = told(TimeDelta::zero());
    // Heard of again, it has all of its time anew.
    let (again, stale_after) = (TimeDelta::hours(11), TimeDelta::hours(12));
    assert_eq!(told(again), first);
    for (since, wanted) in [
        (stale_after + INSTANT, Firing::Firing),
        (again + stale_after, Firing::Firing),
        (again + stale_after + INSTANT, Firing::Stale),
    ] {
        world.at(since);
        world.runtime.block_on(stale::sweep(&pipeline.0)).unwrap();
        let record = world.runtime.block_on(pipeline.alert(&first)).unwrap().unwrap();
        assert_eq!(record.status, wanted, "{since}");
    }
    assert_ne!(told(again + stale_after + seconds(1)), first, "it fires anew");
}

/// Whether a run at a place would be stopped by a limit.
fn limited(world: &World, target: &str) -> bool {
    let shared = &world.pipeline().0;
    let rules = shared.rules();
    let wish = Wish {
        run: &id(u64::MAX),
        runbook: rules.policies.runbook("r").unwrap(),
        plugins: &[PLUGIN],
        target,
        labels: &BTreeMap::new(),
        mode: Mode::Act,
        drill: false,
    };
    shared.limit_of_wish(&rules, &wish).is_some()
}

#[test]
fn a_rate_and_a_cooldown_end_at_their_moments() {
    let rate = "limits: { per_target: 1 per 60s }\n";
    let cooldown = "limits: { cooldown: { after_success: 20s, after_failure: 40s } }\n";
    for (limits, outcome, free) in [
        (rate, Outcome::Fixed, seconds(60)),
        (cooldown, Outcome::Fixed, seconds(25)),
        (cooldown, Outcome::NotFixed, seconds(45)),
    ] {
        let mut world = World::new("{}\n", &[("r", limits)]);
        world.begin(0, "r", "t", None, None);
        world.permit(0, false).unwrap();
        world.act(0, 0);
        world.at(seconds(5));
        world.end(0, Some("returned"), outcome, Code::Completed);
        for restarts in [false, true] {
            if restarts {
                world.at(seconds(6));
                world.restart(true);
            }
            for (since, stopped) in [(free - INSTANT, true), (free, false)] {
                world.at(since);
                assert_eq!(limited(&world, "t"), stopped, "{limits} {outcome:?} {since} {restarts}");
            }
        }
    }
}

#[test]
fn a_breaker_lets_one_try_at_the_end_of_its_cooldown() {
    let config = "breaker: { failures: 1, cooldown: 5m, longest_cooldown: 20m }\n";
    let mut world = World::new(config, &[("r", "")]);
    world.begin(0, "r", "t", None, None);
    world.permit(0, false).unwrap();
    world.act(0, 0);
    world.end(0, Some("returned"), Outcome::NotFixed, Code::Completed);
    world.restart(true);
    world.at(seconds(300) - INSTANT);
    world.begin(1, "r", "t", None, None);
    assert_eq!(world.permit(1, false), Err(Code::Breaker));
    world.at(seconds(300));
    assert_eq!(world.permit(1, false), Ok(()));
    world.begin(2, "r", "t", None, None);
    assert_eq!(world.permit(2, false), Err(Code::Breaker), "one at a time");
}
