//! The identity of alerts: a repeat starts nothing, the end of a firing is heard, and the next firing is a new one.

use sandbox_tests::alerts::Firing;
use sandbox_tests::client::send;
use serde_json::{Value, json};

use super::stage::{ALERT, Stage};

#[test]
fn a_repeat_answers_the_same_id_and_starts_nothing() {
    let Some(stage) = Stage::set("automatic") else { return };
    let daemon = stage.home.serve();
    let alert = Firing::new(ALERT, "shop-1");
    let first = daemon.alerts(std::slice::from_ref(&alert)).remove(0);
    assert_eq!(first["duplicate"], false);
    let id = first["runs"][0].as_str().unwrap().to_owned();
    let _run = daemon.outcome(&id, "fixed");
    for _ in 0..3 {
        let again = daemon.alerts(std::slice::from_ref(&alert)).remove(0);
        assert_eq!(again["duplicate"], true);
        assert_eq!(again["id"], first["id"]);
        assert_eq!(again["runs"], first["runs"]);
        assert_eq!(again["fingerprint"], first["fingerprint"]);
    }
    assert_eq!(stage.target.posts().len(), 1);
    assert_eq!(daemon.decision(&first, "duplicate")["stage"], "dedup");
    let shown = daemon.get(&format!("/v1/alerts/{}", first["id"].as_str().unwrap())).expect(200);
    assert_eq!(shown["repeats"], 3, "{shown:#}");
}

#[test]
fn an_alert_resolves_and_fires_anew_under_a_new_id() {
    let Some(stage) = Stage::set("automatic") else { return };
    let daemon = stage.home.serve();
    let alert = Firing::new(ALERT, "shop-1");
    let first = daemon.alerts(std::slice::from_ref(&alert)).remove(0);
    let _run = daemon.outcome(first["runs"][0].as_str().unwrap(), "fixed");
    let over = daemon.alerts(&[alert.resolved("2026-05-04T09:05:00Z")]).remove(0);
    assert_eq!(over["id"], first["id"], "the end belongs to its beginning");
    let path = format!("/v1/alerts/{}", first["id"].as_str().unwrap());
    assert_eq!(daemon.get(&path).expect(200)["status"], "resolved");

    stage.target.set_well(false);
    let second = daemon.alerts(&[alert.from("2026-05-04T10:00:00Z")]).remove(0);
    assert_ne!(second["id"], first["id"]);
    assert_eq!(second["duplicate"], false);
    let _run = daemon.outcome(second["runs"][0].as_str().unwrap(), "fixed");
    assert_eq!(stage.target.posts().len(), 2);
    // A late repeat of the first firing's end says nothing about the second one.
    let late = daemon.alerts(&[alert.resolved("2026-05-04T09:05:00Z")]).remove(0);
    assert_eq!(late["id"], first["id"], "{late}");
    let path = format!("/v1/alerts/{}", second["id"].as_str().unwrap());
    assert_eq!(daemon.get(&path).expect(200)["status"], "firing");
}

#[test]
fn what_was_known_before_a_restart_is_known_after_it() {
    let Some(stage) = Stage::set("automatic") else { return };
    let daemon = stage.home.serve();
    let alert = Firing::new(ALERT, "shop-1");
    let first = daemon.alerts(std::slice::from_ref(&alert)).remove(0);
    let _run = daemon.outcome(first["runs"][0].as_str().unwrap(), "fixed");
    assert_eq!(daemon.stop(), Some(0));
    let daemon = stage.home.serve();
    let again = daemon.alerts(&[alert]).remove(0);
    assert_eq!((&again["id"], &again["duplicate"]), (&first["id"], &json!(true)));
    assert_eq!(again["runs"], first["runs"]);
    assert_eq!(stage.target.posts().len(), 1);
}

#[test]
fn a_late_repeat_of_what_was_over_before_a_restart_starts_nothing() {
    let Some(stage) = Stage::set("automatic") else { return };
    let daemon = stage.home.serve();
    let (first, second) =
        (Firing::new(ALERT, "shop-1"), Firing::new(ALERT, "shop-1").from("2026-05-04T10:00:00Z"));
    let mut ids = Vec::new();
    for alert in [&first, &second] {
        stage.target.set_well(false);
        let entry = daemon.alerts(std::slice::from_ref(alert)).remove(0);
        let _run = daemon.outcome(entry["runs"][0].as_str().unwrap(), "fixed");
        let _over = daemon.alerts(&[alert.resolved("2026-05-04T11:00:00Z")]);
        ids.push(entry["id"].clone());
    }
    daemon.kill();
    let daemon = stage.home.serve();
    stage.target.set_well(false);
    for (alert, id) in [(&second, &ids[1]), (&first, &ids[0]), (&first, &ids[0])] {
        let late = daemon.alerts(std::slice::from_ref(alert)).remove(0);
        assert_eq!((&late["id"], &late["duplicate"]), (id, &json!(true)), "{late}");
        assert_eq!(late["runs"].as_array().map(Vec::len), Some(1), "{late}");
    }
    assert_eq!(stage.target.posts().len(), 2);
}

#[test]
fn a_message_may_hold_both_states_and_the_same_alert_twice() {
    let Some(stage) = Stage::set("automatic") else { return };
    let daemon = stage.home.serve();
    let (one, two) = (Firing::new(ALERT, "shop-1"), Firing::new("Other", "shop-2"));
    let entries = daemon.alerts(&[one.clone(), two.resolved("2026-05-04T09:05:00Z"), one]);
    assert_eq!(entries.len(), 3);
    assert_eq!(entries[0]["id"], entries[2]["id"]);
    assert_eq!((&entries[0]["duplicate"], &entries[2]["duplicate"]), (&json!(false), &json!(true)));
    assert_eq!(entries[1]["runs"], json!([]), "what is over starts nothing");
    let _run = daemon.outcome(entries[0]["runs"][0].as_str().unwrap(), "fixed");
}

#[test]
fn a_genuine_message_without_an_alert_is_accepted() {
    let Some(stage) = Stage::set("automatic") else { return };
    let daemon = stage.home.serve();
    assert_eq!(daemon.alerts(&[]), Vec::<Value>::new());
}

#[test]
fn an_alert_that_nothing_matches_says_so() {
    let Some(stage) = Stage::set("automatic") else { return };
    let daemon = stage.home.serve();
    let entry = daemon.alerts(&[Firing::new("Nobody's", "shop-1")]).remove(0);
    assert_eq!(entry["runs"], json!([]));
    let decision = daemon.decision(&entry, "no-match");
    assert_eq!((&decision["stage"], &decision["result"]), (&json!("match"), &json!("refuse")));
}

#[test]
fn one_run_of_a_runbook_at_a_target_at_a_time() {
    let Some(stage) = Stage::set("approve") else { return };
    let daemon = stage.home.serve();
    let alert = Firing::new(ALERT, "shop-1");
    let first = daemon.run_of(&alert);
    let second = alert.from("2026-05-04T10:00:00Z");
    let entry = daemon.alerts(std::slice::from_ref(&second)).remove(0);
    assert_eq!(entry["runs"], json!([]), "{entry}");
    assert_eq!(daemon.decision(&entry, "busy")["stage"], "dedup");
    let _run = daemon.until(&first, "waiting");
    let _run = daemon.post(&format!("/v1/runs/{first}/cancel"), &json!({})).expect(200);
    let _run = daemon.outcome(&first, "cancelled");
    // The match that was lost is tried again with the next repeat.
    let again = daemon.alerts(&[second]).remove(0);
    assert_eq!(again["duplicate"], true);
    assert_eq!(again["runs"].as_array().map(Vec::len), Some(1), "{again}");
}

#[test]
fn prometheus_may_post_to_alertmanagers_own_path() {
    let Some(stage) = Stage::set("automatic") else { return };
    let daemon = stage.home.serve();
    let body = json!([{
        "labels": { "alertname": ALERT, "instance": "shop-1" },
        "annotations": {},
        "startsAt": "2026-05-04T09:00:00Z",
        "endsAt": "2199-01-01T00:00:00Z",
        "generatorURL": "http://127.0.0.1:9090/graph",
    }]);
    let authorization = format!("Bearer {}", stage.home.prometheus_token);
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    let post =
        || send(daemon.address(), "POST", "/api/v2/alerts", &headers, body.to_string().as_bytes()).unwrap();
    let answer = post();
    assert_eq!((answer.status, answer.body.len()), (200, 0), "{}", answer.text());
    let runs = daemon.get("/v1/runs").expect(200);
    let id = runs["items"][0]["id"].as_str().unwrap().to_owned();
    let _run = daemon.outcome(&id, "fixed");
    assert_eq!(post().status, 200);
    assert_eq!(daemon.get("/v1/runs").expect(200)["items"].as_array().map(Vec::len), Some(1));
}
