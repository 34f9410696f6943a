//! A drill walks the road of a real alert: it is asked everything, counted nowhere, and acts only where drills may.

use std::fs;

use sandbox_tests::alerts::Firing;
use sandbox_tests::daemon::Daemon;
use sandbox_tests::installation::succeeded;
use sandbox_tests::program;
use serde_json::{Value, json};

use super::stage::{ALERT, Stage};

const LIMITS: &str = "limits: { per_runbook: 1 per 10m }\n";

/// A stage whose shop is marked for drills at these run targets.
fn marked(autonomy: &str, more: &str, targets: &[&str], shop: bool) -> Option<Stage> {
    let mut stage = Stage::set_with(autonomy, more)?;
    let mut names: Vec<String> = targets.iter().map(|name| format!("'{name}'")).collect();
    if shop {
        names.push(format!("'http:{}'", stage.target.address()));
    }
    stage.home.more.push(format!("drill: {{ targets: [{}] }}\n", names.join(", ")));
    stage.home.configure();
    Some(stage)
}

fn drill(stage: &Stage, words: &[&str]) -> (Option<i32>, Value, String) {
    let words = [&["drill", "restart-shop", "--output", "json"], words].concat();
    let finished = stage.home.staunch(&words);
    (finished.code, serde_json::from_str(&finished.stdout).unwrap_or_default(), finished.stderr)
}

fn codes(daemon: &Daemon, run: &Value) -> Vec<String> {
    let why = daemon.get(&format!("/v1/runs/{}/why", run["id"].as_str().unwrap())).expect(200);
    let all = why["decisions"].as_array().unwrap().iter();
    all.map(|said| format!("{}:{}", said["stage"].as_str().unwrap(), said["code"].as_str().unwrap()))
        .collect()
}

#[test]
fn a_drill_plans_what_a_real_alert_would_do_and_does_nothing() {
    let Some(stage) = Stage::set_with("automatic", LIMITS) else { return };
    let daemon = stage.home.serve();
    let (code, run, said) = drill(&stage, &["--label", "instance=shop-1"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!((&run["drill"], &run["mode"], &run["alert"]), (&json!(true), &json!("plan"), &Value::Null));
    assert_eq!((&run["outcome"], &run["target"]), (&json!("observed"), &json!("shop-1")), "{run:#}");
    assert_eq!(run["plan"]["effects"].as_array().map(Vec::len), Some(1), "{run:#}");
    assert!(stage.target.posts().is_empty());
    let codes = codes(&daemon, &run);
    for stage in ["match", "halt", "window", "standing", "breaker", "limit", "policy", "gate"] {
        assert!(codes.contains(&format!("{stage}:passed")), "{stage} in {codes:?}");
    }
    // What is not a drill does not say so.
    let id = daemon.run_of(&Firing::new(ALERT, "shop-1"));
    assert_eq!(daemon.until(&id, "ended")["drill"], false);
    // Now the limit is used up, and the drill is told so; it made no use of it itself.
    let (code, _, said) = drill(&stage, &["--label", "instance=shop-2"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("per_runbook"), "{said}");
    let table = stage.home.staunch(&["runs", "show", run["id"].as_str().unwrap()]);
    assert!(succeeded(&table).contains("(a drill)"), "{table:?}");
}

#[test]
fn a_drill_acts_only_at_marked_targets_and_counts_nowhere() {
    let Some(stage) = marked("automatic", LIMITS, &["drill-1"], true) else { return };
    let daemon = stage.home.serve();
    let act = |instance: &str| drill(&stage, &["--act", "--label", &format!("instance={instance}")]);
    let (code, _, said) = act("shop-1");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("drill.targets") && said.contains("drill-1"), "{said}");
    assert!(stage.target.posts().is_empty());

    let (code, run, said) = act("drill-1");
    assert_eq!(code, Some(0), "{said}");
    assert_eq!((&run["outcome"], &run["drill"]), (&json!("fixed"), &json!(true)), "{run:#}");
    assert_eq!(stage.target.posts().len(), 1);
    let limits = daemon.get("/v1/limits").expect(200).to_string();
    assert!(limits.contains("\"used\":0") && !limits.contains("\"used\":1"), "{limits}");
    assert_eq!(daemon.get("/v1/breakers").expect(200)["items"], json!([]));
    let standing = daemon.get("/v1/plugins/http-request").expect(200)["trust"].clone();
    assert_eq!((&standing["sample"], &standing["fixed"]), (&json!(0), &json!(0)), "{standing:#}");
    let created = daemon.journal(run["id"].as_str().unwrap())[0].clone();
    assert_eq!(created["leaf"]["fact"]["drill"], true, "{created:#}");
    assert_eq!(created["payload"]["drill"]["source"], "drill", "{created:#}");
    // The one action of the limit is left for a real alert, and a restart does not count the drill either.
    daemon.kill();
    stage.target.set_well(false);
    let daemon = stage.home.serve();
    let id = daemon.run_of(&Firing::new(ALERT, "shop-2"));
    assert_eq!(daemon.outcome(&id, "fixed")["drill"], false);
    assert_eq!(stage.target.posts().len(), 2);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_drill_does_no_effect_on_what_is_not_marked() {
    let Some(stage) = marked("automatic", "", &["drill-1"], false) else { return };
    let daemon = stage.home.serve();
    let (code, run, said) = drill(&stage, &["--act", "--label", "instance=drill-1"]);
    assert_eq!(code, Some(1), "{said}");
    assert_eq!((&run["outcome"], &run["reason"]["code"]), (&json!("refused"), &json!("drill")), "{run:#}");
    assert!(said.contains("http.send on http:127.0.0.1"), "{said}");
    assert!(stage.target.posts().is_empty());
    assert!(codes(&daemon, &run).contains(&"policy:drill".to_owned()));
}

#[test]
fn a_drill_that_asks_people_is_still_one_after_a_restart() {
    let Some(stage) = marked("approve", "", &["drill-1"], true) else { return };
    let operator = stage.home.token("ada", "operator");
    let daemon = stage.home.serve();
    let (code, run, said) = drill(&stage, &["--act", "--label", "instance=drill-1"]);
    assert_eq!((code, &run["state"]), (Some(0), &json!("waiting")), "{said}");
    daemon.kill();
    let daemon = stage.home.serve();
    let id = run["id"].as_str().unwrap();
    let waiting = daemon.run(id);
    assert_eq!(waiting["drill"], true, "{waiting:#}");
    let _approved = daemon.approve(&operator, &waiting).expect(200);
    assert_eq!(daemon.outcome(id, "fixed")["drill"], true);
    assert_eq!(stage.target.posts().len(), 1);
}

#[test]
fn what_makes_no_drill_is_refused_with_the_reason() {
    let Some(stage) = Stage::set("automatic") else { return };
    let aside = |name: &str, text: &str| {
        let path = stage.home.aside().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (bad, two) = (aside("bad.json", "nonsense"), aside("two.json", "[{}, {}]"));
    let shapeless = aside("shapeless.json", "{}");
    let daemon = stage.home.serve();
    for (words, code, wanted) in [
        (&["drill", "nobody"][..], 1, "there is no runbook"),
        (&["drill", "restart-shop"], 1, "labels.instance"),
        (&["drill", "restart-shop", "--label", "alertname=Other"], 1, "does not fit"),
        (&["drill", "restart-shop", "--label", "nonsense"], 2, "name=value"),
        (&["drill", "restart-shop", "--alert", "nowhere.json"], 2, "nowhere.json"),
        (&["drill", "restart-shop", "--alert", &bad], 2, "not JSON"),
        (&["drill", "restart-shop", "--alert", &two], 2, "one alert is valid"),
        (&["drill", "restart-shop", "--alert", &shapeless], 1, "missing field"),
        (&["drill", "restart-shop", "--wait", "long"], 2, "--wait"),
        (&["drill", "restart-shop", "--url", "http://127.0.0.1:1"], 3, "no daemon answers"),
    ] {
        let refused = stage.home.staunch(words);
        assert_eq!(refused.code, Some(code), "{words:?}: {}", refused.stderr);
        assert!(refused.stderr.contains(wanted), "{words:?}: {}", refused.stderr);
    }
    let body = |more: Value| {
        let mut body = json!({ "runbook": "restart-shop", "reason": "r" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    for (more, field) in [
        (json!({ "drill": true, "target": "x" }), "target"),
        (json!({ "drill": true, "input": {} }), "input"),
        (json!({ "alert": alert("firing") }), "alert"),
        (json!({ "drill": true, "alert": alert("resolved") }), "alert"),
        (json!({ "drill": true, "alert": alert("firing"), "labels": { "a": "b" } }), "labels"),
    ] {
        let refused = daemon.post("/v1/runs", &body(more.clone())).expect(422);
        assert!(refused["detail"].as_str().unwrap().starts_with(field), "{more}: {refused}");
    }
    for (drill, wanted) in
        [("{}", "targets"), ("{ targets: [''] }", "must not be empty"), ("{ target: [a] }", "targets")]
    {
        let config = fs::read_to_string(stage.home.config()).unwrap();
        let path = stage.home.path("other.yaml");
        fs::write(&path, format!("{config}\ndrill: {drill}\n")).unwrap();
        let mut check = program::command(program::staunch());
        let checked = program::finish(check.arg("--config").arg(&path).arg("check"));
        assert_eq!(checked.code, Some(1), "{drill}: {checked:?}");
        assert!(checked.stdout.contains(wanted), "{drill}: {}", checked.stdout);
    }
}

fn alert(status: &str) -> Value {
    json!({
        "id": null, "source": "s", "fingerprint": "f", "status": status, "severity": "error", "title": null,
        "description": null, "service": null, "target": null,
        "labels": { "alertname": ALERT, "instance": "shop-1" }, "annotations": {}, "starts_at": null,
        "ends_at": null, "links": [], "raw_digest": format!("sha256:{}", "0".repeat(64)),
    })
}
