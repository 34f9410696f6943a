//! Comparing what was expected with what came, in part.

use serde_json::Value;

/// What is shown of one value in a failure, in characters.
const MOST_SHOWN: usize = 300;

/// Whether `actual` holds all of `wanted`.
pub(super) fn fits(wanted: &Value, actual: &Value) -> bool {
    let mut found = Vec::new();
    differences("", wanted, actual, &mut found);
    found.is_empty()
}

/// Adds a sentence for each part of `wanted` that `actual` does not hold; `path` names the value.
///
/// Members of `wanted` that are null ask for nothing, and `actual` may hold more of them. A list must be as long
/// and fit place by place; everything else must be equal.
pub(super) fn differences(path: &str, wanted: &Value, actual: &Value, found: &mut Vec<String>) {
    match (wanted, actual) {
        (Value::Null, _) => {}
        (Value::Object(wanted), Value::Object(actual)) => {
            for (name, wanted) in wanted {
                let actual = actual.get(name).unwrap_or(&Value::Null);
                differences(&format!("{path}.{name}"), wanted, actual, found);
            }
        }
        (Value::Array(wanted), Value::Array(actual)) if wanted.len() == actual.len() => {
            for (index, (wanted, actual)) in wanted.iter().zip(actual).enumerate() {
                differences(&format!("{path}[{index}]"), wanted, actual, found);
            }
        }
        _ if wanted == actual => {}
        _ => found.push(format!("{path}: expected {}, got {}", shown(wanted), shown(actual))),
    }
}

/// A value as failures show it.
pub(super) fn shown(value: &Value) -> String {
    let mut text = value.to_string();
    if let Some((end, _)) = text.char_indices().nth(MOST_SHOWN) {
        text.truncate(end);
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(wanted: &Value, actual: &Value, expected: &[&str]) {
        let mut found = Vec::new();
        differences("it", wanted, actual, &mut found);
        assert_eq!(found, expected, "{wanted} in {actual}");
    }

    #[test]
    fn absent_and_null_members_are_not_looked_at() {
        check(&json!({ "a": 1, "b": null }), &json!({ "a": 1, "b": 2, "c": 3 }), &[]);
        check(&json!({ "a": { "b": [] } }), &json!({ "a": { "b": [], "c": 1 } }), &[]);
        check(&Value::Null, &json!("x"), &[]);
    }

    #[test]
    fn differences_name_their_place() {
        check(&json!({ "a": { "b": 1 } }), &json!({ "a": { "b": 2 } }), &["it.a.b: expected 1, got 2"]);
        check(&json!({ "a": 1 }), &json!({}), &["it.a: expected 1, got null"]);
        check(&json!([1, 2]), &json!([1, 3]), &["it[1]: expected 2, got 3"]);
        check(&json!([1]), &json!([1, 3]), &["it: expected [1], got [1,3]"]);
        check(&json!("1"), &json!(1), &["it: expected \"1\", got 1"]);
    }

    #[test]
    fn long_values_are_cut() {
        assert_eq!(shown(&json!("\u{e4}".repeat(1000))).chars().count(), MOST_SHOWN + 3);
    }
}
