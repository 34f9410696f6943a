//! One question for all runs that a storm holds.

use super::*;
use crate::decision::Stage;
use crate::gate::tests::{at, plan, waiting};
use crate::run::Held;

fn said(second: i64, subject: &str) -> Decision {
    Decision::ask(at(second), Stage::Limit, subject, Code::Storm, format!("a storm at {second}"))
}

fn held_by(number: u128, subject: &str) -> Run {
    Run {
        id: RunId::from_bits(number),
        target: Some(format!("t{number}")),
        decisions: vec![said(i64::try_from(number).unwrap(), subject)],
        ..waiting(1, &[])
    }
}

fn gather(runs: &[Run]) -> Vec<HeldStorm> {
    held(runs, at(50), |run| run.approvals.is_empty())
}

#[test]
fn names_of_storms_are_read_as_they_are_written() {
    for (text, id) in [("all", Some(StormId::All)), ("runbook=r", Some(StormId::Runbook("r".to_owned())))] {
        assert_eq!(text.parse().ok(), id);
        assert_eq!(id.unwrap().to_string(), text);
    }
    for text in ["", "r", "runbook=", "ALL", "plugin=r"] {
        assert!(text.parse::<StormId>().is_err(), "{text}");
    }
}

#[test]
fn runs_of_one_storm_are_one_question() {
    let runs = [held_by(3, "r"), held_by(1, "r"), held_by(2, ALL_RUNBOOKS)];
    let storms = gather(&runs);
    assert_eq!(storms.iter().map(|storm| storm.id.to_string()).collect::<Vec<_>>(), ["all", "runbook=r"]);
    let own = &storms[1];
    let targets: Vec<_> = own.runs.iter().filter_map(|held| held.target.as_deref()).collect();
    assert_eq!((targets, own.since, own.question.as_str()), (vec!["t1", "t3"], at(1), "a storm at 3"));
    assert_eq!(own.runs[0].plan, plan());
}

#[test]
fn leaves_out_what_asks_nobody_or_for_another_reason() {
    let whole = held_by(1, "r");
    let person = Held { by: "ada".to_owned(), at: at(1), before: None };
    let table = [
        ("an ordinary gate", Run { decisions: Vec::new(), ..whole.clone() }),
        (
            "a pass",
            Run { decisions: vec![Decision { result: Outcome::Pass, ..said(1, "r") }], ..whole.clone() },
        ),
        ("in hand", Run { held: Some(person), ..whole.clone() }),
        ("permitted", Run { state: State::Running, ..whole.clone() }),
        ("asks nobody", Run { ask: None, ..whole.clone() }),
        ("no plan", Run { plan: None, ..whole.clone() }),
        ("approved", Run { approvals: waiting(1, &[("ada", plan())]).approvals, ..whole.clone() }),
    ];
    for (what, run) in table {
        assert_eq!(gather(&[run]), [], "{what}");
    }
    assert_eq!(held([&whole], at(100), |_| true), [], "expired");
    assert_eq!(gather(&[whole]).len(), 1);
}

#[test]
fn the_digest_is_over_runs_and_plans_in_any_order() {
    let (one, two) = (held_by(1, "r"), held_by(2, "r"));
    let digest = |runs: &[Run]| gather(runs)[0].digest();
    let both = digest(&[one.clone(), two.clone()]);
    assert_eq!(both, digest(&[two.clone(), one.clone()]));
    let replanned = Run { plan: Some(Digest::of(b"another")), ..two.clone() };
    let elsewhere = Run { decisions: vec![said(1, ALL_RUNBOOKS)], ..one.clone() };
    let others = [
        digest(std::slice::from_ref(&one)),
        digest(&[one.clone(), replanned]),
        digest(&[one, two, held_by(3, "r")]),
        digest(&[elsewhere]),
    ];
    assert!(others.iter().all(|other| *other != both), "{others:?}");
}

#[test]
fn one_question_has_a_bound_and_says_so() {
    let runs: Vec<Run> = (1..=MOST_HELD as u128 + 7)
        .map(|number| Run { id: RunId::from_bits(number), ..held_by(1, "r") })
        .collect();
    let storm = &gather(&runs)[0];
    assert_eq!((storm.runs.len(), storm.left_out), (MOST_HELD, 7));
    assert_eq!(storm.runs[0].run, RunId::from_bits(1), "the oldest");
}

#[test]
fn only_what_was_approved_with_a_storm_waits_and_only_for_room() {
    let refusal = |limit, code| Refusal { code, limit, message: String::new(), free_at: None };
    let mut run = waiting(1, &[("ada", plan())]);
    let full = refusal(LimitName::Concurrent, Code::Limit);
    assert!(!waits_for_room(&run, &full), "approved alone");
    run.approvals[0].storm = Some(Digest::of(b"all of them"));
    let table = [
        (LimitName::Concurrent, Code::Limit, true),
        (LimitName::ConcurrentTargets, Code::Limit, true),
        (LimitName::AtLeastHealthy, Code::Limit, true),
        (LimitName::AtLeastHealthy, Code::PopulationUnknown, false),
        (LimitName::PerRunbook, Code::Limit, false),
        (LimitName::Actions, Code::Limit, false),
        (LimitName::Cooldown, Code::Limit, false),
    ];
    for (limit, code, waits) in table {
        assert_eq!(waits_for_room(&run, &refusal(limit, code)), waits, "{limit} {code:?}");
    }
}
