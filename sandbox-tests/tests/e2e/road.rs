//! The road of a run that acts alone, and what the journal holds of it.

use std::path::Path;
use std::sync::{Arc, Mutex};

use sandbox_tests::alerts::Firing;
use sandbox_tests::client::send;
use sandbox_tests::installation::succeeded;

use super::stage::{ALERT, Stage};

#[test]
fn an_automatic_run_fixes_what_broke_with_one_request() {
    let Some(stage) = Stage::set("automatic") else { return };
    let daemon = stage.home.serve();
    let id = daemon.run_of(&Firing::new(ALERT, "shop-1"));
    let run = daemon.outcome(&id, "fixed");
    assert_eq!(run["verdict"], "fixed");
    assert_eq!(run["reason"]["code"], "verified");
    assert_eq!(run["effects"][0]["status"], "done");
    assert_eq!(run["plan"]["summary"], "Plan: 1 effect, 0 need approval, 0 irreversible");
    let posts = stage.target.posts();
    assert_eq!(posts.len(), 1, "{posts:?}");
    assert_eq!(posts[0].path, "/restart/shop-1");
    assert_eq!(posts[0].header("idempotency-key"), run["effects"][0]["idempotency_key"].as_str());
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn what_is_well_before_the_first_effect_is_left_alone() {
    let Some(stage) = Stage::set("automatic") else { return };
    stage.target.set_well(true);
    let daemon = stage.home.serve();
    let run = daemon.outcome(&daemon.run_of(&Firing::new(ALERT, "shop-1")), "cancelled");
    assert_eq!(run["reason"]["code"], "recovered-before-acting");
    assert!(stage.target.posts().is_empty());
}

#[test]
fn an_observing_runbook_plans_and_does_nothing() {
    let Some(stage) = Stage::set("observe") else { return };
    let daemon = stage.home.serve();
    let run = daemon.outcome(&daemon.run_of(&Firing::new(ALERT, "shop-1")), "observed");
    assert_eq!(run["plan"]["effects"].as_array().map(Vec::len), Some(1));
    assert!(stage.target.posts().is_empty());
}

#[test]
fn a_fix_that_does_not_help_is_not_called_fixed() {
    let Some(stage) = Stage::bare() else { return };
    let verify = stage.verify().replace("within: 20s", "within: 300ms");
    stage.runbook("restart-shop", ALERT, "automatic", &verify);
    stage.target.behave(sandbox_tests::target::Behaviour::Answer(200));
    let daemon = stage.home.serve();
    let run = daemon.outcome(&daemon.run_of(&Firing::new(ALERT, "shop-1")), "not-fixed");
    assert_eq!(run["reason"]["code"], "still-failing");
}

#[test]
fn every_effect_finds_its_intent_in_the_journal_when_it_arrives() {
    let Some(stage) = Stage::bare() else { return };
    stage.runbook("restart-shop", ALERT, "automatic", "");
    let daemon = stage.home.serve();
    let (address, token) = (daemon.address(), stage.home.administrator.clone());
    let found = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&found);
    stage.target.on_post(move |seen| {
        let key = seen.header("idempotency-key").unwrap_or_default().to_owned();
        let get = |path: &str| {
            let authorization = format!("Bearer {token}");
            send(address, "GET", path, &[("authorization", &authorization)], b"").unwrap().expect(200)
        };
        let runs = get("/v1/runs?limit=500");
        let runs = runs["items"].as_array().unwrap().iter().filter(|run| run["state"] != "ended");
        let intended = runs.filter_map(|run| run["id"].as_str()).any(|id| {
            let journal = get(&format!("/v1/runs/{id}/journal"));
            let items = journal["items"].as_array().unwrap();
            items.iter().any(|item| {
                item["leaf"]["kind"] == "effect-intended" && item["leaf"]["fact"]["key"] == key.as_str()
            })
        });
        noted.lock().unwrap().push(intended);
    });
    let alerts: Vec<Firing> = (0..10).map(|number| Firing::new(ALERT, &format!("shop-{number}"))).collect();
    for entry in daemon.alerts(&alerts) {
        let run = daemon.outcome(entry["runs"][0].as_str().unwrap(), "unknown");
        assert_eq!(run["reason"]["code"], "no-probe");
    }
    assert_eq!(*found.lock().unwrap(), vec![true; 10]);
}

#[test]
fn an_exported_journal_verifies_and_a_changed_byte_is_found() {
    let Some(stage) = Stage::set("automatic") else { return };
    let daemon = stage.home.serve();
    let id = daemon.run_of(&Firing::new(ALERT, "shop-1"));
    let _run = daemon.outcome(&id, "fixed");
    let (export, proof) = (stage.home.aside().join("export"), stage.home.aside().join("proof"));
    let text = |path: &Path| path.display().to_string();
    let _done = succeeded(&stage.home.staunch(&["audit", "prove", &id, "--to", &text(&proof)]));
    let _done = succeeded(&stage.home.staunch(&["audit", "export", "--to", &text(&export)]));
    assert_eq!(daemon.stop(), Some(0));
    let key = text(&stage.home.path("keys/log.vkey"));
    let verify = || stage.home.staunch(&["audit", "verify", &text(&export), "--key", &key]);
    let _whole = succeeded(&verify());
    for file in files(&export) {
        let before = std::fs::read(&file).unwrap();
        let mut changed = before.clone();
        let middle = changed.len() / 2;
        let Some(byte) = changed.get_mut(middle) else { continue };
        *byte ^= 1;
        std::fs::write(&file, changed).unwrap();
        let verified = verify();
        assert_eq!(verified.code, Some(1), "{}: {}{}", file.display(), verified.stdout, verified.stderr);
        std::fs::write(&file, before).unwrap();
    }
    let _whole = succeeded(&verify());
}

#[test]
fn the_export_of_a_stopped_daemon_holds_the_whole_story() {
    let Some(stage) = Stage::set("automatic") else { return };
    let daemon = stage.home.serve();
    let id = daemon.run_of(&Firing::new(ALERT, "shop-1"));
    let _run = daemon.outcome(&id, "fixed");
    let kinds: Vec<String> = daemon
        .journal(&id)
        .iter()
        .map(|item| item["leaf"]["kind"].as_str().unwrap_or_default().to_owned())
        .collect();
    let place = |kind: &str| {
        kinds.iter().position(|found| found == kind).unwrap_or_else(|| panic!("{kind}: {kinds:?}"))
    };
    let order = [
        "run-created",
        "run-planned",
        "run-permitted",
        "effect-intended",
        "effect-settled",
        "run-verifying",
        "run-ended",
    ];
    let places: Vec<usize> = order.iter().map(|kind| place(kind)).collect();
    assert!(places.is_sorted(), "{kinds:?}");
    assert!(daemon.journal(&id).iter().all(|item| item["leaf"]["run"] == id.as_str()));
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found
}
