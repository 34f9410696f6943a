use std::collections::BTreeSet;
use std::str::FromStr as _;
use std::sync::LazyLock;

use cedar_policy::PolicySet;
use proptest::prelude::*;

use super::*;
use crate::policy::cedar;
use crate::policy::facts::{Effects, PluginKind, Standing};
use crate::policy::problem::Problem;

const DEFAULT: &str = include_str!("../../../../../policies/guardrails.cedar");

fn load(text: &str) -> (Guardrails, Vec<Problem>) {
    static SCHEMA: LazyLock<Schema> = LazyLock::new(|| cedar::schema(FILE).unwrap());
    let mut reader = Reader::new(FILE);
    let guardrails = Guardrails::load(&mut reader, text, &SCHEMA);
    (guardrails, reader.finish())
}

fn plugin(effects: Effects) -> PluginFacts {
    PluginFacts {
        name: "restart-service".to_owned(),
        version: "1.2.0".to_owned(),
        kind: PluginKind::Remediation,
        effects,
        standing: Standing::Automatic,
        capabilities: BTreeSet::from(["service".to_owned()]),
    }
}

fn labels() -> BTreeMap<String, String> {
    [("env", "production"), ("unit", "web.service")].map(|(k, v)| (k.to_owned(), v.to_owned())).into()
}

fn ask(guardrails: &Guardrails, effects: Effects) -> Allowed {
    guardrails.may_act(&ActQuestion {
        runbook: "restart",
        autonomy: Autonomy::Automatic,
        plugin: &plugin(effects),
        target: "web-7",
        alert: None,
        labels: &labels(),
        effects_count: 1,
        irreversible: effects == Effects::Irreversible,
        manual: false,
    })
}

fn ask_effect(guardrails: &Guardrails, target: &str) -> Answer {
    let call = Call {
        capability: "service".into(),
        function: "restart".into(),
        target: target.to_owned().into(),
        arguments: serde_json::Value::Null.into(),
    };
    guardrails.may_effect(&EffectQuestion {
        runbook: "restart",
        plugin: &plugin(Effects::Reversible),
        target: "web-7",
        call: &call,
        irreversible: false,
        unplanned: false,
    })
}

#[test]
fn default_lets_act_alone_what_can_be_undone() {
    let (guardrails, problems) = load(DEFAULT);
    assert_eq!(problems, []);
    let Allowed::ActAlone(answer) = ask(&guardrails, Effects::Reversible) else { panic!() };
    assert_eq!(answer.policies, ["alone-unless-irreversible"]);
    let Allowed::ActWithApproval { permitted, alone } = ask(&guardrails, Effects::Irreversible) else {
        panic!()
    };
    assert_eq!(permitted.policies, ["people-may-approve"]);
    assert_eq!(alone.why(FILE), "nothing in guardrails.cedar permits it");
    assert!(ask_effect(&guardrails, "web-7/service:web.service").permitted);
}

#[test]
fn absence_denies() {
    for guardrails in [Guardrails::none(), load("").0] {
        assert!(matches!(ask(&guardrails, Effects::ReadOnly), Allowed::Neither(_)));
        assert!(!ask_effect(&guardrails, "x").permitted);
    }
}

#[test]
fn a_forbid_names_itself() {
    let text = format!(
        "{DEFAULT}
        @id(\"production-asks\") forbid (principal, action == Action::\"act-alone\", resource)
        when {{ context.labels.hasTag(\"env\") && context.labels.getTag(\"env\") == \"production\" }};
        @id(\"not-the-database\") forbid (principal, action == Action::\"effect\", resource == Capability::\"service\")
        when {{ context.effect_target like \"*/service:postgresql*\" }};"
    );
    let (guardrails, problems) = load(&text);
    assert_eq!(problems, []);
    let Allowed::ActWithApproval { alone, .. } = ask(&guardrails, Effects::Reversible) else { panic!() };
    assert_eq!(alone.why(FILE), "forbidden by production-asks of guardrails.cedar");
    let answer = ask_effect(&guardrails, "db-1/service:postgresql@15.service");
    assert_eq!(answer.policies, ["not-the-database"]);
    assert!(ask_effect(&guardrails, "db-1/service:web.service").permitted);
}

#[test]
fn labels_and_alert_are_there_when_a_policy_looks_at_them() {
    let permits = |condition: &str| {
        let text =
            format!("permit (principal, action == Action::\"act-alone\", resource) when {{ {condition} }};");
        let (guardrails, problems) = load(&text);
        assert_eq!(problems, [], "{condition}");
        matches!(ask(&guardrails, Effects::Reversible), Allowed::ActAlone(_))
    };
    for (condition, expected) in [
        ("context.labels.hasTag(\"env\") && context.labels.getTag(\"env\") == \"production\"", true),
        ("context.labels.hasTag(\"team\")", false),
        ("context has alert", false),
        ("context.capabilities.contains(\"service\") && context.effects_count == 1", true),
        ("context[\"m\\u{61}nual\"]", false),
        ("!context.manual && context.target == \"web-7\"", true),
        ("resource.kind == \"remediation\" && resource.effects == \"reversible\"", true),
    ] {
        assert_eq!(permits(condition), expected, "{condition}");
    }
}

#[test]
fn errors_have_their_places() {
    for (text, place, wanted) in [
        ("permit (principal,\n  action == ;", "guardrails.cedar:2:", "unexpected token"),
        ("permit (principal, action == Action::\"fly\", resource);", "guardrails.cedar:1:", "fly"),
        (
            "permit (principal, action == Action::\"effect\", resource)\nwhen { context.nonsense };",
            "guardrails.cedar:2:8:",
            "nonsense",
        ),
        (
            "permit (principal, action == Action::\"approve\", resource);",
            "guardrails.cedar:1:1:",
            "act-alone",
        ),
        (
            "@id(\"a\") permit (principal, action, resource); @id(\"a\") forbid (principal, action, resource);",
            "guardrails.cedar:1:1:",
            "two policies",
        ),
    ] {
        let problems: Vec<String> = load(text).1.iter().map(ToString::to_string).collect();
        let found = problems.iter().any(|problem| problem.starts_with(place) && problem.contains(wanted));
        assert!(found, "{text}: {problems:#?}");
    }
}

fn policy() -> impl Strategy<Value = String> {
    let effect = prop::sample::select(vec!["permit", "forbid"]);
    let scope = prop::sample::select(vec![
        "action",
        "action == Action::\"act-alone\"",
        "action == Action::\"act-with-approval\"",
        "action == Action::\"effect\"",
        "action in [Action::\"act-alone\", Action::\"act-with-approval\"]",
    ]);
    let condition = prop::sample::select(vec![
        "",
        "when { context.irreversible }",
        "unless { context.irreversible }",
        "when { context.target == \"web-7\" }",
        "when { context.target like \"db-*\" }",
        "when { principal is Runbook && principal.autonomy == \"automatic\" }",
        "when { resource is Plugin && resource.standing == \"automatic\" }",
        "when { resource is Plugin && resource[\"st\\u{61}nding\"] == \"automatic\" }",
        "when { principal is Plugin && principal.version like \"1.*\" }",
    ]);
    // Those that are asked about, and others.
    let principal = prop::sample::select(vec![
        "principal",
        "principal == Runbook::\"restart\"",
        "principal == Runbook::\"other\"",
        "principal == Plugin::\"restart-service\"",
    ]);
    let resource = prop::sample::select(vec![
        "resource",
        "resource == Plugin::\"restart-service\"",
        "resource == Plugin::\"other\"",
        "resource == Capability::\"service\"",
        "resource == Capability::\"http\"",
    ]);
    let parts = (effect, principal, scope, resource, condition);
    parts.prop_map(|(effect, principal, scope, resource, condition)| {
        format!("{effect} ({principal}, {scope}, {resource}) {condition};\n")
    })
}

/// How far an answer goes: 0 is not at all.
fn rank(allowed: &Allowed) -> u8 {
    match allowed {
        Allowed::Neither(_) => 0,
        Allowed::ActWithApproval { .. } => 1,
        Allowed::ActAlone(_) => 2,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn adding_a_forbid_never_permits_more(
        policies in prop::collection::vec(policy(), 0..8),
        added in policy(),
        irreversible in any::<bool>(),
    ) {
        let effects = if irreversible { Effects::Irreversible } else { Effects::Reversible };
        let text = policies.concat();
        let more = format!("{text}{}", added.replacen("permit", "forbid", 1));
        let (before, after) = (load(&text).0, load(&more).0);
        prop_assert!(rank(&ask(&after, effects)) <= rank(&ask(&before, effects)));
        prop_assert!(ask_effect(&before, "x").permitted || !ask_effect(&after, "x").permitted);
    }

    #[test]
    fn what_is_remembered_is_what_would_be_answered(
        policies in prop::collection::vec(policy(), 0..6),
        questions in prop::collection::vec((0..3_usize, 0..2_usize, any::<[bool; 5]>()), 1..12),
    ) {
        let remembering = load(&policies.concat()).0;
        let labels = labels();
        for (target, autonomy, [irreversible, manual, automatic, older, restart]) in questions {
            let mut plugin = plugin(if irreversible { Effects::Irreversible } else { Effects::Reversible });
            plugin.standing = if automatic { Standing::Automatic } else { Standing::Approve };
            plugin.version = if older { "1.0.0" } else { "2.0.0" }.to_owned();
            let question = ActQuestion {
                runbook: if restart { "restart" } else { "other" },
                autonomy: [Autonomy::Automatic, Autonomy::Approve][autonomy],
                plugin: &plugin,
                target: ["web-7", "db-1", "db-2"][target],
                alert: None,
                labels: &labels,
                effects_count: target,
                irreversible,
                manual,
            };
            // A copy remembers nothing.
            prop_assert_eq!(remembering.may_act(&question), remembering.clone().may_act(&question));
            let (capability, function) = (["service", "http"][autonomy], if manual { "stop" } else { "restart" });
            let call = Call {
                capability: capability.to_owned().into(),
                function: function.to_owned().into(),
                target: question.target.to_owned().into(),
                arguments: serde_json::Value::Null.into(),
            };
            let effect = EffectQuestion {
                runbook: question.runbook,
                plugin: &plugin,
                target: question.target,
                call: &call,
                irreversible,
                unplanned: manual,
            };
            prop_assert_eq!(remembering.may_effect(&effect), remembering.clone().may_effect(&effect));
        }
    }

    #[test]
    fn narrowed_sets_agree_with_the_whole(
        policies in prop::collection::vec(policy(), 0..10),
        irreversible in any::<bool>(),
    ) {
        let effects = if irreversible { Effects::Irreversible } else { Effects::Reversible };
        let text = policies.concat();
        let narrowed = load(&text).0;
        let whole = Guardrails { rules: narrowed.rules.widened(&PolicySet::from_str(&text).unwrap()) };
        prop_assert_eq!(ask(&narrowed, effects), ask(&whole, effects));
        prop_assert_eq!(ask_effect(&narrowed, "x"), ask_effect(&whole, "x"));
    }
}

/// Prints what a question costs; meaningful in a release build alone.
#[test]
fn a_question_to_thirteen_policies() {
    let text: String = (0..10)
        .map(|n| format!("forbid (principal, action, resource) when {{ context.target == \"db-{n}\" }};\n"))
        .chain([DEFAULT.to_owned()])
        .collect();
    let plugin = plugin(Effects::Reversible);
    let labels = labels();
    let question = ActQuestion {
        runbook: "restart",
        autonomy: Autonomy::Automatic,
        plugin: &plugin,
        target: "web-7",
        alert: None,
        labels: &labels,
        effects_count: 1,
        irreversible: false,
        manual: false,
    };
    for (name, text) in [("default", DEFAULT), ("and ten more", &text)] {
        let (guardrails, problems) = load(text);
        assert_eq!(problems, []);
        let rounds = if cfg!(debug_assertions) { 100 } else { 20_000 };
        let start = std::time::Instant::now();
        for _ in 0..rounds {
            assert!(guardrails.ask_act(ACT_ALONE, &question).permitted);
        }
        println!("{name}: {:?}", start.elapsed() / rounds);
    }
}
