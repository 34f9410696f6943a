//! The JSON Schema of a plugin's input.

use std::fmt;
use std::sync::{Arc, OnceLock};

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;

/// At most so many violations are named in one refusal.
const MAX_VIOLATIONS: usize = 8;

/// What a plugin's input must look like: JSON Schema 2020-12, formats checked, no reference ever fetched.
///
/// Without `[input]` in the manifest every input passes. Cheap to clone.
#[derive(Clone)]
pub struct InputSchema {
    schema: Value,
    compiled: Arc<OnceLock<Result<Validator, String>>>,
}

/// An input that a plugin does not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("input does not match the plugin's schema: {}", .violations.join("; "))]
pub struct InputError {
    /// Each names the path (a JSON pointer) and what the schema wants there, never the value.
    pub violations: Vec<String>,
}

impl InputSchema {
    /// Compiles a schema.
    ///
    /// # Errors
    /// What is wrong with the schema, as one sentence.
    pub fn compile(schema: Value) -> Result<Self, String> {
        let schema = Self::compiled_before(schema);
        schema.validator()?;
        Ok(schema)
    }

    /// A schema that was compiled before, as that of a plugin was when it was installed: it is compiled again with the
    /// first input that is checked. Were it wrong now, it would refuse every input.
    #[must_use]
    pub fn compiled_before(schema: Value) -> Self {
        Self { schema, compiled: Arc::default() }
    }

    /// The schema that every input passes.
    #[must_use]
    pub fn anything() -> Self {
        Self::compiled_before(Value::Bool(true))
    }

    /// What is wrong with the schema, if anything is.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.validator().err()
    }

    fn validator(&self) -> Result<&Validator, String> {
        self.compiled.get_or_init(|| compile(&self.schema)).as_ref().map_err(Clone::clone)
    }

    /// The schema as JSON.
    #[must_use]
    pub fn schema(&self) -> &Value {
        &self.schema
    }

    /// Whether the plugin takes `input`.
    ///
    /// # Errors
    /// The first violations, each with its path; values do not appear, they may be secret.
    pub fn check(&self, input: &Value) -> Result<(), InputError> {
        let validator = self.validator().map_err(|wrong| InputError { violations: vec![wrong] })?;
        let violations: Vec<String> = validator
            .iter_errors(input)
            .take(MAX_VIOLATIONS)
            .map(|error| {
                let path = error.instance_path().to_string();
                let place = if path.is_empty() { "the input itself" } else { &path };
                format!("{place}: {}", error.masked())
            })
            .collect();
        if violations.is_empty() { Ok(()) } else { Err(InputError { violations }) }
    }
}

fn compile(schema: &Value) -> Result<Validator, String> {
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .should_ignore_unknown_formats(false)
        .with_pattern_options(PatternOptions::regex())
        .offline()
        .build(schema)
        .map_err(|error| match error.instance_path().as_str() {
            "" => error.to_string(),
            path => format!("at {path}: {error}"),
        })
}

impl fmt::Debug for InputSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InputSchema").field(&self.schema).finish()
    }
}

impl PartialEq for InputSchema {
    fn eq(&self, other: &Self) -> bool {
        self.schema == other.schema
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_the_path_and_hides_the_value() {
        let schema = InputSchema::compile(json!({
            "type": "object", "required": ["unit"],
            "properties": {"unit": {"type": "string", "maxLength": 3}}
        }))
        .unwrap();
        schema.check(&json!({"unit": "abc"})).unwrap();
        let refused = schema.check(&json!({"unit": "hunter2"})).unwrap_err().to_string();
        assert!(refused.contains("/unit") && !refused.contains("hunter2"), "{refused}");
        let missing = schema.check(&json!({})).unwrap_err().to_string();
        assert!(missing.contains("the input itself") && missing.contains("unit"), "{missing}");
    }

    #[test]
    fn never_fetches_and_refuses_what_is_no_schema() {
        for schema in [
            json!({"$ref": "https://127.0.0.1:1/schema.json"}),
            json!({"$ref": "file:///etc/passwd"}),
            json!({"type": "strng"}),
            json!({"type": "string", "pattern": "("}),
            json!({"type": "string", "format": "no-such-format"}),
        ] {
            let wrong = InputSchema::compile(schema.clone()).unwrap_err();
            let refused = InputSchema::compiled_before(schema.clone()).check(&json!({})).unwrap_err();
            assert_eq!(refused.violations, [wrong], "{schema}");
        }
    }
}
