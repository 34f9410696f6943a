//! Nothing unverified runs: not at the installation, and not when somebody touches what was installed.

use std::fs;
use std::path::{Path, PathBuf};

use sandbox_tests::alerts::Firing;
use sandbox_tests::installation::{component, succeeded};

use super::stage::{ALERT, Stage};

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found
}

fn flip(file: &Path) -> Vec<u8> {
    let before = fs::read(file).unwrap();
    let mut changed = before.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    fs::write(file, changed).unwrap();
    before
}

#[test]
fn an_installed_file_that_changed_is_refused_while_the_daemon_runs() {
    let Some(stage) = Stage::bare() else { return };
    stage.runbook("restart-shop", ALERT, "automatic", "");
    let daemon = stage.home.serve();
    let _run = daemon.outcome(&daemon.run_of(&Firing::new(ALERT, "before")), "unknown");
    let installed = files(&stage.home.path("plugins"));
    let with =
        |end: &str| installed.iter().find(|file| file.display().to_string().ends_with(end)).unwrap().clone();
    for (number, file) in [with(".wasm"), with(".dsse.json")].iter().enumerate() {
        let before = flip(file);
        let entry = daemon.alerts(&[Firing::new(ALERT, &format!("shop-{number}"))]).remove(0);
        let why = daemon.why(&entry);
        assert!(
            why.contains("\"signature\"") || why.contains("\"plugin-changed\""),
            "{}: {why}",
            file.display()
        );
        fs::write(file, before).unwrap();
        let _run =
            daemon.outcome(&daemon.run_of(&Firing::new(ALERT, &format!("mended-{number}"))), "unknown");
    }
    assert_eq!(stage.target.posts().len(), 3);
}

#[test]
fn an_approved_run_does_not_use_a_plugin_that_changed_meanwhile() {
    let Some(stage) = Stage::set("approve") else { return };
    let daemon = stage.home.serve();
    let id = daemon.run_of(&Firing::new(ALERT, "shop-1"));
    let waiting = daemon.until(&id, "waiting");
    let installed = files(&stage.home.path("plugins"));
    let wasm = installed.iter().find(|file| file.extension().is_some_and(|end| end == "wasm")).unwrap();
    let _before = flip(wasm);
    let _run = daemon.approve(&stage.home.administrator, &waiting).expect(200);
    let run = daemon.outcome(&id, "refused");
    let code = run["reason"]["code"].as_str().unwrap_or_default();
    assert!(["signature", "plugin-changed"].contains(&code), "{run:#}");
    assert!(
        daemon.journal(&id).iter().any(|item| item["leaf"]["fact"]["code"] == code),
        "the journal has it"
    );
    assert!(stage.target.posts().is_empty());
}

#[test]
fn a_plugin_that_changed_is_told_before_the_start_and_mended_by_installing_it() {
    let Some(stage) = Stage::bare() else { return };
    let installed = files(&stage.home.path("plugins"));
    let wasm = installed.iter().find(|file| file.extension().is_some_and(|end| end == "wasm")).unwrap();
    let _before = flip(wasm);
    let checked = stage.home.staunch(&["check"]);
    assert_eq!(checked.code, Some(1), "{}", checked.stderr);
    assert!(checked.stdout.contains("plugins/http-request:1:1: "), "{}", checked.stdout);
    let refused = stage.home.staunch(&["serve"]);
    assert!(refused.code == Some(2) && refused.stderr.contains("plugins/http-request"), "{refused:?}");
    let original = component("http-request").unwrap();
    let copy = stage.home.path(original.file_name().unwrap().to_str().unwrap());
    let _said = succeeded(&stage.home.install(&copy));
    let _said = succeeded(&stage.home.staunch(&["check"]));
}

#[test]
fn what_is_not_signed_by_a_trusted_key_is_not_installed() {
    let Some(stage) = Stage::bare() else { return };
    let file = stage.home.path("fresh.wasm");
    let envelope = stage.home.path("fresh.wasm.dsse.json");
    fs::copy(component("http-request").unwrap(), &file).unwrap();
    assert_eq!(stage.home.install(&file).code, Some(1), "unsigned");

    let _signed = succeeded(&stage.home.sign(&file));
    for tampered in [&file, &envelope] {
        let before = flip(tampered);
        let refused = stage.home.install(&file);
        assert_eq!(refused.code, Some(1), "{}: {}", tampered.display(), refused.stderr);
        fs::write(tampered, before).unwrap();
    }

    let stranger = stage.home.path("stranger.key");
    let stranger = stranger.display().to_string();
    let _made = succeeded(&stage.home.staunch(&["keys", "generate", &stranger]));
    fs::remove_file(&envelope).unwrap();
    let shown = file.display().to_string();
    let _signed = succeeded(&stage.home.staunch(&["plugin", "sign", &shown, "--key", &stranger]));
    let refused = stage.home.install(&file);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert_eq!(stage.home.staunch(&["plugin", "verify", &shown]).code, Some(1));
}
