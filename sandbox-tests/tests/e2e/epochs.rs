//! A log ends under its key and goes on under another one: both stay verifiable, and where it does not go on from what
//! was signed it says so.

use sandbox_tests::alerts::Firing;
use sandbox_tests::installation::succeeded;
use serde_json::{Value, json};

use super::stage::{ALERT, Stage};

/// Exports the log into a folder of this name, and says what verifying it with a key finds.
fn exported(stage: &Stage, name: &str, key: &str) -> Result<Value, String> {
    let to = stage.home.aside().join(name).display().to_string();
    if !std::path::Path::new(&to).exists() {
        let _said = succeeded(&stage.home.staunch(&["audit", "export", "--to", &to]));
    }
    let key = stage.home.path(key).display().to_string();
    let said = stage.home.staunch(&["audit", "verify", &to, "--key", &key, "--output", "json"]);
    let report: Value = serde_json::from_str(&said.stdout).map_err(|_| said.stderr.clone())?;
    if said.code == Some(0) { Ok(report) } else { Err(report.to_string()) }
}

fn new_epoch(stage: &Stage) -> Value {
    let said = stage.home.staunch(&["audit", "new-epoch", "--reason", "the key leaked", "--output", "json"]);
    serde_json::from_str(&succeeded(&said)).unwrap()
}

#[test]
fn a_new_epoch_has_a_new_key_and_continues_what_the_old_one_signed() {
    let Some(stage) = Stage::set("automatic") else { return };
    let daemon = stage.home.serve();
    let id = daemon.run_of(&Firing::new(ALERT, "shop-1"));
    let _run = daemon.outcome(&id, "fixed");
    let busy = stage.home.staunch(&["audit", "new-epoch", "--reason", "r"]);
    assert_eq!(busy.code, Some(1), "{}", busy.stderr);
    assert!(busy.stderr.contains("stop it first"), "{}", busy.stderr);
    assert_eq!(daemon.stop(), Some(0));
    let blank = stage.home.staunch(&["audit", "new-epoch", "--reason", " "]);
    assert_eq!(blank.code, Some(2), "{}", blank.stderr);
    let old = exported(&stage, "old", "keys/log.vkey").unwrap();
    assert_eq!(old["epochs"], json!([]));

    let begun = new_epoch(&stage);
    assert_eq!(
        (&begun["epoch"], &begun["continues"], &begun["ended"]),
        (&json!(2), &json!(true), &json!(true))
    );
    assert_eq!(begun["origin"], format!("{}/epoch-2", stage.home.origin()));
    let vkey = std::fs::read_to_string(stage.home.path("keys/log.vkey")).unwrap();
    assert_eq!(begun["log_vkey"], vkey.trim());

    // All of it is there, and works on.
    let daemon = stage.home.serve();
    assert_eq!(daemon.run(&id)["outcome"], "fixed");
    stage.target.set_well(false);
    let _run = daemon.outcome(&daemon.run_of(&Firing::new(ALERT, "shop-2")), "fixed");
    assert_eq!(daemon.stop(), Some(0));
    let new = exported(&stage, "new", "keys/log.vkey").unwrap();
    let seen = &new["epochs"][0];
    assert_eq!((&seen["epoch"], &seen["continues"]), (&json!(2), &json!(true)), "{new:#}");
    assert_eq!(seen["before"]["origin"], stage.home.origin());
    assert!(
        seen["before"]["size"].as_u64() > old["size"].as_u64(),
        "the old log's last word is that it ends"
    );
    assert!(exported(&stage, "new", "keys/log.ended-1.vkey").is_err(), "the old key is no longer the log's");
    assert!(exported(&stage, "old", "keys/log.ended-1.vkey").is_ok(), "what it signed stays verifiable");
    assert!(exported(&stage, "old", "keys/log.vkey").is_err());
    assert!(stage.home.path("data/checkpoint.ended-1").exists());

    // As an attempt leaves it that was cut off between two moves of keys.
    let (key, next) = (stage.home.path("keys/journal.key"), stage.home.path("keys/journal.next.key"));
    std::fs::rename(key, next).unwrap();
    assert_eq!(stage.home.staunch(&["serve"]).code, Some(2));
    assert_eq!(new_epoch(&stage)["epoch"], 3);
    let third = exported(&stage, "third", "keys/log.vkey").unwrap();
    assert_eq!(third["epochs"].as_array().map(Vec::len), Some(2), "{third:#}");
}

#[test]
fn a_log_that_was_put_back_goes_on_in_an_epoch_that_says_so() {
    let Some(stage) = Stage::set("automatic") else { return };
    let daemon = stage.home.serve();
    let _run = daemon.outcome(&daemon.run_of(&Firing::new(ALERT, "shop-1")), "fixed");
    assert_eq!(daemon.stop(), Some(0));
    let backup = stage.home.aside().join("backup");
    std::fs::create_dir(&backup).unwrap();
    let files = ["journal.db", "journal.db-wal", "journal.db-shm"];
    for file in files {
        let _there = std::fs::copy(stage.home.path("data").join(file), backup.join(file));
    }
    let daemon = stage.home.serve();
    stage.target.set_well(false);
    let _run = daemon.outcome(&daemon.run_of(&Firing::new(ALERT, "shop-2")), "fixed");
    assert_eq!(daemon.stop(), Some(0));
    for file in files {
        let _gone = std::fs::remove_file(stage.home.path("data").join(file));
        let _there = std::fs::copy(backup.join(file), stage.home.path("data").join(file));
    }
    let refused = stage.home.staunch(&["serve"]);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);

    let begun = new_epoch(&stage);
    assert_eq!((&begun["continues"], &begun["ended"]), (&json!(false), &json!(false)), "{begun:#}");
    let daemon = stage.home.serve();
    stage.target.set_well(false);
    let _run = daemon.outcome(&daemon.run_of(&Firing::new(ALERT, "shop-3")), "fixed");
    assert_eq!(daemon.stop(), Some(0));
    let report = exported(&stage, "new", "keys/log.vkey").unwrap();
    assert_eq!(report["epochs"][0]["continues"], false, "{report:#}");
    let again = new_epoch(&stage);
    assert_eq!((&again["epoch"], &again["continues"]), (&json!(3), &json!(true)), "{again:#}");
    let report = exported(&stage, "third", "keys/log.vkey").unwrap();
    assert_eq!(report["epochs"].as_array().map(Vec::len), Some(2), "{report:#}");
}
