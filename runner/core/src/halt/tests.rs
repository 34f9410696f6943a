use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::event::{self, HaltReleased, Halted, Outside, payload};

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(second, 0).unwrap()
}

fn happens(second: i64, fact: Fact) -> Event {
    Event { at: at(second), run: None, alert: None, fact }
}

fn halted(id: u128, scope: &Scope) -> Event {
    let leaf = Halted { halt: HaltId::from_bits(id), scope: scope.kind() };
    let outside = payload::Halted { scope: scope.clone(), reason: "fire".to_owned(), by: "ada".to_owned() };
    happens(1, Fact::Halted(leaf, Outside::Kept(outside)))
}

fn released(id: u128) -> Event {
    let outside = payload::HaltReleased { by: "bob".to_owned(), reason: Some("out".to_owned()) };
    happens(2, Fact::HaltReleased(HaltReleased { halt: HaltId::from_bits(id) }, Outside::Kept(outside)))
}

const NAMES: [&str; 3] = ["a", "b", "c"];

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&NAMES[..])
}

fn scope() -> impl Strategy<Value = Scope> {
    prop_oneof![
        Just(Scope::All),
        name().prop_map(|name| Scope::Runbook(name.to_owned())),
        name().prop_map(|name| Scope::Plugin(name.to_owned())),
        name().prop_map(|name| Scope::Target(name.to_owned())),
    ]
}

/// A scope with any name that is valid.
fn any_scope() -> impl Strategy<Value = Scope> {
    let name = "[^\\p{Cc}\\s][^\\p{Cc}]{0,40}";
    prop_oneof![
        Just(Scope::All),
        name.prop_map(Scope::Runbook),
        name.prop_map(Scope::Plugin),
        name.prop_map(Scope::Target),
    ]
}

#[derive(Debug)]
struct Thing(&'static str, Vec<&'static str>, Option<&'static str>, Vec<&'static str>);

impl Thing {
    fn subject(&self) -> Subject<'_> {
        Subject { runbook: self.0, plugins: &self.1, target: self.2, aliases: &self.3 }
    }
}

fn thing() -> impl Strategy<Value = Thing> {
    let names = || prop::collection::vec(name(), 0..3);
    (name(), names(), prop::option::of(name()), names())
        .prop_map(|(runbook, plugins, target, aliases)| Thing(runbook, plugins, target, aliases))
}

/// Halts and releases, in any order; a release may be of a halt that never was.
fn history() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        3 => (0..6u128, scope()).prop_map(|(id, scope)| halted(id, &scope)),
        1 => (0..6u128).prop_map(released),
    ];
    prop::collection::vec(event, 0..12)
}

fn fold(events: &[Event]) -> Halts {
    let mut halts = Halts::default();
    events.iter().for_each(|event| halts.apply(event));
    halts
}

proptest! {
    #[test]
    fn adding_a_halt_never_permits_more(events in history(), scope in scope(), thing in thing()) {
        let mut halts = fold(&events);
        let before = halts.of(&thing.subject()).is_some();
        halts.apply(&halted(99, &scope));
        let after = halts.of(&thing.subject()).is_some();
        prop_assert!(after || !before);
        prop_assert!(after || !scope.covers(&thing.subject()));
    }

    #[test]
    fn a_release_takes_away_its_own_halt_and_no_other(events in history(), id in 0..6u128, thing in thing()) {
        let before = fold(&events);
        let mut after = before.clone();
        after.apply(&released(id));
        let id = HaltId::from_bits(id);
        prop_assert!(after.get(&id).is_none());
        let kept: Vec<_> = before.all_of(&thing.subject()).filter(|halt| halt.id != id).collect();
        prop_assert_eq!(after.all_of(&thing.subject()).collect::<Vec<_>>(), kept);
    }

    #[test]
    fn all_covers_whatever_there_is(thing in thing()) {
        prop_assert!(Scope::All.covers(&thing.subject()));
    }

    #[test]
    fn one_that_is_taken_up_from_its_row_is_as_it_was(events in history()) {
        let mut again = Halts::default();
        for halt in &fold(&events).0 {
            again.put(serde_json::from_value(serde_json::to_value(halt).unwrap()).unwrap());
        }
        prop_assert_eq!(again, fold(&events));
    }

    #[test]
    fn scopes_print_and_parse_back(scope in any_scope()) {
        prop_assert_eq!(&scope.to_string().parse::<Scope>().unwrap(), &scope);
        prop_assert_eq!(Scope::from_json(&serde_json::to_value(&scope).unwrap()).unwrap(), scope);
    }
}

fn check(scope: &str, covered: bool) {
    let subject = Subject {
        runbook: "restart",
        plugins: &["restart-service", "tell"],
        target: Some("web-7"),
        aliases: &["local", "web-7:9100"],
    };
    assert_eq!(scope.parse::<Scope>().unwrap().covers(&subject), covered, "{scope}");
}

#[test]
fn covers_what_it_names_and_nothing_else() {
    check("all", true);
    check("runbook=restart", true);
    check("runbook=restart-service", false);
    check("plugin=restart-service", true);
    check("plugin=tell", true);
    check("plugin=restart", false);
    check("target=web-7", true);
    check("target=WEB-7:9100", true);
    check("target=local", true);
    check("target=web-8", false);
}

#[test]
fn what_is_no_scope_is_refused_with_the_valid_ones() {
    for value in [json!("everything"), json!({"host": "a"}), json!({}), json!(null), json!({"plugin": 1})] {
        let error = Scope::from_json(&value).unwrap_err();
        assert_eq!(error.field(), "scope");
        assert!(error.to_string().contains("{\"plugin\": NAME}"), "{error}");
    }
    for text in ["", "ALL", "plugin", "host=a", "all=", "all=x"] {
        assert!(matches!(text.parse::<Scope>(), Err(HaltError::Scope(_))), "{text}");
    }
    for text in ["plugin=", "target= ", "runbook=a\nb"] {
        assert!(matches!(text.parse::<Scope>(), Err(HaltError::Name(_))), "{text}");
    }
    let long = Scope::from_json(&json!({ "target": "x".repeat(MAX_NAME + 1) }));
    assert_eq!(long, Err(HaltError::Name(ScopeKind::Target)));
}

#[test]
fn a_reason_says_something_and_not_too_much() {
    assert_eq!(reason("  a bad release \n").unwrap(), "a bad release");
    for text in ["", " \n\t", "\u{1b}[31mred", &"x".repeat(MAX_REASON + 1)] {
        assert_eq!(reason(text), Err(HaltError::Reason), "{text:?}");
    }
}

#[test]
fn a_halt_whose_text_was_removed_covers_everything() {
    let leaf = Halted { halt: HaltId::from_bits(1), scope: ScopeKind::Plugin };
    let halt = Halt::begin(&happens(1, Fact::Halted(leaf, Outside::Removed))).unwrap();
    assert_eq!((halt.scope, halt.by.as_str()), (Scope::All, REMOVED));
}

#[test]
fn says_who_released_it_and_why_once() {
    let mut halt = Halt::begin(&halted(1, &Scope::All)).unwrap();
    halt.apply(&released(2));
    assert!(halt.in_force());
    halt.apply(&released(1));
    halt.apply(&Event { at: at(9), ..released(1) });
    let shown = serde_json::to_value(&halt).unwrap();
    assert_eq!(shown["released_at"], "1970-01-01T00:00:02Z");
    assert_eq!((&shown["released_by"], &shown["release_reason"]), (&json!("bob"), &json!("out")));
}

/// What is written today must be read for ever.
#[test]
fn written_as_ever() {
    let scope = Scope::Plugin("restart-service".to_owned());
    let id = "halt_00000000000000000000000000000007";
    for (event, leaf, payload) in [
        (
            halted(7, &scope),
            format!(
                r#"{{"v":1,"at":"1970-01-01T00:00:01Z","kind":"halted","fact":{{"halt":"{id}","scope":"plugin"}},"payload":"#
            ),
            r#"{"scope":{"plugin":"restart-service"},"reason":"fire","by":"ada"}"#,
        ),
        (
            released(7),
            format!(
                r#"{{"v":1,"at":"1970-01-01T00:00:02Z","kind":"halt-released","fact":{{"halt":"{id}"}},"payload":"#
            ),
            r#"{"by":"bob","reason":"out"}"#,
        ),
    ] {
        let encoded = event.encode([7; 16]).unwrap();
        let (salt, bytes) = encoded.payload.unwrap();
        assert_eq!(std::str::from_utf8(&bytes).unwrap(), payload);
        let commitment = event::commitment(&salt, payload.as_bytes());
        assert_eq!(std::str::from_utf8(&encoded.leaf).unwrap(), format!("{leaf}\"{commitment}\"}}"));
        assert_eq!(Event::decode(&encoded.leaf, Some(&bytes)).unwrap(), event);
    }
}
