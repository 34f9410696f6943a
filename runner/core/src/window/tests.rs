use proptest::prelude::*;

use super::recurrence::Recurrence;
use super::*;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn read(text: &str) -> Windows {
    Windows::read(FILE, text).map_err(|problems| format!("{problems:#?}")).unwrap().0
}

fn problems(text: &str) -> Vec<String> {
    Windows::read(FILE, text).unwrap_err().iter().map(ToString::to_string).collect()
}

const SUBJECT: Subject<'static> = Subject {
    labels: &BTreeMap::new(),
    target: Some("web-7"),
    runbook: "restart",
    plugins: &["restart-service"],
    safe: false,
};

/// The codes of what the windows say at an instant, `-` for a pass.
fn say(windows: &Windows, now: &str, subject: &Subject<'_>, glass: Option<&str>) -> String {
    let now = at(now);
    let outlook = windows.outlook(now);
    let ruling = rule(now, subject.runbook, &windows.in_force(&outlook, now, subject), glass);
    ruling.autonomy.map_or("refused", Autonomy::as_str).to_owned()
}

/// The first spans of a recurrence, each asked for at the end of the one before.
fn spans(zone: &str, start: &str, length: &str, lines: &[&str], now: &str, most: usize) -> Vec<String> {
    let crate::zone::Written::Local(start) = crate::zone::parse_time(start).unwrap() else { panic!() };
    let length = crate::policy::duration::parse(length).unwrap();
    let recurrence = Recurrence::read(zone.parse().unwrap(), start, length, lines).unwrap();
    let mut now = at(now);
    let mut spans = Vec::new();
    while let Some(span) = recurrence.span(now).filter(|_| spans.len() < most) {
        spans.push(format!("{}/{}", span.from.format("%FT%TZ"), span.until.format("%FT%TZ")));
        now = span.until;
    }
    spans
}

#[test]
fn a_nightly_window_holds_its_local_time_over_both_changes_of_clocks() {
    let berlin = |now| spans("Europe/Berlin", "2026-01-01T02:30", "1h", &["FREQ=DAILY"], now, 3);
    let in_gap = ["2026-03-28T01:30:00Z/2026-03-28T02:30:00Z", "2026-03-29T01:30:00Z/2026-03-29T02:30:00Z"];
    assert_eq!(berlin("2026-03-27T12:00:00Z")[..2], in_gap);
    let in_fold = [
        "2026-10-24T00:30:00Z/2026-10-24T01:30:00Z",
        "2026-10-25T00:30:00Z/2026-10-25T01:30:00Z",
        "2026-10-26T01:30:00Z/2026-10-26T02:30:00Z",
    ];
    assert_eq!(berlin("2026-10-23T12:00:00Z"), in_fold);
    let new_york =
        spans("America/New_York", "2026-01-01T02:15", "30m", &["FREQ=DAILY"], "2026-03-08T06:00:00Z", 2);
    let wanted = ["2026-03-08T07:15:00Z/2026-03-08T07:45:00Z", "2026-03-09T06:15:00Z/2026-03-09T06:45:00Z"];
    assert_eq!(new_york, wanted);
    let lord_howe =
        spans("Australia/Lord_Howe", "2026-01-01T02:10", "15m", &["FREQ=DAILY"], "2026-10-03T12:00:00Z", 2);
    let wanted = ["2026-10-03T15:40:00Z/2026-10-03T15:55:00Z", "2026-10-04T15:10:00Z/2026-10-04T15:25:00Z"];
    assert_eq!(lord_howe, wanted);
}

#[test]
fn whole_days_end_at_the_same_time_of_day_and_hours_are_time_that_passes() {
    let day = |length| spans("Europe/Berlin", "2026-10-25T00:00", length, &[], "2026-10-01T00:00:00Z", 1);
    assert_eq!(day("1d"), ["2026-10-24T22:00:00Z/2026-10-25T23:00:00Z"]);
    assert_eq!(day("23h"), ["2026-10-24T22:00:00Z/2026-10-25T21:00:00Z"]);
}

#[test]
fn rules_end_leave_out_and_count_as_icalendar_says() {
    let weekly = |lines: &[&str]| spans("UTC", "2026-01-05T22:00", "2h", lines, "2026-01-01T00:00:00Z", 4);
    let starts = |lines: &[&str]| -> Vec<String> {
        weekly(lines).iter().map(|span| span.chars().take(10).collect()).collect()
    };
    assert_eq!(starts(&["FREQ=WEEKLY;BYDAY=MO,WE;COUNT=3"]), ["2026-01-05", "2026-01-07", "2026-01-12"]);
    assert_eq!(starts(&["RRULE:FREQ=DAILY;UNTIL=20260106"]), ["2026-01-05", "2026-01-06"]);
    assert_eq!(starts(&["FREQ=DAILY;UNTIL=20260106T215959Z"]), ["2026-01-05"]);
    let without =
        ["FREQ=DAILY;UNTIL=20260110T220000", "EXDATE:20260106,20260107T220000", "EXDATE:20260108T220000Z"];
    assert_eq!(starts(&without), ["2026-01-05", "2026-01-09", "2026-01-10"]);
    assert_eq!(starts(&[]), ["2026-01-05"]);
    let last_friday =
        spans("UTC", "2020-01-31T18:00", "1h", &["FREQ=MONTHLY;BYDAY=-1FR"], "2026-02-01T00:00:00Z", 2);
    assert_eq!(last_friday[0], "2026-02-27T18:00:00Z/2026-02-27T19:00:00Z");
    let end_of_month = spans("UTC", "1999-01-31T00:00", "1h", &["FREQ=MONTHLY"], "2026-02-01T00:00:00Z", 2);
    assert_eq!(
        end_of_month[1], "2026-05-31T00:00:00Z/2026-05-31T01:00:00Z",
        "months without a 31st are passed over"
    );
}

#[test]
fn occurrences_that_touch_are_one_span_and_endless_ones_are_told_piece_by_piece() {
    let touching = spans(
        "UTC",
        "2026-01-05T00:00",
        "13h",
        &["FREQ=DAILY;BYHOUR=0,12;COUNT=4"],
        "2026-01-01T00:00:00Z",
        9,
    );
    assert_eq!(touching, ["2026-01-05T00:00:00Z/2026-01-07T01:00:00Z"]);
    let always = spans("UTC", "2026-01-05T00:00", "1d", &["FREQ=DAILY"], "2030-01-01T00:00:00Z", 3);
    for pair in always.windows(2) {
        let (end, from) = (pair[0].split_once('/').unwrap().1, pair[1].split_once('/').unwrap().0);
        assert!(from <= end, "no break between {} and {}", pair[0], pair[1]);
    }
}

#[test]
fn maintenance_and_freezes_refuse_what_they_cover_and_business_hours_ask() {
    let windows = read(
        r#"
windows:
  - { name: m, kind: maintenance, from: 2026-05-01T00:00:00Z, until: 2026-05-02T00:00:00Z, targets: ['web-*'] }
  - name: f
    kind: freeze
    from: 2026-06-01T00:00
    until: 2026-06-02T00:00
    time_zone: Europe/Berlin
    match: ['env="prod"']
    except: [rotate-logs]
  - name: h
    kind: business-hours
    time_zone: Europe/Berlin
    start: 2026-01-05T09:00
    duration: 8h
    recurrence: FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR
    plugins: [http-request]
"#,
    );
    let prod = BTreeMap::from([("env".to_owned(), "prod".to_owned())]);
    let frozen = Subject { labels: &prod, ..SUBJECT };
    let http = Subject { plugins: &["other", "http-request"], ..SUBJECT };
    for (now, subject, glass, wanted) in [
        ("2026-04-30T23:59:59Z", SUBJECT, None, "automatic"),
        ("2026-05-01T00:00:00Z", SUBJECT, None, "refused"),
        ("2026-05-01T23:59:59Z", SUBJECT, Some("ada"), "refused"),
        ("2026-05-02T00:00:00Z", SUBJECT, None, "automatic"),
        ("2026-05-01T12:00:00Z", Subject { target: Some("db-1"), ..SUBJECT }, None, "automatic"),
        ("2026-05-01T12:00:00Z", Subject { target: Some("web-7/x"), ..SUBJECT }, None, "automatic"),
        ("2026-05-01T12:00:00Z", Subject { target: None, ..SUBJECT }, None, "refused"),
        ("2026-05-31T21:59:59Z", frozen, None, "automatic"),
        ("2026-05-31T22:00:00Z", frozen, None, "refused"),
        ("2026-05-31T22:00:00Z", SUBJECT, None, "automatic"),
        ("2026-05-31T22:00:00Z", frozen, Some("ada"), "automatic"),
        ("2026-05-31T22:00:00Z", Subject { safe: true, ..frozen }, None, "automatic"),
        ("2026-05-31T22:00:00Z", Subject { runbook: "rotate-logs", ..frozen }, None, "automatic"),
        ("2026-01-05T08:00:00Z", http, None, "automatic"),
        ("2026-01-05T07:59:59Z", http, None, "approve"),
        ("2026-01-05T16:00:00Z", http, None, "approve"),
        ("2026-01-10T12:00:00Z", http, None, "approve"),
        ("2026-01-10T12:00:00Z", SUBJECT, None, "automatic"),
    ] {
        assert_eq!(say(&windows, now, &subject, glass), wanted, "{now} {subject:?} {glass:?}");
    }
}

#[test]
fn every_say_has_its_reason_and_its_end() {
    let windows = read(
        "- { name: a, kind: freeze, from: 2026-05-01T00:00:00Z, until: 2026-05-02T00:00:00Z }\n\
         - { name: b, kind: maintenance, from: 2026-05-01T00:00:00Z, until: 2026-05-03T00:00:00Z }\n",
    );
    let now = at("2026-05-01T12:00:00Z");
    let outlook = windows.outlook(now);
    let in_force = windows.in_force(&outlook, now, &SUBJECT);
    let ruling = rule(now, "restart", &in_force, Some("ada"));
    let told: Vec<_> = ruling.decisions.iter().map(|d| (d.code, d.message.as_str())).collect();
    assert_eq!(
        told,
        [
            (Code::GlassBroken, "ada broke the glass: it passes the freeze a"),
            (Code::Window, "the maintenance window b covers it until 2026-05-03T00:00:00Z"),
        ]
    );
    assert!(ruling.mute && ruling.autonomy.is_none());
    assert_eq!(windows.next_change(&outlook, now), Some(at("2026-05-02T00:00:00Z")));
    assert_eq!(windows.next_change(&outlook, at("2026-05-02T12:00:00Z")), Some(at("2026-05-03T00:00:00Z")));
    assert_eq!(windows.next_change(&outlook, at("2026-06-01T00:00:00Z")), None);
    assert_eq!(rule(now, "r", &[], None).decisions[0].message, "no window covers it");
    let names = ["b".to_owned()];
    assert_eq!(windows.open_at(&names, now).map(|window| window.name.as_str()), Some("b"));
    assert!(windows.open_at(&names, at("2026-05-03T00:00:00Z")).is_none());
    assert!(windows.get("a").is_some_and(|window| window.kind == Kind::Freeze));
}

#[test]
fn problems_are_told_with_their_places() {
    for (text, wanted) in [
        ("windows: [{ name: a, kind: outage }]", "windows.yaml:1:28: kind cannot be \"outage\""),
        ("windows: [{ name: a, knd: freeze }]", "did you mean \"kind\"?"),
        ("windows: [{ name: a, kind: freeze }]", "needs either \"from\" and \"until\""),
        (
            "- { name: a, kind: freeze, from: 2026-05-01T00:00, until: 2026-05-02T00:00 }",
            "needs the key \"time_zone\"",
        ),
        (
            "- { name: a, kind: freeze, from: 2026-05-02T00:00:00Z, until: 2026-05-01T00:00:00Z }",
            "must be later",
        ),
        (
            "- { name: a, kind: freeze, from: tomorrow, until: 2026-05-01T00:00:00Z }",
            "from cannot be \"tomorrow\"",
        ),
        (
            "- { name: a, kind: freeze, time_zone: CEST5, start: 2026-05-01T00:00, duration: 1h }",
            "no IANA time zone",
        ),
        (
            "- { name: a, kind: freeze, time_zone: UTC, start: 2026-05-01T00:00 }",
            "needs the key \"duration\"",
        ),
        (
            "- { name: a, kind: freeze, time_zone: UTC, start: 2026-05-01T00:00, duration: 0s }",
            "longer than 0s",
        ),
        (
            "- { name: a, kind: freeze, inside: approve, from: 2026-05-01T00:00:00Z, until: 2026-05-02T00:00:00Z }",
            "\"inside\" is for windows of kind business-hours",
        ),
        (
            "- { name: a, kind: maintenance, except: [x], from: 2026-05-01T00:00:00Z, until: 2026-05-02T00:00:00Z }",
            "\"except\" is for windows of kind freeze",
        ),
        (
            "- { name: a, kind: freeze, targets: [], from: 2026-05-01T00:00:00Z, until: 2026-05-02T00:00:00Z }",
            "at least one",
        ),
        (
            "- { name: a, kind: freeze, match: ['env'], from: 2026-05-01T00:00:00Z, until: 2026-05-02T00:00:00Z }",
            "matcher \"env\"",
        ),
    ] {
        let problems = problems(text).join("\n");
        assert!(problems.contains(wanted), "{text}: {problems}");
    }
    let window = "{ name: a, kind: freeze, from: 2026-05-01T00:00:00Z, until: 2026-05-02T00:00:00Z }";
    let twice = problems(&format!("- {window}\n- {window}\n"));
    assert_eq!(twice, ["windows.yaml:2:3: window \"a\" stands in line 1 already"]);
}

#[test]
fn invalid_recurrences_are_refused_with_the_line() {
    for (rule, wanted) in [
        ("FREQ=SOMETIMES", "SOMETIMES"),
        ("BYDAY=MO", "FREQ"),
        ("FREQ=MINUTELY", "not opened more often"),
        ("FREQ=DAILY;COUNT=1001", "COUNT may be at most 1000"),
        ("FREQ=DAILY;UNTIL=tomorrow", "UNTIL cannot be \"tomorrow\""),
        ("FREQ=DAILY;UNTIL=20200101", "recurrence:"),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "it never happens"),
        ("FREQ=WEEKLY;BYMONTHDAY=1", "BYMONTHDAY"),
        ("FREQ=DAILY;BYHOUR=25", "BYHOUR"),
        ("EXDATE:yesterday", "EXDATE cannot be \"yesterday\""),
        ("RDATE:20260101", "valid are RRULE and EXDATE"),
    ] {
        let text = format!(
            "- name: a\n  kind: freeze\n  time_zone: UTC\n  start: 2026-01-01T00:00\n  duration: 1h\n  recurrence:\n    - {rule}\n"
        );
        let problems = problems(&text);
        assert_eq!(problems.len(), 1, "{rule}: {problems:?}");
        assert!(
            problems[0].starts_with("windows.yaml:7:7:") && problems[0].contains(wanted),
            "{rule}: {problems:?}"
        );
    }
}

#[test]
fn an_old_rule_is_moved_forward_instead_of_walked_through() {
    let rules = [
        "FREQ=HOURLY;INTERVAL=5",
        "FREQ=DAILY",
        "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU",
        "FREQ=MONTHLY",
        "FREQ=YEARLY",
    ];
    for rule in rules {
        let got = spans("Europe/Berlin", "1601-01-01T00:00", "10m", &[rule], "2026-07-01T00:00:00Z", 1);
        assert_eq!(got.len(), 1, "{rule}");
    }
}

/// Rules as people write them, over every part that moving forward could get wrong.
fn any_rule() -> impl Strategy<Value = String> {
    let freq = prop_oneof![Just("YEARLY"), Just("MONTHLY"), Just("WEEKLY"), Just("DAILY"), Just("HOURLY")];
    let by = prop_oneof![
        Just(""),
        Just(";BYDAY=MO,SU"),
        Just(";BYMONTH=2,7"),
        Just(";BYHOUR=1,2,13"),
        Just(";BYDAY=SA;BYSETPOS=-1"),
        Just(";WKST=SU;BYDAY=SU,TU"),
    ];
    (freq, 1u8..9, by).prop_map(|(freq, interval, by)| format!("FREQ={freq};INTERVAL={interval}{by}"))
}

const WINDOWS: [&str; 6] = [
    "{ name: a, kind: maintenance, from: 2026-05-01T00:00:00Z, until: 2026-05-20T00:00:00Z, targets: ['web-*'] }",
    "{ name: b, kind: freeze, from: 2026-05-10T00:00:00Z, until: 2026-06-01T00:00:00Z, except: [safe] }",
    "{ name: c, kind: business-hours, time_zone: UTC, start: 2026-01-01T09:00, duration: 8h, recurrence: FREQ=DAILY }",
    "{ name: d, kind: business-hours, inside: approve, time_zone: UTC, start: 2026-01-01T09:00, duration: 8h, recurrence: FREQ=DAILY }",
    "{ name: e, kind: freeze, time_zone: UTC, start: 2026-01-01T12:00, duration: 1h, recurrence: FREQ=DAILY, runbooks: ['re*'] }",
    "{ name: f, kind: maintenance, time_zone: UTC, start: 2026-01-01T13:00, duration: 1h, recurrence: FREQ=DAILY, match: ['env!=\"prod\"'] }",
];

proptest! {
    #[test]
    fn moving_forward_loses_and_invents_nothing(rule in any_rule(), day in 0i64..6_000) {
        let start: chrono::NaiveDateTime = "2010-01-30T02:30:00".parse().unwrap();
        let now = start.and_utc() + chrono::TimeDelta::days(day);
        let hour = std::time::Duration::from_secs(60);
        let Ok(recurrence) = Recurrence::read(chrono_tz::Tz::UTC, start, hour, &[&rule]) else {
            return Ok(());
        };
        // The crate itself, from the very start.
        let set = format!("DTSTART:20100130T023000Z\nRRULE:{rule}").parse::<rrule::RRuleSet>().unwrap();
        let length = chrono::TimeDelta::minutes(1);
        let wanted = set.into_iter().map(|time| time.to_utc()).find(|from| *from + length > now);
        prop_assert_eq!(recurrence.span(now).map(|span| span.from), wanted, "{}", rule);
    }

    #[test]
    fn adding_a_window_never_permits_more(
        which in proptest::collection::vec(0usize..6, 0..5),
        more in 0usize..6,
        hours in 0i64..1_200,
        target in prop_oneof![Just(None), Just(Some("web-7")), Just(Some("db-1"))],
        runbook in prop_oneof![Just("restart"), Just("safe"), Just("other")],
        safe: bool,
        glass: bool,
    ) {
        let now = at("2026-04-25T00:30:00Z") + chrono::TimeDelta::hours(hours);
        let subject = Subject { target, runbook, safe, ..SUBJECT };
        let permits = |indexes: &[usize]| {
            let windows = Windows { windows: indexes.iter().flat_map(|i| read(&format!("- {}", WINDOWS[*i])).windows).collect() };
            let in_force = windows.in_force(&windows.outlook(now), now, &subject).len();
            let outlook = windows.outlook(now);
            let ruling = rule(now, runbook, &windows.in_force(&outlook, now, &subject), glass.then_some("ada"));
            (in_force, ruling.autonomy, ruling.mute)
        };
        let (_, before, mute_before) = permits(&which);
        let with: Vec<usize> = which.iter().copied().chain([more]).collect();
        let (_, after, mute_after) = permits(&with);
        prop_assert!(after <= before, "{:?} then {:?}", before, after);
        prop_assert!(mute_after >= mute_before);
    }

    #[test]
    fn an_outlook_is_only_ever_a_faster_answer(seen in 0i64..1_200, asked in 0i64..1_200) {
        let windows = read(&WINDOWS.map(|window| format!("- {window}\n")).concat());
        let start = at("2026-04-25T00:30:00Z");
        let (seen, asked) = (start + chrono::TimeDelta::hours(seen), start + chrono::TimeDelta::hours(asked));
        let told = |outlook: &Outlook| -> Vec<_> {
            let in_force = windows.in_force(outlook, asked, &SUBJECT);
            in_force.iter().map(|say| (say.window.name.clone(), say.until)).collect()
        };
        let (old, fresh) = (windows.outlook(seen), windows.outlook(asked));
        prop_assert_eq!(told(&old), told(&fresh));
        prop_assert_eq!(windows.next_change(&old, asked), windows.next_change(&fresh, asked));
        prop_assert!(fresh.reaches(asked));
    }
}
