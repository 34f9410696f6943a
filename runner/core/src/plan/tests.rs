use serde_json::json;

use super::*;

fn call(function: &str, arguments: Value) -> Call {
    Call {
        capability: "http".into(),
        function: function.to_owned().into(),
        target: "http:example.com:443".into(),
        arguments: arguments.into(),
    }
}

fn planned(call: Call, assumed: Value) -> PlannedEffect {
    PlannedEffect {
        call,
        reason: "because".to_owned(),
        assumed: Answer::Ok(assumed.into()),
        repeat: Repeat::Once,
    }
}

fn step(effects: Vec<PlannedEffect>) -> StepPlan {
    StepPlan {
        plugin: "p".to_owned(),
        plugin_digest: Digest::of(b"p"),
        input: json!({"b": 1, "a": 2}).into(),
        effects,
        readings: Vec::new(),
    }
}

#[test]
fn digest_is_the_documented_one() {
    let run = RunId::from_bits(1);
    let steps = [step(vec![planned(call("send", json!({"url": "u"})), Value::Null)])];
    let text = format!(
        r#"{{"run":"{run}","runbook":"r","steps":[{{"effects":[{{"arguments":{{"url":"u"}},"capability":"http","function":"send","target":"http:example.com:443"}}],"input":{{"a":2,"b":1}},"plugin_digest":"{}"}}],"undo":[],"v":1}}"#,
        Digest::of(b"p")
    );
    assert_eq!(digest(&run, "r", &steps, &[]), Digest::of(text.as_bytes()));
}

#[test]
fn digest_ignores_reasons_assumptions_and_readings() {
    let run = RunId::from_bits(1);
    let effect = planned(call("send", json!({})), Value::Null);
    let plain = digest(&run, "r", &[step(vec![effect.clone()])], &[]);
    let mut other = step(vec![PlannedEffect {
        reason: "else".to_owned(),
        assumed: Answer::Ok(json!(1).into()),
        ..effect
    }]);
    other.readings.push(PlannedReading {
        call: call("read", json!({})),
        answer: Answer::Ok(Value::Null.into()),
        after_effects: 0,
        assumed: false,
    });
    assert_eq!(plain, digest(&run, "r", &[other], &[]));
    assert_ne!(plain, digest(&run, "r", &[step(vec![])], &[]));
    assert_ne!(plain, digest(&RunId::from_bits(2), "r", &[step(vec![])], &[]));
}

#[test]
fn digest_covers_the_undo_in_the_shape_of_the_steps() {
    let run = RunId::from_bits(1);
    let done = step(vec![planned(call("send", json!({"url": "on"})), Value::Null)]);
    let back = step(vec![planned(call("send", json!({"url": "off"})), Value::Null)]);
    let effect = |url: &str| {
        format!(
            r#"{{"arguments":{{"url":"{url}"}},"capability":"http","function":"send","target":"http:example.com:443"}}"#
        )
    };
    let part = |url: &str| {
        let plugin = Digest::of(b"p");
        format!(r#"{{"effects":[{}],"input":{{"a":2,"b":1}},"plugin_digest":"{plugin}"}}"#, effect(url))
    };
    let text =
        format!(r#"{{"run":"{run}","runbook":"r","steps":[{}],"undo":[{}],"v":1}}"#, part("on"), part("off"));
    let plan = Plan::with_undo(&run, "r", vec![done.clone()], vec![back]);
    assert_eq!(plan.digest, Digest::of(text.as_bytes()));
    let other = step(vec![planned(call("send", json!({"url": "else"})), Value::Null)]);
    let changes = Plan::with_undo(&run, "r", vec![done], vec![other]).changes_since(&plan);
    assert_eq!(
        changes,
        [
            "undo of step 1, effect 1: http.send on http:example.com:443 instead of http.send on http:example.com:443"
        ]
    );
}

#[test]
fn what_one_answer_was_is_known_to_the_cover_of_another_plan() {
    let planned_undo = planned(call("send", json!({"url": "/off/{{staunch:id}}"})), Value::Null);
    let (assumed, real) =
        (Answer::Ok(json!({"id": "{{staunch:id}}"}).into()), Answer::Ok(json!({"id": "7"}).into()));
    let mut cover = Cover::new(vec![planned_undo]).knowing([(&assumed, &real)]);
    assert_eq!(cover.admit(&call("send", json!({"url": "/off/8"}))), None);
    assert_eq!(cover.admit(&call("send", json!({"url": "/off/7"}))), Some(0));
}

#[test]
fn covers_a_subsequence_each_effect_once() {
    let effects: Vec<_> =
        ["a", "b", "c"].map(|url| planned(call("send", json!({"url": url})), Value::Null)).into();
    let mut cover = Cover::new(effects);
    assert_eq!(cover.admit(&call("send", json!({"url": "b"}))), Some(1));
    assert_eq!(cover.admit(&call("send", json!({"url": "b"}))), None, "used up");
    assert_eq!(cover.admit(&call("send", json!({"url": "a"}))), None, "skipped for good");
    assert_eq!(cover.admit(&call("send", json!({"url": "c", "x": 1}))), None, "other arguments");
    assert_eq!(cover.admit(&call("send", json!({"url": "c"}))), Some(2));
}

#[test]
fn fills_the_real_answer_into_later_effects() {
    let create = call("send", json!({"url": "/tickets"}));
    let comment = call("send", json!({"url": "/tickets/{{staunch:ticket}}/comments"}));
    let body = r#"{"id":"{{staunch:ticket}}"}"#;
    let mut cover =
        Cover::new(vec![planned(create.clone(), json!({"body": body})), planned(comment, Value::Null)]);
    let place = cover.admit(&create).unwrap();
    cover.answered(place, &Answer::Ok(json!({"status": 201, "body": r#"{"id":42,"more":true}"#}).into()));
    assert_eq!(cover.admit(&call("send", json!({"url": "/tickets/43/comments"}))), None);
    assert_eq!(cover.admit(&call("send", json!({"url": "/tickets/42/comments"}))), Some(1));
}

#[test]
fn a_placeholder_that_nothing_filled_covers_nothing_else() {
    let effect = call("send", json!({"url": "/{{staunch:x}}"}));
    let mut cover = Cover::new(vec![planned(effect, Value::Null)]);
    assert_eq!(cover.admit(&call("send", json!({"url": "/1"}))), None);
}

#[test]
fn changes_name_the_effect_and_the_input() {
    let run = RunId::from_bits(1);
    let before =
        Plan::new(&run, "r", vec![step(vec![planned(call("send", json!({"url": "a"})), Value::Null)])]);
    let mut changed = step(vec![]);
    changed.input = json!({}).into();
    let after = Plan::new(&run, "r", vec![changed]);
    let changes = after.changes_since(&before).join("\n");
    assert!(changes.contains("the input of p changed") && changes.contains("effect 1"), "{changes}");
    assert!(before.changes_since(&before).is_empty());
}
