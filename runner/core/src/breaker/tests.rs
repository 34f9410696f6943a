use std::time::Duration;

use chrono::{DateTime, Utc};

use super::*;
use crate::policy::reader::Reader;
use crate::policy::yaml;

pub(super) fn at(minute: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + minute * 60, 0).unwrap()
}

pub(super) fn run(number: u128) -> RunId {
    RunId::from_bits(number)
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes * 60)
}

fn target() -> Settings {
    BreakerSettings::default().target
}

/// A breaker that opened at minute 2, by runs 1 to 3.
fn opened() -> Breaker {
    let mut breaker = Breaker::new();
    for (number, minute) in (1..=3).zip(0..) {
        let id = run(number);
        breaker.begin(at(minute), &id).unwrap();
        let moved = breaker.record(&target(), at(minute), &id, Grade::Bad);
        assert_eq!(moved.is_some(), number == 3);
    }
    breaker
}

fn why(breaker: &Breaker, minute: i64, number: u128) -> String {
    breaker.ask(at(minute), &run(number)).unwrap_err().to_string()
}

#[test]
fn opens_after_three_failures_in_half_an_hour_and_says_why() {
    let breaker = opened();
    assert_eq!(breaker.state().as_str(), "open");
    assert_eq!(
        why(&breaker, 3, 9),
        "breaker: open: 3 of 3 runs within 30m did not fix it or failed; a trial is let through at \
         2027-01-15T08:17:00Z, in 14m"
    );
    let mut slow = Breaker::new();
    for (number, quarter) in (0..9).zip(0..) {
        let moved = slow.record(&target(), at(quarter * 15), &run(number), Grade::Bad);
        assert_eq!(moved, None, "never three within half an hour");
    }
}

#[test]
fn the_one_of_a_plugin_needs_a_sample_and_a_rate() {
    let settings = BreakerSettings::default().plugin;
    let mut breaker = Breaker::new();
    for number in 0..9 {
        assert_eq!(breaker.record(&settings, at(0), &run(number), Grade::Bad), None, "too few");
    }
    assert!(breaker.record(&settings, at(0), &run(9), Grade::Good).is_some(), "9 of 10");
    let mut breaker = Breaker::new();
    for number in 0..30 {
        let grade = if number % 5 == 0 { Grade::Bad } else { Grade::Good };
        assert_eq!(breaker.record(&settings, at(0), &run(number), grade), None, "6 of 30 are few");
    }
}

#[test]
fn lets_one_trial_through_and_closes_after_two_good_ones() {
    let mut breaker = opened();
    assert!(breaker.ask(at(16), &run(4)).is_err());
    assert_eq!(breaker.ask(at(17), &run(4)), Ok(Pass { trial: true }));
    let (pass, moved) = breaker.begin(at(17), &run(4)).unwrap();
    let moved = moved.unwrap();
    assert_eq!((pass.trial, moved.from, moved.to), (true, "open", "half-open"));
    assert_eq!(
        why(&breaker, 17, 5),
        format!(
            "breaker: half-open, and run {} tries already; it had opened because 3 of 3 runs within 30m did not \
             fix it or failed",
            run(4)
        )
    );
    assert_eq!(breaker.begin(at(18), &run(4)), Ok((Pass { trial: true }, None)), "the trial itself goes on");
    assert_eq!(breaker.record(&target(), at(18), &run(4), Grade::Good), None);
    breaker.begin(at(18), &run(5)).unwrap();
    let moved = breaker.record(&target(), at(19), &run(5), Grade::Good).unwrap();
    assert_eq!((moved.from, moved.to, moved.why.as_str()), ("half-open", "closed", "2 trials were good"));
    assert_eq!(breaker.ask(at(19), &run(6)), Ok(Pass { trial: false }));
    assert!(breaker.is_idle(at(19), &target()), "what was before is forgotten");
}

#[test]
fn a_failed_trial_opens_it_for_twice_as_long_up_to_a_bound() {
    let mut breaker = opened();
    let mut minute = 2;
    let mut opens = Vec::new();
    for number in 10..17 {
        let State::Open { until: Some(until), .. } = *breaker.state() else { panic!() };
        opens.push((until - at(minute)).num_minutes());
        minute = (until - at(0)).num_minutes();
        breaker.begin(until, &run(number)).unwrap();
        breaker.record(&target(), until, &run(number), Grade::Bad).unwrap();
    }
    assert_eq!(opens, [15, 30, 60, 120, 240, 240, 240]);
    let text = why(&breaker, minute, 99);
    assert!(text.contains("the trial of run") && text.len() < 300, "{text}");
}

#[test]
fn failures_while_open_do_not_restart_the_cooldown() {
    let mut breaker = opened();
    for number in 20..40 {
        assert_eq!(breaker.record(&target(), at(16), &run(number), Grade::Bad), None);
    }
    assert_eq!(breaker.ask(at(17), &run(99)), Ok(Pass { trial: true }));
}

#[test]
fn an_abandoned_trial_makes_room_for_another() {
    let mut breaker = opened();
    breaker.begin(at(17), &run(4)).unwrap();
    assert_eq!(breaker.record(&target(), at(18), &run(4), Grade::Neither), None);
    assert_eq!(breaker.begin(at(18), &run(5)).unwrap().0, Pass { trial: true });
    assert_eq!(breaker.record(&target(), at(19), &run(4), Grade::Bad), None, "it is no trial any more");
    assert_eq!(breaker.state().as_str(), "half-open");
}

#[test]
fn people_open_and_close_it_with_a_reason() {
    let mut breaker = Breaker::new();
    assert_eq!(breaker.trip(at(0), "ada", "  "), Err(NoReason));
    assert_eq!(breaker.reset(at(0), "ada", ""), Err(NoReason));
    let moved = breaker.trip(at(0), "ada", "bad release").unwrap();
    assert_eq!((moved.from, moved.to, moved.why.as_str()), ("closed", "open", "ada opened it: bad release"));
    assert_eq!(
        why(&breaker, 1_000_000, 1),
        "breaker: open until a person closes it: ada opened it: bad release"
    );
    assert_eq!(breaker.reset(at(1), "bo", "rolled back").unwrap().why, "bo closed it: rolled back");
    assert_eq!(breaker.ask(at(1), &run(1)), Ok(Pass { trial: false }));
}

#[test]
fn a_clock_that_is_set_back_does_not_shorten_or_stretch_the_cooldown() {
    let mut breaker = opened();
    assert!(breaker.begin(at(10), &run(8)).is_err());
    assert!(breaker.begin(at(-100_000), &run(8)).is_err());
    assert!(why(&breaker, -100_000, 8).ends_with("in 7m"), "the latest it was told was minute 10");
    assert!(breaker.begin(at(17), &run(8)).is_ok());
}

#[test]
fn only_what_the_plugin_did_counts() {
    for (outcome, code, grade) in [
        (Outcome::Fixed, Code::Verified, Grade::Good),
        (Outcome::Done, Code::Completed, Grade::Good),
        (Outcome::NotFixed, Code::StillFailing, Grade::Bad),
        (Outcome::Failed, Code::Trap, Grade::Bad),
        (Outcome::Failed, Code::PluginError, Grade::Bad),
        (Outcome::Failed, Code::Internal, Grade::Neither),
        (Outcome::Failed, Code::Journal, Grade::Neither),
        (Outcome::Unknown, Code::NoAnswer, Grade::Neither),
        (Outcome::Cancelled, Code::RecoveredBeforeActing, Grade::Neither),
        (Outcome::Refused, Code::Limit, Grade::Neither),
        (Outcome::Observed, Code::Observe, Grade::Neither),
    ] {
        assert_eq!(Grade::of(outcome, code), grade, "{outcome:?} {code}");
    }
}

#[test]
fn remembers_a_bounded_number_of_results() {
    let never = Settings { failures: 1_000, ..target() };
    let mut breaker = Breaker::new();
    for number in 0..10_000 {
        breaker.record(&never, at(0), &run(number), Grade::Bad);
    }
    assert_eq!(breaker.results().count(), MOST_RESULTS);
    assert!(!breaker.is_idle(at(29), &never) && breaker.is_idle(at(30), &never));
}

fn read_settings(text: &str) -> (BreakerSettings, Vec<String>) {
    let root = yaml::parse("s.yaml", text).unwrap();
    let mut reader = Reader::new("s.yaml");
    let settings = read(&mut reader, &root);
    (settings, reader.finish().iter().map(ToString::to_string).collect())
}

#[test]
fn reads_what_operators_write() {
    let (settings, problems) = read_settings("{}");
    assert_eq!((settings, problems), (BreakerSettings::default(), Vec::new()));
    let text = "{ failures: 5, window: 1h, cooldown: 5m, successes: 1, longest_cooldown: 1h,\n  \
                plugin: { sample: 20, failure_rate: 80%, cooldown: 10m } }";
    let (settings, problems) = read_settings(text);
    assert_eq!(problems, [""; 0]);
    let wanted = Settings {
        failures: 5,
        window: minutes(60),
        cooldown: minutes(5),
        longest_cooldown: minutes(60),
        successes: 1,
        ..target()
    };
    assert_eq!(settings.target, wanted);
    let wanted = Settings { failures: 5, sample: 20, failure_rate: 80, cooldown: minutes(10), ..wanted };
    assert_eq!(settings.plugin, wanted, "the rest as for plugin and target");
    let (settings, problems) = read_settings("{ cooldown: 12h }");
    assert_eq!((settings.target.longest_cooldown, problems), (minutes(720), Vec::new()));
}

#[test]
fn wrong_settings_are_refused_at_their_place() {
    for (text, wanted) in [
        ("{ failure: 3 }", "s.yaml:1:3: unknown key \"failure\" in breaker (did you mean \"failures\"?)"),
        ("{ failures: 0 }", "s.yaml:1:13: breaker.failures must be from 1 to 256"),
        ("{ window: 0s }", "s.yaml:1:11: breaker.window must be longer than 0s and at most 31d"),
        ("{ cooldown: 1h, longest_cooldown: 5m }", "s.yaml:1:35: breaker.longest_cooldown must be at least"),
        (
            "{ plugin: { failure_rate: 0.5 } }",
            "s.yaml:1:27: breaker.plugin.failure_rate must be a percentage",
        ),
        ("{ plugin: { plugin: {} } }", "s.yaml:1:13: unknown key \"plugin\" in breaker.plugin"),
    ] {
        let (_, problems) = read_settings(text);
        let [problem] = problems.as_slice() else { panic!("{text}: {problems:?}") };
        assert!(problem.starts_with(wanted), "{problem}");
    }
}
