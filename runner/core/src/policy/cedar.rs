//! Loads one file of Cedar policies and asks it, fast.
//!
//! Cedar looks at each policy of the set that it is given, so there is one set for each action, made at load from
//! the policies whose scope can match that action. Fail-closed where Cedar alone is not: a policy that cannot be
//! evaluated is ignored by Cedar, which would let a broken `forbid` permit; here any such error denies.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::str::FromStr as _;
use std::sync::{Mutex, PoisonError};

use cedar_policy::ffi::DetailedError;
use cedar_policy::{
    ActionConstraint, Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid,
    Policy, PolicyId, PolicySet, PrincipalConstraint, Request, ResourceConstraint, RestrictedExpression,
    Schema, ValidationMode, Validator,
};

use super::problem::{Position, Problem};
use super::reader::Reader;

/// The schema that this version decides by.
pub const SCHEMA: &str = include_str!("../../../../policies/schema.cedarschema");

/// Its parts for each file ([`schema`]) in Cedar's JSON: they are read for every start, and the text would want a
/// grammar made for it first. A test holds them against the text.
const PARTS: [(&str, &str); 2] = [
    (super::guardrails::FILE, include_str!("cedar/guardrails.schema.json")),
    (super::people::FILE, include_str!("cedar/people.schema.json")),
];

/// The most policies of one file.
const MOST_POLICIES: usize = 2_000;

/// What a set of policies answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Whether it is permitted.
    pub permitted: bool,
    /// The names of the policies that decided, sorted. None at all: nothing permitted it.
    pub policies: Vec<String>,
    /// Policies that could not be evaluated; any of them denies.
    pub errors: Vec<String>,
    /// What a rule beyond the policies has against it.
    pub objection: Option<String>,
}

impl Answer {
    /// Why, for people: the end of a sentence that says what was asked.
    #[must_use]
    pub fn why(&self, file: &str) -> String {
        if let Some(objection) = &self.objection {
            return objection.clone();
        }
        if let Some(error) = self.errors.first() {
            return format!("a policy of {file} cannot be evaluated: {error}");
        }
        match (self.permitted, self.policies.as_slice()) {
            (_, []) => format!("nothing in {file} permits it"),
            (true, policies) => format!("permitted by {} of {file}", policies.join(", ")),
            (false, policies) => format!("forbidden by {} of {file}", policies.join(", ")),
        }
    }
}

/// The policies of one file, by action.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    sets: BTreeMap<&'static str, ActionSet>,
    names: HashMap<PolicyId, String>,
    roles: Vec<EntityUid>,
    /// The plugins that each policy names.
    plugins: HashMap<String, Vec<EntityUid>>,
    answered: Answered,
}

/// Most answers that are remembered.
const MOST_ANSWERED: usize = 1024;

/// Answers that were given, by all that they rest on beside the policies. A copy begins anew: its policies may change.
#[derive(Debug, Default)]
struct Answered(Mutex<HashMap<Vec<u8>, Answer>>);

impl Clone for Answered {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// All that an answer rests on, each part behind its length, so that no two questions look alike.
#[derive(Debug)]
pub(super) struct Question(Vec<u8>);

impl Question {
    pub(super) fn new(action: &str) -> Self {
        let mut question = Self(Vec::with_capacity(256));
        question.part(action);
        question
    }

    pub(super) fn part(&mut self, part: &str) {
        self.0.extend_from_slice(&part.len().to_le_bytes());
        self.0.extend_from_slice(part.as_bytes());
    }
}

#[derive(Debug, Clone)]
struct ActionSet {
    action: EntityUid,
    policies: PolicySet,
    /// Those that are not about one principal or one resource alone.
    general: PolicySet,
    /// The principals and resources that the others are about.
    named: HashSet<EntityUid>,
    /// The words that their text is made of, or `None` when facts cannot be looked up among them.
    words: Option<HashSet<String>>,
}

impl Rules {
    /// Policies that permit nothing.
    pub(super) fn none(actions: &[&'static str]) -> Self {
        Self::from_set(&PolicySet::new(), HashMap::new(), actions)
    }

    /// Reads and checks a file. Actions that are not of this file are refused in it.
    pub(super) fn load(
        reader: &mut Reader<'_>,
        text: &str,
        schema: &Schema,
        actions: &[&'static str],
    ) -> Self {
        let policies = match PolicySet::from_str(text) {
            Ok(policies) => policies,
            Err(errors) => {
                note(reader, text, &DetailedError::from(&errors));
                return Self::none(actions);
            }
        };
        if policies.num_of_policies() > MOST_POLICIES {
            reader.error(Position::START, format!("more than {MOST_POLICIES} policies"));
        }
        for template in policies.templates() {
            reader.error(
                Position::START,
                format!("policy {} is a template, which has no effect", template.id()),
            );
        }
        let names = names(&policies, reader);
        let named = |message: &str| {
            let id = message.split('`').nth(1).unwrap_or_default();
            let name = names.iter().find(|(known, _)| known.to_string() == id).map_or(id, |(_, name)| name);
            message.replacen(&format!("`{id}`"), &format!("`{name}`"), 1)
        };
        let result = Validator::new(schema.clone()).validate(&policies, ValidationMode::Strict);
        for error in result.validation_errors() {
            let mut detail = DetailedError::from(error);
            detail.message = named(&detail.message);
            note(reader, text, &detail);
        }
        for warning in result.validation_warnings() {
            let detail = DetailedError::from(warning);
            reader.warning(place(text, &detail), named(&detail.message));
        }
        let rules = Self::from_set(&policies, names, actions);
        rules.refuse_strangers(&policies, reader);
        rules
    }

    fn from_set(policies: &PolicySet, names: HashMap<PolicyId, String>, actions: &[&'static str]) -> Self {
        let sets = actions.iter().map(|name| (*name, ActionSet::narrow(name, policies))).collect();
        let named = |policy: &Policy, kind: &str| -> Vec<EntityUid> {
            policy.entity_literals().into_iter().filter(|uid| uid.type_name().basename() == kind).collect()
        };
        let roles = policies.policies().flat_map(|policy| named(policy, "Role")).collect();
        let mut rules = Self { sets, names, roles, plugins: HashMap::new(), answered: Answered::default() };
        rules.plugins = policies.policies().map(|p| (rules.name(p.id()), named(p, "Plugin"))).collect();
        rules
    }

    /// A policy that none of this file's actions can meet would be silently without effect.
    fn refuse_strangers(&self, policies: &PolicySet, reader: &mut Reader<'_>) {
        for policy in policies.policies() {
            if self.sets.values().any(|set| set.policies.policy(policy.id()).is_some()) {
                continue;
            }
            let actions: Vec<&str> = self.sets.keys().copied().collect();
            let message = format!(
                "policy {} names no action of this file; its actions are {}",
                self.name(policy.id()),
                actions.join(", ")
            );
            reader.error(Position::START, message);
        }
    }

    fn name(&self, id: &PolicyId) -> String {
        self.names.get(id).cloned().unwrap_or_else(|| id.to_string())
    }

    /// All roles that the policies name.
    pub(super) fn roles(&self) -> &[EntityUid] {
        &self.roles
    }

    /// Whether one of the policies that decided names the plugin.
    pub(super) fn name_plugin(&self, answer: &Answer, plugin: &str) -> bool {
        let plugin = uid("Plugin", plugin);
        let named = |policy: &String| self.plugins.get(policy).is_some_and(|named| named.contains(&plugin));
        answer.policies.iter().any(named)
    }

    /// Whether a policy of an action could look at a fact of this name. Cedar reaches facts by their literal
    /// names alone, so that those which stand in no policy need not be handed over; that halves the cost of a
    /// question.
    pub(super) fn mentions(&self, action: &str, name: &str) -> bool {
        self.sets.get(action).is_none_or(|set| set.mentions(name))
    }

    /// The answer to a question: the one that was given to it before, if it is remembered.
    pub(super) fn ask_once(&self, question: Question, ask: impl FnOnce() -> Answer) -> Answer {
        let answered = || self.answered.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = answered().get(&question.0) {
            return answer.clone();
        }
        let answer = ask();
        let mut answered = answered();
        if answered.len() >= MOST_ANSWERED {
            answered.clear();
        }
        answered.insert(question.0, answer.clone());
        answer
    }

    /// Asks the policies of an action.
    pub(super) fn ask(
        &self,
        action: &str,
        principal: EntityUid,
        resource: EntityUid,
        context: Pairs,
        entities: Vec<Entity>,
    ) -> Answer {
        let Some(set) = self.sets.get(action) else {
            return Answer::failed(format!("there is no action {action:?}"));
        };
        set.ask(principal, resource, context, entities, |id| self.name(id))
    }
}

impl Answer {
    fn failed(error: String) -> Self {
        Self { permitted: false, policies: Vec::new(), errors: vec![error], objection: None }
    }
}

/// Typed context: no JSON on the way.
pub(super) type Pairs = Vec<(String, RestrictedExpression)>;

impl ActionSet {
    fn narrow(action: &str, whole: &PolicySet) -> Self {
        let action = uid("Action", action);
        let fits = |policy: &&Policy| match policy.action_constraint() {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(only) => only == action,
            ActionConstraint::In(list) => list.contains(&action),
        };
        let fitting = whole.policies().filter(fits).cloned();
        // Ids within one set are unique, so that this cannot fail; were it to, the whole set is the same answer.
        let policies = PolicySet::from_policies(fitting).unwrap_or_else(|_| whole.clone());
        let text: String = policies.policies().map(ToString::to_string).collect();
        // An escape could spell a name in another way.
        let words = (!text.contains('\\')).then(|| words(&text));
        let mut named = HashSet::new();
        let mut general = Vec::new();
        for policy in policies.policies() {
            let about = about(policy);
            if about.is_empty() {
                general.push(policy.clone());
            }
            named.extend(about);
        }
        let general = PolicySet::from_policies(general).unwrap_or_else(|_| policies.clone());
        Self { action, policies, general, named, words }
    }

    /// The policies that can be about these two: what is about another one alone has no say, whatever its conditions.
    fn about(&self, principal: &EntityUid, resource: &EntityUid) -> &PolicySet {
        let is_named = self.named.contains(principal) || self.named.contains(resource);
        if is_named { &self.policies } else { &self.general }
    }

    fn mentions(&self, name: &str) -> bool {
        self.words.as_ref().is_none_or(|words| words.contains(name))
    }

    fn ask(
        &self,
        principal: EntityUid,
        resource: EntityUid,
        context: Pairs,
        entities: Vec<Entity>,
        name: impl Fn(&PolicyId) -> String,
    ) -> Answer {
        let context = match Context::from_pairs(context) {
            Ok(context) => context,
            Err(error) => return Answer::failed(error.to_string()),
        };
        let entities = match Entities::from_entities(entities, None) {
            Ok(entities) => entities,
            Err(error) => return Answer::failed(error.to_string()),
        };
        let policies = self.about(&principal, &resource);
        let request = match Request::new(principal, self.action.clone(), resource, context, None) {
            Ok(request) => request,
            Err(error) => return Answer::failed(error.to_string()),
        };
        let response = Authorizer::new().is_authorized(&request, policies, &entities);
        let errors: Vec<String> = response.diagnostics().errors().map(ToString::to_string).collect();
        let mut policies: Vec<String> = response.diagnostics().reason().map(name).collect();
        policies.sort();
        let permitted = response.decision() == Decision::Allow && errors.is_empty();
        Answer { permitted, policies, errors, objection: None }
    }
}

/// What stands in a text between anything that is no letter, digit or underscore: every name of a fact is among it,
/// however the fact is reached.
fn words(text: &str) -> HashSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// The one principal and the one resource that a policy is about, where its head names them.
fn about(policy: &Policy) -> Vec<EntityUid> {
    let principal = match policy.principal_constraint() {
        PrincipalConstraint::Eq(principal) => Some(principal),
        _ => None,
    };
    let resource = match policy.resource_constraint() {
        ResourceConstraint::Eq(resource) => Some(resource),
        _ => None,
    };
    principal.into_iter().chain(resource).collect()
}

/// The part of the schema that one file is checked against: what is common, and the section that bears its name.
///
/// Checked against all actions, a policy of guardrails.cedar that holds for any action could not look at its
/// context, since people's actions have another one.
///
/// # Errors
/// Only if the program was built with a broken schema.
pub(super) fn schema(file: &str) -> Result<Schema, Problem> {
    let part = PARTS.iter().find(|(of, _)| *of == file).map_or("{}", |(_, part)| part);
    Schema::from_json_str(part)
        .map_err(|error| Problem::error("schema.cedarschema", Position::START, error.to_string()))
}

/// An entity id of one of the schema's types.
pub(super) fn uid(type_name: &'static str, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(type_of(type_name), EntityId::new(id))
}

fn type_of(name: &'static str) -> EntityTypeName {
    use std::sync::LazyLock;
    static TYPES: LazyLock<HashMap<&'static str, EntityTypeName>> = LazyLock::new(|| {
        let names =
            ["Action", "Runbook", "Plugin", "Capability", "Labels", "System", "Role", "Group", "Person"];
        names.into_iter().filter_map(|name| Some((name, name.parse().ok()?))).collect()
    });
    TYPES.get(name).cloned().expect("every name that this module's callers use is in the list above")
}

/// Text as Cedar's.
pub(super) fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

fn names(policies: &PolicySet, reader: &mut Reader<'_>) -> HashMap<PolicyId, String> {
    let mut names: HashMap<PolicyId, String> = HashMap::new();
    for policy in policies.policies() {
        let given = policy.annotation("id").filter(|id| !id.is_empty());
        let name = given.map_or_else(|| policy.id().to_string(), str::to_owned);
        if names.values().any(|taken| *taken == name) {
            reader.error(Position::START, format!("two policies have the @id {name:?}"));
        }
        names.insert(policy.id().clone(), name);
    }
    names
}

fn note(reader: &mut Reader<'_>, text: &str, detail: &DetailedError) {
    let help = detail.help.as_ref().map_or_else(String::new, |help| format!(" ({help})"));
    let message = format!("{}{help}", detail.message.replace('\n', " "));
    reader.error(place(text, detail), message);
    for related in &detail.related {
        note(reader, text, related);
    }
}

fn place(text: &str, detail: &DetailedError) -> Position {
    detail
        .source_locations
        .first()
        .map_or(Position::START, |label| Position::of_offset(text, label.loc.start))
}

#[cfg(test)]
impl Rules {
    /// The same rules, asking the whole set for each action and handing over all facts: what the narrowed sets must
    /// agree with.
    pub(super) fn widened(&self, whole: &PolicySet) -> Self {
        let mut wide = self.clone();
        for set in wide.sets.values_mut() {
            set.policies = whole.clone();
            set.general = whole.clone();
            set.words = None;
        }
        wide
    }
}

#[cfg(test)]
mod tests {
    use cedar_policy::SchemaFragment;

    use super::*;

    /// The part of the text for one file.
    fn part(file: &str) -> String {
        let mut sections = SCHEMA.split("\n// ---- ");
        let common = sections.next().unwrap();
        let own = sections.find_map(|section| section.strip_prefix(file)).unwrap();
        format!("{common}\n{}", own.split_once('\n').unwrap().1)
    }

    #[test]
    fn the_parts_of_the_schema_are_those_of_its_text() {
        for (file, json) in PARTS {
            let (fragment, _) = SchemaFragment::from_cedarschema_str(&part(file)).unwrap();
            let expected = fragment.to_json_value().unwrap();
            let found: serde_json::Value = serde_json::from_str(json).unwrap();
            let text = serde_json::to_string_pretty(&expected).unwrap();
            assert!(found == expected, "the part of the schema for {file} is to be:\n{text}\n");
        }
    }
}
