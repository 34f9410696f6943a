//! Many people at once: one decision wins, the journal says whose, and what was decided happens once or not at all.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use sandbox_tests::alerts::Firing;
use sandbox_tests::daemon::Daemon;
use serde_json::{Value, json};

use super::stage::{ALERT, Stage};

/// How many people decide at once.
const PEOPLE: usize = 50;

/// Tokens of so many operators.
fn operators(daemon: &Daemon, count: usize) -> Vec<String> {
    let made = (0..count).map(|number| {
        let body = json!({ "name": format!("op-{number}"), "roles": ["operator"] });
        daemon.post("/v1/tokens", &body).expect(201)["token"].as_str().unwrap().to_owned()
    });
    made.collect()
}

/// Does something as each of these people, all at the same moment.
fn at_once<T: Send>(tokens: &[String], deed: impl Fn(usize, &str) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(tokens.len());
    thread::scope(|scope| {
        let (deed, barrier) = (&deed, &barrier);
        let started: Vec<_> = tokens
            .iter()
            .enumerate()
            .map(|(number, token)| {
                scope.spawn(move || {
                    let _first = barrier.wait();
                    deed(number, token)
                })
            })
            .collect();
        started.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn waiting(daemon: &Daemon, name: &str) -> Value {
    daemon.until(&daemon.run_of(&Firing::new(ALERT, name)), "waiting")
}

/// The kinds of a run's entries, each with the person that its payload names.
fn journal(daemon: &Daemon, run: &Value) -> Vec<(String, Value)> {
    let entries = daemon.journal(run["id"].as_str().unwrap());
    let told = entries.iter().map(|entry| {
        let payload = &entry["payload"];
        let by = payload.pointer("/approval/by").or_else(|| payload.get("by")).cloned();
        (entry["leaf"]["kind"].as_str().unwrap().to_owned(), by.unwrap_or_default())
    });
    told.collect()
}

fn count(journal: &[(String, Value)], kind: &str) -> usize {
    journal.iter().filter(|(found, _)| found == kind).count()
}

fn decide(daemon: &Daemon, token: &str, run: &Value, word: &str) -> u16 {
    let path = format!("/v1/runs/{}/{word}", run["id"].as_str().unwrap());
    daemon.post_by(token, &path, &json!({ "comment": "a race" })).status
}

#[test]
fn of_fifty_decisions_at_once_one_wins_and_the_journal_says_whose() {
    let Some(stage) = Stage::set("approve") else { return };
    let daemon = stage.home.serve();
    let tokens = operators(&daemon, PEOPLE);
    for round in 0..4 {
        stage.target.set_well(false);
        let before = stage.target.posts().len();
        let run = waiting(&daemon, &format!("shop-{round}"));
        let answers = at_once(&tokens, |number, token| match (number + round) % 3 {
            0 => ("approve", daemon.approve(token, &run).status),
            1 => ("reject", decide(&daemon, token, &run, "reject")),
            _ => {
                let halt = json!({ "scope": { "runbook": "restart-shop" }, "reason": "a race" });
                ("halt", daemon.post_by(token, "/v1/halts", &halt).status)
            }
        });
        for halt in daemon.get("/v1/halts?limit=500").expect(200)["items"].as_array().unwrap() {
            daemon.release(halt["id"].as_str().unwrap());
        }
        let won: Vec<_> = answers
            .iter()
            .filter(|(word, status)| *word != "halt" && *status == 200)
            .map(|(w, _)| *w)
            .collect();
        let lost = |status: u16| matches!(status, 200 | 201 | 409);
        assert!(answers.iter().all(|(_, status)| lost(*status)), "{answers:?}");
        assert_eq!(won.len(), 1, "{answers:?}");
        let over = daemon.until(run["id"].as_str().unwrap(), "ended");
        let told = journal(&daemon, &run);
        let done = stage.target.posts().len() - before;
        if won[0] == "approve" {
            assert_eq!((done, over["outcome"].as_str().is_some()), (1, true), "{over:#}");
            assert_eq!((count(&told, "run-approved"), count(&told, "effect-intended")), (1, 1), "{told:?}");
            assert!(told.iter().any(|(kind, by)| kind == "run-approved" && by.is_string()), "{told:?}");
        } else {
            assert_eq!((done, &over["outcome"]), (0, &json!("rejected")), "{over:#}");
            assert_eq!((count(&told, "run-approved"), count(&told, "effect-intended")), (0, 0), "{told:?}");
            assert!(told.iter().any(|(kind, by)| kind == "run-ended" && by.is_string()), "{told:?}");
        }
    }
}

#[test]
fn fifty_approvals_at_once_are_one_execution() {
    let Some(stage) = Stage::set("approve") else { return };
    let daemon = stage.home.serve();
    let tokens = operators(&daemon, PEOPLE);
    let run = waiting(&daemon, "shop-1");
    let answers = at_once(&tokens, |_, token| daemon.approve(token, &run).status);
    assert_eq!(answers.iter().filter(|status| **status == 200).count(), 1, "{answers:?}");
    assert!(answers.iter().all(|status| matches!(status, 200 | 409)), "{answers:?}");
    let _run = daemon.outcome(run["id"].as_str().unwrap(), "fixed");
    assert_eq!(stage.target.posts().len(), 1);
    assert_eq!(count(&journal(&daemon, &run), "effect-intended"), 1);
}

#[test]
fn two_approvals_at_the_same_moment_are_the_two_that_are_needed() {
    let Some(stage) = Stage::set_with("approve", "gate: { approvals: 2, expires: 5m }\n") else { return };
    let daemon = stage.home.serve();
    let tokens = operators(&daemon, 2);
    for round in 0..4 {
        stage.target.set_well(false);
        let run = waiting(&daemon, &format!("shop-{round}"));
        let answers = at_once(&tokens, |_, token| daemon.approve(token, &run).status);
        assert_eq!(answers, [200, 200]);
        let _run = daemon.until(run["id"].as_str().unwrap(), "ended");
        assert_eq!(stage.target.posts().len(), round + 1);
    }
}

#[test]
fn an_approval_beside_a_cancellation_or_a_resolve_is_done_once_or_not_at_all() {
    let Some(stage) = Stage::set("approve") else { return };
    let daemon = stage.home.serve();
    let tokens = operators(&daemon, 2);
    for round in 0..6 {
        stage.target.set_well(false);
        let before = stage.target.posts().len();
        let alert = Firing::new(ALERT, &format!("shop-{round}"));
        let run = daemon.until(&daemon.run_of(&alert), "waiting");
        let answers = at_once(&tokens, |number, token| {
            if number == 0 {
                return daemon.approve(token, &run).status;
            }
            if round % 2 == 0 {
                return decide(&daemon, token, &run, "cancel");
            }
            let _resolved = daemon.alerts(&[alert.resolved("2026-05-04T09:05:00Z")]);
            200
        });
        let over = daemon.until(run["id"].as_str().unwrap(), "ended");
        let told = journal(&daemon, &run);
        let done = stage.target.posts().len() - before;
        assert!(answers.iter().all(|status| matches!(status, 200 | 409)), "{answers:?}");
        assert_eq!(done, count(&told, "effect-intended"), "{over:#}");
        assert!(done <= count(&told, "run-approved"), "nothing without an approval: {told:?}");
        assert_eq!(count(&told, "run-ended"), 1, "{told:?}");
    }
}

#[test]
fn an_approval_beside_the_end_of_the_question_is_done_once_or_not_at_all() {
    let Some(stage) = Stage::set_with("approve", "gate: { expires: 1s }\n") else { return };
    let daemon = stage.home.serve();
    let tokens = operators(&daemon, 4);
    let runs: Vec<Value> = (0..4).map(|number| waiting(&daemon, &format!("shop-{number}"))).collect();
    let answers = at_once(&tokens, |number, token| {
        // All through the second in which the questions end.
        let until = Duration::from_millis(250 * u64::try_from(number).unwrap());
        thread::park_timeout(until);
        daemon.approve(token, &runs[number]).status
    });
    let mut done = 0;
    for (run, status) in runs.iter().zip(answers) {
        let over = daemon.until(run["id"].as_str().unwrap(), "ended");
        let intended = count(&journal(&daemon, run), "effect-intended");
        assert!(intended <= 1 && matches!(status, 200 | 409), "{status} {over:#}");
        assert_eq!(
            intended == 0,
            matches!(over["outcome"].as_str(), Some("expired" | "cancelled")),
            "{over:#}"
        );
        assert!(intended == 0 || status == 200, "{status} {over:#}");
        done += intended;
    }
    assert_eq!(stage.target.posts().len(), done);
}
