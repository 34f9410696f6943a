use serde_json::json;
use staunch_core::effect::{EffectStatus, Repeat};
use staunch_core::event::{self, payload};
use staunch_core::id::{Digest, RunId};
use staunch_core::plan::{PlannedEffect, PlannedReading, StepPlan};

use super::*;

fn call(capability: &str, function: &str) -> Call {
    Call {
        capability: capability.to_owned().into(),
        function: function.to_owned().into(),
        target: "web-7/service:web.service".into(),
        arguments: json!({ "unit": "web.service" }).into(),
    }
}

fn event(fact: Fact) -> Event {
    Event { at: DateTime::UNIX_EPOCH, run: Some(RunId::from_bits(7)), alert: None, fact }
}

fn planned() -> Event {
    let reading = |capability, assumed| PlannedReading {
        call: call(capability, if assumed { "await-active" } else { "status" }),
        answer: Answer::Ok(json!({ "active": "failed" }).into()),
        after_effects: 0,
        assumed,
    };
    let effect = PlannedEffect {
        call: call("service", "restart"),
        reason: "r".to_owned(),
        assumed: Answer::Ok(json!({ "assumed": true }).into()),
        repeat: Repeat::Once,
    };
    let step = StepPlan {
        plugin: "p".to_owned(),
        plugin_digest: Digest::of(b"p"),
        input: json!({}).into(),
        effects: vec![effect],
        readings: vec![reading("service", false), reading("clock", false), reading("service", true)],
    };
    let leaf = event::RunPlanned { plan: Digest::of(b""), effects: 1, ask: false, policy: Digest::of(b"") };
    let outside = payload::RunPlanned {
        steps: vec![step],
        asked: None,
        decisions: Vec::new(),
        log: Vec::new(),
        changes: Vec::new(),
        undo: Vec::new(),
    };
    event(Fact::RunPlanned(leaf, Outside::Kept(outside)))
}

fn permitted() -> Event {
    let leaf = event::RunPermitted { plan: Digest::of(b""), approved: true };
    event(Fact::RunPermitted(leaf, Outside::Kept(payload::RunPermitted {})))
}

fn intended() -> Event {
    let leaf = event::EffectIntended {
        step: 0,
        effect: 0,
        capability: "service".into(),
        function: "restart".into(),
        key: "k".to_owned(),
        repeat: Repeat::Once,
        planned: true,
        fuel: 1,
    };
    let outside =
        payload::EffectIntended { call: call("service", "restart"), reason: "r".to_owned(), before: None };
    event(Fact::EffectIntended(leaf, Outside::Kept(outside)))
}

fn settled(answer: Option<Answer>) -> Event {
    let leaf = event::EffectSettled { step: 0, effect: 0, status: EffectStatus::Done };
    event(Fact::EffectSettled(
        leaf,
        Outside::Kept(payload::EffectSettled { answer, by: None, comment: None }),
    ))
}

fn written(events: &[Event]) -> Vec<(String, Option<&'static str>, bool)> {
    let recorded = Recorded::of(events).unwrap();
    recorded.entries.iter().map(|entry| (entry.call.clone(), entry.within, entry.error.is_some())).collect()
}

#[test]
fn a_plan_is_recorded_with_what_it_assumed() {
    let entry = |call: &str, within| (call.to_owned(), within, false);
    assert_eq!(
        written(&[planned()]),
        [
            entry("service.status", None),
            entry("service.await-active", Some("act")),
            entry("service.restart", Some("act"))
        ],
        "and nothing of the clock, which is the sandbox's own"
    );
}

#[test]
fn an_act_is_recorded_with_what_was_answered() {
    let error = CallError { code: "job-failed".to_owned(), message: "m".to_owned(), retryable: false };
    let events = [planned(), permitted(), intended(), settled(Some(Answer::Err(error)))];
    assert_eq!(
        written(&events),
        [
            ("service.status".to_owned(), Some("plan"), false),
            ("service.restart".to_owned(), Some("act"), true)
        ]
    );
}

#[test]
fn what_a_script_cannot_repeat_is_refused() {
    let error = CallError::denied("no grant".to_owned());
    let leaf = event::CallDenied { step: 0, capability: "service".into(), function: "stop".into(), fuel: 1 };
    let outside = payload::CallDenied { call: call("service", "stop"), answer: Answer::Err(error) };
    let denied = event(Fact::CallDenied(leaf, Outside::Kept(outside)));
    for (events, wanted) in [
        (vec![], "no plan"),
        (vec![planned(), permitted(), intended(), settled(None)], "in doubt"),
        (vec![planned(), permitted(), denied], "denied service.stop"),
    ] {
        let refused = Recorded::of(&events).unwrap_err();
        assert!(refused.contains(wanted), "{refused}");
    }
}

#[test]
fn only_scenarios_that_say_neither_world_nor_expect_are_open() {
    let project = tempfile::tempdir().unwrap();
    let folder = project.path().join(super::super::FOLDER);
    fs::create_dir(&folder).unwrap();
    let put = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    put("a.yaml", "name: open\ninput: { unit: a }");
    put("b.yaml", "name: closed\ninput: {}\nexpect: { result: {} }\n");
    put("c.yaml", "name: told\ninput: {}\nworld: []\n");
    put("d.yaml", ": no scenario");
    let open = open_scenarios(project.path()).unwrap();
    let seen: Vec<_> =
        open.iter().map(|open| (open.file.as_str(), open.name.as_str(), &open.input)).collect();
    assert_eq!(seen, [("scenarios/a.yaml", "open", &json!({ "unit": "a" }))]);
    for (text, wanted) in [
        ("name: n\ninput: {}\nexport: verify\n", "export: only what a step of a run does"),
        ("name: n\ninput: {}\nseed: 7\n", "seed: only"),
        ("name: n\n", "needs the key \"input\""),
        ("name: n\ninput: {}\ninptu: {}\n", "unknown key \"inptu\""),
    ] {
        put("a.yaml", text);
        let refused = crate::causes::chain(&open_scenarios(project.path()).unwrap_err());
        assert!(refused.contains(wanted) && refused.contains("scenarios/a.yaml"), "{refused}");
    }
}
