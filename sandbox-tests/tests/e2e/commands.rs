//! The commands as people use them: with and without a daemon, page by page, and told what is wrong.

use std::fs;

use sandbox_tests::alerts::Firing;
use sandbox_tests::installation::{Installation, succeeded};
use sandbox_tests::program::{self, Finished};
use serde_json::{Value, json};

use super::stage::{ALERT, Stage};

fn parsed(finished: &Finished) -> Value {
    serde_json::from_str(&succeeded(finished)).unwrap()
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

#[test]
fn tokens_are_listed_and_taken_back_with_and_without_a_daemon() {
    let Some(stage) = Stage::bare() else { return };
    let home = &stage.home;
    let (ada, ben) = (home.token("ada", "operator"), home.token("ben", "operator"));
    let list = || parsed(&home.staunch(&["token", "list", "--output", "json"]));
    let offline = list();
    assert_eq!(names(&offline), ["ben", "ada", "administrator"]);
    assert!(offline.as_array().unwrap().iter().all(|item| item.get("hash").is_none()), "{offline:#}");
    let daemon = home.serve();
    let unused = |list: &Value| -> Vec<Value> {
        let tokens = list.as_array().unwrap().iter().cloned();
        tokens
            .map(|token| json!({ "id": token["id"], "name": token["name"], "expires": token["expires"] }))
            .collect()
    };
    assert_eq!(unused(&list()), unused(&offline), "the same over HTTP");
    assert_eq!(daemon.post_by(&ada, "/v1/runs", &json!({})).status, 422);
    assert_eq!(daemon.stop(), Some(0));

    let id = |name: &str| {
        let items = offline.as_array().unwrap();
        items.iter().find(|item| item["name"] == name).unwrap()["id"].as_str().unwrap().to_owned()
    };
    let _said = succeeded(&home.staunch(&["token", "revoke", &id("ada")]));
    let revoked_at = list()[1]["revoked_at"].clone();
    assert!(revoked_at.is_string(), "{:#}", list());
    let _again = succeeded(&home.staunch(&["token", "revoke", &id("ada")]));
    assert_eq!(list()[1]["revoked_at"], revoked_at, "taken back once");
    for missing in ["tok_none", &id("ada").replace(|c: char| c.is_ascii_hexdigit(), "0")] {
        assert_eq!(home.staunch(&["token", "revoke", missing]).code, Some(1), "{missing}");
    }
    let daemon = home.serve();
    assert_eq!(daemon.post_by(&ada, "/v1/runs", &json!({})).status, 401);
    assert_eq!(daemon.post_by(&ben, "/v1/runs", &json!({})).status, 422);
    let _said = succeeded(&home.staunch(&["token", "revoke", &id("ben")]));
    assert_eq!(daemon.post_by(&ben, "/v1/runs", &json!({})).status, 401);
}

#[test]
fn the_last_use_of_a_token_is_listed_and_outlives_the_daemon() {
    let home = Installation::empty();
    let (ada, _ben) = (home.token("ada", "operator"), home.token("ben", "operator"));
    let used = || -> Vec<Value> {
        let list = parsed(&home.staunch(&["token", "list", "--output", "json"]));
        ["ada", "ben"]
            .map(|name| {
                let mut tokens = list.as_array().unwrap().iter();
                tokens.find(|token| token["name"] == name).unwrap()["last_used_at"].clone()
            })
            .to_vec()
    };
    assert_eq!(used(), [Value::Null, Value::Null]);
    let daemon = home.serve();
    assert_eq!(daemon.post_by(&ada, "/v1/runs", &json!({})).status, 422);
    let online = used();
    assert!(online[0].as_str().unwrap().ends_with(":00Z"), "to the minute: {online:?}");
    assert_eq!(online[1], Value::Null);
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(used(), online, "from the store");
    let daemon = home.serve();
    assert_eq!(used(), online, "taken up again");
    let leaves = daemon.get("/v1/audit/entries?from=0&to=4294967295").expect(200)["size"].clone();
    assert_eq!(daemon.post_by(&ada, "/v1/runs", &json!({})).status, 422);
    assert_eq!(
        daemon.get("/v1/audit/entries?from=0&to=4294967295").expect(200)["size"],
        leaves,
        "no entry of it"
    );
    let table = succeeded(&home.staunch(&["token", "list"]));
    assert!(table.contains("LAST USED"), "{table}");
}

#[test]
fn listings_go_on_where_they_stopped() {
    let Some(stage) = Stage::bare() else { return };
    let home = &stage.home;
    let daemon = home.serve();
    for number in 0..5 {
        let _entry = daemon.alerts(&[Firing::new(ALERT, &format!("shop-{number}"))]);
    }
    let all = parsed(&home.staunch(&["alerts", "list", "--all", "--output", "json"]));
    assert_eq!(all.as_array().map(Vec::len), Some(5));
    let mut pages = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let mut words = vec!["alerts", "list", "--limit", "2", "--output", "json"];
        words.extend(after.iter().flat_map(|after| ["--after", after.as_str()]));
        let page = home.staunch(&words);
        pages.extend(parsed(&page).as_array().unwrap().clone());
        let hint = page.stderr.split_once("--after ").and_then(|(_, rest)| rest.split_once(" goes on"));
        let Some((cursor, _)) = hint else { break };
        after = Some(cursor.to_owned());
    }
    assert_eq!(Value::Array(pages), all);
    let table = home.staunch(&["alerts", "list", "--limit", "4"]);
    assert!(table.stderr.contains("There is more") && !table.stdout.contains("There is more"), "{table:?}");
    for wrong in [&["--limit", "0"][..], &["--limit", "3", "--all"]] {
        let refused = home.staunch(&[&["alerts", "list"], wrong].concat());
        assert_eq!(refused.code, Some(2), "{wrong:?}: {}", refused.stderr);
    }
    let wrong = home.staunch(&["runs", "list", "--after", "nonsense"]);
    assert_eq!(wrong.code, Some(1), "{}", wrong.stderr);
    drop(daemon);
    let wrong = home.staunch(&["token", "list", "--after", "nonsense"]);
    assert_eq!(wrong.code, Some(2), "{}", wrong.stderr);
}

#[test]
fn a_generic_body_is_parsed_by_a_mapping_or_a_configured_source() {
    let mut home = Installation::empty();
    let body = r#"{"items":[{"id":7,"check":"disk","host":"web-7"}]}"#;
    fs::write(home.path("body.json"), body).unwrap();
    let mapping =
        "alerts: /items\nfingerprint: /id\ntitle: '{{ check }} on {{ host }}'\nlabels: { on: /host }\n";
    fs::write(home.path("mapping.yaml"), mapping).unwrap();
    let parse = |words: &[&str]| {
        let mut command = program::command(program::staunch());
        command.current_dir(home.path("")).args(["alerts", "parse"]).args(words).arg("body.json");
        program::finish(&mut command)
    };
    let by_file = parsed(&parse(&["--source", "generic", "--mapping", "mapping.yaml"]));
    assert_eq!(
        (by_file[0]["title"].as_str(), by_file[0]["fingerprint"].as_str()),
        (Some("disk on web-7"), Some("7"))
    );
    assert_eq!(by_file[0]["labels"], json!({ "on": "web-7" }), "`on` is a name, not a boolean");
    assert_eq!((by_file[0]["source"].as_str(), &by_file[0]["id"]), (Some("generic"), &Value::Null));

    for (words, code, wanted) in [
        (&["--source", "shop"][..], 2, "sources of"),
        (
            &["--source", "alertmanager", "--mapping", "mapping.yaml"],
            2,
            "--mapping belongs to --source generic",
        ),
        (&["--source", "generic", "--mapping", "none.yaml"], 2, "none.yaml:1:1: cannot be read"),
        (&["--source", "alertmanager"], 1, "422"),
    ] {
        let refused = parse(words);
        assert_eq!(refused.code, Some(code), "{words:?}: {}", refused.stderr);
        assert!(
            refused.stderr.contains(wanted) && refused.stdout.is_empty(),
            "{words:?}: {}",
            refused.stderr
        );
    }
    fs::write(home.path("mapping.yaml"), "alerts: /items\ntitel: x\n").unwrap();
    let refused = parse(&["--source", "generic", "--mapping", "mapping.yaml"]);
    assert!(refused.code == Some(2) && refused.stderr.contains("titel"), "{}", refused.stderr);

    home.more.push(String::new());
    let config = fs::read_to_string(home.config()).unwrap();
    let source = "sources:\n  shop: { format: generic, authenticate: none, mapping: { alerts: /items, title: /check } }\n";
    fs::write(home.config(), config.replacen("sources:\n", source, 1)).unwrap();
    let mut command = program::command(program::staunch());
    command.current_dir(home.path("")).args(["alerts", "parse", "--source", "shop", "body.json"]);
    let by_source = parsed(&program::finish(&mut command));
    assert_eq!(
        (by_source[0]["source"].as_str(), by_source[0]["title"].as_str()),
        (Some("shop"), Some("disk"))
    );
}

#[test]
fn check_tells_all_at_once_and_keeps_warnings_apart() {
    let Some(stage) = Stage::bare() else { return };
    let home = &stage.home;
    home.runbook(
        "odd",
        "match: ['a=\"b\"']\nsteps: [{ plugin: missing }]\nverify: { probes: [{ alert_resolved: {} }] }\n",
    );
    let checked = home.staunch(&["check"]);
    assert_eq!((checked.code, checked.stdout.as_str()), (Some(0), ""), "{}", checked.stderr);
    for wanted in
        ["odd.yaml:4:9: warning: plugin \"missing\"", "odd.yaml:5:19: warning: alert_resolved can pass"]
    {
        assert!(checked.stderr.contains(wanted), "{wanted}: {}", checked.stderr);
    }

    let literal = "match: ['a=\"b\"']\nsteps: [{ plugin: http-request, input: { method: TEA } }]\n";
    home.runbook("odd", literal);
    let checked = home.staunch(&["check"]);
    assert_eq!(checked.code, Some(1), "{}", checked.stderr);
    assert!(
        checked.stdout.contains("odd.yaml:4:9: step of plugin \"http-request\": input does not match"),
        "{}",
        checked.stdout
    );
    let refused = home.staunch(&["serve"]);
    assert!(refused.code == Some(2) && refused.stderr.contains("odd.yaml:4:9"), "{refused:?}");

    home.runbook("odd", "match: ['a~~b']\n");
    let right = fs::read_to_string(home.config()).unwrap();
    fs::write(home.config(), format!("{right}colour: red\n")).unwrap();
    let checked = home.staunch(&["check"]);
    assert_eq!(checked.code, Some(1), "{}", checked.stderr);
    for wanted in ["colour", "odd.yaml:3:"] {
        assert!(checked.stdout.contains(wanted), "{wanted}: {}", checked.stdout);
    }
}

#[test]
fn an_export_is_verified_with_the_text_of_the_key() {
    let home = Installation::empty();
    let key = fs::read_to_string(home.path("keys/log.vkey")).unwrap().trim().to_owned();
    let to = home.path("export");
    let to = to.to_str().unwrap();
    let _said = succeeded(&home.staunch(&["audit", "export", "--to", to]));
    let _said = succeeded(&home.staunch(&["audit", "verify", to, "--key", &key]));
    let _said = succeeded(&home.staunch(&[
        "audit",
        "verify",
        to,
        "--key",
        home.path("keys/log.vkey").to_str().unwrap(),
    ]));
    let other = Installation::empty();
    let others = fs::read_to_string(other.path("keys/log.vkey")).unwrap();
    let refused = home.staunch(&["audit", "verify", to, "--key", others.trim()]);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    let broken = key.replacen('+', "x+", 1);
    let refused = home.staunch(&["audit", "verify", to, "--key", &broken]);
    assert!(refused.code == Some(2) && refused.stderr.contains("hash is wrong"), "{refused:?}");
}

#[test]
fn a_slip_is_told_with_what_would_be_right() {
    let empty = tempfile::tempdir().unwrap();
    let home = Installation::empty();
    let in_folder = |folder: &std::path::Path, words: &[&str]| {
        let mut command = program::command(program::staunch());
        command.current_dir(folder).args(words);
        program::finish(&mut command)
    };
    for (words, code, wanted) in [
        (&["serve"][..], 2, "`staunch init` writes one"),
        (&["check"], 2, "`staunch init` writes one"),
        (&["runs", "list"], 2, "`staunch init` writes one"),
        (&["--url", "http://127.0.0.1:1", "runs", "list"], 2, "give --token or STAUNCH_TOKEN"),
        (&["--url", "127.0.0.1:7878", "--token", "x", "runs", "list"], 2, "http://127.0.0.1:7878 is valid"),
        (&["--url", "http://127.0.0.1:1", "--token", "x", "runs", "list"], 3, "is `staunch serve` running?"),
        (&["plugin", "build"], 2, "`staunch plugin new NAME` makes a project"),
        (&["plugin", "test"], 2, "`staunch plugin new NAME` makes a project"),
        (&["plugin", "new", "Bad Name"], 2, "no plugin name"),
        (&["plugin", "install", "x.wasm", "--standing", "automatic"], 2, "--reason <REASON>"),
        (&["plugin", "install", "x.wasm", "--allow-downgrade"], 2, "--reason <REASON>"),
    ] {
        let refused = in_folder(empty.path(), words);
        assert_eq!(refused.code, Some(code), "{words:?}: {}", refused.stderr);
        assert!(
            refused.stderr.contains(wanted) && refused.stdout.is_empty(),
            "{words:?}: {}",
            refused.stderr
        );
    }
    for (words, wanted) in [
        (&["runs", "list", "--state", "sleeping"][..], "possible values: queued, planning"),
        (&["alerts", "list", "--status", "asleep"], "possible values: firing, resolved, stale"),
    ] {
        let refused = in_folder(&home.path(""), words);
        assert!(refused.code == Some(2) && refused.stderr.contains(wanted), "{words:?}: {}", refused.stderr);
    }
    fs::write(home.path("x.wasm"), "x").unwrap();
    let unsigned = in_folder(&home.path(""), &["plugin", "install", "x.wasm"]);
    assert!(
        unsigned.code == Some(1) && unsigned.stderr.contains("plugin sign x.wasm"),
        "{}",
        unsigned.stderr
    );
    let unreachable = in_folder(&home.path(""), &["--url", "http://127.0.0.1:1", "runs", "list"]);
    assert_eq!(unreachable.stderr.matches("127.0.0.1:1").count(), 1, "{}", unreachable.stderr);
}
