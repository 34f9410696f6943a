//! Turns a runbook and an alert, or a request made by hand, into what a run needs: target, inputs, probes.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::runbook::{ReadyProbe, Runbook};
use super::template::{TemplateError, Values};
use crate::alert::Alert;
use crate::decision::{Code, Reason};
use crate::id::RunId;

/// What a run is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Occasion<'a> {
    /// The run's id.
    pub run: &'a RunId,
    /// The alert; `None` in a run started by hand.
    pub alert: Option<&'a Alert>,
    /// The labels, of the alert or of the request.
    pub labels: &'a BTreeMap<String, String>,
    /// A target named by hand: it wins over the runbook's own.
    pub target: Option<&'a str>,
    /// Inputs given by hand: they win over the runbook's own, key by key, in the first step.
    pub input: Option<&'a Value>,
}

/// What a run needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// The canonical target.
    pub target: String,
    /// The input of each step, in order.
    pub inputs: Vec<Arc<Value>>,
    /// The probes.
    pub probes: Vec<ReadyProbe>,
}

/// Renders all that a run needs. `canonical` turns the name of a target into the one under which it is counted.
///
/// The target is the one named by hand, else what the runbook's `target` gives, else what the alert says that it
/// is about, else `alert:FINGERPRINT` or, by hand, `runbook:NAME`.
///
/// # Errors
/// When a template cannot be rendered.
pub fn prepare(
    runbook: &Runbook,
    occasion: &Occasion<'_>,
    canonical: impl FnOnce(&str) -> String,
) -> Result<Prepared, Reason> {
    let Occasion { run, alert, labels, .. } = *occasion;
    let values = Values::new(labels, alert, Some(run), None);
    let target = match occasion.target {
        Some(target) => target.to_owned(),
        None => runbook.target(&values).map_err(reason)?.unwrap_or_else(|| default_target(runbook, alert)),
    };
    let target = canonical(&target);
    let values = values.with_target(&target);
    let mut inputs = Vec::with_capacity(runbook.steps.len());
    for (index, step) in runbook.steps.iter().enumerate() {
        let mut input = runbook.input(step, &values).map_err(reason)?;
        if let (0, Some(given)) = (index, occasion.input) {
            merge(&mut input, given);
        }
        inputs.push(Arc::new(input));
    }
    let probes = runbook.probes(&values).map_err(reason)?;
    Ok(Prepared { target, inputs, probes })
}

fn default_target(runbook: &Runbook, alert: Option<&Alert>) -> String {
    match alert {
        Some(Alert { target: Some(target), .. }) => target.clone(),
        Some(alert) => format!("alert:{}", alert.fingerprint),
        None => format!("runbook:{}", runbook.name),
    }
}

fn merge(input: &mut Value, given: &Value) {
    match (input, given) {
        (Value::Object(input), Value::Object(given)) => {
            input.extend(given.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        (input, given) => *input = given.clone(),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
fn reason(error: TemplateError) -> Reason {
    Reason::new(Code::Template, error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::policy::runbook::read;

    fn check(head: &str, target: Option<&str>, input: Option<&Value>) -> Result<Prepared, Reason> {
        let text = format!(
            "runbook: r\nmatch: []\n{head}\nsteps: [{{ plugin: p, input: {{ a: '{{{{ target }}}}', b: 1 }} }}]\n"
        );
        let labels = BTreeMap::from([("host".to_owned(), "web-7:9100".to_owned())]);
        let run = RunId::from_bits(1);
        let occasion = Occasion { run: &run, alert: None, labels: &labels, target, input };
        prepare(&read("r.yaml", &text).unwrap().0, &occasion, |name| name.replace(":9100", ""))
    }

    #[test]
    fn the_target_is_canonical_everywhere() {
        let prepared = check("target: '{{ labels.host }}'", None, None).unwrap();
        assert_eq!(prepared.target, "web-7");
        assert_eq!(prepared.inputs, [json!({"a": "web-7", "b": 1}).into()]);
        assert_eq!(check("target: x", Some("y"), None).unwrap().target, "y");
        assert_eq!(check("", None, None).unwrap().target, "runbook:r");
    }

    #[test]
    fn inputs_by_hand_win_key_by_key() {
        let prepared = check("", None, Some(&json!({"b": 2, "c": true}))).unwrap();
        assert_eq!(prepared.inputs, [json!({"a": "runbook:r", "b": 2, "c": true}).into()]);
    }

    #[test]
    fn a_missing_name_is_a_reason() {
        let reason = check("target: '{{ labels.instance }}'", None, None).unwrap_err();
        assert_eq!(reason.to_string(), "template: r.yaml: template \"target\": there is no labels.instance");
    }
}
