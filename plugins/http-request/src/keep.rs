//! What is kept of an answer, so that a later request can name it: `{ id: /data/id }`, and `${id}` in the undo.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use staunch_plugin::http::Response;
use staunch_plugin::{Error, placeholder};

/// Names, and where in a JSON answer their values stand.
pub(crate) type Keep = BTreeMap<String, String>;

/// Values by their names.
pub(crate) type Kept = BTreeMap<String, String>;

/// An answer that holds a placeholder wherever something is kept: what a plan assumes.
pub(crate) fn assumed(keep: &Keep) -> Value {
    let mut answer = json!({});
    for (name, pointer) in keep {
        let parts: Vec<&str> = pointer.split('/').skip(1).collect();
        put(&mut answer, &parts, Value::String(placeholder(name)));
    }
    answer
}

fn put(place: &mut Value, parts: &[&str], value: Value) {
    let Some((first, rest)) = parts.split_first() else {
        *place = value;
        return;
    };
    if !place.is_object() {
        *place = json!({});
    }
    put(&mut place[first.replace("~1", "/").replace("~0", "~")], rest, value);
}

/// Takes the values out of an answer.
pub(crate) fn take(keep: &Keep, answer: &Response) -> Result<Kept, Error> {
    if keep.is_empty() {
        return Ok(Kept::new());
    }
    let answer: Value = answer.json()?;
    keep.iter()
        .map(|(name, pointer)| match answer.pointer(pointer) {
            Some(Value::String(text)) => Ok((name.clone(), text.clone())),
            Some(Value::Null) | None => Err(Error::new(
                "not-in-answer",
                format!("the answer holds nothing at {pointer}, to be kept as {name}"),
            )),
            Some(other) => Ok((name.clone(), other.to_string())),
        })
        .collect()
}

/// The text with all `${NAME}` filled in.
pub(crate) fn fill(text: &str, kept: &Kept) -> Result<String, Error> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("${") {
        let Some((name, after)) = behind.split_once('}') else { break };
        let value = kept.get(name).ok_or_else(|| {
            Error::invalid_input(format!("undo names ${{{name}}}, and nothing was kept under it"))
        })?;
        filled.push_str(before);
        filled.push_str(value);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}
