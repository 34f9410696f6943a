use std::time::Duration;

use chrono::{DateTime, Utc};

use super::*;
use crate::decision::{Code, Reason};
use crate::event::{self, Event, Fact, Outside};
use crate::id::{Digest, RunId};
use crate::policy::facts::Standing;
use crate::policy::reader::Reader;
use crate::policy::yaml;
use crate::run::{Mode, Outcome, Run};

pub(super) fn at(minute: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + minute * 60, 0).unwrap()
}

pub(super) fn run(number: u128) -> RunId {
    RunId::from_bits(number)
}

const DAY: i64 = 24 * 60;

/// An automatic run that was a matter of no time.
pub(super) fn ended(number: u128, minute: i64, outcome: Outcome) -> Ended {
    Ended {
        run: run(number),
        began_at: at(minute),
        ended_at: at(minute),
        outcome,
        trapped: false,
        taken_over: false,
        plan_only: false,
        manual: false,
        rehearsal: false,
    }
}

pub(super) fn record(standing: Standing) -> Record {
    let chosen = Some((standing, "ada", "tried elsewhere"));
    Record::begin(&Settings::default(), at(0), "p", Digest::of(b"p"), None, chosen).unwrap()
}

/// Notes runs, one a minute; the moves that came of it.
fn note(record: &mut Record, first: u128, minute: i64, outcomes: &[Outcome]) -> Vec<Move> {
    let settings = Settings::default();
    let mut moves = Vec::new();
    for ((number, minute), outcome) in (first..).zip(minute..).zip(outcomes) {
        moves.extend(record.note(&settings, at(minute), &ended(number, minute, *outcome), false).cloned());
    }
    moves
}

fn mixed(fixed: usize, not_fixed: usize) -> Vec<Outcome> {
    [vec![Outcome::Fixed; fixed], vec![Outcome::NotFixed; not_fixed]].concat()
}

#[test]
fn demotes_by_the_upper_bound_and_names_the_runs() {
    let mut record = record(Standing::Automatic);
    let moves = note(&mut record, 1, 1, &mixed(5, 5));
    let [moved] = moves.as_slice() else { panic!("{moves:?}") };
    assert_eq!((moved.from, moved.to), (Some(Standing::Automatic), Standing::Approve));
    assert_eq!((moved.cause, moved.by.as_deref()), (Cause::Rate, None));
    assert_eq!(moved.runs, (6..=10).map(run).collect::<Vec<_>>());
    assert_eq!(moved.message, "5 of 10 runs fixed it: with 95 % confidence at most 76.3 % do, and 80 % must");
}

#[test]
fn concludes_nothing_from_too_few_runs_or_too_small_a_difference() {
    assert_eq!(note(&mut record(Standing::Automatic), 1, 1, &mixed(0, 9)), []);
    assert_eq!(note(&mut record(Standing::Automatic), 1, 1, &mixed(6, 4)), [], "the upper bound is 83 %");
}

#[test]
fn deprecates_what_hardly_ever_works() {
    let mut record = record(Standing::Automatic);
    let moves = note(&mut record, 1, 1, &mixed(1, 9));
    assert_eq!((moves[0].to, moves[0].cause), (Standing::Deprecated, Cause::Rate));
    assert_eq!(
        moves[0].message,
        "1 of 10 runs fixed it: with 95 % confidence at most 40.4 % do, and below 50 % it is deprecated"
    );
    assert_eq!(record.in_force().autonomy(), None);
    assert_eq!(note(&mut record, 50, 50, &mixed(0, 20)), [], "there is no further down");
}

#[test]
fn the_third_demotion_in_ninety_days_deprecates() {
    let settings = Settings::default();
    let mut record = record(Standing::Automatic);
    for (demotion, day) in [(1, 1), (2, 30)] {
        let moves = note(&mut record, demotion * 100, day * DAY, &mixed(5, 5));
        assert_eq!((moves[0].to, moves[0].cause), (Standing::Approve, Cause::Rate));
        record.reinstate(&settings, at(day * DAY + 20), "ada", "fixed the unit", None).unwrap();
    }
    let mut late = record.clone();
    let moves = note(&mut record, 300, 80 * DAY, &mixed(5, 5));
    assert_eq!((moves[0].to, moves[0].cause), (Standing::Deprecated, Cause::Demotions));
    assert!(moves[0].message.ends_with("which is demotion 3 within 90d"), "{:?}", moves[0]);
    let moves = note(&mut late, 300, 100 * DAY, &mixed(5, 5));
    assert_eq!(moves[0].to, Standing::Approve, "the first one is too long ago");
}

#[test]
fn the_count_begins_anew_after_a_demotion() {
    let mut record = record(Standing::Automatic);
    note(&mut record, 1, 1, &mixed(5, 5));
    assert_eq!(note(&mut record, 20, 20, &mixed(0, 9)), [], "a full sample is due again");
    let settings = Settings::default();
    let early = Ended { began_at: at(5), ..ended(99, 40, Outcome::NotFixed) };
    assert_eq!(record.note(&settings, at(40), &early, false), None, "begun under the earlier standing");
    assert_eq!(record.report(&settings, at(40)).sample, 9);
    let moves = note(&mut record, 30, 41, &mixed(1, 0));
    assert_eq!(moves[0].to, Standing::Deprecated);
}

#[test]
fn counts_the_last_fifty_runs_of_thirty_days() {
    let settings = Settings::default();
    let mut record = record(Standing::Automatic);
    note(&mut record, 1, 1, &mixed(40, 8));
    note(&mut record, 100, 100, &mixed(50, 0));
    let report = record.report(&settings, at(200));
    assert_eq!((report.sample, report.fixed, report.not_fixed), (50, 50, 0));
    let report = record.report(&settings, at(100 + 30 * DAY));
    assert_eq!(report.sample, 49, "the oldest is thirty days old");
    assert_eq!(record.report(&settings, at(200 + 30 * DAY)).rate, None);
}

#[test]
fn only_verified_recoveries_failures_and_own_traps_count() {
    let of = |outcome| ended(1, 1, outcome);
    let trap = |outcome| Ended { trapped: true, ..of(outcome) };
    for (ended, class) in [
        (of(Outcome::Fixed), Some(Class::Fixed)),
        (of(Outcome::NotFixed), Some(Class::NotFixed)),
        (of(Outcome::Unknown), Some(Class::Unknown)),
        (trap(Outcome::Failed), Some(Class::Trapped)),
        (trap(Outcome::Unknown), Some(Class::Trapped)),
        (trap(Outcome::Fixed), Some(Class::Fixed)),
        (of(Outcome::Failed), None),
        (of(Outcome::Done), None),
        (of(Outcome::Observed), None),
        (of(Outcome::Refused), None),
        (of(Outcome::Rejected), None),
        (of(Outcome::Expired), None),
        (of(Outcome::Cancelled), None),
        (Ended { manual: true, ..of(Outcome::NotFixed) }, None),
        (Ended { plan_only: true, ..trap(Outcome::Failed) }, None),
        (Ended { rehearsal: true, ..of(Outcome::Fixed) }, None),
        (Ended { taken_over: true, ..of(Outcome::Fixed) }, Some(Class::NotFixed)),
        (Ended { taken_over: true, ..of(Outcome::Cancelled) }, None),
    ] {
        assert_eq!(classify(&ended), class, "{ended:?}");
    }
}

#[test]
fn unknown_is_shown_and_not_counted() {
    let settings = Settings::default();
    let mut record = record(Standing::Automatic);
    assert_eq!(note(&mut record, 1, 1, &[Outcome::Unknown; 20]), []);
    note(&mut record, 50, 50, &mixed(3, 1));
    let trap = Ended { trapped: true, ..ended(60, 60, Outcome::Failed) };
    record.note(&settings, at(60), &trap, false);
    let report = record.report(&settings, at(60));
    assert_eq!((report.sample, report.fixed, report.not_fixed), (5, 3, 1));
    assert_eq!((report.trapped, report.unknown, report.excused), (1, 20, 0));
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["rate"]["rate"], 0.6);
    assert_eq!(json["standing"], "automatic");
}

#[test]
fn an_intervention_turns_fixed_into_not_fixed() {
    let settings = Settings::default();
    let mut record = record(Standing::Automatic);
    note(&mut record, 1, 1, &mixed(6, 4));
    let unknown = record.intervened(&settings, at(11), &run(99), Intervention::RunAgain, false);
    assert_eq!(unknown, None);
    let late = record.intervened(&settings, at(62), &run(1), Intervention::FiredAgain, false);
    assert_eq!(late, None, "more than an hour later");
    assert_eq!(record.report(&settings, at(62)).fixed, 6);
    let moved = record.intervened(&settings, at(62), &run(2), Intervention::FiredAgain, false);
    let runs = &moved.unwrap().runs;
    assert_eq!(runs.len(), 5);
    assert!(runs.contains(&run(2)));
    let again = record.intervened(&settings, at(62), &run(2), Intervention::TakenOver, false);
    assert_eq!(again, None, "once is enough");
}

#[test]
fn what_an_intervention_turned_is_shown_with_how() {
    let settings = Settings::default();
    let mut record = record(Standing::Automatic);
    note(&mut record, 1, 1, &mixed(3, 0));
    assert!(record.would_turn(&settings, at(10), &run(2)));
    assert_eq!(record.intervened(&settings, at(10), &run(2), Intervention::RunAgain, false), None);
    assert!(!record.would_turn(&settings, at(10), &run(2)), "once is enough");
    assert!(!record.would_turn(&settings, at(70), &run(3)), "too late");
    let report = record.report(&settings, at(10));
    assert_eq!((report.fixed, report.not_fixed), (2, 1));
    let wanted = [Intervened { run: run(2), at: at(2), how: Intervention::RunAgain }];
    assert_eq!(report.intervened, wanted);
}

#[test]
fn nobody_is_demoted_while_most_plugins_fail() {
    let settings = Settings::default();
    let mut records: Vec<Record> = (0..4).map(|_| record(Standing::Automatic)).collect();
    for number in 0..15 {
        for index in 0..3 {
            let outage = outage(&settings, at(number), &records);
            let ended = ended(number as u128 * 10 + index, number, Outcome::NotFixed);
            assert_eq!(records[index as usize].note(&settings, at(number), &ended, outage), None);
        }
    }
    assert!(outage(&settings, at(15), &records), "three of four");
    assert!(!outage(&settings, at(15), &records[2..]), "one of two");
    assert!(!outage(&settings, at(15), &records[..1]), "one alone is its own fault");
    let report = records[1].report(&settings, at(15));
    assert!(report.excused >= 13, "{report:?}");
    assert!(!outage(&settings, at(100), &records), "it is over");
    assert_eq!(note(&mut records[1], 500, 100, &mixed(0, 1)), [], "what was excused stays excused");
}

#[test]
fn a_person_reinstates_one_step_at_a_time_with_a_reason() {
    let settings = Settings::default();
    let mut record = record(Standing::Automatic);
    note(&mut record, 1, 1, &mixed(0, 10));
    assert_eq!(record.reinstate(&settings, at(20), "ada", " ", None), Err(MoveError::NoReason));
    for to in [Standing::Observe, Standing::Approve, Standing::Automatic] {
        let moved = record.reinstate(&settings, at(20), "ada", "works again", None).unwrap();
        assert_eq!((moved.to, moved.cause, moved.by.as_deref()), (to, Cause::Reinstated, Some("ada")));
        assert_eq!(moved.message, "works again");
    }
    assert_eq!(record.reinstate(&settings, at(20), "ada", "more", None), Err(MoveError::AtTop));
}

#[test]
fn the_first_runs_after_a_reinstatement_to_automatic_need_approval() {
    let settings = Settings::default();
    let mut record = record(Standing::Approve);
    record.reinstate(&settings, at(1), "ada", "works again", None).unwrap();
    assert_eq!((record.standing(), record.in_force()), (Standing::Automatic, Standing::Approve));
    note(&mut record, 1, 2, &[Outcome::Fixed, Outcome::Unknown, Outcome::Cancelled, Outcome::Fixed]);
    assert_eq!((record.in_force(), record.report(&settings, at(9)).canary), (Standing::Approve, 1));
    note(&mut record, 10, 10, &[Outcome::Fixed]);
    assert_eq!(record.in_force(), Standing::Automatic);
}

#[test]
fn a_person_says_how_many_runs_need_approval_first() {
    let settings = Settings::default();
    for (canary, wanted) in [(None, 3), (Some(0), 0), (Some(7), 7)] {
        let mut record = record(Standing::Approve);
        record.reinstate(&settings, at(1), "ada", "works again", canary).unwrap();
        assert_eq!(record.report(&settings, at(1)).canary, wanted);
    }
    let mut record = record(Standing::Observe);
    let none = record.reinstate(&settings, at(1), "ada", "works again", Some(2));
    assert_eq!(none, Err(MoveError::NoCanary(Standing::Approve)), "every run needs approval there");
    let long = record.reinstate(&settings, at(1), "ada", "works again", Some(1_001));
    assert_eq!(long, Err(MoveError::CanaryTooLong));
    assert_eq!(record.standing(), Standing::Observe);
}

#[test]
fn revoking_needs_a_reason_and_ends_everything() {
    let settings = Settings::default();
    let mut record = record(Standing::Automatic);
    assert_eq!(record.revoke(at(1), "ada", ""), Err(MoveError::NoReason));
    record.revoke(at(1), "ada", "key leaked").unwrap();
    assert_eq!(record.revoke(at(2), "ada", "again"), Err(MoveError::Revoked));
    assert_eq!(note(&mut record, 1, 3, &mixed(0, 20)), []);
    assert_eq!(record.reinstate(&settings, at(30), "bo", "new key", None).unwrap().to, Standing::Observe);
}

#[test]
fn a_new_version_starts_at_the_lower_of_predecessor_and_initial() {
    use Standing::{Approve, Automatic, Deprecated, Observe, Revoked};
    for (initial, predecessor, wanted) in [
        (Approve, None, Approve),
        (Approve, Some(Automatic), Approve),
        (Automatic, Some(Automatic), Automatic),
        (Automatic, Some(Observe), Observe),
        (Approve, Some(Deprecated), Deprecated),
        (Approve, Some(Revoked), Revoked),
        (Observe, None, Observe),
    ] {
        let settings = Settings { initial, ..Settings::default() };
        let record = Record::begin(&settings, at(0), "p", Digest::of(b"2"), predecessor, None).unwrap();
        assert_eq!(record.standing(), wanted, "{initial:?} {predecessor:?}");
    }
    let chosen = Some((Automatic, "ada", ""));
    let begun = Record::begin(&Settings::default(), at(0), "p", Digest::of(b"2"), None, chosen);
    assert_eq!(begun, Err(MoveError::NoReason));
}

/// A run that is over, by the endings of its steps.
fn over(outcome: Outcome, code: Code, endings: &[Option<&str>]) -> Run {
    let plugins = endings.iter().map(|_| ("p".to_owned(), Digest::of(b"p"))).collect();
    let leaf = event::RunCreated {
        runbook: "r".to_owned(),
        policy: Digest::of(b""),
        plugins,
        mode: Mode::Act,
        queued: false,
        irreversible: false,
        drill: false,
    };
    let fact = Fact::RunCreated(leaf, Outside::Removed);
    let created = Event { at: at(0), run: Some(run(1)), alert: None, fact };
    let mut run = Run::begin(&created).unwrap();
    for (step, ending) in run.steps.iter_mut().zip(endings) {
        step.ending = ending.map(str::to_owned);
    }
    (run.outcome, run.reason, run.ended_at) = (Some(outcome), Some(Reason::new(code, "")), Some(at(1)));
    run
}

#[test]
fn a_run_says_what_its_end_means_for_each_plugin() {
    let run = over(Outcome::NotFixed, Code::StillFailing, &[Some("returned"), Some("exhausted"), None]);
    let trapped = [0, 1, 2, 3].map(|step| Ended::of(&run, step, false).map(|ended| ended.trapped));
    assert_eq!(trapped, [Some(false), Some(true), None, None]);
    let alone = over(Outcome::Failed, Code::Trap, &[None]);
    assert!(Ended::of(&alone, 0, false).unwrap().trapped, "while planning");
    let two = over(Outcome::Failed, Code::Trap, &[None, None]);
    assert_eq!(Ended::of(&two, 0, false), None, "whose trap it was is not known");
    let by_hand =
        Run { by: Some("ada".to_owned()), ..over(Outcome::Fixed, Code::Verified, &[Some("returned")]) };
    assert!(Ended::of(&by_hand, 0, false).unwrap().manual);
    let taken = Some(Reason::new(Code::TakenOver, ""));
    let taken = Run { given_up: taken, ..over(Outcome::Fixed, Code::Verified, &[Some("returned")]) };
    assert!(Ended::of(&taken, 0, false).unwrap().taken_over);
    let open = Run { ended_at: None, ..over(Outcome::Fixed, Code::Verified, &[Some("returned")]) };
    assert_eq!(Ended::of(&open, 0, false), None);
}

fn read_settings(text: &str) -> (Settings, Vec<String>) {
    let root = yaml::parse("s.yaml", text).unwrap();
    let mut reader = Reader::new("s.yaml");
    let settings = read(&mut reader, &root);
    (settings, reader.finish().iter().map(ToString::to_string).collect())
}

#[test]
fn reads_what_operators_write() {
    assert_eq!(read_settings("{}"), (Settings::default(), Vec::new()));
    let text = "{ initial: observe, runs: 20, within: 7d, sample: 5, demote_below: 90%, deprecate_below: 60%,\n  \
                demotions: 2, demotions_within: 30d, fires_again_within: 2h, canary: 0, outage: 75%, outage_within: 30m }";
    let (settings, problems) = read_settings(text);
    assert_eq!(problems, [""; 0]);
    let wanted = Settings {
        initial: Standing::Observe,
        runs: 20,
        within: Duration::from_secs(7 * 86_400),
        sample: 5,
        demote_below: 90,
        deprecate_below: 60,
        demotions: 2,
        demotions_within: Duration::from_secs(30 * 86_400),
        fires_again_within: Duration::from_secs(7_200),
        canary: 0,
        outage: 75,
        outage_within: Duration::from_secs(1_800),
    };
    assert_eq!(settings, wanted);
}

#[test]
fn wrong_settings_are_refused_at_their_place() {
    for (text, wanted) in [
        (
            "{ initial: full }",
            "s.yaml:1:12: standing.initial cannot be \"full\"; valid are observe, approve, automatic",
        ),
        ("{ intial: observe }", "s.yaml:1:3: unknown key \"intial\" in standing (did you mean \"initial\"?)"),
        ("{ runs: 5 }", "s.yaml:1:1: standing.sample is 10, more than the 5 runs that count"),
        ("{ sample: 51 }", "s.yaml:1:11: standing.sample is 51, more than the 50 runs that count"),
        ("{ deprecate_below: 90% }", "s.yaml:1:20: standing.deprecate_below is 90%, above demote_below, 80%"),
        ("{ within: 0s }", "s.yaml:1:11: standing.within must be longer than 0s and at most 366d"),
        ("{ outage: 0.5 }", "s.yaml:1:11: standing.outage must be a percentage from 1% to 100%"),
    ] {
        let (_, problems) = read_settings(text);
        let [problem] = problems.as_slice() else { panic!("{text}: {problems:?}") };
        assert!(problem.starts_with(wanted), "{problem}");
    }
}
