//! Who may do what, by Cedar: every route asks here before it does anything.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use cedar_policy::{Entity, EntityUid, RestrictedExpression, Schema};
use chrono::{DateTime, Datelike as _, Timelike as _, Utc, Weekday};

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
    /// One run, or one that is to be started.
    Run {
        /// Its runbook.
        runbook: &'a str,
        /// The runbook's own autonomy, where it is still there.
        autonomy: Option<Autonomy>,
        /// Its canonical target, where it has one.
        target: Option<&'a str>,
        /// Its labels.
        labels: &'a BTreeMap<String, String>,
    },
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

    /// Whether a person may do something now.
    #[must_use]
    pub fn may(
        &self,
        person: &Person,
        action: PersonAction,
        object: Object<'_>,
        now: DateTime<Utc>,
    ) -> Answer {
        let principal = uid("Person", &person.name);
        let roles = if person.roles.contains(ADMINISTRATOR) {
            self.every_role.clone()
        } else {
            person.roles.iter().map(|role| uid("Role", role)).collect()
        };
        let groups = person.groups.iter().map(|group| uid("Group", group));
        let mut entities =
            vec![Entity::new_no_attrs(principal.clone(), roles.into_iter().chain(groups).collect())];
        let system = uid("System", "staunch");
        let mut context = Vec::new();
        if self.rules.mentions(action.as_str(), "time") {
            context.extend(moment(now).map(|moment| ("time".to_owned(), moment)));
        }
        let resource = match object {
            Object::System => system,
            Object::Plugin(name) => {
                context.push(("plugin".to_owned(), text(name)));
                system
            }
            Object::Scope(scope) => {
                context.push(("scope".to_owned(), text(scope)));
                system
            }
            Object::Runbook(name, autonomy) => runbook(name, autonomy, &mut entities),
            Object::Run { runbook: name, autonomy, target, labels } => {
                context.extend(target.map(|target| ("target".to_owned(), text(target))));
                let all = uid("Labels", "labels");
                let tags = labels.iter().map(|(name, value)| (name.clone(), text(value)));
                if let Ok(entity) = Entity::new_with_tags(all.clone(), [], [], tags) {
                    entities.push(entity);
                    context.push(("labels".to_owned(), RestrictedExpression::new_entity_uid(all)));
                }
                runbook(name, autonomy, &mut entities)
            }
        };
        self.rules.ask(action.as_str(), principal, resource, context, entities)
    }
}

fn runbook(name: &str, autonomy: Option<Autonomy>, entities: &mut Vec<Entity>) -> EntityUid {
    let runbook = uid("Runbook", name);
    let attributes = autonomy
        .map(|autonomy| HashMap::from([("autonomy".to_owned(), text(autonomy.as_str()))]))
        .unwrap_or_default();
    entities.extend(Entity::new(runbook.clone(), attributes, HashSet::new()));
    runbook
}

/// A time as policies see it.
fn moment(now: DateTime<Utc>) -> Option<RestrictedExpression> {
    let weekday = match now.weekday() {
        Weekday::Mon => "monday",
        Weekday::Tue => "tuesday",
        Weekday::Wed => "wednesday",
        Weekday::Thu => "thursday",
        Weekday::Fri => "friday",
        Weekday::Sat => "saturday",
        Weekday::Sun => "sunday",
    };
    let number = |number: u32| RestrictedExpression::new_long(i64::from(number));
    let members =
        [("hour", number(now.hour())), ("minute", number(now.minute())), ("weekday", text(weekday))];
    RestrictedExpression::new_record(members.map(|(name, value)| (name.to_owned(), value))).ok()
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

    /// A Friday afternoon.
    fn now() -> DateTime<Utc> {
        "2027-01-15T14:30:00Z".parse().unwrap()
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
            let answer = people.may(&person, action, object, now());
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
        assert!(people.may(&person(&["administrator"]), PersonAction::Approve, object, now()).permitted);
        assert!(!people.may(&person(&["operator"]), PersonAction::Approve, object, now()).permitted);
    }

    #[test]
    fn a_policy_that_cannot_be_evaluated_denies() {
        let text = "@id(\"all\") permit(principal, action, resource);
            @id(\"broken\") forbid(principal, action == Action::\"approve\", resource is Runbook)
            when { resource.autonomy == \"observe\" };";
        let people = load(text);
        let answer = people.may(&person(&[]), PersonAction::Approve, Object::Runbook("gone", None), now());
        assert!(!answer.permitted);
        assert!(answer.why(FILE).contains("cannot be evaluated"), "{}", answer.why(FILE));
    }

    #[test]
    fn policies_may_use_group_runbook_target_labels_and_time() {
        let text = "@id(\"sre\") permit(principal in Group::\"sre\", action == Action::\"approve\",
                resource == Runbook::\"r\")
            when { context has target && context.target == \"web-7\" };
            @id(\"stage\") permit(principal in Role::\"operator\", action == Action::\"approve\", resource)
            when { context has labels && context.labels.hasTag(\"env\")
                && context.labels.getTag(\"env\") == \"stage\" };
            @id(\"weekend\") forbid(principal, action == Action::\"approve\", resource)
            when { context.time.weekday == \"saturday\" || context.time.weekday == \"sunday\"
                || context.time.hour < 6 || context.time.minute == 59 };";
        let people = load(text);
        let sre = Person { groups: BTreeSet::from(["sre".to_owned()]), ..person(&[]) };
        let operator = person(&["operator"]);
        let check = |person: &Person, runbook, target, env: &str, at: &str, wanted: bool| {
            let labels = BTreeMap::from([("env".to_owned(), env.to_owned())]);
            let object = Object::Run { runbook, autonomy: None, target, labels: &labels };
            let answer = people.may(person, PersonAction::Approve, object, at.parse().unwrap());
            assert_eq!(answer.errors, Vec::<String>::new());
            assert_eq!(answer.permitted, wanted, "{runbook} {target:?} {env} {at}: {answer:?}");
        };
        let friday = "2027-01-15T14:30:00Z";
        check(&sre, "r", Some("web-7"), "production", friday, true);
        check(&sre, "other", Some("web-7"), "production", friday, false);
        check(&sre, "r", Some("web-8"), "production", friday, false);
        check(&sre, "r", None, "production", friday, false);
        check(&operator, "r", None, "stage", friday, true);
        check(&operator, "r", None, "production", friday, false);
        for at in ["2027-01-16T14:30:00Z", "2027-01-15T05:59:59Z", "2027-01-15T14:59:00Z"] {
            check(&sre, "r", Some("web-7"), "stage", at, false);
        }
        // What is not about one run has no target, and no policy that wants one permits it.
        assert!(!people.may(&sre, PersonAction::Approve, Object::Runbook("r", None), now()).permitted);
    }
}
