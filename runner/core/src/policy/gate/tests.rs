use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::decision::Outcome;
use crate::policy::cedar;
use crate::policy::facts::{PluginKind, Standing};
use crate::policy::reader::Reader;
use crate::policy::runbook::read;

const DEFAULT: &str = include_str!("../../../../../policies/guardrails.cedar");

fn guardrails(text: &str) -> Guardrails {
    let mut reader = Reader::new("guardrails.cedar");
    let guardrails = Guardrails::load(&mut reader, text, &cedar::schema("guardrails.cedar").unwrap());
    assert_eq!(reader.finish(), []);
    guardrails
}

fn plugin(standing: Standing, effects: Effects) -> PluginFacts {
    PluginFacts {
        name: "p".to_owned(),
        version: "1.0.0".to_owned(),
        kind: PluginKind::Remediation,
        effects,
        standing,
        capabilities: BTreeSet::new(),
    }
}

fn run(policies: &str, runbook: &str, plugin: &PluginFacts) -> Gated {
    run_within(policies, runbook, plugin, None)
}

fn run_within(policies: &str, runbook: &str, plugin: &PluginFacts, windows: Option<&Ruling>) -> Gated {
    let text = format!("runbook: r\nmatch: ['a=b']\nsteps: [{{ plugin: p }}]\n{runbook}\n");
    let runbook = read("r.yaml", &text).unwrap().0;
    let call = Call {
        capability: "service".into(),
        function: "restart".into(),
        target: "web-7/service:web.service".into(),
        arguments: serde_json::Value::Null.into(),
    };
    let labels = BTreeMap::new();
    let steps = [PlannedStep { plugin, effects: &[call] }];
    let now = DateTime::UNIX_EPOCH;
    let question = Question {
        now,
        runbook: &runbook,
        target: "web-7",
        alert: None,
        manual: true,
        labels: &labels,
        steps: &steps,
        windows,
    };
    decide(&guardrails(policies), &question)
}

fn word(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Observe => "observe".to_owned(),
        Verdict::Act => "act".to_owned(),
        Verdict::Ask(_) => "ask".to_owned(),
        Verdict::Refuse(reason) => format!("refuse {}", reason.code),
    }
}

#[test]
fn the_lowest_autonomy_is_in_force() {
    use Effects::{Irreversible, Reversible};
    let with_approval_only =
        "permit (principal, action in [Action::\"act-with-approval\", Action::\"effect\"], resource);";
    let nothing = "permit (principal, action == Action::\"effect\", resource);";
    let by_name = "permit (principal, action, resource == Plugin::\"p\");
        permit (principal, action == Action::\"effect\", resource);";
    let blanket = "permit (principal, action, resource);";
    for (policies, autonomy, standing, effects, expected) in [
        (DEFAULT, "automatic", Standing::Automatic, Reversible, "act"),
        (DEFAULT, "approve", Standing::Automatic, Reversible, "ask"),
        (DEFAULT, "observe", Standing::Automatic, Reversible, "observe"),
        (DEFAULT, "automatic", Standing::Approve, Reversible, "ask"),
        (DEFAULT, "automatic", Standing::Observe, Reversible, "observe"),
        (DEFAULT, "automatic", Standing::Deprecated, Reversible, "refuse standing"),
        (DEFAULT, "observe", Standing::Revoked, Reversible, "refuse standing"),
        (DEFAULT, "automatic", Standing::Automatic, Irreversible, "ask"),
        (by_name, "automatic", Standing::Automatic, Irreversible, "act"),
        (by_name, "approve", Standing::Automatic, Irreversible, "ask"),
        (blanket, "automatic", Standing::Automatic, Irreversible, "ask"),
        (blanket, "automatic", Standing::Automatic, Reversible, "act"),
        (with_approval_only, "automatic", Standing::Automatic, Reversible, "ask"),
        (nothing, "automatic", Standing::Automatic, Reversible, "refuse policy"),
        (nothing, "approve", Standing::Automatic, Reversible, "refuse policy"),
        (nothing, "observe", Standing::Automatic, Reversible, "observe"),
        ("", "automatic", Standing::Automatic, Reversible, "refuse policy"),
    ] {
        let gated = run(policies, &format!("autonomy: {autonomy}"), &plugin(standing, effects));
        let case = format!("{autonomy} {standing:?} {effects:?} {policies}");
        assert_eq!(word(&gated.verdict), expected, "{case}: {:#?}", gated.decisions);
    }
}

#[test]
fn a_runbook_can_only_tighten_the_effects_of_a_plugin() {
    let runbook = "autonomy: automatic";
    let text = |effects: &str| {
        format!("runbook: r\nmatch: ['a=b']\nsteps: [{{ plugin: p, effects: {effects} }}]\n{runbook}\n")
    };
    let tightened = read("r.yaml", &text("irreversible")).unwrap().0;
    assert!(is_irreversible(&tightened, 0, &plugin(Standing::Automatic, Effects::Reversible)));
    let loosened = read("r.yaml", &text("reversible")).unwrap().0;
    assert!(is_irreversible(&loosened, 0, &plugin(Standing::Automatic, Effects::Irreversible)));
}

#[test]
fn a_forbidden_effect_refuses_the_run_and_names_it() {
    let policies = format!(
        "{DEFAULT} @id(\"hands-off\") forbid (principal, action == Action::\"effect\", resource)
        when {{ context.effect_target like \"*web.service\" }};"
    );
    let gated = run(&policies, "autonomy: automatic", &plugin(Standing::Automatic, Effects::Reversible));
    let Verdict::Refuse(reason) = gated.verdict else { panic!("{:?}", gated.verdict) };
    assert_eq!(
        reason.to_string(),
        "policy: p may not do service.restart on web-7/service:web.service: \
         forbidden by hands-off of guardrails.cedar"
    );
}

#[test]
fn an_irreversible_plugin_acts_alone_only_when_permitted_by_name() {
    let blanket = "permit (principal, action, resource);";
    let gated = run(blanket, "autonomy: automatic", &plugin(Standing::Automatic, Effects::Irreversible));
    let message = &gated.decisions[1].message;
    assert!(
        message.ends_with(
            "not alone: it is irreversible, and no policy of guardrails.cedar permits Plugin::\"p\" by name"
        ),
        "{message}"
    );
}

#[test]
fn the_trace_lists_what_passed_and_what_asks() {
    let gated = run(DEFAULT, "autonomy: automatic", &plugin(Standing::Approve, Effects::Reversible));
    let trace: Vec<_> = gated.decisions.iter().map(|d| (d.stage, d.result)).collect();
    assert_eq!(
        trace,
        [(Stage::Standing, Outcome::Pass), (Stage::Policy, Outcome::Pass), (Stage::Gate, Outcome::Ask)]
    );
    assert_eq!(
        gated.decisions[2].message,
        "it needs 1 approval by operator within 30m: p 1.0.0 stands at approve"
    );
}

#[test]
fn the_gate_of_the_runbook_is_what_is_asked() {
    let gated = run(
        DEFAULT,
        "gate: { approvals: 2, roles: [sre], expires: 1h }",
        &plugin(Standing::Automatic, Effects::Reversible),
    );
    let Verdict::Ask(gate) = gated.verdict else { panic!() };
    assert_eq!((gate.approvals, gate.expires), (2, Duration::from_secs(3600)));
    assert_eq!(gate.roles, ["sre"]);
}

#[test]
fn windows_lower_autonomy_or_refuse_and_never_raise_it() {
    let plugin = plugin(Standing::Automatic, Effects::Reversible);
    let now = DateTime::UNIX_EPOCH;
    let ruling = |autonomy, decision| Ruling { autonomy, mute: false, decisions: vec![decision] };
    let open = ruling(Some(Autonomy::Automatic), Decision::pass(now, Stage::Window, "r", "none covers it"));
    let office =
        ruling(Some(Autonomy::Approve), Decision::ask(now, Stage::Window, "r", Code::Window, "office hours"));
    let freeze = ruling(None, Decision::refuse(now, Stage::Window, "r", Code::Window, "frozen"));
    let silent = ruling(None, Decision::refuse(now, Stage::Window, "r", Code::Silence, "silent"));
    for (autonomy, ruling, expected) in [
        ("automatic", &open, "act"),
        ("approve", &open, "ask"),
        ("automatic", &office, "ask"),
        ("observe", &office, "observe"),
        ("automatic", &freeze, "refuse window"),
        ("observe", &freeze, "refuse window"),
        ("observe", &silent, "refuse silence"),
    ] {
        let gated = run_within(DEFAULT, &format!("autonomy: {autonomy}"), &plugin, Some(ruling));
        assert_eq!(word(&gated.verdict), expected, "{autonomy} {ruling:?}");
        let said = gated.decisions.iter().any(|decision| decision.message.contains("office hours"));
        assert_eq!(said, std::ptr::eq(ruling, &office), "{:?}", gated.decisions);
    }
}
