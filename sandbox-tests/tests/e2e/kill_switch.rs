//! The ways to throw the kill switch, and who may: HTTP, the shell, the file, with and without a daemon.

use rustix::process::Signal;
use sandbox_tests::alerts::Firing;
use sandbox_tests::client::send;
use sandbox_tests::daemon::Daemon;
use sandbox_tests::installation::succeeded;
use sandbox_tests::poll::{SOON, until};
use serde_json::{Value, json};

use super::halts::leaves;
use super::stage::{ALERT, Stage};

fn listed(daemon: &Daemon) -> Vec<Value> {
    daemon.get("/v1/halts").expect(200)["items"].as_array().unwrap().clone()
}

/// What the shell lists.
fn listed_by_shell(stage: &Stage) -> Vec<Value> {
    let said = succeeded(&stage.home.staunch(&["halts", "--output", "json"]));
    serde_json::from_str(&said).unwrap()
}

/// Halts by the shell: what it printed.
fn halt_by_shell(stage: &Stage, scope: &str) -> Value {
    let halted = stage.home.staunch(&["halt", "--scope", scope, "--reason", "a test", "--output", "json"]);
    serde_json::from_str(&succeeded(&halted)).unwrap()
}

fn refused(daemon: &Daemon, alert: &Firing) -> Value {
    let entry = daemon.alerts(std::slice::from_ref(alert)).remove(0);
    assert_eq!(entry["runs"], json!([]), "{entry}");
    daemon.decision(&entry, "halt")
}

#[test]
fn a_halt_covers_what_its_scope_names_and_nothing_else() {
    let Some(stage) = Stage::set("automatic") else { return };
    let daemon = stage.home.serve();
    let cases = [
        (json!("all"), true),
        (json!({ "runbook": "restart-shop" }), true),
        (json!({ "runbook": "restart-nothing" }), false),
        (json!({ "plugin": "http-request" }), true),
        (json!({ "plugin": "disk-cleanup" }), false),
        (json!({ "target": "shop-1" }), true),
        (json!({ "target": "shop-2" }), false),
    ];
    for (hour, (scope, covers)) in (10..).zip(cases) {
        let halt = daemon.halt(&scope);
        stage.target.set_well(false);
        let alert = Firing::new(ALERT, "shop-1").from(&format!("2026-05-04T{hour}:00:00Z"));
        let entry = daemon.alerts(std::slice::from_ref(&alert)).remove(0);
        assert_eq!(entry["runs"] == json!([]), covers, "{scope}: {}", daemon.why(&entry));
        daemon.release(&halt);
        // What was lost to the halt is tried again with the next repeat.
        let again = daemon.alerts(std::slice::from_ref(&alert)).remove(0);
        let _run = daemon.outcome(again["runs"][0].as_str().unwrap(), "fixed");
        let _over = daemon.alerts(&[alert.resolved(&format!("2026-05-04T{hour}:30:00Z"))]);
    }
    let all = daemon.get("/v1/halts?state=released&limit=4").expect(200);
    assert_eq!(all["items"].as_array().map(Vec::len), Some(4), "{all}");
    assert!(all["next"].is_string(), "{all}");
    assert!(listed(&daemon).is_empty());
}

#[test]
fn a_halt_that_says_too_little_is_refused_and_names_the_field() {
    let Some(stage) = Stage::set("observe") else { return };
    let daemon = stage.home.serve();
    for (body, field) in [
        (json!({ "scope": "everything", "reason": "r" }), "scope"),
        (json!({ "scope": { "host": "a" }, "reason": "r" }), "scope"),
        (json!({ "scope": { "plugin": "" }, "reason": "r" }), "scope"),
        (json!({ "scope": { "plugin": 7 }, "reason": "r" }), "scope"),
        (json!({ "reason": "r" }), "scope"),
        (json!({ "scope": "all" }), "reason"),
        (json!({ "scope": "all", "reason": "  " }), "reason"),
        (json!({ "scope": "all", "reason": 7 }), "reason"),
        (json!({ "scope": "all", "reason": "x".repeat(4096) }), "reason"),
    ] {
        let answer = daemon.post("/v1/halts", &body);
        let problem = answer.expect(422);
        assert_eq!(
            (problem["field"].as_str(), answer.problem().as_str()),
            (Some(field), "wrong-shape"),
            "{body}"
        );
    }
    assert_eq!(daemon.post("/v1/halts", &json!({ "scope": "all", "reason": "r", "more": 1 })).status, 422);
    let strange = daemon.get("/v1/halts?state=gone").expect(422);
    assert_eq!(strange["field"], "state");
    let nothing =
        daemon.post("/v1/halts", &json!({ "scope": { "plugin": "nobody" }, "reason": "r" })).expect(201);
    assert!(nothing["note"].as_str().unwrap().contains("nobody"), "{nothing}");
    assert_eq!(listed(&daemon).len(), 1);

    for arguments in [
        &["halt"][..],
        &["halt", "--scope", "plugin", "--reason", "r"],
        &["halt", "--scope", "host=a", "--reason", "r"],
        &["halt", "--reason", " "],
    ] {
        let said = stage.home.staunch(arguments);
        assert_eq!(said.code, Some(2), "{arguments:?}: {}", said.stderr);
    }
    let wrong = stage.home.staunch(&["halt", "--scope", "host=a", "--reason", "r"]);
    assert!(wrong.stderr.contains("--scope") && wrong.stderr.contains("plugin=NAME"), "{}", wrong.stderr);
}

#[test]
fn only_who_may_halts_and_releases() {
    let Some(stage) = Stage::set("observe") else { return };
    let (reader, operator) = (stage.home.token("rita", "reader"), stage.home.token("olga", "operator"));
    let daemon = stage.home.serve();
    let body = json!({ "scope": "all", "reason": "r" });
    let answer = daemon.post_by(&reader, "/v1/halts", &body);
    assert_eq!((answer.status, answer.problem().as_str()), (403, "forbidden"), "{}", answer.text());
    assert_eq!(daemon.post_by("stn_nobody", "/v1/halts", &body).status, 401);
    assert!(listed(&daemon).is_empty());
    let halt = daemon.post_by(&operator, "/v1/halts", &body).expect(201);
    assert_eq!(halt["by"], "olga");
    let path = format!("/v1/halts/{}", halt["id"].as_str().unwrap());
    let delete = |token: &str, path: &str| {
        let authorization = format!("Bearer {token}");
        send(daemon.address(), "DELETE", path, &[("authorization", &authorization)], b"").unwrap()
    };
    assert_eq!(delete(&reader, &path).status, 403);
    assert_eq!(listed(&daemon).len(), 1);
    assert_eq!(delete(&operator, "/v1/halts/halt_00000000000000000000000000000000").status, 404);
    assert_eq!(delete(&operator, "/v1/halts/nonsense").status, 404);
    let released = delete(&operator, &format!("{path}?reason=it%20is%20mended")).expect(200);
    assert_eq!(
        (&released["released_by"], &released["release_reason"]),
        (&json!("olga"), &json!("it is mended"))
    );
    assert_eq!(delete(&operator, &path).status, 404, "a halt is released once");
}

#[test]
fn of_many_releases_at_once_one_wins() {
    let Some(stage) = Stage::set("observe") else { return };
    let daemon = stage.home.serve();
    let (halt, other) = (daemon.halt(&json!("all")), daemon.halt(&json!("all")));
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let release = || daemon.delete(&format!("/v1/halts/{halt}")).status;
        let threads: Vec<_> = (0..20).map(|_| scope.spawn(release)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 404].contains(status)), "{statuses:?}");
    let left = listed(&daemon);
    assert_eq!((left.len(), &left[0]["id"]), (1, &json!(other)), "{left:?}");
}

#[test]
fn the_same_halt_sent_twice_is_one_halt() {
    let Some(stage) = Stage::set("observe") else { return };
    let daemon = stage.home.serve();
    let authorization = format!("Bearer {}", stage.home.administrator);
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/json"),
        ("idempotency-key", "k-1"),
    ];
    let body = json!({ "scope": "all", "reason": "r" }).to_string();
    let post = || send(daemon.address(), "POST", "/v1/halts", &headers, body.as_bytes()).unwrap().expect(201);
    assert_eq!(post(), post());
    assert_eq!(listed(&daemon).len(), 1);
}

#[test]
fn the_file_is_a_halt_that_ends_with_the_file() {
    let Some(stage) = Stage::set("approve") else { return };
    let daemon = stage.home.serve();
    let id = daemon.run_of(&Firing::new(ALERT, "shop-1"));
    let waiting = daemon.until(&id, "waiting");
    let file = stage.home.path("data/HALT");
    std::fs::write(&file, "the building burns\n").unwrap();
    let halts = listed(&daemon);
    let shown = (&halts[0]["id"], &halts[0]["scope"], &halts[0]["reason"]);
    assert_eq!(shown, (&json!("file"), &json!("all"), &json!("the building burns")), "{halts:?}");
    assert!(halts[0]["created_at"].is_string() && halts[0]["by"].is_string(), "{halts:?}");
    let answer = daemon.delete("/v1/halts/file");
    assert_eq!((answer.status, answer.problem().as_str()), (409, "halt"), "{}", answer.text());
    assert!(answer.text().contains("remove the file"), "{}", answer.text());
    let answer = daemon.approve(&stage.home.administrator, &waiting);
    assert_eq!((answer.status, answer.problem().as_str()), (409, "halt"), "{}", answer.text());
    let metrics = daemon.get("/metrics").text();
    assert!(metrics.contains("\nstaunch_halts_in_force 1\n"), "{metrics}");
    assert_eq!(daemon.stop(), Some(0));

    let daemon = stage.home.serve();
    assert_eq!(listed(&daemon).len(), 1, "it is looked for at the start");
    let decision = refused(&daemon, &Firing::new(ALERT, "shop-2"));
    assert!(decision["message"].as_str().unwrap().contains("the building burns"), "{decision}");
    std::fs::remove_file(&file).unwrap();
    assert!(listed(&daemon).is_empty());
    assert_eq!(daemon.delete("/v1/halts/file").status, 404);
    let _run = daemon.approve(&stage.home.administrator, &waiting).expect(200);
    let _run = daemon.outcome(&id, "fixed");
}

#[test]
fn the_journal_tells_when_the_file_was_seen_and_when_it_was_gone() {
    let Some(stage) = Stage::set("approve") else { return };
    let file = stage.home.path("data/HALT");
    let told = |daemon: &Daemon, count: usize| {
        until("the file is in the journal", SOON, || {
            let kinds: Vec<Value> = leaves(daemon).into_iter().map(|leaf| leaf["kind"].clone()).collect();
            let of_file =
                kinds.iter().filter_map(Value::as_str).filter(|kind| kind.starts_with("halt-file-"));
            let of_file: Vec<String> = of_file.map(str::to_owned).collect();
            (of_file.len() >= count).then_some(of_file)
        })
    };
    let daemon = stage.home.serve();
    std::fs::write(&file, "the building burns\n").unwrap();
    assert_eq!(told(&daemon, 1), ["halt-file-seen"]);
    daemon.kill();
    // It was there all the time: nothing new. Then it goes while no daemon looks.
    let daemon = stage.home.serve();
    assert_eq!(listed(&daemon).len(), 1);
    daemon.kill();
    std::fs::remove_file(&file).unwrap();
    let daemon = stage.home.serve();
    assert_eq!(told(&daemon, 2), ["halt-file-seen", "halt-file-gone"]);
    std::fs::write(&file, "").unwrap();
    assert_eq!(told(&daemon, 3).last().map(String::as_str), Some("halt-file-seen"));
}

#[test]
fn the_shell_halts_and_releases_without_a_daemon() {
    let Some(stage) = Stage::set("automatic") else { return };
    let halt = halt_by_shell(&stage, "plugin=http-request");
    assert_eq!(halt["scope"], json!({ "plugin": "http-request" }));
    assert_eq!(listed_by_shell(&stage).as_slice(), std::slice::from_ref(&halt));

    let daemon = stage.home.serve();
    assert_eq!(listed(&daemon), std::slice::from_ref(&halt));
    assert_eq!(listed_by_shell(&stage).as_slice(), std::slice::from_ref(&halt));
    let decision = refused(&daemon, &Firing::new(ALERT, "shop-1"));
    assert!(decision["message"].as_str().unwrap().contains(halt["id"].as_str().unwrap()), "{decision}");
    // By the daemon now, and by the scope.
    let _all = halt_by_shell(&stage, "all");
    let _other = halt_by_shell(&stage, "target=elsewhere");
    let released = stage.home.staunch(&["release"]);
    assert_eq!(released.code, Some(0), "{}", released.stderr);
    assert_eq!(listed(&daemon).len(), 2);
    let nothing = stage.home.staunch(&["release"]);
    assert_eq!(nothing.code, Some(1), "{}", nothing.stderr);
    let released = stage.home.staunch(&["release", "--scope", "target=elsewhere"]);
    assert_eq!(released.code, Some(0), "{}", released.stderr);
    assert_eq!(daemon.stop(), Some(0));

    let id = halt["id"].as_str().unwrap();
    let released = stage.home.staunch(&["release", id, "--reason", "mended"]);
    assert_eq!(released.code, Some(0), "{}", released.stderr);
    let again = stage.home.staunch(&["release", id]);
    assert_eq!(again.code, Some(1), "{}", again.stderr);
    let said = stage.home.staunch(&["halts", "--state", "released", "--limit", "2", "--output", "json"]);
    let newest: Vec<Value> = serde_json::from_str(&succeeded(&said)).unwrap();
    assert_eq!(newest.len(), 2, "{newest:?}");
    assert!(said.stderr.contains("--after"), "{}", said.stderr);
    let said = stage.home.staunch(&["halts", "--state", "released", "--all", "--output", "json"]);
    let all: Vec<Value> = serde_json::from_str(&succeeded(&said)).unwrap();
    let first = (&all[2]["id"], &all[2]["released_by"], &all[2]["release_reason"]);
    assert_eq!(first, (&json!(id), &json!("host"), &json!("mended")), "{all:?}");
    let daemon = stage.home.serve();
    assert!(listed(&daemon).is_empty());
    let _run = daemon.outcome(&daemon.run_of(&Firing::new(ALERT, "shop-2")), "fixed");
    assert!(stage.target.posts().len() == 1);
}

#[test]
fn the_shell_halts_a_daemon_that_does_not_answer() {
    let Some(stage) = Stage::set("automatic") else { return };
    let daemon = stage.home.serve();
    daemon.signal(Signal::STOP);
    let one = stage.home.staunch(&["halt", "--scope", "plugin=http-request", "--reason", "r"]);
    assert_eq!(one.code, Some(3), "{}{}", one.stdout, one.stderr);
    assert!(one.stderr.contains("--scope all"), "{}", one.stderr);
    assert!(!stage.home.path("data/HALT").exists());
    let all = stage.home.staunch(&["halt", "--reason", "it hangs", "--output", "json"]);
    assert_eq!(all.code, Some(0), "{}{}", all.stdout, all.stderr);
    assert!(all.stderr.contains("data/HALT") && all.stderr.contains("Remove it"), "{}", all.stderr);
    let shown: Value = serde_json::from_str(&all.stdout).unwrap();
    assert_eq!((&shown["id"], &shown["scope"]), (&json!("file"), &json!("all")), "{shown}");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &stage.home.path("data/HALT").metadata().unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    daemon.signal(Signal::CONT);
    let file = until("it is listed", SOON, || listed(&daemon).into_iter().find(|halt| halt["id"] == "file"));
    assert_eq!(file["reason"], "it hangs");
    let _decision = refused(&daemon, &Firing::new(ALERT, "shop-1"));
    assert!(stage.target.posts().is_empty());
}
