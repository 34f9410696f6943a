//! Who may do what, by Cedar: every route asks here before it does anything.

use std::collections::{BTreeSet, HashMap, HashSet};

use cedar_policy::{Entity, EntityUid, Schema};

use super::cedar::{Answer, Rules, text, uid};
use super::facts::Autonomy;
use super::reader::Reader;

/// The file that the rules about people stand in.
pub const FILE: &str = "people.cedar";

/// The role that includes every role.
pub const ADMINISTRATOR: &str = "administrator";

/// The roles that exist from the start.
pub const ROLES: [&str; 5] = ["reader", "operator", "author", "auditor", ADMINISTRATOR];

/// Someone who asks: the bearer of a token, or an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The name.
    pub name: String,
    /// The roles.
    pub roles: BTreeSet<String>,
    /// The groups that an identity provider says they are in.
    pub groups: BTreeSet<String>,
    /// With what they showed who they are: the id of a token, or the subject of an identity.
    pub subject: Option<String>,
}

/// Whether a token can be given to a person of this name: 1 to 128 characters, none of them a control character.
#[must_use]
pub fn is_person_name(name: &str) -> bool {
    (1..=128).contains(&name.len()) && !name.chars().any(char::is_control)
}

impl Person {
    /// Whether the person has a role; the administrator has every one.
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.contains(role) || self.roles.contains(ADMINISTRATOR)
    }
}

/// What a person may want to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PersonAction {
    /// Look at alerts, runs, plugins and the journal.
    Read,
    /// Start a run by hand.
    Start,
    /// Approve a run.
    Approve,
    /// Let a run pass the approvals that are missing, and owe the reason.
    BreakGlass,
    /// Look at why somebody broke the glass.
    Review,
    /// Reject a run.
    Reject,
    /// Cancel a run.
    Cancel,
    /// Take a run over.
    TakeOver,
    /// Settle an effect in doubt.
    Settle,
    /// Install a plugin.
    Install,
    /// Put a plugin one step up again.
    Reinstate,
    /// Take a plugin out of service.
    Revoke,
    /// Halt.
    Halt,
    /// End a halt.
    Release,
    /// Make or end a silence.
    Silence,
    /// Create, list and revoke tokens.
    ManageTokens,
    /// Export the journal.
    Export,
    /// Read the metrics.
    Metrics,
    /// Back up.
    Backup,
    /// Reload the configuration.
    Reload,
    /// Begin a new epoch of the journal.
    NewEpoch,
}

/// All actions, by their names in people.cedar.
const ACTIONS: [&str; 21] = [
    "read",
    "start",
    "approve",
    "break-glass",
    "review",
    "reject",
    "cancel",
    "take-over",
    "settle",
    "install",
    "reinstate",
    "revoke",
    "halt",
    "release",
    "silence",
    "manage-tokens",
    "export",
    "metrics",
    "backup",
    "reload",
    "new-epoch",
];

impl PersonAction {
    /// Its name in people.cedar.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Start => "start",
            Self::Approve => "approve",
            Self::BreakGlass => "break-glass",
            Self::Review => "review",
            Self::Reject => "reject",
            Self::Cancel => "cancel",
            Self::TakeOver => "take-over",
            Self::Settle => "settle",
            Self::Install => "install",
            Self::Reinstate => "reinstate",
            Self::Revoke => "revoke",
            Self::Halt => "halt",
            Self::Release => "release",
            Self::Silence => "silence",
            Self::ManageTokens => "manage-tokens",
            Self::Export => "export",
            Self::Metrics => "metrics",
            Self::Backup => "backup",
            Self::Reload => "reload",
            Self::NewEpoch => "new-epoch",
        }
    }
}

/// What a person wants to do it to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Object<'a> {
    /// The installation.
    System,
    /// The runs of a runbook; its own autonomy, where it is still there.
    Runbook(&'a str, Option<Autonomy>),
    /// A plugin.
    Plugin(&'a str),
    /// The scope of a halt: `all`, `runbook=R`, `plugin=P` or `target=T`.
    Scope(&'a str),
}

/// The rules about people, ready to be asked.
#[derive(Debug, Clone)]
pub struct People {
    rules: Rules,
    every_role: HashSet<EntityUid>,
}

impl People {
    pub(super) fn load(reader: &mut Reader<'_>, source: &str, schema: &Schema) -> Self {
        Self::new(Rules::load(reader, source, schema, &ACTIONS))
    }

    /// Rules that permit nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::new(Rules::none(&ACTIONS))
    }

    fn new(rules: Rules) -> Self {
        let built_in = ROLES.iter().map(|role| uid("Role", role));
        let every_role = built_in.chain(rules.roles().iter().cloned()).collect();
        Self { rules, every_role }
    }

    /// Whether a role exists from the start, or a policy names it.
    #[must_use]
    pub fn knows_role(&self, role: &str) -> bool {
        self.every_role.contains(&uid("Role", role))
    }

    /// Whether a person may do something.
    #[must_use]
    pub fn may(&self, person: &Person, action: PersonAction, object: Object<'_>) -> Answer {
        let principal = uid("Person", &person.name);
        let roles = if person.roles.contains(ADMINISTRATOR) {
            self.every_role.clone()
        } else {
            person.roles.iter().map(|role| uid("Role", role)).collect()
        };
        let mut entities = vec![Entity::new_no_attrs(principal.clone(), roles)];
        let system = uid("System", "staunch");
        let (resource, context) = match object {
            Object::System => (system, Vec::new()),
            Object::Plugin(name) => (system, vec![("plugin".to_owned(), text(name))]),
            Object::Scope(scope) => (system, vec![("scope".to_owned(), text(scope))]),
            Object::Runbook(name, autonomy) => {
                let runbook = uid("Runbook", name);
                let attributes = autonomy
                    .map(|autonomy| HashMap::from([("autonomy".to_owned(), text(autonomy.as_str()))]))
                    .unwrap_or_default();
                entities.extend(Entity::new(runbook.clone(), attributes, HashSet::new()));
                (runbook, Vec::new())
            }
        };
        self.rules.ask(action.as_str(), principal, resource, context, entities)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::cedar;

    const DEFAULT: &str = include_str!("../../../../policies/people.cedar");

    fn load(text: &str) -> People {
        let mut reader = Reader::new(FILE);
        let people = People::load(&mut reader, text, &cedar::schema(FILE).unwrap());
        assert_eq!(reader.finish(), []);
        people
    }

    fn person(roles: &[&str]) -> Person {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        Person { name: "alice".to_owned(), roles, groups: BTreeSet::new(), subject: None }
    }

    fn check(roles: &[&str], allowed: &[PersonAction]) {
        use PersonAction::{
            Approve, Backup, BreakGlass, Cancel, Export, Halt, Install, ManageTokens, Metrics, NewEpoch,
            Read, Reinstate, Reject, Release, Reload, Review, Revoke, Settle, Silence, Start, TakeOver,
        };
        let people = load(DEFAULT);
        let person = person(roles);
        let all = [
            (Read, Object::System),
            (Read, Object::Runbook("r", None)),
            (Start, Object::Runbook("r", Some(Autonomy::Approve))),
            (Approve, Object::Runbook("r", None)),
            (BreakGlass, Object::Runbook("r", None)),
            (Review, Object::Runbook("r", None)),
            (Reject, Object::Runbook("r", None)),
            (Cancel, Object::Runbook("r", None)),
            (TakeOver, Object::Runbook("r", None)),
            (Settle, Object::Runbook("r", None)),
            (Install, Object::Plugin("p")),
            (Reinstate, Object::Plugin("p")),
            (Revoke, Object::Plugin("p")),
            (Halt, Object::Scope("all")),
            (Release, Object::Scope("plugin=p")),
            (Silence, Object::System),
            (ManageTokens, Object::System),
            (Export, Object::System),
            (Metrics, Object::System),
            (Backup, Object::System),
            (Reload, Object::System),
            (NewEpoch, Object::System),
        ];
        for (action, object) in all {
            let answer = people.may(&person, action, object);
            assert_eq!(answer.errors, Vec::<String>::new(), "{action:?}");
            assert_eq!(answer.permitted, allowed.contains(&action), "{roles:?} {action:?}: {answer:?}");
        }
    }

    #[test]
    fn roles_may_what_they_are_for_and_no_more() {
        use PersonAction::{
            Approve, Backup, BreakGlass, Cancel, Export, Halt, Install, ManageTokens, Metrics, NewEpoch,
            Read, Reinstate, Reject, Release, Reload, Review, Revoke, Settle, Silence, Start, TakeOver,
        };
        let operator =
            [Read, Start, Approve, Reject, Cancel, TakeOver, Settle, Halt, Release, Silence, Metrics];
        check(&[], &[]);
        check(&["unheard-of"], &[]);
        check(&["reader"], &[Read]);
        check(&["operator"], &operator);
        check(&["author"], &[Read, Install]);
        check(&["auditor"], &[Read, Review, Export, Metrics]);
        let rest =
            [BreakGlass, Review, Install, Reinstate, Revoke, ManageTokens, Export, Backup, Reload, NewEpoch];
        check(&["administrator"], &[&operator[..], &rest[..]].concat());
    }

    #[test]
    fn administrator_is_in_every_role_that_a_policy_names() {
        let people = load("permit(principal in Role::\"sre\", action == Action::\"approve\", resource);");
        let object = Object::Runbook("r", None);
        assert!(people.may(&person(&["administrator"]), PersonAction::Approve, object).permitted);
        assert!(!people.may(&person(&["operator"]), PersonAction::Approve, object).permitted);
    }

    #[test]
    fn a_policy_that_cannot_be_evaluated_denies() {
        let text = "@id(\"all\") permit(principal, action, resource);
            @id(\"broken\") forbid(principal, action == Action::\"approve\", resource is Runbook)
            when { resource.autonomy == \"observe\" };";
        let people = load(text);
        let answer = people.may(&person(&[]), PersonAction::Approve, Object::Runbook("gone", None));
        assert!(!answer.permitted);
        assert!(answer.why(FILE).contains("cannot be evaluated"), "{}", answer.why(FILE));
    }
}
