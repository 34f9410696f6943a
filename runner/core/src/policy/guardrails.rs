//! Guardrails: what automation may do, by Cedar.
//!
//! Two questions before a run acts (`act-alone`, `act-with-approval`) and one for each effect. Absence denies.

use std::collections::{BTreeMap, HashMap, HashSet};

use cedar_policy::{Entity, RestrictedExpression, Schema};

use super::cedar::{Answer, Pairs, Question, Rules, text, uid};
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

    /// Whether how far a step may go can depend on the number of its effects, which only a plan tells.
    #[must_use]
    pub fn counts_effects(&self) -> bool {
        [ACT_ALONE, ACT_WITH_APPROVAL].iter().any(|action| self.rules.mentions(action, "effects_count"))
    }

    /// How far a step may go.
    #[must_use]
    pub fn may_act(&self, question: &ActQuestion<'_>) -> Allowed {
        let mut alone = self.act(ACT_ALONE, question);
        if alone.permitted && question.irreversible && !self.rules.name_plugin(&alone, &question.plugin.name)
        {
            let plugin = &question.plugin.name;
            let message =
                format!("it is irreversible, and no policy of {FILE} permits Plugin::{plugin:?} by name");
            alone = Answer { permitted: false, objection: Some(message), ..alone };
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
        // No two alerts are the same.
        if self.rules.mentions(action, "alert") || self.rules.mentions(action, "labels") {
            return self.ask_act(action, question);
        }
        let mut asked = Question::new(action);
        asked.part(question.runbook);
        asked.part(question.autonomy.as_str());
        put_plugin(&mut asked, question.plugin);
        let count = question.effects_count.to_string();
        let (irreversible, manual) = (word(question.irreversible), word(question.manual));
        let facts = [
            ("target", question.target),
            ("effects_count", &count),
            ("irreversible", irreversible),
            ("manual", manual),
        ];
        self.put_facts(&mut asked, action, &facts);
        self.rules.ask_once(asked, || self.ask_act(action, question))
    }

    /// The facts that a policy of the action could look at.
    fn put_facts(&self, asked: &mut Question, action: &str, facts: &[(&str, &str)]) {
        for (name, value) in facts.iter().filter(|(name, _)| self.rules.mentions(action, name)) {
            asked.part(name);
            asked.part(value);
        }
    }

    fn ask_act(&self, action: &'static str, question: &ActQuestion<'_>) -> Answer {
        let needs = |name: &str| self.rules.mentions(action, name);
        let labels = uid("Labels", "labels");
        let runbook = uid("Runbook", question.runbook);
        let facts: [(&str, &dyn Fn() -> Option<RestrictedExpression>); 7] = [
            ("target", &|| Some(text(question.target))),
            ("labels", &|| Some(RestrictedExpression::new_entity_uid(labels.clone()))),
            ("alert", &|| question.alert.and_then(alert_facts)),
            ("capabilities", &|| {
                let capabilities = question.plugin.capabilities.iter().map(|name| text(name));
                Some(RestrictedExpression::new_set(capabilities))
            }),
            ("effects_count", &|| {
                let count = i64::try_from(question.effects_count).unwrap_or(i64::MAX);
                Some(RestrictedExpression::new_long(count))
            }),
            ("irreversible", &|| Some(RestrictedExpression::new_bool(question.irreversible))),
            ("manual", &|| Some(RestrictedExpression::new_bool(question.manual))),
        ];
        let context: Pairs = facts
            .into_iter()
            .filter(|(name, _)| needs(name))
            .filter_map(|(name, value)| Some((name.to_owned(), value()?)))
            .collect();
        let mut entities = Vec::new();
        if needs("labels") {
            let tags = question.labels.iter().map(|(name, value)| (name.clone(), text(value)));
            entities.extend(Entity::new_with_tags(labels.clone(), [], [], tags).ok());
        }
        if needs("autonomy") {
            let attributes = HashMap::from([("autonomy".to_owned(), text(question.autonomy.as_str()))]);
            entities.extend(Entity::new(runbook.clone(), attributes, HashSet::new()).ok());
        }
        entities.extend(self.plugin_entity(action, question.plugin));
        self.rules.ask(action, runbook, uid("Plugin", &question.plugin.name), context, entities)
    }

    /// Whether an effect may be done.
    #[must_use]
    pub fn may_effect(&self, question: &EffectQuestion<'_>) -> Answer {
        let call = question.call;
        let mut asked = Question::new(EFFECT);
        put_plugin(&mut asked, question.plugin);
        asked.part(&call.capability);
        let facts = [
            ("runbook", question.runbook),
            ("function", &call.function),
            ("target", question.target),
            ("effect_target", &call.target),
            ("irreversible", word(question.irreversible)),
            ("unplanned", word(question.unplanned)),
        ];
        self.put_facts(&mut asked, EFFECT, &facts);
        self.rules.ask_once(asked, || self.ask_effect(question))
    }

    fn ask_effect(&self, question: &EffectQuestion<'_>) -> Answer {
        let call = question.call;
        let boolean = RestrictedExpression::new_bool;
        let facts: [(&str, &dyn Fn() -> RestrictedExpression); 6] = [
            ("runbook", &|| text(question.runbook)),
            ("function", &|| text(&call.function)),
            ("target", &|| text(question.target)),
            ("effect_target", &|| text(&call.target)),
            ("irreversible", &|| boolean(question.irreversible)),
            ("unplanned", &|| boolean(question.unplanned)),
        ];
        let context: Pairs = facts
            .into_iter()
            .filter(|(name, _)| self.rules.mentions(EFFECT, name))
            .map(|(name, value)| (name.to_owned(), value()))
            .collect();
        let entities = self.plugin_entity(EFFECT, question.plugin).into_iter().collect();
        let principal = uid("Plugin", &question.plugin.name);
        self.rules.ask(EFFECT, principal, uid("Capability", &call.capability), context, entities)
    }

    /// The plugin's attributes, where a policy of the action could look at one. Were it missing wrongly, the
    /// policies that look at it would fail, and a failing policy denies.
    fn plugin_entity(&self, action: &'static str, plugin: &PluginFacts) -> Option<Entity> {
        let attributes = [
            ("version", plugin.version.as_str()),
            ("kind", plugin.kind.as_str()),
            ("effects", plugin.effects.as_str()),
            ("standing", plugin.standing.as_str()),
        ];
        if !attributes.iter().any(|(name, _)| self.rules.mentions(action, name)) {
            return None;
        }
        let attributes = attributes.map(|(name, value)| (name.to_owned(), text(value))).into();
        Entity::new(uid("Plugin", &plugin.name), attributes, HashSet::new()).ok()
    }
}

/// All that a policy can know of a plugin.
fn put_plugin(asked: &mut Question, plugin: &PluginFacts) {
    let PluginFacts { name, version, kind, effects, standing, capabilities } = plugin;
    for part in [name, version, kind.as_str(), effects.as_str(), standing.as_str()] {
        asked.part(part);
    }
    asked.part(&capabilities.len().to_string());
    capabilities.iter().for_each(|capability| asked.part(capability));
}

fn word(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
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
