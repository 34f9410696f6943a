use proptest::prelude::*;

use super::*;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn calendar(text: &str, zone: &str) -> Calendar {
    Calendar::read(text, zone.parse().unwrap()).unwrap()
}

/// The first times after an instant.
fn check(expression: &str, zone: &str, after: &str, wanted: &[&str]) {
    let calendar = calendar(expression, zone);
    let mut now = at(after);
    for wanted in wanted {
        let next = calendar.next(now).unwrap();
        assert_eq!(next, at(wanted), "{expression} {zone} after {now}");
        now = next;
    }
}

#[test]
fn fields_mean_what_crontab_says() {
    // 2026-01-01 is a Thursday.
    check("0 3 * * 1-5", "UTC", "2026-01-01T03:00:00Z", &["2026-01-02T03:00:00Z", "2026-01-05T03:00:00Z"]);
    check("0 3 * * 0", "UTC", "2026-01-01T00:00:00Z", &["2026-01-04T03:00:00Z"]);
    check("0 3 * * 7", "UTC", "2026-01-01T00:00:00Z", &["2026-01-04T03:00:00Z"]);
    check(
        "0 3 * * fri-sun",
        "UTC",
        "2026-01-01T00:00:00Z",
        &["2026-01-02T03:00:00Z", "2026-01-03T03:00:00Z"],
    );
    check("0 3 * * 5-7", "UTC", "2026-01-03T12:00:00Z", &["2026-01-04T03:00:00Z", "2026-01-09T03:00:00Z"]);
    check("*/20 * * * *", "UTC", "2026-01-01T00:00:00Z", &["2026-01-01T00:20:00Z", "2026-01-01T00:40:00Z"]);
    check(
        "5-59/20 6,18 * JAN *",
        "UTC",
        "2026-01-01T06:30:00Z",
        &["2026-01-01T06:45:00Z", "2026-01-01T18:05:00Z"],
    );
    check(
        "0 0 13 * 5",
        "UTC",
        "2026-01-01T00:00:00Z",
        &["2026-01-02T00:00:00Z", "2026-01-09T00:00:00Z", "2026-01-13T00:00:00Z"],
    );
    check("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", &["2028-02-29T00:00:00Z"]);
    check("@weekly", "UTC", "2026-01-01T00:00:00Z", &["2026-01-04T00:00:00Z"]);
    check("@Yearly", "Europe/Berlin", "2026-01-01T00:00:00Z", &["2026-12-31T23:00:00Z"]);
}

#[test]
fn a_time_in_a_gap_runs_once_right_after_it_and_one_in_a_fold_once() {
    check(
        "30 2 * * *",
        "Europe/Berlin",
        "2026-03-28T12:00:00Z",
        &["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"],
    );
    check(
        "*/15 2 * * *",
        "Europe/Berlin",
        "2026-03-29T00:00:00Z",
        &["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"],
    );
    check(
        "30 2,3 * * *",
        "Europe/Berlin",
        "2026-03-29T00:00:00Z",
        &["2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"],
    );
    check(
        "30 2 * * *",
        "Europe/Berlin",
        "2026-10-24T12:00:00Z",
        &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"],
    );
    check(
        "30 1 * * *",
        "America/New_York",
        "2026-11-01T00:00:00Z",
        &["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"],
    );
    check(
        "30 2 * * *",
        "America/New_York",
        "2026-03-08T00:00:00Z",
        &["2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"],
    );
    check(
        "10 2 * * *",
        "Australia/Lord_Howe",
        "2026-10-03T00:00:00Z",
        &["2026-10-03T15:30:00Z", "2026-10-04T15:10:00Z"],
    );
    check(
        "45 1 * * *",
        "Australia/Lord_Howe",
        "2026-04-04T00:00:00Z",
        &["2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"],
    );
}

#[test]
fn what_runs_every_hour_runs_by_time_that_passes() {
    let spring = ["2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z"];
    check("30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", &spring);
    let autumn =
        ["2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z"];
    check("*/30 * * * *", "Europe/Berlin", "2026-10-24T23:30:00Z", &autumn);
    let half_an_hour = ["2026-04-04T14:45:00Z", "2026-04-04T15:15:00Z", "2026-04-04T16:15:00Z"];
    check("45 * * * *", "Australia/Lord_Howe", "2026-04-04T14:00:00Z", &half_an_hour);
}

#[test]
fn what_is_no_expression_is_refused_with_what_would_be() {
    for (text, wanted) in [
        ("", "has 0 fields"),
        ("* * * *", "has 4 fields; valid are five"),
        ("0 0 3 * * *", "has 6 fields"),
        ("61 * * * *", "61"),
        ("0 24 * * *", "24"),
        ("0 3 * * 8", "\"8\" is no day of the week"),
        ("0 3 * * 5-2", "runs backwards"),
        ("0 3 * * 1/2", "\"1/2\" is no day"),
        ("0 3 * * 1/0", "no day of the week"),
        ("0 3 L * *", ""),
        ("0 3 ? * *", "'?' in \"?\" is not known"),
        ("0 3 * * 5#2", "'#'"),
        ("0 0 30 2 *", "names no time at all"),
        ("@often", "valid are @hourly, @daily"),
        ("0 3 * * \u{e4}", "is not known"),
    ] {
        let error = Calendar::read(text, Tz::UTC).unwrap_err();
        assert!(error.contains(wanted), "{text}: {error}");
    }
    assert!(Calendar::read(&"1,".repeat(200), Tz::UTC).unwrap_err().contains("at most 256 bytes"));
}

#[test]
fn the_shortest_gap_bounds_the_jitter() {
    let gap = |text| calendar(text, "UTC").shortest_gap().unwrap().as_secs();
    assert_eq!(gap("*/5 * * * *"), 300);
    assert_eq!(gap("0 3,4 * * 1"), 3600);
    assert_eq!(gap("0 0 1 * *"), 28 * 86_400);
}

#[test]
fn far_too_many_are_cut_to_the_newest() {
    let calendar = calendar("* * * * *", "Europe/Berlin");
    let (times, more) = calendar.between(at("2000-01-01T00:00:00Z"), at("2026-10-25T02:00:00Z"), 100);
    assert!(more && times.len() == 100);
    assert_eq!(times[0], at("2026-10-25T00:21:00Z"));
    assert_eq!(times[99], at("2026-10-25T02:00:00Z"));
    assert_eq!(
        calendar.between(at("2026-01-02T00:00:00Z"), at("2026-01-01T00:00:00Z"), 100),
        (vec![], false)
    );
}

/// Expressions on which crontab, croner and we agree: croner calls a wild minute an interval already.
fn any_expression() -> impl Strategy<Value = String> {
    let minute = prop_oneof![Just("0"), Just("30"), Just("15,45"), Just("59")];
    let hour = prop_oneof![Just("*"), Just("2"), Just("1,2,3"), Just("0-4"), Just("*/2"), Just("23")];
    let day = prop_oneof![Just("*"), Just("1"), Just("25-31"), Just("13")];
    let month = prop_oneof![Just("*"), Just("3,4,10,11"), Just("2")];
    let weekday = prop_oneof![Just("*"), Just("0"), Just("1-5"), Just("7")];
    (minute, hour, day, month, weekday)
        .prop_map(|(minute, hour, day, month, weekday)| format!("{minute} {hour} {day} {month} {weekday}"))
}

fn any_zone() -> impl Strategy<Value = Tz> {
    prop_oneof![
        Just(Tz::UTC),
        Just(Tz::Europe__Berlin),
        Just(Tz::America__New_York),
        Just(Tz::Australia__Lord_Howe),
        Just(Tz::Asia__Kolkata),
    ]
}

proptest! {
    #[test]
    fn another_implementation_names_the_same_times(
        expression in any_expression(),
        zone in any_zone(),
        day in 0i64..700,
    ) {
        let calendar = Calendar::read(&expression, zone).unwrap();
        let other: croner::Cron = expression.parse().unwrap();
        let mut now = at("2025-01-01T00:00:00Z") + TimeDelta::days(day);
        for _ in 0..30 {
            let ask = |from: DateTime<Utc>| {
                other.find_next_occurrence(&from.with_timezone(&zone), false).unwrap().to_utc()
            };
            let mut wanted = ask(now);
            // Asked from within a fold, it names a fixed time again, against its own documentation.
            while !calendar.every_hour && zone::instants(zone, zone::local(zone, wanted))[1] == Some(wanted) {
                wanted = ask(wanted);
            }
            let next = calendar.next(now).unwrap();
            let shown = zone::local(zone, next);
            // What stands for a time in a gap is ours: with several hours, the other leaves it out.
            if calendar.locals(shown - TimeDelta::seconds(1)).next() == Some(shown) {
                prop_assert_eq!(next, wanted, "{} {} after {}", expression, zone, now);
            }
            now = next;
        }
    }

    #[test]
    fn looking_back_finds_what_going_forward_found(
        expression in any_expression(),
        zone in any_zone(),
        day in 0i64..700,
        days in 0i64..20,
    ) {
        let calendar = Calendar::read(&expression, zone).unwrap();
        let begin = at("2025-01-01T00:30:00Z") + TimeDelta::days(day);
        let end = begin + TimeDelta::days(days);
        let forward: Vec<_> = std::iter::successors(calendar.next(begin), |time| calendar.next(*time))
            .take_while(|time| *time <= end)
            .collect();
        let (back, more) = calendar.between(begin, end, 10_000);
        prop_assert_eq!(&back, &forward);
        prop_assert!(!more);
        let (newest, more) = calendar.between(begin, end, 5);
        prop_assert_eq!(&newest[..], &forward[forward.len().saturating_sub(5)..]);
        prop_assert_eq!(more, forward.len() > 5);
    }
}
