//! What a signed plugin meets in the live world becomes a scenario that can be rehearsed without it.

use std::fs;
use std::path::{Path, PathBuf};

use sandbox_tests::installation::{Installation, component, succeeded};
use sandbox_tests::poll::{SOON, until};
use sandbox_tests::program::{self, Finished};
use sandbox_tests::target::Target;
use serde_json::Value;

use super::stage::Stage;

const SECRET: &str = "a-secret-of-some-length";

/// A project with the installed component of `http-request`, signed, and one scenario.
fn project(home: &Installation, scenario: &str) -> Option<PathBuf> {
    let built = component("http-request")?;
    let folder = home.aside().join("project");
    let source = built.parent()?.parent()?.to_owned();
    for part in ["dist", "scenarios"] {
        fs::create_dir_all(folder.join(part)).unwrap();
    }
    fs::copy(source.join("plugin.toml"), folder.join("plugin.toml")).unwrap();
    let copy = folder.join("dist").join(built.file_name()?);
    fs::copy(&built, &copy).unwrap();
    let _signed = succeeded(&home.sign(&copy));
    fs::write(folder.join("scenarios/live.yaml"), scenario).unwrap();
    Some(folder)
}

fn record(home: &Installation, project: &Path, more: &[&str]) -> Finished {
    let project = project.display().to_string();
    let mut arguments = vec!["plugin", "test", &project, "--record"];
    arguments.extend(more);
    home.staunch(&arguments)
}

fn scenario(target: &Target, more: &str) -> String {
    let url = format!("http://{}/restart/shop-1", target.address());
    format!("# by hand\nname: restarts the shop\ninput: {{ method: POST, url: '{url}'{more} }}\n")
}

/// The set with a secret that requests may carry.
fn stage() -> Option<Stage> {
    let mut stage = Stage::bare()?;
    let address = stage.target.address();
    stage.home.grants = vec![format!(
        "http-request: {{ http: {{ send: ['POST http://{address}/**'] }}, \
         secrets: {{ token: ['header authorization @ http://{address}'] }} }}"
    )];
    fs::write(stage.home.path("keys/shop.secret"), SECRET).unwrap();
    stage.home.chmod("keys/shop.secret", 0o600);
    stage.home.more.push("secrets: { token: '${file:keys/shop.secret}' }\n".to_owned());
    stage.home.configure();
    Some(stage)
}

#[test]
fn a_plan_is_recorded_and_nothing_is_done() {
    let Some(stage) = Stage::bare() else { return };
    let Some(project) = project(&stage.home, &scenario(&stage.target, "")) else { return };
    let daemon = stage.home.serve();
    let said = record(&stage.home, &project, &["--output", "json"]);
    let report: Value = serde_json::from_str(&succeeded(&said)).unwrap();
    assert_eq!(report["recorded"][0]["passed"], true, "{report:#}");
    assert!(stage.target.posts().is_empty(), "nobody said --act");
    let text = fs::read_to_string(project.join("scenarios/live.yaml")).unwrap();
    assert!(
        text.starts_with("# by hand\n") && text.contains("http.send") && text.contains("expect:"),
        "{text}"
    );

    // It says what the world is now, and is left alone.
    let again = record(&stage.home, &project, &[]);
    assert_eq!(again.code, Some(1), "{}", again.stderr);
    assert!(again.stderr.contains("neither `world` nor `expect`"), "{}", again.stderr);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn an_act_is_recorded_once_people_let_it_act_and_without_secrets() {
    let Some(stage) = stage() else { return };
    let more = ", headers: { authorization: 'secret://token' }";
    let Some(project) = project(&stage.home, &scenario(&stage.target, more)) else { return };
    let approver = stage.home.token("ada", "operator");
    let daemon = stage.home.serve();
    stage.target.answer_posts(|_| 200);
    stage.target.say(&format!("you said {SECRET}"));
    let shown = project.display().to_string();
    let mut command =
        stage.home.command(&["plugin", "test", &shown, "--record", "--act", "--target", "web-7"]);
    let recording = std::thread::spawn(move || program::finish(&mut command));
    let run = until("the run asks", SOON, || {
        let asked = daemon.get("/v1/approvals").expect(200);
        asked["items"].as_array()?.first().cloned()
    });
    // The command looks twenty times a second, and is to see that it waits.
    std::thread::sleep(std::time::Duration::from_millis(500));
    let _approved = daemon.approve(&approver, &run).expect(200);
    let said = recording.join().unwrap();
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(said.stderr.contains("asks people"), "{}", said.stderr);
    let posts = stage.target.posts();
    assert_eq!(posts.len(), 1);
    assert_eq!(posts[0].header("authorization"), Some(SECRET), "the world got the secret");
    let text = fs::read_to_string(project.join("scenarios/live.yaml")).unwrap();
    assert!(!text.contains(SECRET), "the recording did not: {text}");
    assert!(text.contains("secret://token") && text.contains("in: act"), "{text}");
}

#[test]
fn what_is_not_signed_or_cannot_be_repeated_leaves_the_file_alone() {
    let Some(stage) = Stage::bare() else { return };
    let before = scenario(&stage.target, "").replace("/restart/", "/../elsewhere/").replace("POST", "PUT");
    let Some(project) = project(&stage.home, &before) else { return };
    let kept = || assert_eq!(fs::read_to_string(project.join("scenarios/live.yaml")).unwrap(), before);
    let away = record(&stage.home, &project, &[]);
    assert_eq!(away.code, Some(3), "there is no daemon: {}", away.stderr);
    let daemon = stage.home.serve();
    let denied = record(&stage.home, &project, &[]);
    assert_eq!(denied.code, Some(1), "no grant for PUT: {}", denied.stderr);
    kept();
    let acts = stage.home.staunch(&["plugin", "test", "--act"]);
    assert_eq!(acts.code, Some(2), "{}", acts.stderr);
    for entry in fs::read_dir(project.join("dist")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            fs::remove_file(path).unwrap();
        }
    }
    let unsigned = record(&stage.home, &project, &[]);
    assert_eq!(unsigned.code, Some(1), "{}", unsigned.stderr);
    assert!(unsigned.stderr.contains("plugin sign"), "{}", unsigned.stderr);
    kept();
    assert!(daemon.get("/v1/runs").expect(200)["items"].as_array().is_some_and(|runs| runs.len() <= 1));
}
