use super::*;

use serde_json::{Value, json};
use staunch_core::effect::{Answer, Call, CallError};

use super::format::Scenario;
use super::world::World;
use crate::sandbox::Backend as _;

const HEAD: &str = "name: shows\ninput: { unit: web.service }\n";

fn scenario(rest: &str) -> Result<Scenario, Vec<String>> {
    let read = read::read("s.yaml", &format!("{HEAD}{rest}"));
    read.map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn refused(rest: &str, wanted: &[&str]) {
    let problems = scenario(rest).unwrap_err();
    assert_eq!(problems.len(), wanted.len(), "{rest}: {problems:?}");
    for (problem, wanted) in problems.iter().zip(wanted) {
        assert!(problem.contains(wanted), "{rest}: {problem}");
    }
}

#[test]
fn unknown_names_are_refused_with_their_place_and_the_valid_ones() {
    let ends = "expect: { result: {} }\n";
    refused(
        "expct: {}\nexpect: { result: {} }",
        &["s.yaml:3:1: unknown key \"expct\" in the scenario (did you mean \"expect\"?)"],
    );
    refused(
        "expect: { results: {} }",
        &["s.yaml:3:11: unknown key \"results\"", "exactly one of `result` and `error`"],
    );
    refused(
        &format!("world: [{{ call: service.stat, answer: 1 }}]\n{ends}"),
        &["s.yaml:3:17: there is no call \"service.stat\"; valid are service.status, "],
    );
    refused(
        &format!("world: [{{ call: servce.status, answer: 1 }}]\n{ends}"),
        &["valid are http, file, process, service"],
    );
    refused(&format!("world: [{{ call: clock.wall, answer: 1 }}]\n{ends}"), &["the sandbox's own"]);
    refused(
        &format!("world: [{{ call: service.status, anwser: 1 }}]\n{ends}"),
        &["unknown key \"anwser\"", "exactly one"],
    );
    refused(
        &format!("world: [{{ call: service.status, answer: 1, times: 0 }}]\n{ends}"),
        &["from 1 to 1000"],
    );
    refused(&format!("world: [{{ call: service.status, answer: 1, times: many }}]\n{ends}"), &["or any"]);
    refused(
        &format!("world: [{{ call: service.status, error: {{ code: a }} }}]\n{ends}"),
        &["needs the key \"message\""],
    );
    refused(&format!("export: repair\n{ends}"), &["valid are remediate, verify, undo, deliver, inspect"]);
    refused(&format!("began: yesterday\n{ends}"), &["2026-03-01T12:00:00Z"]);
    refused("expect: { result: { change: true } }", &["unknown key \"change\" in result"]);
    refused("expect: { result: {}, error: { code: a } }", &["exactly one"]);
    refused("", &["needs the key \"expect\""]);
}

#[test]
fn what_cannot_happen_is_refused() {
    let ends = "expect: { result: {} }\n";
    refused(
        &format!("world: [{{ call: service.restart, answer: 1, in: plan }}]\n{ends}"),
        &["not asked of the world when planning"],
    );
    refused("expect: { result: {}, effects: [{ call: service.status }] }", &["is a reading"]);
    refused(
        "expect: { result: {}, plan: [{ call: service.restart, status: done }] }",
        &["unknown key \"status\""],
    );
    refused(&format!("details: {{ a: 1 }}\n{ends}"), &["`export: undo`"]);
    refused("export: verify\nexpect: { result: fixed }", &["valid are passed, failed, no-answer"]);
    refused(
        "export: verify\nexpect: { result: failed, effects: [{ call: service.restart }] }",
        &["no effects to expect"],
    );
    refused(
        "export: verify\nworld: [{ call: service.status, answer: 1, in: act }]\nexpect: { result: failed }",
        &["leave `in` out"],
    );
}

#[test]
fn inputs_are_templates_only_with_an_alert() {
    let input =
        |head: &str| read::read("s.yaml", &format!("name: shows\n{head}\nexpect: {{ result: {{}} }}\n"));
    let rendered = input("alert: { labels: { unit: a.service } }\ninput: ['{{ labels.unit }}', 1]").unwrap();
    assert_eq!(rendered.input, json!(["a.service", 1]));
    assert_eq!(input("input: '{{ labels.unit }}'").unwrap().input, json!("{{ labels.unit }}"));
    let problem = input("alert: {}\ninput: { unit: '{{ labels.unit }}' }").unwrap_err().remove(0).to_string();
    assert_eq!(problem, "s.yaml:3:8: input.unit: there is no labels.unit");
}

fn world(entries: &str, pass: format::Pass) -> World {
    let scenario = scenario(&format!("world:\n{entries}\nexpect: {{ result: {{}} }}\n")).unwrap();
    World::new(pass, 1_000, scenario.world.into(), None)
}

async fn ask(world: &World, call: &str, arguments: Value) -> Answer {
    let (capability, function) = call.split_once('.').unwrap();
    let call = Call {
        capability: capability.to_owned().into(),
        function: function.to_owned().into(),
        target: "".into(),
        arguments: arguments.into(),
    };
    world.answer(&call).await
}

#[tokio::test]
async fn the_first_entry_answers_that_fits_and_is_not_used_up() {
    let entries = "  - { call: service.status, arguments: { unit: a }, answer: 1, times: 2 }
  - { call: service.status, answer: 2 }
  - { call: service.status, arguments: { unit: b }, error: { code: c, message: m }, times: any }
  - { call: file.space, answer: 3, in: plan }";
    let world = world(entries, format::Pass::Act);
    let error = Answer::Err(CallError { code: "c".into(), message: "m".into(), retryable: false });
    for (unit, wanted) in [("a", 1), ("b", 2), ("a", 1)] {
        assert_eq!(
            ask(&world, "service.status", json!({ "unit": unit })).await,
            Answer::Ok(Value::from(wanted).into())
        );
    }
    for _ in 0..3 {
        assert_eq!(ask(&world, "service.status", json!({ "unit": "b" })).await, error);
    }
    assert_eq!(ask(&world, "clock.wall", json!({})).await, Answer::Ok(json!(1_000).into()));
    assert!(world.told().failures.is_empty());
    assert_eq!(world.told().used, [2, 1, 3, 0]);
    for (call, unit, wanted) in [
        (
            "service.status",
            "a",
            "that of line 4 is used up, that of line 5 is used up, that of line 6 is for other arguments",
        ),
        ("file.space", "a", "that of line 7 is for planning"),
        ("file.stat", "a", "there is none for it"),
    ] {
        assert!(!ask(&world, call, json!({ "unit": unit })).await.is_ok());
        let failure = world.told().failures.pop().unwrap();
        assert!(failure.contains(wanted) && failure.contains(" when acting"), "{failure}");
    }
}
