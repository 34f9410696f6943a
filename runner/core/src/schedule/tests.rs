use proptest::prelude::*;

use super::*;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn schedule(expression: &str, catch_up: CatchUp, overlap: Overlap) -> Schedule {
    let calendar = Calendar::read(expression, chrono_tz::Tz::UTC).unwrap();
    Schedule { calendar, jitter: Duration::ZERO, catch_up, overlap, blackout: Vec::new() }
}

const NEVER: Facts<'static> = Facts { runbook: "r", unended: 0, blackout: &|_| None };

/// The hours that run, and the hours that are missed with their codes.
fn check(due: &Due, run: &[&str], missed: &[(&str, Code)]) {
    let hour = |occurrence: &Occurrence| occurrence.at.format("%H:%M").to_string();
    assert_eq!(due.run.iter().map(hour).collect::<Vec<_>>(), run, "{due:?}");
    let told: Vec<_> = due.missed.iter().map(|m| (hour(&m.occurrence), m.reason.code)).collect();
    let wanted: Vec<_> = missed.iter().map(|(hour, code)| ((*hour).to_owned(), *code)).collect();
    assert_eq!(told, wanted, "{due:?}");
}

#[test]
fn what_is_on_time_runs_and_what_is_not_due_waits() {
    let schedule = schedule("0 * * * *", CatchUp::None, Overlap::Skip);
    let due = schedule.due(at("2026-01-01T00:00:00Z"), at("2026-01-01T00:59:59Z"), &NEVER);
    check(&due, &[], &[]);
    assert_eq!((due.last, due.next), (at("2026-01-01T00:00:00Z"), Some(at("2026-01-01T01:00:00Z"))));
    let due = schedule.due(due.last, at("2026-01-01T01:00:30Z"), &NEVER);
    check(&due, &["01:00"], &[]);
    assert_eq!((due.last, due.next), (at("2026-01-01T01:00:00Z"), Some(at("2026-01-01T02:00:00Z"))));
    check(&schedule.due(due.last, at("2026-01-01T01:00:31Z"), &NEVER), &[], &[]);
}

#[test]
fn what_passed_while_nothing_ran_is_caught_up_as_the_runbook_says() {
    let (last, now) = (at("2026-01-01T00:00:00Z"), at("2026-01-01T04:30:00Z"));
    let due = |catch_up, overlap| schedule("0 * * * *", catch_up, overlap).due(last, now, &NEVER);
    let missed = Code::Missed;
    let none = due(CatchUp::None, Overlap::Skip);
    check(&none, &[], &[("01:00", missed), ("02:00", missed), ("03:00", missed), ("04:00", missed)]);
    assert_eq!(none.missed[3].reason.message, "it was noticed 30m too late, and nothing is caught up");
    let last_one = due(CatchUp::Last, Overlap::Skip);
    check(&last_one, &["04:00"], &[("01:00", missed), ("02:00", missed), ("03:00", missed)]);
    let all = due(CatchUp::All { most: 3 }, Overlap::Queue);
    check(&all, &["02:00", "03:00", "04:00"], &[("01:00", missed)]);
    assert_eq!(all.last, at("2026-01-01T04:00:00Z"));
}

#[test]
fn one_that_is_on_time_is_the_last_one_to_catch_up() {
    let schedule = schedule("0 * * * *", CatchUp::Last, Overlap::Skip);
    let due = schedule.due(at("2026-01-01T00:00:00Z"), at("2026-01-01T03:00:10Z"), &NEVER);
    check(&due, &["03:00"], &[("01:00", Code::Missed), ("02:00", Code::Missed)]);
}

#[test]
fn overlap_skips_or_queues_with_a_bound() {
    let (last, now) = (at("2026-01-01T00:00:00Z"), at("2026-01-01T01:00:00Z"));
    let busy = |unended| Facts { unended, ..NEVER };
    let skip = schedule("0 * * * *", CatchUp::None, Overlap::Skip);
    check(&skip.due(last, now, &busy(1)), &[], &[("01:00", Code::Busy)]);
    let queue = schedule("0 * * * *", CatchUp::None, Overlap::Queue);
    check(&queue.due(last, now, &busy(MOST_QUEUED)), &["01:00"], &[]);
    check(&queue.due(last, now, &busy(MOST_QUEUED + 1)), &[], &[("01:00", Code::QueueFull)]);
}

#[test]
fn a_blackout_holds_at_the_time_of_the_occurrence_and_of_its_catching_up() {
    let dark = |from: &'static str, until: &'static str| {
        move |now: DateTime<Utc>| (at(from) <= now && now < at(until)).then(|| "audit".to_owned())
    };
    let schedule = schedule("0 * * * *", CatchUp::Last, Overlap::Skip);
    let last = at("2026-01-01T00:00:00Z");
    let then = dark("2026-01-01T01:00:00Z", "2026-01-01T01:01:00Z");
    let facts = Facts { blackout: &then, ..NEVER };
    check(&schedule.due(last, at("2026-01-01T01:00:00Z"), &facts), &[], &[("01:00", Code::Window)]);
    check(&schedule.due(last, at("2026-01-01T02:00:00Z"), &facts), &["02:00"], &[("01:00", Code::Missed)]);
    let now = dark("2026-01-01T02:30:00Z", "2026-01-01T03:00:00Z");
    let facts = Facts { blackout: &now, ..NEVER };
    let due = schedule.due(last, at("2026-01-01T02:30:00Z"), &facts);
    check(&due, &[], &[("01:00", Code::Missed), ("02:00", Code::Window)]);
    assert_eq!(due.missed[1].reason.message, "the blackout window audit is open");
}

#[test]
fn a_clock_that_jumps_back_runs_nothing_twice() {
    let schedule = schedule("0 * * * *", CatchUp::All { most: 24 }, Overlap::Queue);
    let due = schedule.due(at("2026-01-01T12:00:00Z"), at("2026-01-01T06:30:00Z"), &NEVER);
    check(&due, &[], &[]);
    assert_eq!((due.last, due.next), (at("2026-01-01T12:00:00Z"), Some(at("2026-01-01T13:00:00Z"))));
}

#[test]
fn years_without_a_daemon_are_listed_up_to_a_bound() {
    let schedule = schedule("* * * * *", CatchUp::Last, Overlap::Skip);
    let due = schedule.due(at("2000-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z"), &NEVER);
    assert_eq!(due.run.len() + due.missed.len(), MOST_LISTED);
    assert_eq!(due.unlisted_before, Some(due.missed[0].occurrence.at));
    assert_eq!(due.last, at("2026-01-01T00:00:00Z"));
}

#[test]
fn jitter_is_the_same_on_every_node_and_within_its_bound() {
    let mut schedule = schedule("0 * * * *", CatchUp::None, Overlap::Skip);
    schedule.jitter = Duration::from_secs(600);
    let one = at("2026-01-01T01:00:00Z");
    let starts = |runbook| schedule.occurrence(runbook, one).starts;
    assert_eq!(starts("a"), starts("a"));
    assert_ne!(starts("a"), starts("b"));
    let due = |now| schedule.due(at("2026-01-01T00:00:00Z"), now, &Facts { runbook: "a", ..NEVER });
    let before = due(starts("a") - TimeDelta::milliseconds(1));
    check(&before, &[], &[]);
    assert_eq!(before.next, Some(starts("a")));
    check(&due(starts("a")), &["01:00"], &[]);
}

proptest! {
    #[test]
    fn every_occurrence_is_dealt_with_exactly_once(
        steps in prop::collection::vec(0i64..9_000, 1..30),
        catch_up in prop_oneof![Just(CatchUp::None), Just(CatchUp::Last), (1u32..30).prop_map(|most| CatchUp::All { most })],
        queue: bool,
        unended in 0u32..3,
        jitter in 0u64..800,
    ) {
        let overlap = if queue { Overlap::Queue } else { Overlap::Skip };
        let mut schedule = schedule("*/15 * * * *", catch_up, overlap);
        schedule.jitter = Duration::from_secs(jitter);
        let begin = at("2026-01-01T00:00:00Z");
        let facts = Facts { unended, ..NEVER };
        let (mut last, mut now) = (begin, begin);
        let mut seen = Vec::new();
        for step in steps {
            now += TimeDelta::seconds(step);
            let due = schedule.due(last, now, &facts);
            let mut dealt: Vec<_> = due.run.iter().copied().chain(due.missed.iter().map(|m| m.occurrence)).collect();
            dealt.sort_unstable();
            prop_assert!(dealt.iter().all(|occurrence| occurrence.starts <= now));
            prop_assert!(due.next.is_some_and(|next| next >= now));
            seen.extend(dealt.iter().map(|occurrence| occurrence.at));
            last = due.last;
        }
        let (wanted, _) = schedule.calendar.between(begin, last, 10_000);
        prop_assert_eq!(seen, wanted);
    }
}
