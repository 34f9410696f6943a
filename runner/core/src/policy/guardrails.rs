//! Guardrails: what automation may do, by Cedar.
//!
//! Two questions before a run acts (`act-alone`, `act-with-approval`) and one for each effect. Absence denies.

use std::collections::{BTreeMap, HashMap, HashSet};

use cedar_policy::{Entity, RestrictedExpression, Schema};

use super::cedar::{Answer, Pairs, Rules, text, uid};
use super::facts::{Autonomy, PluginFacts};
use super::reader::Reader;
use crate::alert::Alert;
use crate::effect::Call;

/// The file that guardrails stand in.
pub const FILE: &str = "guardrails.cedar";

const ACT_ALONE: &str = "act-alone";
const ACT_WITH_APPROVAL: &str = "act-with-approval";
const EFFECT: &str = "effect";
const ACTIONS: [&str; 3] = [ACT_ALONE, ACT_WITH_APPROVAL, EFFECT];

/// The guardrails, ready to be asked.
#[derive(Debug, Clone)]
pub struct Guardrails {
    rules: Rules,
}

/// What the guardrails know about a step of a run that would act.
#[derive(Debug, Clone, Copy)]
pub struct ActQuestion<'a> {
    /// The runbook's name.
    pub runbook: &'a str,
    /// The runbook's own autonomy.
    pub autonomy: Autonomy,
    /// The plugin of the step.
    pub plugin: &'a PluginFacts,
    /// The canonical target of the run.
    pub target: &'a str,
    /// The alert; `None` in a run started by hand.
    pub alert: Option<&'a Alert>,
    /// The labels, of the alert or the request.
    pub labels: &'a BTreeMap<String, String>,
    /// How many effects the step's plan has.
    pub effects_count: usize,
    /// Whether the step's effects cannot be undone.
    pub irreversible: bool,
    /// Whether a person started it.
    pub manual: bool,
}

/// What the guardrails know about one effect.
#[derive(Debug, Clone, Copy)]
pub struct EffectQuestion<'a> {
    /// The runbook's name.
    pub runbook: &'a str,
    /// The plugin that wants it.
    pub plugin: &'a PluginFacts,
    /// The canonical target of the run.
    pub target: &'a str,
    /// The effect.
    pub call: &'a Call,
    /// Whether the step's effects cannot be undone.
    pub irreversible: bool,
    /// Whether it is outside the plan of an automatic run.
    pub unplanned: bool,
}

/// The autonomy that the guardrails allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed {
    /// Acting alone.
    ActAlone(Answer),
    /// Acting after people approved; why not alone stands beside it.
    ActWithApproval {
        /// What permitted it.
        permitted: Answer,
        /// Why not alone.
        alone: Answer,
    },
    /// Not acting at all.
    Neither(Answer),
}

impl Guardrails {
    pub(super) fn load(reader: &mut Reader<'_>, source: &str, schema: &Schema) -> Self {
        Self { rules: Rules::load(reader, source, schema, &ACTIONS) }
    }

    /// Guardrails that permit nothing.
    #[must_use]
    pub fn none() -> Self {
        Self { rules: Rules::none(&ACTIONS) }
    }

    /// How far a step may go.
    #[must_use]
    pub fn may_act(&self, question: &ActQuestion<'_>) -> Allowed {
        let mut alone = self.act(ACT_ALONE, question);
        if alone.permitted && question.irreversible && !self.rules.name_plugin(&alone, &question.plugin.name)
        {
            alone = Answer {
                permitted: false,
                policies: Vec::new(),
                errors: vec![format!(
                    "no policy permits {:?}, which is irreversible, by name",
                    question.plugin.name
                )],
            };
        }
        if alone.permitted {
            return Allowed::ActAlone(alone);
        }
        let permitted = self.act(ACT_WITH_APPROVAL, question);
        if permitted.permitted {
            Allowed::ActWithApproval { permitted, alone }
        } else {
            Allowed::Neither(permitted)
        }
    }

    fn act(&self, action: &'static str, question: &ActQuestion<'_>) -> Answer {
        let labels = uid("Labels", "labels");
        let runbook = uid("Runbook", question.runbook);
        let capabilities = question.plugin.capabilities.iter().map(|name| text(name));
        let count = i64::try_from(question.effects_count).unwrap_or(i64::MAX);
        let mut context: Pairs = vec![
            ("target".to_owned(), text(question.target)),
            ("labels".to_owned(), RestrictedExpression::new_entity_uid(labels.clone())),
            ("capabilities".to_owned(), RestrictedExpression::new_set(capabilities)),
            ("effects_count".to_owned(), RestrictedExpression::new_long(count)),
            ("irreversible".to_owned(), RestrictedExpression::new_bool(question.irreversible)),
            ("manual".to_owned(), RestrictedExpression::new_bool(question.manual)),
        ];
        if let Some(facts) = question.alert.and_then(alert_facts) {
            context.push(("alert".to_owned(), facts));
        }
        let tags = question.labels.iter().map(|(name, value)| (name.clone(), text(value)));
        let entities = [
            Entity::new_with_tags(labels, [], [], tags),
            Entity::new(
                runbook.clone(),
                HashMap::from([("autonomy".to_owned(), text(question.autonomy.as_str()))]),
                HashSet::new(),
            ),
            plugin_entity(question.plugin),
        ];
        let entities = entities.into_iter().filter_map(Result::ok).collect();
        self.rules.ask(action, runbook, uid("Plugin", &question.plugin.name), context, entities)
    }

    /// Whether an effect may be done.
    #[must_use]
    pub fn may_effect(&self, question: &EffectQuestion<'_>) -> Answer {
        let call = question.call;
        let context: Pairs = vec![
            ("runbook".to_owned(), text(question.runbook)),
            ("function".to_owned(), text(&call.function)),
            ("target".to_owned(), text(question.target)),
            ("effect_target".to_owned(), text(&call.target)),
            ("irreversible".to_owned(), RestrictedExpression::new_bool(question.irreversible)),
            ("unplanned".to_owned(), RestrictedExpression::new_bool(question.unplanned)),
        ];
        let entities = plugin_entity(question.plugin).into_iter().collect();
        let principal = uid("Plugin", &question.plugin.name);
        self.rules.ask(EFFECT, principal, uid("Capability", &call.capability), context, entities)
    }
}

/// A missing entity makes each policy that looks at it fail, and a failing policy denies.
fn plugin_entity(plugin: &PluginFacts) -> Result<Entity, cedar_policy::EntityAttrEvaluationError> {
    let attributes = HashMap::from([
        ("version".to_owned(), text(&plugin.version)),
        ("kind".to_owned(), text(plugin.kind.as_str())),
        ("effects".to_owned(), text(plugin.effects.as_str())),
        ("standing".to_owned(), text(plugin.standing.as_str())),
    ]);
    Entity::new(uid("Plugin", &plugin.name), attributes, HashSet::new())
}

fn alert_facts(alert: &Alert) -> Option<RestrictedExpression> {
    let mut facts: Pairs = vec![
        ("source".to_owned(), text(&alert.source)),
        ("fingerprint".to_owned(), text(&alert.fingerprint)),
        ("severity".to_owned(), text(alert.severity.as_str())),
    ];
    let optional = [("service", &alert.service), ("target", &alert.target), ("title", &alert.title)];
    facts.extend(
        optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), text(value.as_deref()?)))),
    );
    RestrictedExpression::new_record(facts).ok()
}

#[cfg(test)]
mod tests;
