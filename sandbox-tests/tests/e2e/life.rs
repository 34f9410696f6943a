//! The daemon's own life: starting, draining, loading again, and one at a time.

use rustix::process::Signal;
use sandbox_tests::alerts::Firing;
use sandbox_tests::poll::{SOON, until};
use sandbox_tests::target::Behaviour;
use serde_json::json;

use super::stage::{ALERT, Stage};

#[test]
fn a_stop_in_the_middle_lets_what_acts_come_to_its_end() {
    let Some(stage) = Stage::set("automatic") else { return };
    stage.target.behave(Behaviour::Hold);
    let daemon = stage.home.serve();
    let id = daemon.run_of(&Firing::new(ALERT, "shop-1"));
    until("the request is in flight", SOON, || (stage.target.posts().len() == 1).then_some(()));
    daemon.signal(Signal::TERM);
    daemon.until_said("draining");
    stage.target.release();
    assert_eq!(daemon.ended(), Some(0));

    let daemon = stage.home.serve();
    let run = daemon.outcome(&id, "fixed");
    assert_eq!(run["effects"][0]["status"], "done", "{run:#}");
    assert_eq!(stage.target.posts().len(), 1);
}

#[test]
fn a_stop_leaves_waiting_runs_waiting() {
    let Some(stage) = Stage::set("approve") else { return };
    let daemon = stage.home.serve();
    let id = daemon.run_of(&Firing::new(ALERT, "shop-1"));
    let _run = daemon.until(&id, "waiting");
    assert_eq!(daemon.stop(), Some(0));
    let daemon = stage.home.serve();
    let waiting = daemon.until(&id, "waiting");
    let _run = daemon.approve(&stage.home.administrator, &waiting).expect(200);
    let _run = daemon.outcome(&id, "fixed");
}

#[test]
fn a_second_daemon_on_the_same_data_is_refused() {
    let Some(stage) = Stage::set("automatic") else { return };
    let daemon = stage.home.serve();
    let second = stage.home.staunch(&["serve"]);
    assert_eq!(second.code, Some(2), "{}", second.stderr);
    let data = stage.home.path("data");
    let name = data.file_name().unwrap().to_str().unwrap();
    assert!(second.stderr.contains(&*stage.home.path("").display().to_string()), "{}", second.stderr);
    assert!(second.stderr.contains(name), "{}", second.stderr);
    assert_eq!(second.stdout, "");
    let _run = daemon.outcome(&daemon.run_of(&Firing::new(ALERT, "shop-1")), "fixed");
}

#[test]
fn a_wrong_configuration_is_not_loaded_and_a_right_one_is() {
    let Some(mut stage) = Stage::set("automatic") else { return };
    let daemon = stage.home.serve();
    let right = std::fs::read_to_string(stage.home.config()).unwrap();
    std::fs::write(stage.home.config(), format!("{right}colour: red\n")).unwrap();
    daemon.signal(Signal::HUP);
    daemon.until_said("the old one stays in force");
    assert!(daemon.said().contains("colour"), "{}", daemon.said());
    let _run = daemon.outcome(&daemon.run_of(&Firing::new(ALERT, "shop-1")), "fixed");

    // A runbook that is wrong keeps all of the old ones, too.
    std::fs::write(stage.home.config(), &right).unwrap();
    stage.home.runbook("broken", "match: ['a~~b']\n");
    daemon.signal(Signal::HUP);
    daemon.until_said("broken.yaml");
    let _run = daemon.run_of(&Firing::new(ALERT, "shop-2"));

    std::fs::remove_file(stage.home.path("policies/runbooks/broken.yaml")).unwrap();
    stage.runbook("another", "OtherDown", "observe", "");
    stage.home.source_more = ", max_body: 1KiB".to_owned();
    stage.home.configure();
    daemon.signal(Signal::HUP);
    daemon.until_said("are loaded again");
    assert_eq!(daemon.deliver(" ".repeat(1025).as_bytes()).status, 413);
    let _run = daemon.outcome(&daemon.run_of(&Firing::new("OtherDown", "shop-3")), "observed");
}

#[test]
fn a_wrong_configuration_does_not_start() {
    let Some(stage) = Stage::set("automatic") else { return };
    let right = std::fs::read_to_string(stage.home.config()).unwrap();
    for (text, place) in [
        (format!("{right}colour: red\n"), "colour"),
        (right.replace("threshold: 1", "threshold: 2"), "threshold"),
        (right.replace("listen: 127.0.0.1:0", "listen: here"), "listen"),
        (format!("{right}queue: 0\n"), "queue"),
        ("listen: [\n".to_owned(), "staunch.yaml"),
    ] {
        std::fs::write(stage.home.config(), text).unwrap();
        let served = stage.home.staunch(&["serve"]);
        assert_eq!(served.code, Some(2), "{place}: {}", served.stderr);
        assert!(served.stderr.contains(place) && served.stderr.contains("staunch.yaml"), "{}", served.stderr);
        assert_eq!(served.stdout, "");
        let checked = stage.home.staunch(&["check"]);
        assert_eq!(checked.code, Some(1), "{place}: {}{}", checked.stdout, checked.stderr);
    }
}

#[test]
fn what_others_can_read_is_refused_and_says_how_to_mend_it() {
    let Some(stage) = Stage::set("automatic") else { return };
    for (name, mode, mended) in [
        ("keys/journal.key", 0o644, 0o600),
        ("keys/alertmanager.token", 0o644, 0o600),
        ("data", 0o755, 0o700),
        ("data/journal.db", 0o644, 0o600),
    ] {
        stage.home.chmod(name, mode);
        let served = stage.home.staunch(&["serve"]);
        assert_eq!(served.code, Some(2), "{name}: {}", served.stderr);
        let end = name.rsplit('/').next().unwrap();
        assert!(served.stderr.contains(&format!("chmod {mended:o}")), "{name}: {}", served.stderr);
        assert!(served.stderr.contains(end), "{name}: {}", served.stderr);
        stage.home.chmod(name, mended);
    }
    let daemon = stage.home.serve();
    assert_eq!(daemon.get("/readyz").status, 200);
}

#[test]
fn the_halt_file_stops_everything_that_would_act() {
    let Some(stage) = Stage::set("automatic") else { return };
    let daemon = stage.home.serve();
    std::fs::write(stage.home.path("data/HALT"), "").unwrap();
    let halted = Firing::new(ALERT, "shop-1");
    let entry = daemon.alerts(std::slice::from_ref(&halted)).remove(0);
    let decision = daemon.decision(&entry, "halt");
    assert_eq!(decision["stage"], "halt", "{decision}");
    assert!(stage.target.posts().is_empty());
    std::fs::remove_file(stage.home.path("data/HALT")).unwrap();
    // What was lost to the halt is tried again with the next repeat.
    let again = daemon.alerts(&[halted]).remove(0);
    let _run = daemon.outcome(again["runs"][0].as_str().unwrap(), "fixed");
    stage.target.set_well(false);
    let _run = daemon.outcome(&daemon.run_of(&Firing::new(ALERT, "shop-2")), "fixed");
}

#[test]
fn an_approved_run_does_nothing_while_everything_is_halted() {
    let Some(stage) = Stage::set("approve") else { return };
    let daemon = stage.home.serve();
    let waiting = daemon.until(&daemon.run_of(&Firing::new(ALERT, "shop-1")), "waiting");
    std::fs::write(stage.home.path("data/HALT"), "").unwrap();
    let answer = daemon.approve(&stage.home.administrator, &waiting);
    if answer.status == 200 {
        let run = daemon.until(waiting["id"].as_str().unwrap(), "ended");
        assert_eq!(run["reason"]["code"], "halt", "{run:#}");
    } else {
        assert_eq!((answer.status, answer.problem().as_str()), (409, "halt"), "{}", answer.text());
    }
    assert!(stage.target.posts().is_empty());
}

#[test]
fn a_cancelled_run_gets_no_further_effect() {
    let Some(stage) = Stage::set("automatic") else { return };
    stage.target.behave(Behaviour::Hold);
    let daemon = stage.home.serve();
    let id = daemon.run_of(&Firing::new(ALERT, "shop-1"));
    until("the request is in flight", SOON, || (stage.target.posts().len() == 1).then_some(()));
    let _run = daemon.post(&format!("/v1/runs/{id}/cancel"), &json!({ "comment": "enough" })).expect(200);
    stage.target.release();
    // What was done was done: the probes have the word.
    let run = daemon.until(&id, "ended");
    assert_eq!(run["effects"][0]["status"], "done", "{run:#}");
    assert!(run["outcome"] == "fixed" || run["outcome"] == "unknown", "{run:#}");
    assert_eq!(stage.target.posts().len(), 1);
}
