//! Conditions of steps: one expression over the names of templates, and the steps before.

use minijinja::value::{Serde, Value as Inner};
use serde_json::Value;

use super::{Template, TemplateError, Templates, Values, describe};

/// Whether a step is done: an expression such as `steps[0].status == 'done'`. Belongs to the [`Templates`] that
/// made it.
#[derive(Debug, Clone)]
pub struct Condition {
    source: String,
    template: Template,
}

impl Condition {
    /// The expression as the operator wrote it.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }
}

/// What later steps may say about an earlier one.
#[derive(Debug, Clone, Copy)]
pub struct StepValues<'a> {
    /// Its plugin.
    pub plugin: &'a str,
    /// `done`, `failed` or `skipped`.
    pub status: &'a str,
    /// What it returned; none when it did not.
    pub result: Option<&'a Value>,
}

impl Values {
    /// These names, and the steps that came before, as `steps`.
    #[must_use]
    pub fn with_steps(&self, steps: &[StepValues<'_>]) -> Self {
        let steps = steps.iter().map(|step| {
            Inner::from_pairs([
                ("plugin", Inner::from(step.plugin)),
                ("status", Inner::from(step.status)),
                ("result", step.result.map_or_else(|| Inner::from(()), |result| Inner::from(Serde(result)))),
            ])
        });
        self.with("steps", Inner::from_iter(steps))
    }
}

impl Templates {
    /// Compiles an expression, without braces around it.
    ///
    /// # Errors
    /// When it is no expression.
    pub fn compile_condition(&mut self, key: &str, source: &str) -> Result<Condition, TemplateError> {
        if source.contains("{{") || source.contains("{%") {
            let message = "is an expression already: write it without braces".to_owned();
            return Err(self.error(key, message));
        }
        // As an expression of its own first: so nothing in it can end the block that it is put into.
        if let Err(error) = self.environment.compile_expression(source) {
            return Err(self.error(key, describe(&error)));
        }
        let template = self.compile(key, &format!("{{% if ({source}) %}}true{{% endif %}}"))?;
        Ok(Condition { source: source.to_owned(), template })
    }

    /// Whether a condition holds.
    ///
    /// # Errors
    /// A name that is not there, or too many steps: then nobody knows, and the step must not be done.
    pub fn holds(&self, condition: &Condition, values: &Values) -> Result<bool, TemplateError> {
        Ok(self.render(&condition.template, values)? == "true")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    fn check(source: &str) -> Result<bool, String> {
        let labels = BTreeMap::from([("env".to_owned(), "prod".to_owned())]);
        let result = json!({"rotated": true, "files": 3});
        let steps = [
            StepValues { plugin: "a", status: "done", result: Some(&result) },
            StepValues { plugin: "b", status: "failed", result: None },
        ];
        let values = Values::new(&labels, None, None, Some("web-7")).with_steps(&steps);
        let mut templates = Templates::new("r.yaml");
        let condition = templates.compile_condition("steps[2].when", source).map_err(|e| e.to_string())?;
        assert_eq!(condition.source(), source);
        templates.holds(&condition, &values).map_err(|error| error.to_string())
    }

    #[test]
    fn conditions_see_labels_and_the_steps_before() {
        for (source, wanted) in [
            ("labels.env == 'prod'", true),
            ("steps[0].status == 'done' and steps[1].status == 'failed'", true),
            ("steps[0].result.rotated", true),
            ("steps[0].result.files > 3", false),
            ("steps[1].result is none", true),
            ("target == 'web-8'", false),
            ("labels.unit is defined", false),
            ("'%}' in '%}{% x'", true),
        ] {
            if source.contains("{%") {
                assert!(check(source).unwrap_err().contains("without braces"), "{source}");
            } else {
                assert_eq!(check(source), Ok(wanted), "{source}");
            }
        }
        assert_eq!(check("'%}' == '%}'"), Ok(true), "a text cannot end the block");
    }

    #[test]
    fn what_nobody_knows_is_an_error_and_not_a_yes() {
        for (source, wanted) in [
            ("labels.unit == 'x'", "there is no labels.unit"),
            ("steps[5].status == 'done'", "steps[2].when"),
            ("labels.env ==", "steps[2].when"),
            ("true) %}true{% if (true", "without braces"),
            ("true) %}true", "steps[2].when"),
            ("{{ labels.env }}", "without braces"),
        ] {
            let error = check(source).unwrap_err();
            assert!(error.contains(wanted), "{source}: {error}");
        }
    }
}
