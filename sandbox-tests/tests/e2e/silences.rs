//! Silences: what they cover is recorded and starts nothing, until they end; and alerts that lead nowhere.

use sandbox_tests::alerts::Firing;
use sandbox_tests::installation::succeeded;
use sandbox_tests::poll::{SOON, until};
use serde_json::{Value, json};

use super::stage::{ALERT, Stage};
use super::windows::{in_seconds, run_in_time};

#[test]
fn what_is_silenced_starts_nothing_until_the_silence_is_ended() {
    let Some(stage) = Stage::set("automatic") else { return };
    let daemon = stage.home.serve();
    let matcher = "instance=\"shop-1\"";
    let made =
        stage.home.staunch(&["silence", matcher, "--for", "1h", "--comment", "known", "--output", "json"]);
    let made: Value = serde_json::from_str(&succeeded(&made)).unwrap();
    assert_eq!((&made["state"], &made["matchers"]), (&json!("active"), &json!([matcher])), "{made}");
    let entry = daemon.alerts(&[Firing::new(ALERT, "shop-1")]).remove(0);
    assert_eq!(entry["runs"], json!([]), "{}", daemon.why(&entry));
    let decision = daemon.decision(&entry, "silence");
    assert_eq!((&decision["stage"], &decision["result"]), (&json!("window"), &json!("refuse")), "{decision}");
    let unanswered = daemon.get("/v1/alerts?unanswered=true").expect(200);
    assert_eq!(unanswered["items"][0]["unanswered"]["code"], "silence", "{unanswered:#}");
    let _other = daemon.outcome(&daemon.run_of(&Firing::new(ALERT, "shop-2")), "fixed");
    stage.target.set_well(false);
    daemon.kill();

    // In force after a power cut.
    let daemon = stage.home.serve();
    let listed = daemon.get("/v1/silences").expect(200);
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1), "{listed}");
    assert_eq!(listed["items"][0], made, "{listed}");
    assert_eq!(stage.target.posts().len(), 1);
    let id = made["id"].as_str().unwrap();
    let _ended = succeeded(&stage.home.staunch(&["unsilence", id]));
    let _run = daemon.outcome(&run_in_time(&daemon, &entry), "fixed");
    assert!(stage.target.posts().iter().any(|post| post.path == "/restart/shop-1"));
    assert_eq!(daemon.get("/v1/silences").expect(200)["items"], json!([]));
    let expired = succeeded(&stage.home.staunch(&["silences", "--state", "expired"]));
    assert!(expired.contains(id) && expired.contains("known"), "{expired}");
    assert_eq!(daemon.delete(&format!("/v1/silences/{id}")).status, 409);
}

#[test]
fn a_silence_that_ends_by_itself_hands_on_what_still_fires() {
    let Some(stage) = Stage::set("automatic") else { return };
    let daemon = stage.home.serve();
    let silence = json!({ "matchers": ["alertname=~\"Shop.*\""], "duration": "3s", "comment": "a moment" });
    let made = daemon.post("/v1/silences", &silence).expect(201);
    let entry = daemon.alerts(&[Firing::new(ALERT, "shop-1")]).remove(0);
    assert_eq!(entry["runs"], json!([]), "{}", daemon.why(&entry));
    let _run = daemon.outcome(&run_in_time(&daemon, &entry), "fixed");
    let ends: chrono::DateTime<chrono::Utc> = made["ends_at"].as_str().unwrap().parse().unwrap();
    assert!(in_seconds(0) >= ends);
}

#[test]
fn wrong_silences_are_refused_with_the_field_and_only_operators_make_them() {
    let Some(stage) = Stage::set("automatic") else { return };
    let daemon = stage.home.serve();
    let right = json!({ "matchers": ["a=\"b\""], "duration": "1h", "comment": "c" });
    for (key, value, field) in [
        ("matchers", json!([]), "matchers"),
        ("matchers", json!(["a=~\".*\""]), "matchers"),
        ("matchers", json!(["a~~b"]), "matchers"),
        ("duration", json!("soon"), "duration"),
        ("duration", json!("400d"), "ends_at"),
        ("duration", Value::Null, "ends_at"),
        ("ends_at", json!("2020-01-01T00:00:00Z"), "duration"),
        ("comment", json!(" "), "comment"),
    ] {
        let mut body = right.clone();
        body[key] = value;
        let refused = daemon.post("/v1/silences", &body);
        assert_eq!((refused.status, &refused.json()["field"]), (422, &json!(field)), "{}", refused.text());
    }
    let reader = stage.home.token("rita", "reader");
    assert_eq!(daemon.post_by(&reader, "/v1/silences", &right).status, 403);
    let operator = stage.home.token("olga", "operator");
    assert_eq!(daemon.post_by(&operator, "/v1/silences", &right).expect(201)["created_by"], "olga");
    assert_eq!(daemon.delete("/v1/silences/sil_1").status, 404);
    assert_eq!(daemon.get("/v1/silences?state=loud").status, 422);
}

#[test]
fn alerts_that_lead_nowhere_are_listed_with_their_reasons() {
    let Some(stage) = Stage::set("approve") else { return };
    stage.runbook("observed", "Watched", "observe", "");
    let daemon = stage.home.serve();
    let _halt = daemon.halt(&json!({ "target": "shop-9" }));
    let alerts = [
        Firing::new("Nobody", "shop-1"),
        Firing::new(ALERT, "shop-9"),
        Firing::new(ALERT, "shop-2"),
        Firing::new("Watched", "shop-3"),
    ];
    let entries = daemon.alerts(&alerts);
    let waiting = entries[2]["runs"][0].as_str().unwrap();
    let _run = daemon.until(waiting, "waiting");
    let _run = daemon.until(entries[3]["runs"][0].as_str().unwrap(), "ended");
    let codes = |query: &str| {
        let listed = daemon.get(&format!("/v1/alerts?unanswered=true{query}")).expect(200);
        let code = |item: &Value| item["unanswered"]["code"].as_str().unwrap().to_owned();
        let mut codes: Vec<String> = listed["items"].as_array().unwrap().iter().map(code).collect();
        codes.sort_unstable();
        codes
    };
    assert_eq!(codes(""), ["halt", "no-match"]);
    assert_eq!(codes("&patience=0s"), ["halt", "no-match", "waiting-too-long"]);
    let table = succeeded(&stage.home.staunch(&["alerts", "list", "--unanswered", "--patience", "0s"]));
    assert!(table.contains("waiting-too-long") && table.contains(waiting), "{table}");
    assert_eq!(daemon.get("/v1/alerts?unanswered=true&status=resolved").status, 422);
    let _resolved = daemon.alerts(&[alerts[0].resolved("2026-05-04T09:05:00Z")]);
    assert_eq!(codes(""), ["halt"]);
}

#[test]
fn a_run_that_is_no_longer_needed_gets_no_further_effect_if_its_runbook_says_so() {
    let Some(stage) = Stage::bare() else { return };
    let step = |number| {
        let url = format!("http://{}/restart/{number}", stage.target.address());
        format!("  - plugin: http-request\n    input: {{ method: POST, url: '{url}' }}\n")
    };
    let steps: String = (0..4).map(step).collect();
    let text = |more: &str, alert: &str| {
        format!(
            "match: ['alertname=\"{alert}\"']\ntarget: '{{{{ labels.instance }}}}'\nautonomy: automatic\n{more}\
             steps:\n{steps}{}",
            stage.verify()
        )
    };
    stage.home.runbook("stops", &text("cancel_when_resolved: true\n", "Stops"));
    stage.home.runbook("goes-on", &text("", "GoesOn"));
    let daemon = stage.home.serve();
    for (name, posts) in [("Stops", 2), ("GoesOn", 4)] {
        let alert = Firing::new(name, "shop-1");
        let before = stage.target.posts().len();
        stage.target.set_well(false);
        let (address, resolved) = (daemon.address(), alert.resolved("2026-05-04T09:05:00Z"));
        let body = sandbox_tests::alerts::webhook(&[resolved]).to_string();
        let token = format!("Bearer {}", stage.home.source_token);
        let path = format!("/v1/alerts/{}", sandbox_tests::installation::SOURCE);
        // The alert is over while the second request is in flight.
        stage.target.on_post(move |seen| {
            if seen.path == "/restart/1" {
                let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
                let answer = sandbox_tests::client::send(address, "POST", &path, &headers, body.as_bytes());
                assert_eq!(answer.unwrap().status, 202);
                // Longer than it takes to write the end down.
                std::thread::sleep(std::time::Duration::from_millis(500));
            }
        });
        let run = daemon.until(&daemon.run_of(&alert), "ended");
        assert_eq!(stage.target.posts().len() - before, posts, "{run:#}");
        let message = run["reason"]["message"].as_str().unwrap();
        assert_eq!(message.contains("cancel_when_resolved"), posts == 2, "{run:#}");
    }
    until("nothing is open", SOON, || {
        let open = daemon.get("/v1/runs?state=running").expect(200);
        (open["items"] == json!([])).then_some(())
    });
}
