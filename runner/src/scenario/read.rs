//! Reads one scenario from its file, strictly: every problem is told with its place and the valid choices.

use chrono::{DateTime, Utc};
use serde_json::{Map, Number, Value, json};
use staunch_core::effect::{Answer, CallError, EffectStatus};
use staunch_core::id::RunId;
use staunch_core::policy::Problem;
use staunch_core::policy::cases::read_alert;
use staunch_core::policy::reader::{Fields, Reader};
use staunch_core::policy::template::{Templates, Values};
use staunch_core::policy::yaml::{self, Node, Tree};

use super::format::{End, Entry, Expect, ExpectedEffect, Pass, Scenario, name_of};
use crate::sandbox::Export;
use crate::sandbox::capability::{self, CAPABILITIES, Function, Kind};

const KEYS: [&str; 9] = ["name", "export", "began", "seed", "alert", "input", "details", "world", "expect"];
const ENTRY_KEYS: [&str; 6] = ["call", "arguments", "answer", "error", "times", "in"];
const EXPECT_KEYS: [&str; 4] = ["effects", "plan", "result", "error"];
const EXPORTS: [Export; 5] =
    [Export::Remediate, Export::Verify, Export::Undo, Export::Deliver, Export::Inspect];

/// The most calls that one entry answers by number.
const MOST_TIMES: i64 = 1_000;

/// 2026-01-01T00:00:00Z, in seconds since 1970.
const BEGAN: i64 = 1_767_225_600;

/// Reads the scenario in `text`; `file` names it in problems.
///
/// # Errors
/// All problems of the file.
pub(super) fn read(file: &str, text: &str) -> Result<Scenario, Vec<Problem>> {
    let root = yaml::parse(file, text).map_err(|problem| vec![problem])?;
    let mut reader = Reader::new(file);
    let scenario = read_scenario(&mut reader, &root);
    match scenario {
        Some(scenario) if !reader.failed() => Ok(scenario),
        _ => Err(reader.finish()),
    }
}

fn read_scenario(reader: &mut Reader<'_>, root: &Node) -> Option<Scenario> {
    let fields = reader.fields(root, "the scenario", &KEYS);
    let name = reader.required(fields, "name", "the scenario");
    let name = name.and_then(|node| reader.text(node, "name"));
    let export = fields.get("export").map_or(Some(Export::Remediate), |node| {
        reader.word(node, "export", &EXPORTS.map(|export| (export.name(), export)))
    });
    let began =
        fields.get("began").map_or(DateTime::from_timestamp(BEGAN, 0), |node| read_time(reader, node));
    let seed = fields
        .get("seed")
        .map_or(Some(0), |node| reader.integer(node, "seed", 0, i64::MAX))
        .map(i64::unsigned_abs);
    let input = reader.required(fields, "input", "the scenario");
    let input = input.and_then(|node| read_input(reader, node, fields));
    let details = fields.get("details").and_then(|node| read_details(reader, node, export));
    let world = match fields.get("world") {
        Some(node) => read_world(reader, node, export),
        None => Vec::new(),
    };
    let expect = reader.required(fields, "expect", "the scenario");
    let expect = expect.and_then(|node| read_expect(reader, node, export));
    Some(Scenario {
        file: reader.file().to_owned(),
        name: name?.to_owned(),
        export: export?,
        began: began?,
        seed: seed?,
        input: input?,
        details,
        world,
        expect: expect?,
    })
}

fn read_time(reader: &mut Reader<'_>, node: &Node) -> Option<DateTime<Utc>> {
    let text = reader.text(node, "began")?;
    let time = DateTime::parse_from_rfc3339(text).ok().map(|time| time.with_timezone(&Utc));
    let time = time.filter(|time| time.timestamp() >= 0);
    if time.is_none() {
        let message = format!("began must be a time since 1970 as in 2026-03-01T12:00:00Z, but is {text:?}");
        reader.error(node.at, message);
    }
    time
}

/// With an alert, texts are templates over it; without one they stand as they are.
fn read_input(reader: &mut Reader<'_>, node: &Node, fields: Fields<'_>) -> Option<Value> {
    let Some(alert) = fields.get("alert") else { return json_of(reader, node) };
    let alert = read_alert(reader, alert)?;
    let mut templates = Templates::new(reader.file());
    let input = match templates.compile_input("input", node) {
        Ok(input) => input,
        Err(errors) => {
            errors
                .into_iter()
                .for_each(|(at, error)| reader.error(at, format!("{}: {}", error.key, error.message)));
            return None;
        }
    };
    let values =
        Values::new(&alert.labels, Some(&alert), Some(&RunId::from_bits(0)), alert.target.as_deref());
    let rendered = templates.render_input(&input, &values);
    rendered.map_err(|error| reader.error(node.at, format!("{}: {}", error.key, error.message))).ok()
}

fn read_details(reader: &mut Reader<'_>, node: &Node, export: Option<Export>) -> Option<Value> {
    let details = json_of(reader, node).filter(|details| !details.is_null())?;
    if export.is_some_and(|export| export != Export::Undo) {
        reader.error(node.at, "details are those of the outcome that `export: undo` takes back");
    }
    Some(details)
}

fn read_world(reader: &mut Reader<'_>, node: &Node, export: Option<Export>) -> Vec<Entry> {
    if node.tree == Tree::Null {
        return Vec::new();
    }
    let items = reader.list(node, "world").unwrap_or_default();
    items.iter().filter_map(|item| read_entry(reader, item, export)).collect()
}

fn read_entry(reader: &mut Reader<'_>, node: &Node, export: Option<Export>) -> Option<Entry> {
    let what = "an entry of world";
    let fields = reader.fields(node, what, &ENTRY_KEYS);
    let call = reader.required(fields, "call", what);
    let function = call.and_then(|node| read_function(reader, node));
    let arguments = fields.get("arguments").and_then(|node| read_arguments(reader, node));
    let times = fields.get("times").map_or(Some(Some(1)), |node| read_times(reader, node));
    let within = fields.get("in").and_then(|node| {
        let within = reader.word(node, "in", &[("plan", Pass::Plan), ("act", Pass::Act)]);
        if export.is_some_and(|export| !export.may_act()) {
            reader.error(node.at, "`verify` and `inspect` are run once: leave `in` out");
        } else if let (Some(Pass::Plan), Some(Kind::Effect(_))) = (within, function.map(|found| found.kind)) {
            reader.error(
                node.at,
                "effects are not asked of the world when planning: they answer what they assume",
            );
        }
        within
    });
    let answer = read_answer(reader, fields);
    Some(Entry {
        function: function?,
        arguments: arguments.unwrap_or_default(),
        answer: answer?,
        times: times?,
        within,
        line: node.at.line,
    })
}

fn read_answer(reader: &mut Reader<'_>, fields: Fields<'_>) -> Option<Answer> {
    match (fields.get("answer"), fields.get("error")) {
        (Some(answer), None) => json_of(reader, answer).map(|answer| Answer::Ok(answer.into())),
        (None, Some(error)) => read_call_error(reader, error).map(Answer::Err),
        _ => {
            reader.error(fields.at(), "an entry of world needs exactly one of `answer` and `error`");
            None
        }
    }
}

fn read_call_error(reader: &mut Reader<'_>, node: &Node) -> Option<CallError> {
    let fields = reader.fields(node, "error", &["code", "message", "retryable"]);
    let mut text = |key: &str| {
        let node = reader.required(fields, key, "error")?;
        reader.text(node, key).map(str::to_owned)
    };
    let (code, message) = (text("code"), text("message"));
    let retryable = fields.get("retryable").map_or(Some(false), |node| reader.boolean(node, "retryable"));
    Some(CallError { code: code?, message: message?, retryable: retryable? })
}

/// How many calls an entry answers; the inner `None` is any number.
fn read_times(reader: &mut Reader<'_>, node: &Node) -> Option<Option<u32>> {
    match &node.tree {
        Tree::Text(text) if text == "any" => Some(None),
        Tree::Integer(_) => {
            let times = reader.integer(node, "times", 1, MOST_TIMES)?;
            u32::try_from(times).ok().map(Some)
        }
        _ => {
            reader.error(node.at, format!("times must be a number from 1 to {MOST_TIMES}, or any"));
            None
        }
    }
}

/// `capability.function` of a capability that the world answers for.
fn read_function(reader: &mut Reader<'_>, node: &Node) -> Option<&'static Function> {
    let text = reader.text(node, "call")?;
    let (name, function) = text.split_once('.').unwrap_or((text, ""));
    let worldly = |found: &&capability::Capability| found.pattern.is_some();
    let Some(found) = capability::find(name) else {
        let names: Vec<&str> = CAPABILITIES.iter().filter(worldly).map(|found| found.name).collect();
        let message = format!("no capability is called {name:?}; valid are {}", names.join(", "));
        reader.error(node.at, message);
        return None;
    };
    if !worldly(&found) {
        reader.error(node.at, format!("{name} is the sandbox's own and not asked of the world"));
        return None;
    }
    let function = found.function(function);
    if function.is_none() {
        let names: Vec<String> = found.functions.iter().map(name_of).collect();
        reader.error(node.at, format!("there is no call {text:?}; valid are {}", names.join(", ")));
    }
    function
}

fn read_arguments(reader: &mut Reader<'_>, node: &Node) -> Option<Value> {
    reader.entries(node, "arguments");
    json_of(reader, node)
}

fn read_expect(reader: &mut Reader<'_>, node: &Node, export: Option<Export>) -> Option<Expect> {
    let fields = reader.fields(node, "expect", &EXPECT_KEYS);
    let may_act = export.is_none_or(Export::may_act);
    let effects = fields.get("effects").map_or_else(Vec::new, |node| {
        read_effects(reader, node, "effects", &["call", "arguments", "status", "reason"])
    });
    let plan =
        fields.get("plan").map(|node| read_effects(reader, node, "plan", &["call", "arguments", "reason"]));
    if !may_act && (!effects.is_empty() || plan.as_ref().is_some_and(|plan| !plan.is_empty())) {
        reader.error(node.at, "`verify` and `inspect` have no effects to expect");
    }
    let end = match (fields.get("result"), fields.get("error")) {
        (Some(result), None) => read_result(reader, result, export?).map(End::Result),
        (None, Some(error)) => read_error(reader, error).map(End::Error),
        _ => {
            reader.error(fields.at(), "expect needs exactly one of `result` and `error`");
            None
        }
    };
    Some(Expect { effects, plan, end: end? })
}

fn read_effects(reader: &mut Reader<'_>, node: &Node, what: &str, keys: &[&str]) -> Vec<ExpectedEffect> {
    if node.tree == Tree::Null {
        return Vec::new();
    }
    let items = reader.list(node, what).unwrap_or_default();
    items.iter().filter_map(|item| read_effect(reader, item, what, keys)).collect()
}

fn read_effect(reader: &mut Reader<'_>, node: &Node, what: &str, keys: &[&str]) -> Option<ExpectedEffect> {
    let what = format!("each of {what}");
    let fields = reader.fields(node, &what, keys);
    let call = reader.required(fields, "call", &what)?;
    let function = read_function(reader, call).filter(|function| {
        let effect = matches!(function.kind, Kind::Effect(_));
        if !effect {
            reader.error(call.at, format!("{} is a reading, not an effect", name_of(function)));
        }
        effect
    });
    let arguments = fields.get("arguments").and_then(|node| read_arguments(reader, node));
    let statuses = [("done", EffectStatus::Done), ("failed", EffectStatus::Failed)];
    let status = fields.get("status").and_then(|node| reader.word(node, "status", &statuses));
    let reason = fields.get("reason").and_then(|node| reader.text(node, "reason")).map(str::to_owned);
    Some(ExpectedEffect { function: function?, arguments: arguments.unwrap_or_default(), status, reason })
}

/// What the export answers has the shape that its kind gives it.
fn read_result(reader: &mut Reader<'_>, node: &Node, export: Export) -> Option<Value> {
    match export {
        Export::Remediate => {
            reader.fields(node, "result", &["summary", "changed", "details"]);
        }
        Export::Verify => {
            let words = ["passed", "failed", "no-answer"].map(|word| (word, word));
            return reader.word(node, "result", &words).map(Value::from);
        }
        Export::Undo => return reader.text(node, "result").map(Value::from),
        Export::Deliver if node.tree == Tree::Null => {}
        Export::Deliver => return reader.text(node, "result").map(Value::from),
        Export::Inspect => {
            for item in reader.list(node, "result")? {
                reader.fields(item, "each of result", &["subject", "satisfied", "evidence"]);
            }
        }
    }
    json_of(reader, node)
}

/// An expected error: what is absent is not looked at.
fn read_error(reader: &mut Reader<'_>, node: &Node) -> Option<Value> {
    let fields = reader.fields(node, "error", &["code", "message", "retryable"]);
    if fields.entries().is_empty() {
        reader.error(node.at, "error must name at least one of code, message, retryable");
    }
    let mut text = |key: &str| fields.get(key).and_then(|node| reader.text(node, key)).map(str::to_owned);
    let (code, message) = (text("code"), text("message"));
    let retryable = fields.get("retryable").and_then(|node| reader.boolean(node, "retryable"));
    Some(json!({ "code": code, "message": message, "retryable": retryable }))
}

fn json_of(reader: &mut Reader<'_>, node: &Node) -> Option<Value> {
    Some(match &node.tree {
        Tree::Null => Value::Null,
        Tree::Bool(value) => Value::Bool(*value),
        Tree::Integer(number) => Value::from(*number),
        Tree::Float(number) => match Number::from_f64(*number) {
            Some(number) => Value::Number(number),
            None => {
                reader.error(node.at, "JSON has no such number");
                return None;
            }
        },
        Tree::Text(text) => Value::String(text.clone()),
        Tree::List(items) => items.iter().map(|item| json_of(reader, item)).collect::<Option<_>>()?,
        Tree::Map(entries) => {
            let members =
                entries.iter().map(|entry| Some((entry.key.clone(), json_of(reader, &entry.node)?)));
            Value::Object(members.collect::<Option<Map<_, _>>>()?)
        }
    })
}
