//! Trust is lost by itself, by what the probes say, and given back by a person with a reason.

use sandbox_tests::alerts::Firing;
use sandbox_tests::daemon::Daemon;
use sandbox_tests::installation::succeeded;
use sandbox_tests::poll::{SOON, until};
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
    let newest_first: Vec<&str> = runs.iter().rev().filter_map(Value::as_str).collect();
    daemon.until_said("moves down to approve");
    daemon.until_said(&format!("by {}", newest_first.join(", ")));
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

/// A stage that restarts the shop by itself, as a person may, too; and that it was fixed once.
fn fixed_once() -> Option<(Stage, Daemon, String)> {
    let stage = Stage::set("automatic")?;
    let daemon = stage.home.serve();
    let id = daemon.run_of(&Firing::new(ALERT, "shop-1"));
    let _run = daemon.outcome(&id, "fixed");
    assert_eq!((&standing(&stage)["fixed"], &standing(&stage)["not_fixed"]), (&json!(1), &json!(0)));
    Some((stage, daemon, id))
}

/// The run counts as not fixed, stays as it ended, and says so in its journal; also after a power cut.
fn is_turned(stage: &Stage, daemon: Daemon, id: &str, how: &str) {
    let turned = |stands: &Value| {
        let counted = (stands["fixed"].as_u64(), stands["not_fixed"].as_u64());
        assert_eq!(counted.1, Some(1), "{stands:#}");
        assert_eq!(
            (&stands["intervened"][0]["run"], &stands["intervened"][0]["how"]),
            (&json!(id), &json!(how))
        );
    };
    turned(&standing(stage));
    let told = daemon.journal(id);
    let told = told.iter().find(|entry| entry["leaf"]["kind"] == "run-intervened").expect("an entry");
    assert_eq!(told["leaf"]["fact"]["how"], how);
    assert_eq!(daemon.run(id)["outcome"], "fixed", "a run stays as it ended");
    daemon.kill();
    let daemon = stage.home.serve();
    turned(&standing(stage));
    assert_eq!(daemon.stop(), Some(0));
    turned(&standing(stage));
    let shown = succeeded(&stage.home.staunch(&["plugin", "standing", "http-request"]));
    assert!(shown.contains(&format!("not fixed after all: {id} ({how})")), "{shown}");
    assert!(shown.contains("unknown   0 (not counted)"), "{shown}");
}

#[test]
fn an_alert_that_fires_again_soon_counts_its_run_as_not_fixed() {
    let Some((stage, daemon, id)) = fixed_once() else { return };
    let one = Firing::new(ALERT, "shop-1");
    let _over = daemon.alerts(&[one.resolved("2026-05-04T09:05:00Z")]);
    let _still = daemon.alerts(&[one.resolved("2026-05-04T09:05:00Z")]);
    assert_eq!(standing(&stage)["fixed"], 1, "a repeat is no new firing");
    stage.target.set_well(false);
    let again = daemon.run_of(&one.from("2026-05-04T09:10:00.000Z"));
    let _run = daemon.outcome(&again, "fixed");
    is_turned(&stage, daemon, &id, "fired-again");
}

#[test]
fn a_person_who_runs_it_again_soon_counts_the_run_as_not_fixed() {
    let Some((stage, daemon, id)) = fixed_once() else { return };
    let start = |mode: &str, target: &str| {
        let body = json!({ "runbook": "restart-shop", "target": target, "labels": { "instance": target },
                           "reason": "it came back", "mode": mode });
        let run = daemon.post("/v1/runs", &body).expect(202);
        daemon.until(run["id"].as_str().unwrap(), "ended")
    };
    stage.target.set_well(false);
    let _plan = start("plan", "shop-1");
    let _other = start("act", "shop-2");
    assert_eq!(standing(&stage)["fixed"], 1, "looking, and another target, say nothing about it");
    stage.target.set_well(false);
    let _run = start("act", "shop-1");
    is_turned(&stage, daemon, &id, "run-again");
}

#[test]
fn a_takeover_soon_after_counts_the_run_before_as_not_fixed() {
    let Some(stage) = Stage::bare() else { return };
    // Two alerts about one target.
    stage.home.runbook(
        "restart-shop",
        &format!(
            "match: ['alertname=\"{ALERT}\"']\ntarget: shop\nautonomy: approve\nsteps:\n  - plugin: http-request\n    \
             input: {{ method: POST, url: 'http://{}/restart/shop' }}\n{}",
            stage.target.address(),
            stage.verify()
        ),
    );
    let daemon = stage.home.serve();
    let id = daemon.run_of(&Firing::new(ALERT, "shop-1"));
    let waiting = daemon.until(&id, "waiting");
    let _run = daemon.approve(&stage.home.administrator, &waiting).expect(200);
    let _run = daemon.outcome(&id, "fixed");
    stage.target.set_well(false);
    let again = daemon.run_of(&Firing::new(ALERT, "shop-2"));
    let _run = daemon.until(&again, "waiting");
    assert_eq!(standing(&stage)["fixed"], 1);
    let path = format!("/v1/runs/{again}/takeover");
    let _run = daemon.post(&path, &json!({ "comment": "by hand" })).expect(200);
    is_turned(&stage, daemon, &id, "taken-over");
}

#[test]
fn what_was_only_planned_is_compared_with_what_people_did() {
    let Some(mut stage) = Stage::bare() else { return };
    stage.home.more.push("standing: { fires_again_within: 3s }\n".to_owned());
    stage.home.configure();
    let verify = stage.verify();
    stage.runbook("watch-shop", ALERT, "observe", &verify);
    stage.runbook("by-hand", "Nobody", "automatic", &verify);
    let daemon = stage.home.serve();
    for shop in ["agreed", "differed", "nobody"] {
        let id = daemon.run_of(&Firing::new(ALERT, shop));
        let _run = daemon.outcome(&id, "observed");
    }
    for (target, instance) in [("agreed", "agreed"), ("differed", "something-else")] {
        stage.target.set_well(false);
        let body = json!({ "runbook": "by-hand", "target": target, "labels": { "instance": instance },
                           "reason": "it is down", "mode": "act" });
        let run = daemon.post("/v1/runs", &body).expect(202);
        let _run = daemon.outcome(run["id"].as_str().unwrap(), "fixed");
    }
    let compared = until("the time to act is over", SOON, || {
        let observed = standing(&stage)["observed"].clone();
        (observed["open"] == 0).then_some(observed)
    });
    let counts = ["agreed", "differed", "nobody_acted"].map(|name| compared[name].as_u64());
    assert_eq!(counts, [Some(1); 3], "{compared:#}");
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(standing(&stage)["observed"], compared, "the same without a daemon");
}

#[test]
fn a_reinstated_plugin_asks_for_as_many_runs_as_the_person_said() {
    let Some(stage) = Stage::set("automatic") else { return };
    let daemon = stage.home.serve();
    let hand = |what: &str, body: Value| daemon.post(&format!("/v1/plugins/http-request/{what}"), &body);
    let no_canary = hand("revoke", json!({ "reason": "r", "canary": 1 }));
    assert_eq!((no_canary.status, &no_canary.json()["field"]), (422, &json!("canary")));
    let _revoked = hand("revoke", json!({ "reason": "a bad release" })).expect(200);
    let early = hand("reinstate", json!({ "reason": "better", "canary": 1 }));
    assert_eq!((early.status, &early.json()["field"]), (422, &json!("canary")), "{}", early.text());
    for _step in ["observe", "approve"] {
        let _one = hand("reinstate", json!({ "reason": "better" })).expect(200);
    }
    let url = format!("http://{}", daemon.address());
    let said = stage.home.staunch(&[
        "plugin",
        "reinstate",
        "http-request",
        "--reason",
        "better",
        "--canary",
        "1",
        "--url",
        &url,
        "--token",
        &stage.home.administrator,
    ]);
    assert_eq!(succeeded(&said).trim(), "automatic");
    assert_eq!(standing(&stage)["canary"], 1);
    let id = daemon.run_of(&Firing::new(ALERT, "shop-1"));
    let waiting = daemon.until(&id, "waiting");
    let _approved = daemon.approve(&stage.home.administrator, &waiting).expect(200);
    let _run = daemon.outcome(&id, "fixed");
    stage.target.set_well(false);
    let _run = daemon.outcome(&daemon.run_of(&Firing::new(ALERT, "shop-2")), "fixed");
    assert_eq!(stage.target.posts().len(), 2);
}

#[test]
fn check_warns_of_a_runbook_whose_plugin_is_out_of_service_and_names_its_replacement() {
    let Some(mut stage) = Stage::set("automatic") else { return };
    let revoked = stage.home.staunch(&["plugin", "revoke", "http-request", "--reason", "it leaks"]);
    assert_eq!(succeeded(&revoked).trim(), "revoked");
    let said = stage.home.staunch(&["check"]);
    assert_eq!(said.code, Some(0), "{}{}", said.stdout, said.stderr);
    let warning = "restart-shop.yaml:7:5: warning: plugin http-request is revoked and does not run: \
                   `staunch plugin standing http-request` tells why";
    assert!(said.stderr.contains(warning), "{}", said.stderr);
    stage.home.more.push("replacements: { http-request: better-request }\n".to_owned());
    stage.home.configure();
    let said = stage.home.staunch(&["check"]);
    assert!(said.stderr.contains("does not run: better-request replaces it"), "{}", said.stderr);
    let daemon = stage.home.serve();
    daemon.until_said("better-request replaces it");
    let entry = daemon.alerts(&[Firing::new(ALERT, "shop-1")]).remove(0);
    let decision = daemon.decision(&entry, "standing");
    let message = decision["message"].as_str().unwrap();
    assert!(message.contains("is revoked, replaced by better-request, and does not run"), "{message}");
    assert_eq!(daemon.stop(), Some(0));
    *stage.home.more.last_mut().unwrap() = "replacements: { http-request: http-request }\n".to_owned();
    stage.home.configure();
    let said = stage.home.staunch(&["check"]);
    assert_eq!(said.code, Some(1));
    assert!(
        said.stdout.contains("replacements.http-request must be the name of another plugin"),
        "{}",
        said.stdout
    );
}
