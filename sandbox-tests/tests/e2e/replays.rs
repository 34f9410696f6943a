//! What people said once is said once: an approval that is taken out of the journal counts for nothing else.

use sandbox_tests::alerts::Firing;
use sandbox_tests::installation::succeeded;
use serde_json::{Value, json};

use super::stage::{ALERT, Stage};

/// The approval that a run's journal holds, as somebody would send it again.
fn taken_from_the_journal(entries: &[Value]) -> Value {
    let approved = entries.iter().find(|entry| entry["leaf"]["kind"] == "run-approved").unwrap();
    let approval = &approved["payload"]["approval"];
    assert_eq!(approval["by"], "ada", "{approval:#}");
    json!({ "plan": approval["plan"], "comment": approval["comment"], "envelope": approval["envelope"] })
}

#[test]
fn an_approval_taken_from_the_journal_counts_for_no_other_run_and_no_second_person() {
    let Some(mut stage) = Stage::set_with("approve", "gate: { approvals: 2, expires: 5m }\n") else { return };
    for name in ["ada", "ben"] {
        let file = stage.home.path(&format!("keys/{name}.key")).display().to_string();
        let _made = succeeded(&stage.home.staunch(&["keys", "generate", &file]));
    }
    let people = "people: { ada: { keys: [./keys/ada.pub] }, ben: { keys: [./keys/ben.pub] } }\n";
    stage.home.more.push(people.to_owned());
    stage.home.configure();
    let daemon = stage.home.serve();
    let (ada, ben) = (stage.home.token("ada", "operator"), stage.home.token("ben", "operator"));
    let [one, two] =
        ["shop-1", "shop-2"].map(|name| daemon.until(&daemon.run_of(&Firing::new(ALERT, name)), "waiting"));
    let (id, plan) = (one["id"].as_str().unwrap(), one["plan"]["digest"].as_str().unwrap());
    let (key, url) =
        (stage.home.path("keys/ada.key").display().to_string(), format!("http://{}", daemon.address()));
    let shell = ["runs", "approve", id, "--plan", plan, "--comment", "seen"];
    let with = ["--key", &key, "--token", &ada, "--url", &url];
    let _approved = succeeded(&stage.home.staunch(&[&shell[..], &with[..]].concat()));
    let again = taken_from_the_journal(&daemon.journal(id));
    daemon.kill();

    let daemon = stage.home.serve();
    let path = |run: &Value| format!("/v1/runs/{}/approve", run["id"].as_str().unwrap());
    let on_the_other = json!({
        "plan": two["plan"]["digest"], "comment": again["comment"], "envelope": again["envelope"],
    });
    let unsigned = json!({ "plan": again["plan"], "comment": again["comment"] });
    for (who, token, run, body, status, problem) in [
        ("her own once more", &ada, &one, &again, 409, "separation"),
        ("hers, in his name", &ben, &one, &again, 422, "wrong-shape"),
        ("hers, for another run", &ada, &two, &again, 422, "wrong-shape"),
        ("her word without the signature, for another run", &ada, &two, &unsigned, 409, "plan-changed"),
        ("hers, beside another plan", &ada, &two, &on_the_other, 422, "wrong-shape"),
    ] {
        let answer = daemon.post_by(token, &path(run), body);
        assert_eq!((answer.status, answer.problem().as_str()), (status, problem), "{who}: {}", answer.text());
    }
    let asked = daemon.run(id);
    assert_eq!((&asked["quorum"]["counted"], &asked["quorum"]["missing"]), (&json!(["ada"]), &json!(1)));
    assert_eq!(daemon.run(two["id"].as_str().unwrap())["quorum"]["missing"], 2);
    assert!(stage.target.posts().is_empty(), "nothing is done on a word that was said once");
    let _run = daemon.approve(&ben, &one).expect(200);
    let _run = daemon.outcome(id, "fixed");
    assert_eq!(stage.target.posts().len(), 1);
}
