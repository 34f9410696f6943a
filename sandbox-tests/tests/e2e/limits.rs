//! Enough is enough: what limits allow is done and no more, whatever comes in and whenever the power goes.

use sandbox_tests::alerts::Firing;
use sandbox_tests::daemon::Daemon;
use sandbox_tests::poll::{SOON, until};
use serde_json::{Value, json};

use super::stage::{ALERT, Stage};

/// So many alerts, each different, all about one target.
fn burst(stage: &Stage, count: u32) -> Vec<Firing> {
    // The target is fixed by the runbook, so that every alert is a firing of its own.
    let url = format!("http://{}/restart/shop", stage.target.address());
    stage.home.runbook(
        "restart-shop",
        &format!(
            "match: ['alertname=\"{ALERT}\"']\ntarget: shop\nautonomy: automatic\n\
             limits: {{ per_target: 1 per 10m }}\n\
             steps:\n  - plugin: http-request\n    input: {{ method: POST, url: '{url}' }}\n"
        ),
    );
    (0..count).map(|number| Firing::new(ALERT, &format!("shop-{number}"))).collect()
}

fn all_at_rest(daemon: &Daemon) {
    until("every run is over", SOON, || {
        let runs = daemon.get("/v1/runs?limit=500").expect(200);
        let over = |run: &Value| run["state"] == "ended" || run["state"] == "parked";
        runs["items"].as_array().unwrap().iter().all(over).then_some(())
    });
}

fn left<'a>(limits: &'a Value, limit: &str) -> &'a Value {
    let items = limits["items"].as_array().unwrap();
    items.iter().find(|line| line["limit"] == limit).unwrap_or_else(|| panic!("no {limit} in {limits:#}"))
}

#[test]
fn a_burst_for_one_target_gives_exactly_one_effect_over_power_cuts() {
    let Some(stage) = Stage::bare() else { return };
    let alerts = burst(&stage, 200);
    let mut daemon = stage.home.serve();
    for (round, part) in alerts.chunks(67).enumerate() {
        for few in part.chunks(7) {
            let _entries = daemon.alerts(few);
        }
        if round < 2 {
            daemon.kill();
            daemon = stage.home.serve();
        }
    }
    // All of them once more: what was lost to the limit is tried again, and is as much too much as before.
    let entries = daemon.alerts(&alerts);
    all_at_rest(&daemon);
    assert_eq!(stage.target.posts().len(), 1, "the limit is 1");
    let decision = daemon.decision(&entries[150], "limit");
    assert_eq!((&decision["stage"], &decision["result"]), (&json!("limit"), &json!("refuse")), "{decision}");
    let message = decision["message"].as_str().unwrap();
    assert!(message.contains("1 of 1 actions of restart-shop at shop in 10m"), "{message}");
    let limits = daemon.get("/v1/limits").expect(200);
    let line = left(&limits, "per_target");
    assert_eq!((&line["subject"], &line["used"], &line["left"]), (&json!("shop"), &json!(1), &json!(0)));
    assert!(line["free_at"].is_string(), "{line}");
}

#[test]
fn a_match_lost_to_a_limit_is_tried_again_with_the_repeat() {
    let Some(stage) = Stage::set_with("automatic", "limits: { per_runbook: 1 per 3s }\n") else { return };
    let daemon = stage.home.serve();
    let first = daemon.run_of(&Firing::new(ALERT, "shop-1"));
    let _run = daemon.outcome(&first, "fixed");
    stage.target.set_well(false);
    let lost = Firing::new(ALERT, "shop-2");
    let entry = daemon.alerts(std::slice::from_ref(&lost)).remove(0);
    assert_eq!(entry["runs"], json!([]), "{entry}");
    let _decision = daemon.decision(&entry, "limit");
    let id = until("there is room again", SOON, || {
        let entry = daemon.alerts(std::slice::from_ref(&lost)).remove(0);
        entry["runs"][0].as_str().map(str::to_owned)
    });
    let _run = daemon.outcome(&id, "fixed");
    assert_eq!(stage.target.posts().len(), 2);
}

#[test]
fn an_approved_run_meets_the_limit_at_the_gate() {
    let Some(stage) = Stage::set_with("approve", "limits: { per_runbook: 1 per 10m }\n") else { return };
    let daemon = stage.home.serve();
    let (one, two) =
        (daemon.run_of(&Firing::new(ALERT, "shop-1")), daemon.run_of(&Firing::new(ALERT, "shop-2")));
    let (one, two) = (daemon.until(&one, "waiting"), daemon.until(&two, "waiting"));
    let _approved = daemon.approve(&stage.home.administrator, &one).expect(200);
    let _run = daemon.outcome(one["id"].as_str().unwrap(), "fixed");
    stage.target.set_well(false);
    let _approved = daemon.approve(&stage.home.administrator, &two).expect(200);
    let run = daemon.outcome(two["id"].as_str().unwrap(), "refused");
    assert_eq!(run["reason"]["code"], "limit", "{run:#}");
    assert_eq!(stage.target.posts().len(), 1);
    // Nothing was done, so nothing is held.
    let limits = daemon.get("/v1/limits").expect(200);
    assert_eq!(left(&limits, "per_runbook")["used"], 1, "{limits:#}");
}

#[test]
fn in_a_storm_people_are_asked() {
    let storm = "limits: { storm: { targets: 2, within: 10m } }\n";
    let Some(stage) = Stage::set_with("automatic", storm) else { return };
    let daemon = stage.home.serve();
    for number in 1..=2 {
        stage.target.set_well(false);
        let id = daemon.run_of(&Firing::new(ALERT, &format!("shop-{number}")));
        let _run = daemon.outcome(&id, "fixed");
    }
    stage.target.set_well(false);
    let id = daemon.run_of(&Firing::new(ALERT, "shop-3"));
    let waiting = daemon.until(&id, "waiting");
    let why = daemon.get(&format!("/v1/runs/{id}/why")).expect(200);
    let asks = |decision: &&Value| decision["code"] == "storm" && decision["result"] == "ask";
    let decision = why["decisions"].as_array().unwrap().iter().find(asks).cloned();
    let message = decision.as_ref().and_then(|decision| decision["message"].as_str()).unwrap_or_default();
    assert!(message.contains("shop-1, shop-2, shop-3"), "{why:#}");
    let _approved = daemon.approve(&stage.home.administrator, &waiting).expect(200);
    let _run = daemon.outcome(&id, "fixed");
    assert_eq!(stage.target.posts().len(), 3);
}

/// A stage whose runbook needs one healthy member of a group besides the target.
fn grouped(members: &str) -> Option<Stage> {
    let mut stage = Stage::bare()?;
    let health =
        format!("{{ http: {{ url: 'http://{}/{{{{ member }}}}', status: 200 }} }}", stage.target.address());
    stage.home.probes = format!("http: {{ read: ['GET http://{}/*'] }}", stage.target.address());
    stage
        .home
        .more
        .push(format!("groups: {{ web: {{ members: {members}, healthy: {health}, refresh: 1s }} }}\n"));
    stage.home.configure();
    let verify = stage.verify();
    let limits = "group: web\nlimits: { at_least_healthy: 1 }\n";
    stage.runbook("restart-shop", ALERT, "automatic", &format!("{limits}{verify}"));
    Some(stage)
}

#[test]
fn a_group_keeps_its_healthy_members_and_an_unknown_one_refuses() {
    let Some(stage) = grouped("{ file: ./web.txt }") else { return };
    let members = stage.home.path("web.txt");
    // `healthz` is the one that answers with 200 once the shop is well; here it is broken.
    std::fs::write(&members, "# the shops\nshop-1\nhealthz\n").unwrap();
    let daemon = stage.home.serve();
    let group = || daemon.get("/v1/limits").expect(200)["groups"][0].clone();
    until("the group was looked at", SOON, || group()["at"].is_string().then_some(()));
    assert_eq!(group()["members"], json!(["healthz", "shop-1"]));
    let alert = Firing::new(ALERT, "shop-1");
    let entry = daemon.alerts(std::slice::from_ref(&alert)).remove(0);
    let decision = daemon.decision(&entry, "limit");
    assert!(
        decision["message"].as_str().unwrap().contains("0 members of web would stay healthy"),
        "{decision}"
    );

    let stranger = daemon.alerts(&[Firing::new(ALERT, "shop-9")]).remove(0);
    let decision = daemon.decision(&stranger, "population-unknown");
    assert!(decision["message"].as_str().unwrap().contains("shop-9 is not one of"), "{decision}");

    std::fs::remove_file(&members).unwrap();
    until("the group is no longer known", SOON, || group()["problem"].is_string().then_some(()));
    let entry = daemon.alerts(std::slice::from_ref(&alert)).remove(0);
    let decision = daemon.decision(&entry, "population-unknown");
    assert!(decision["message"].as_str().unwrap().contains("web.txt"), "{decision}");
    assert!(stage.target.posts().is_empty());

    // With another healthy member, it may.
    std::fs::write(&members, "shop-1\nhealthz\n").unwrap();
    stage.target.set_well(true);
    until("a member is healthy", SOON, || {
        group()["healthy"].as_array().is_some_and(|healthy| healthy.contains(&json!("healthz"))).then_some(())
    });
    let entry = daemon.alerts(std::slice::from_ref(&alert)).remove(0);
    let _run = daemon.outcome(entry["runs"][0].as_str().unwrap(), "cancelled");
}

#[test]
fn what_cannot_be_counted_is_a_problem_of_the_file() {
    let Some(stage) = grouped("[shop-1, shop-2]") else { return };
    stage.runbook("other", "Other", "automatic", "group: nosuch\nlimits: { concurrent_targets: 50% }\n");
    let said = stage.home.staunch(&["check"]);
    assert_eq!(said.code, Some(1), "{}", said.stdout);
    assert!(
        said.stdout.contains("group \"nosuch\" is not in staunch.yaml; its groups: web"),
        "{}",
        said.stdout
    );
}
