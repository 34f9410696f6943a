//! Every scenario of every first-party plugin, in the sandbox; and scenarios that must not pass.
//!
//! Works on what `make plugins` built; without it, nothing is shown and the skip is printed.

#![cfg(test)]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use staunch::plugin::compile::helper::helper_main;
use staunch::plugin::{Compiler, UnverifiedBuild};
use staunch::scenario::{self, Report, ScenarioError};
use tempfile::TempDir;

const MARK: &str = "STAUNCH_TEST_COMPILE_HELPER";

/// Not a test of its own: the body of the compile helper of the others, which is this test program again.
#[test]
fn helper_entry() {
    if std::env::var_os(MARK).is_some() {
        // The test harness writes to standard output, so the shell gives us the pipe as 3.
        let output = fs::File::options().write(true).open("/dev/fd/3").unwrap();
        helper_main(io::stdin().lock(), output).unwrap();
    }
}

fn compiler() -> Compiler {
    let program = std::env::current_exe().unwrap();
    let script =
        format!("{MARK}=1 exec '{}' --exact helper_entry --nocapture 3>&1 1>/dev/null", program.display());
    Compiler::uncached().with_helper("/bin/sh".into(), vec!["-c".to_owned(), script])
}

/// The projects of the first-party plugins.
fn projects() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut projects: Vec<PathBuf> = entries.filter(|path| path.join("plugin.toml").exists()).collect();
    projects.sort();
    assert!(projects.len() >= 4, "{projects:?}");
    projects
}

/// What `make plugins` left in a project's `dist`, if it did: the newest.
fn build_of(project: &Path) -> Option<UnverifiedBuild> {
    let entries = fs::read_dir(project.join("dist")).ok()?.map(|entry| entry.unwrap());
    let components = entries.filter(|entry| entry.path().extension().is_some_and(|found| found == "wasm"));
    let newest = components.max_by_key(|entry| entry.metadata().unwrap().modified().unwrap())?.path();
    let build =
        UnverifiedBuild::for_scripted_world(&newest.display().to_string(), fs::read(&newest).unwrap());
    Some(build.unwrap_or_else(|error| panic!("{}: {error}", newest.display())))
}

/// The build of one plugin, or a visible skip.
fn built(name: &str) -> Option<UnverifiedBuild> {
    let project = projects().into_iter().find(|project| project.ends_with(name)).unwrap();
    let build = build_of(&project);
    if build.is_none() {
        println!("SKIPPED: {name} is not built; `make plugins` builds it");
    }
    build
}

async fn rehearse(project: &Path, build: &UnverifiedBuild) -> Report {
    scenario::run(project, build, &compiler(), &mut |_| {}).await.unwrap()
}

fn failures(report: &Report) -> String {
    let failed = report.scenarios.iter().filter(|scenario| !scenario.passed);
    failed
        .map(|scenario| {
            let (file, name) = (&scenario.file, &scenario.name);
            format!(
                "{}/{file}: {name}:\n  {}\n{:?}\n",
                report.plugin,
                scenario.failures.join("\n  "),
                scenario.log
            )
        })
        .collect()
}

#[tokio::test]
async fn all_scenarios_of_first_party_plugins_pass() {
    let mut wrong = String::new();
    for project in projects() {
        let Some(build) = build_of(&project) else {
            println!("SKIPPED: {} is not built; `make plugins` builds it", project.display());
            continue;
        };
        let report = rehearse(&project, &build).await;
        assert!(!report.scenarios.is_empty());
        assert_eq!(report.passed, report.scenarios.iter().all(|scenario| scenario.passed));
        wrong.push_str(&failures(&report));
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// A project with one scenario.
fn project(text: &str) -> TempDir {
    let project = tempfile::tempdir().unwrap();
    fs::create_dir(project.path().join("scenarios")).unwrap();
    fs::write(project.path().join("scenarios/one.yaml"), text).unwrap();
    project
}

/// Runs one scenario of a plugin, and compares its failures with the beginnings that are `wanted`.
async fn check(plugin: &str, text: &str, wanted: &[&str]) -> Option<Report> {
    let build = built(plugin)?;
    let report = rehearse(project(text).path(), &build).await;
    let failures = &report.scenarios[0].failures;
    assert_eq!(failures.len(), wanted.len(), "{text}: {failures:#?}");
    for (failure, wanted) in failures.iter().zip(wanted) {
        assert!(failure.starts_with(wanted), "{text}: {failures:#?}");
    }
    assert_eq!(report.passed, wanted.is_empty());
    Some(report)
}

const STATUS: &str = "answer: { load: loaded, active: failed, sub: failed, invocation: a }";
const RESTARTS: &str = "name: restarts
input: { unit: web.service, reset_failed: false, wait: 0 }
world:
  - { call: service.status, STATUS }
  - { call: service.restart, answer: { load: loaded, active: active, sub: running, invocation: b } }
  - { call: service.await-active, answer: { met: true, assumed: false, last: active, polls: 1 }, times: any }
expect:
  effects: [{ call: service.restart, arguments: { unit: web.service }, status: done }]
  result: { changed: true }
";

/// The scenario above with one text in it replaced.
fn changed(from: &str, to: &str) -> String {
    let text = RESTARTS.replace("STATUS", STATUS);
    assert!(text.contains(from), "{from}");
    text.replace(from, to)
}

#[tokio::test]
async fn what_did_not_come_as_expected_is_told() {
    let plugin = "restart-service";
    check(plugin, &changed("", ""), &[]).await;
    check(plugin, &changed("changed: true", "changed: false"), &["result.changed: expected false, got true"])
        .await;
    check(
        plugin,
        &changed("status: done", "status: failed"),
        &["effects[0] service.restart: expected the status failed"],
    )
    .await;
    let other =
        changed("arguments: { unit: web.service }, status", "arguments: { unit: db.service }, status");
    let wanted = [
        "plan (as `effects`)[0] service.restart: arguments.unit",
        "effects[0] service.restart: arguments.unit",
    ];
    check(plugin, &other, &wanted).await;
    let none = changed(
        "effects: [{ call: service.restart, arguments: { unit: web.service }, status: done }]",
        "effects: []",
    );
    check(
        plugin,
        &none,
        &["plan (as `effects`): expected none, got service.restart", "effects: expected none"],
    )
    .await;
    check(plugin, &changed("result: { changed: true }", "error: { code: x }"), &["expected the error"]).await;
    check(
        plugin,
        &changed("input: { unit: web.service,", "input: { unite: web.service,"),
        &["input does not match"],
    )
    .await;
    check(
        plugin,
        &changed("load: loaded, active: failed,", "active: failed,"),
        &["the world's answer to service.status does not fit"],
    )
    .await;
    check(
        plugin,
        &changed("name: restarts", "nam: restarts"),
        &["scenarios/one.yaml:1:1: unknown key", "scenarios/one.yaml:1:1: the scenario needs"],
    )
    .await;
}

#[tokio::test]
async fn a_call_without_an_answer_fails_and_an_answer_without_a_call() {
    let plugin = "restart-service";
    let other = changed("call: service.status,", "call: service.status, arguments: { unit: db.service },");
    check(
        plugin,
        &other,
        &["no entry of `world` answers service.status {\"unit\":\"web.service\"} when planning"],
    )
    .await;
    let more = changed("expect:", "  - { call: http.read, error: { code: c, message: m } }\nexpect:");
    check(plugin, &more, &["scenarios/one.yaml:7: nothing called http.read"]).await;
}

#[tokio::test]
async fn an_effect_outside_the_plan_fails() {
    let text = "name: cleans
input: { path: /srv, enough_free: 2GiB, actions: [{ delete: { directory: /srv/a, name: '*', older_than: 1d } }] }
world:
  - { call: file.space, in: plan, answer: { total: 10737418240, available: 1073741824 }, times: any }
  - { call: file.space, in: act, answer: { total: 10737418240, available: 973741824 }, times: any }
  - call: file.list
    answer: [{ path: /srv/a/x, kind: file, size: 4096, modified: 0, allocated: 4096 }]
  - { call: file.delete-older-than, answer: { files: 1, bytes: 4096 } }
expect:
  effects: [{ call: file.delete-older-than }]
  error: { code: still-full }
";
    // The plugin asks to stop at what is missing, so a world that changes by itself makes another effect of it.
    let build = built("disk-cleanup");
    let Some(build) = build else { return };
    let report = rehearse(project(text).path(), &build).await;
    let failures = report.scenarios[0].failures.join("\n");
    assert!(
        failures.starts_with("file.delete-older-than ") && failures.contains("not covered by the plan"),
        "{failures}"
    );
}

#[tokio::test]
async fn what_happened_can_be_blessed() {
    let Some(build) = built("restart-service") else { return };
    let text = format!(
        "# Kept.\n{}",
        changed("result: { changed: true }", "result: { changed: false, summary: x }")
    );
    let project = project(&text);
    let report = rehearse(project.path(), &build).await;
    assert!(!report.passed);
    assert_eq!(scenario::bless(project.path(), &report).unwrap(), ["scenarios/one.yaml"]);
    let blessed = fs::read_to_string(project.path().join("scenarios/one.yaml")).unwrap();
    assert!(blessed.starts_with("# Kept.\nname: restarts\n"), "{blessed}");
    let report = rehearse(project.path(), &build).await;
    assert!(report.passed, "{blessed}\n{}", failures(&report));
    assert!(scenario::bless(project.path(), &report).unwrap().is_empty());
}

#[tokio::test]
async fn a_project_without_scenarios_is_refused() {
    let Some(build) = built("restart-service") else { return };
    let empty = tempfile::tempdir().unwrap();
    let refused = scenario::run(empty.path(), &build, &compiler(), &mut |_| {}).await;
    assert!(matches!(refused, Err(ScenarioError::None { .. })), "{refused:?}");
}
