//! A backtest says what the daemon then does, from a file and from the journal, and what other policies would change.

use std::fs;
use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use sandbox_tests::alerts::{Firing, webhook};
use sandbox_tests::installation::{Installation, succeeded};
use serde_json::{Value, json};
use staunch::clock::Clock;

use super::stage::{ALERT, Stage};

/// A file of normalised alerts, as `alerts parse` makes them.
fn recorded(home: &Installation, alerts: &[Firing]) -> String {
    let body = home.aside().join("body.json");
    fs::write(&body, webhook(alerts).to_string()).unwrap();
    let parsed = home.staunch(&["alerts", "parse", "--source", "alertmanager", &body.display().to_string()]);
    let file = home.aside().join("recorded.json");
    fs::write(&file, succeeded(&parsed)).unwrap();
    file.display().to_string()
}

fn backtest(home: &Installation, words: &[&str]) -> Value {
    let finished = home.staunch(&[&["backtest", "--output", "json"], words].concat());
    serde_json::from_str(&succeeded(&finished)).unwrap()
}

/// What each alert comes to: `decided runbook:code`.
fn said(result: &Value) -> Vec<String> {
    let items = result["alerts"].as_array().unwrap();
    items.iter().map(|item| said_of(&item["judged"])).collect()
}

fn said_of(judged: &Value) -> String {
    let runs = judged["runbooks"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let runs = runs.iter().map(|run| format!(" {}:{}", text(&run["runbook"]), text(&run["code"])));
    format!("{}{}", text(&judged["decided"]), runs.collect::<String>())
}

/// Stage and code of each decision, without the stages that only a daemon asks.
fn trace(decisions: &Value) -> Vec<(String, String, String)> {
    let word = |said: &Value, name: &str| said[name].as_str().unwrap().to_owned();
    let all = decisions.as_array().unwrap().iter();
    let mut trace: Vec<_> = all
        .map(|said| (word(said, "stage"), word(said, "result"), word(said, "code")))
        .filter(|(stage, ..)| !["intake", "halt", "breaker", "plan"].contains(&stage.as_str()))
        .collect();
    trace.sort();
    trace
}

/// A copy of the policies, with another runbook.
fn other_policies(stage: &Stage, text: &str) -> PathBuf {
    let folder = stage.home.aside().join("other");
    copy(&stage.home.path("policies"), &folder);
    fs::write(folder.join("runbooks/restart-shop.yaml"), text).unwrap();
    folder
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)
        } else {
            fs::copy(entry.path(), target).map(drop).unwrap()
        }
    }
}

fn runbook(stage: &Stage) -> String {
    fs::read_to_string(stage.home.path("policies/runbooks/restart-shop.yaml")).unwrap()
}

#[test]
fn a_backtest_says_what_the_daemon_then_does() {
    let Some(stage) = Stage::set_with("automatic", "limits: { per_runbook: 1 per 10m }\n") else { return };
    let home = &stage.home;
    let (first, second) = (Firing::new(ALERT, "shop-1"), Firing::new(ALERT, "shop-2"));
    let stranger = Firing::new("Unheard", "shop-3");
    let alerts = [first.clone(), second.clone(), stranger.clone(), first.clone()];
    let result = backtest(home, &["--alerts", &recorded(home, &alerts)]);
    assert_eq!(
        said(&result),
        ["act restart-shop:passed", "refuse restart-shop:limit", "no-match", "duplicate",]
    );
    let run = &result["alerts"][0]["judged"]["runbooks"][0];
    assert_eq!((&run["target"], &run["needs_plan"]), (&json!("shop-1"), &json!(["effects"])), "{run:#}");
    let summary = &result["summary"];
    assert_eq!((&summary["alerts"], &summary["decided"]["act"]), (&json!(4), &json!(1)), "{summary:#}");
    assert_eq!(summary["decided"]["refused_by"], json!({ "limit": 1 }), "{summary:#}");
    assert_eq!(summary["runbooks"]["restart-shop"]["refuse"], 1, "{summary:#}");
    assert_eq!(result["assumed"], json!({ "runs_take": "1m", "approved": true }));
    assert_eq!(result["not_asked"].as_array().map(Vec::len), Some(4), "{result:#}");

    let daemon = home.serve();
    for (index, alert) in [first, second, stranger].iter().enumerate() {
        let entry = daemon.alerts(std::slice::from_ref(alert)).remove(0);
        if index == 0 {
            let _ended = daemon.until(entry["runs"][0].as_str().unwrap(), "ended");
        }
        let why = daemon.get(&format!("/v1/alerts/{}/why", entry["id"].as_str().unwrap())).expect(200);
        let wanted = trace(&result["alerts"][index]["judged"]["decisions"]);
        assert_eq!(trace(&why["decisions"]), wanted, "{why:#}");
    }
    assert_eq!(stage.target.posts().len(), 1);
}

#[test]
fn the_journal_is_rehearsed_through_the_daemon_and_from_the_store() {
    let Some(stage) = Stage::set("automatic") else { return };
    let home = &stage.home;
    let daemon = home.serve();
    let now = Clock::machine().now();
    let (now, later) = (now.to_rfc3339(), (now + TimeDelta::seconds(30)).to_rfc3339());
    let (gone, stays) =
        (Firing::new(ALERT, "shop-1").from(&now), Firing::new("Unheard", "shop-2").from(&now));
    let entry = daemon.alerts(&[gone.clone(), stays]).remove(0);
    let _ended = daemon.until(entry["runs"][0].as_str().unwrap(), "ended");
    let _over = daemon.alerts(&[gone.resolved(&later)]);
    // Revoked since then: as it stands now, nothing would be done.
    let _said = succeeded(&home.staunch(&["plugin", "revoke", "http-request", "--reason", "a test"]));
    let online = backtest(home, &["--since", "1h"]);
    assert_eq!(said(&online), ["refuse restart-shop:standing", "no-match", "resolved"], "{online:#}");
    assert_eq!(online["alerts"][0]["alert"]["id"], entry["id"]);
    assert_eq!(daemon.stop(), Some(0));
    let offline = backtest(home, &["--since", "1h"]);
    assert_eq!(offline["alerts"], online["alerts"]);
    assert_eq!(backtest(home, &["--since", "2999-01-01T00:00:00Z"])["alerts"], json!([]));
}

#[test]
fn two_folders_of_policies_are_compared_by_what_they_decide() {
    let Some(stage) = Stage::set("automatic") else { return };
    let home = &stage.home;
    let file = recorded(home, &[Firing::new(ALERT, "shop-1"), Firing::new("Unheard", "shop-1")]);
    let other = other_policies(&stage, &runbook(&stage).replace("autonomy: automatic", "autonomy: approve"));
    let other = other.display().to_string();
    let alone = backtest(home, &["--alerts", &file, "--policies", &other]);
    assert_eq!(said(&alone), ["ask restart-shop:approval-needed", "no-match"]);

    let compared = backtest(home, &["--alerts", &file, "--against", &other]);
    let differences = compared["differences"].as_array().unwrap();
    assert_eq!((differences.len(), &compared["summary"]["different"]), (1, &json!(1)), "{compared:#}");
    let difference = &differences[0]["difference"];
    assert_eq!(said_of(&difference["before"]), "act restart-shop:passed");
    assert_eq!(said_of(&difference["after"]), "ask restart-shop:approval-needed");
    let messages = difference["instead"].to_string();
    assert!(messages.contains("the runbook says approve"), "{messages}");
    let table = succeeded(&home.staunch(&["backtest", "--alerts", &file, "--against", &other]));
    assert!(
        table.contains("restart-shop act (passed)") && table.contains("the runbook says approve"),
        "{table}"
    );
    let same = backtest(home, &["--alerts", &file, "--policies", &other, "--against", &other]);
    assert_eq!(same["differences"], json!([]), "{same:#}");
}

#[test]
fn a_table_has_a_line_an_alert_and_the_numbers() {
    let Some(stage) = Stage::set("approve") else { return };
    let home = &stage.home;
    let many: Vec<Firing> = (0..60).map(|number| Firing::new(ALERT, &format!("shop-{number}"))).collect();
    let file = recorded(home, &many);
    let table = home.staunch(&["backtest", "--alerts", &file]);
    assert_eq!(succeeded(&table).matches("ShopDown").count(), 50, "{table:?}");
    assert!(table.stderr.contains("10 more lines") && table.stderr.contains("Not asked: halt"), "{table:?}");
    assert!(table.stdout.contains("(all)"), "{table:?}");
    let all = succeeded(&home.staunch(&["backtest", "--alerts", &file, "--all"]));
    assert_eq!(all.matches("ShopDown").count(), 60);
    let numbers = succeeded(&home.staunch(&["backtest", "--alerts", &file, "--summary"]));
    assert!(!numbers.contains("ShopDown") && numbers.contains("restart-shop"), "{numbers}");
}

#[test]
fn what_cannot_be_rehearsed_is_said_with_its_place() {
    let home = Installation::empty();
    let bad = home.aside().join("bad.json");
    fs::write(&bad, "[{\"source\": 7}]").unwrap();
    let broken = home.aside().join("broken");
    copy(&home.path("policies"), &broken);
    fs::write(broken.join("runbooks/x.yaml"), "runbook: x\nsteps: 7\n").unwrap();
    let (bad, broken) = (bad.display().to_string(), broken.display().to_string());
    for (words, code, wanted) in [
        (&[][..], 2, "--alerts <FILE>|--since <TIME>"),
        (&["--alerts", &bad, "--since", "1h"], 2, "cannot be used with"),
        (&["--alerts", "nowhere.json"], 2, "nowhere.json"),
        (&["--alerts", &bad], 1, "line 1"),
        (&["--since", "yesterday"], 2, "a duration as in 24h"),
        (&["--since", "1h", "--runs-take", "long"], 2, "--runs-take"),
        (&["--since", "1h", "--policies", "nowhere"], 2, "nowhere"),
        (&["--since", "1h", "--policies", &broken], 2, "x.yaml:2:"),
        (&["--since", "1h", "--against", &broken], 2, "x.yaml:2:"),
        (&["--since", "1h", "--url", "http://127.0.0.1:1"], 3, "no daemon answers"),
    ] {
        let refused = home.staunch(&[&["backtest"], words].concat());
        assert_eq!(refused.code, Some(code), "{words:?}: {}", refused.stderr);
        assert!(refused.stderr.contains(wanted), "{words:?}: {}", refused.stderr);
    }
}
