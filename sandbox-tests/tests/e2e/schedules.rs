//! Schedules: each occurrence runs once, or is listed as missed with its reason.

use std::time::Duration;

use sandbox_tests::daemon::Daemon;
use sandbox_tests::installation::succeeded;
use sandbox_tests::poll::{SOON, until};
use serde_json::{Value, json};

use super::stage::Stage;

/// Longer than from one minute to the next.
const A_MINUTE: Duration = Duration::from_secs(80);

fn every_minute(stage: &Stage, name: &str, more: &str) {
    let url = format!("http://{}/tick/{name}", stage.target.address());
    stage.home.runbook(
        name,
        &format!(
            "schedule: '* * * * *'\ntarget: {name}\nautonomy: automatic\n{more}\
             steps: [{{ plugin: http-request, input: {{ method: POST, url: '{url}' }} }}]\n"
        ),
    );
}

fn schedule(daemon: &Daemon, name: &str) -> Value {
    let listed = daemon.get("/v1/schedules").expect(200);
    let found = listed["items"].as_array().unwrap().iter().find(|item| item["runbook"] == name).cloned();
    found.unwrap_or_else(|| panic!("no schedule of {name}: {listed:#}"))
}

fn runs(daemon: &Daemon, name: &str) -> Vec<Value> {
    let listed = daemon.get(&format!("/v1/runs?runbook={name}")).expect(200);
    listed["items"].as_array().unwrap().clone()
}

/// Why the last occurrence of a schedule was missed.
fn missed(daemon: &Daemon, name: &str) -> String {
    until(&format!("{name} misses an occurrence"), A_MINUTE, || {
        let code = schedule(daemon, name)["missed"][0]["reason"]["code"].clone();
        code.as_str().map(str::to_owned)
    })
}

#[test]
fn each_occurrence_runs_once_or_is_missed_with_its_reason() {
    let Some(stage) = Stage::bare() else { return };
    every_minute(&stage, "tick", "");
    every_minute(&stage, "frozen", "");
    every_minute(&stage, "dark", "blackout: [night]\n");
    every_minute(&stage, "halted", "");
    let windows = "windows:\n  - { name: night, kind: freeze, from: '2020-01-01T00:00:00Z', until: \
        '2090-01-01T00:00:00Z', runbooks: [frozen] }\n";
    std::fs::write(stage.home.path("policies/windows.yaml"), windows).unwrap();
    let daemon = stage.home.serve();
    let _halt = daemon.halt(&json!({ "runbook": "halted" }));
    let shown = schedule(&daemon, "tick");
    assert_eq!(shown["next"].as_array().map(Vec::len), Some(5), "{shown:#}");
    assert_eq!((&shown["last"], &shown["missed"]), (&Value::Null, &json!([])), "{shown:#}");

    let run = until("a run by the clock", A_MINUTE, || runs(&daemon, "tick").pop());
    let run = daemon.until(run["id"].as_str().unwrap(), "ended");
    assert_eq!((&run["alert"], &run["target"]), (&Value::Null, &json!("tick")), "{run:#}");
    assert_eq!(stage.target.posts().len(), 1, "{run:#}");
    let last = schedule(&daemon, "tick")["last"].clone();
    assert_eq!((&last["run"], &last["at"]), (&run["id"], &shown["next"][0]["at"]), "{last:#}");
    for (name, code) in [("frozen", "window"), ("dark", "window"), ("halted", "halt")] {
        assert_eq!((missed(&daemon, name), runs(&daemon, name).len()), (code.to_owned(), 0), "{name}");
    }
    let table = succeeded(&stage.home.staunch(&["schedules"]));
    assert!(table.contains("tick") && table.contains("* * * * *"), "{table}");
    daemon.kill();

    // The same occurrence does not run again.
    let daemon = stage.home.serve();
    let known = until("the record", SOON, || Some(schedule(&daemon, "tick")["last"].clone()));
    let of = |run: &Value| run["id"] == last["run"];
    assert!(known == last || runs(&daemon, "tick").len() == 2, "{known} and {last}");
    assert_eq!(runs(&daemon, "tick").iter().filter(|run| of(run)).count(), 1);
    let at = |run: &Value| run["created_at"].as_str().unwrap()[..16].to_owned();
    let mut minutes: Vec<String> = runs(&daemon, "tick").iter().map(at).collect();
    let all = minutes.len();
    minutes.dedup();
    assert_eq!(minutes.len(), all, "twice in one minute: {minutes:?}");
}
