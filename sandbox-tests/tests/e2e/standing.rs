//! Trust is lost by itself, by what the probes say, and given back by a person with a reason.

use sandbox_tests::alerts::Firing;
use sandbox_tests::installation::succeeded;
use sandbox_tests::target::Behaviour;
use serde_json::{Value, json};

use super::stage::{ALERT, Stage};

/// A stage whose restart does not help, and no breaker that stops it sooner.
fn stage() -> Option<Stage> {
    let mut stage = Stage::bare()?;
    let breaker = "breaker: { failures: 200, plugin: { failures: 200, sample: 200 } }\n";
    stage.home.more.extend([breaker.to_owned(), "standing: { deprecate_below: 1% }\n".to_owned()]);
    stage.home.configure();
    let verify = stage.verify().replace("within: 20s", "within: 0s");
    stage.runbook("restart-shop", ALERT, "automatic", &verify);
    stage.target.behave(Behaviour::Answer(200));
    Some(stage)
}

fn standing(stage: &Stage) -> Value {
    let said = succeeded(&stage.home.staunch(&["plugin", "standing", "http-request", "--output", "json"]));
    serde_json::from_str(&said).unwrap()
}

#[test]
fn ten_failures_demote_a_plugin_and_its_next_run_asks_people() {
    let Some(stage) = stage() else { return };
    let daemon = stage.home.serve();
    let mut runs = Vec::new();
    for number in 0..10 {
        if number == 6 {
            assert_eq!(standing(&stage)["sample"], 6);
        }
        let id = daemon.run_of(&Firing::new(ALERT, &format!("shop-{number}")));
        let _run = daemon.outcome(&id, "not-fixed");
        runs.push(json!(id));
    }
    let stands = standing(&stage);
    assert_eq!(stands["standing"], "approve", "{stands:#}");
    let moved = &stands["moves"][0];
    assert_eq!(
        (&moved["from"], &moved["to"], &moved["cause"]),
        (&json!("automatic"), &json!("approve"), &json!("rate"))
    );
    assert_eq!(moved["runs"], json!(runs), "{moved:#}");
    assert!(moved["message"].as_str().unwrap().contains("0 of 10 runs"), "{moved:#}");
    let id = daemon.run_of(&Firing::new(ALERT, "shop-10"));
    let _run = daemon.until(&id, "waiting");
    daemon.kill();
    // The move is in the journal, and holds after a power cut.
    let daemon = stage.home.serve();
    assert_eq!(daemon.get("/v1/plugins/http-request").expect(200)["standing"], "approve");
    assert_eq!(stage.target.posts().len(), 10);
}

#[test]
fn what_was_counted_is_counted_after_a_power_cut() {
    let Some(stage) = stage() else { return };
    let mut daemon = stage.home.serve();
    for number in 0..10 {
        if number == 5 {
            daemon.kill();
            daemon = stage.home.serve();
        }
        let id = daemon.run_of(&Firing::new(ALERT, &format!("shop-{number}")));
        let _run = daemon.outcome(&id, "not-fixed");
    }
    assert_eq!(standing(&stage)["standing"], "approve");
}

#[test]
fn a_revoked_plugin_does_not_run_until_it_is_reinstated_with_a_reason() {
    let Some(stage) = Stage::set("automatic") else { return };
    let daemon = stage.home.serve();
    let none = daemon.post("/v1/plugins/http-request/revoke", &json!({}));
    assert_eq!((none.status, none.json()["field"].as_str()), (422, Some("reason")), "{}", none.text());
    let revoked =
        daemon.post("/v1/plugins/http-request/revoke", &json!({ "reason": "it leaks" })).expect(200);
    assert_eq!(revoked["standing"], "revoked", "{revoked:#}");
    let entry = daemon.alerts(&[Firing::new(ALERT, "shop-1")]).remove(0);
    let decision = daemon.decision(&entry, "standing");
    assert!(decision["message"].as_str().unwrap().contains("http-request is revoked"), "{decision}");
    let twice = daemon.post("/v1/plugins/http-request/revoke", &json!({ "reason": "again" }));
    assert_eq!(twice.status, 409, "{}", twice.text());
    assert_eq!(daemon.stop(), Some(0));

    // Without a daemon, too; one step at a time.
    let no_reason = stage.home.staunch(&["plugin", "reinstate", "http-request", "--reason", " "]);
    assert_eq!(no_reason.code, Some(1), "{}", no_reason.stderr);
    for wanted in ["observe", "approve", "automatic"] {
        let said = stage.home.staunch(&["plugin", "reinstate", "http-request", "--reason", "it was fixed"]);
        assert_eq!(succeeded(&said).trim(), wanted);
    }
    let stands = standing(&stage);
    assert_eq!(
        (&stands["standing"], &stands["in_force"]),
        (&json!("automatic"), &json!("approve")),
        "{stands:#}"
    );
    // Its first runs need approval still.
    let daemon = stage.home.serve();
    let id = daemon.run_of(&Firing::new(ALERT, "shop-2"));
    let waiting = daemon.until(&id, "waiting");
    assert!(stage.target.posts().is_empty());
    let _approved = daemon.approve(&stage.home.administrator, &waiting).expect(200);
    let _run = daemon.outcome(&id, "fixed");
}
