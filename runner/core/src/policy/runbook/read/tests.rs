use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::policy::runbook::{Comment, Deputies, Gate, ReadyProbe, Rung};
use crate::policy::template::Values;

const WHOLE: &str = r#"
runbook: restart-unhealthy-service
description: Restart a unit that stopped answering.
priority: 5
match: ['alertname="ServiceDown"', 'severity=~"critical|error"']
target: '{{ labels.instance }}'
autonomy: automatic
steps:
  - plugin: restart-service
    input: { unit: '{{ labels.unit }}', tries: 3 }
    effects: irreversible
  - plugin: http-request
gate: { approvals: 2, roles: [operator, sre], expires: 1h30m, separation: none }
verify:
  within: 10m
  stable_for: 0s
  interval: 2s
  probes:
    - http: { url: 'http://{{ labels.instance }}/healthz', status: 200, body_contains: ok }
    - tcp: { address: '{{ labels.instance }}:22' }
    - alert_resolved: {}
    - service: { unit: web.service }
    - plugin: {}
undo: never
parallel: true
"#;

fn problems(text: &str) -> Vec<String> {
    read("r.yaml", text).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn reads_every_part() {
    let (runbook, warnings) = read("r.yaml", WHOLE).unwrap();
    assert_eq!(warnings, []);
    assert_eq!((runbook.name.as_str(), runbook.priority), ("restart-unhealthy-service", 5));
    assert_eq!(runbook.matchers.len(), 2);
    assert_eq!(runbook.autonomy, Autonomy::Automatic);
    assert_eq!(runbook.steps[0].effects(Effects::Reversible), Effects::Irreversible);
    assert_eq!(runbook.steps[1].effects(Effects::Irreversible), Effects::Irreversible);
    assert_eq!(runbook.gate.expires, Duration::from_secs(5400));
    assert!(runbook.parallel);

    let labels = BTreeMap::from([("instance", "web-7"), ("unit", "web.service")]);
    let labels = labels.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    let values = Values::new(&labels, None, None, Some("web-7"));
    assert_eq!(runbook.target(&values).unwrap().as_deref(), Some("web-7"));
    let input = runbook.input(&runbook.steps[0], &values).unwrap();
    assert_eq!(input, json!({"unit": "web.service", "tries": 3}));
    assert_eq!(runbook.input(&runbook.steps[1], &values).unwrap(), json!({}));
    let probes = runbook.probes(&values).unwrap();
    assert_eq!(probes[1], ReadyProbe::Tcp { address: "web-7:22".to_owned() });
    assert_eq!(probes.len(), 5);

    let nothing = Values::new(&BTreeMap::new(), None, None, None);
    let error = runbook.target(&nothing).unwrap_err().to_string();
    assert_eq!(error, "r.yaml: template \"target\": there is no labels.instance");
}

#[test]
fn defaults_are_the_documented_ones() {
    let (runbook, _) = read("r.yaml", "runbook: a\nmatch: ['x=\"y\"']\nsteps: [{ plugin: p }]\n").unwrap();
    assert_eq!(runbook.autonomy, Autonomy::Approve);
    assert_eq!(runbook.gate, Gate::default());
    assert!(runbook.verify.is_none() && runbook.target.is_none() && !runbook.parallel);
    let text =
        "runbook: a\nmatch: ['x=\"y\"']\nsteps: [{ plugin: p }]\nverify: { probes: [{ plugin: {} }] }\n";
    let verify = read("r.yaml", text).unwrap().0.verify.unwrap();
    assert_eq!(verify.stable_for, Duration::from_secs(30));
    assert_eq!(verify.within, Duration::from_secs(600));
}

#[test]
fn reports_all_problems_at_once_with_their_places() {
    let text = "runbook: a b\nmatcher: []\nautonomy: full\nsteps:\n  - plugni: x\n    input: '{{ x'\ngate: { approvals: 0 }\n";
    let problems = problems(text);
    for (place, wanted) in [
        ("r.yaml:1:10:", "a name is made of"),
        ("r.yaml:2:1:", "did you mean \"match\"?"),
        ("r.yaml:3:11:", "valid are observe, approve, automatic"),
        (
            "r.yaml:5:5:",
            "unknown key \"plugni\" in steps[0] (did you mean \"plugin\"?); valid keys: plugin, input",
        ),
        ("r.yaml:5:5:", "steps[0] needs the key \"plugin\""),
        ("r.yaml:6:12:", "template \"steps[0].input\""),
        ("r.yaml:7:20:", "approvals must be from 1 to 16, but is 0"),
    ] {
        let found = problems.iter().any(|problem| problem.starts_with(place) && problem.contains(wanted));
        assert!(found, "{place} {wanted}: {problems:#?}");
    }
}

#[test]
fn values_out_of_range_are_refused() {
    let base = "runbook: a\nmatch: ['x=\"y\"']\n";
    for (part, wanted) in [
        ("steps: []", "steps must be from 1"),
        ("match: x", "twice|duplicate"),
        ("steps: [{ plugin: p }]\ngate: { expires: 0s }", "expires must be longer"),
        ("steps: [{ plugin: p }]\nverify: { probes: [] }", "must be from 1"),
        (
            "steps: [{ plugin: p }]\nverify: { probes: [{ http: { url: x }, tcp: { address: y } }] }",
            "exactly one",
        ),
        ("steps: [{ plugin: p }]\nverify: { probes: [{ http: { status: 200 } }] }", "needs the key \"url\""),
        (
            "steps: [{ plugin: p }]\nverify: { probes: [{ service: { unit: a, state: up } }] }",
            "valid are active",
        ),
    ] {
        let problems = problems(&format!("{base}{part}\n")).join("\n");
        assert!(wanted.split('|').any(|wanted| problems.contains(wanted)), "{part}: {problems}");
    }
    let all = problems("runbook: a\nmatch: ['x=~\".*\"']\nsteps: [{ plugin: p }]\n");
    assert!(all[0].contains("without any label"), "{all:?}");
}

#[test]
fn a_gate_has_a_ladder_deputies_and_a_word_about_comments() {
    let base = "runbook: a\nmatch: ['x=\"y\"']\nsteps: [{ plugin: p }]\n";
    let gate = "gate:
  escalate: [{ after: 5m, to: team-chat }, { after: 10m, to: oncall-secondary }]
  deputies: { after: 15m, people: [bob@example.com], roles: [lead] }
  comment: required
";
    let (runbook, _) = read("r.yaml", &format!("{base}{gate}")).unwrap();
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    let rung = |after, to: &str| Rung { after: minutes(after), to: to.to_owned() };
    let wanted = Gate {
        escalate: vec![rung(5, "team-chat"), rung(10, "oncall-secondary")],
        deputies: Some(Deputies {
            after: minutes(15),
            people: vec!["bob@example.com".to_owned()],
            roles: vec!["lead".to_owned()],
        }),
        comment: Comment::Required,
        ..Gate::default()
    };
    assert_eq!(runbook.gate, wanted);
    for (gate, wanted) in [
        ("{ escalate: [{ after: 30m, to: a }] }", "4:29: after must be shorter than the gate's expires, 30m"),
        ("{ escalate: [{ after: 9m, to: a }, { after: 8m, to: b }] }", "escalate[1] comes before"),
        ("{ escalate: [{ after: 9m }] }", "escalate[0] needs the key \"to\""),
        ("{ escalate: [{ after: 9m, to: 'a b' }] }", "to cannot be \"a b\""),
        ("{ deputies: { after: 9m } }", "at least one of"),
        ("{ deputies: { people: [bob] } }", "deputies needs the key \"after\""),
        ("{ comment: maybe }", "valid are required, optional"),
        ("{ approval: 2 }", "did you mean \"approvals\"?"),
    ] {
        let problems = problems(&format!("{base}gate: {gate}\n")).join("\n");
        assert!(problems.contains(wanted), "{gate}: {problems}");
    }
}

#[test]
fn without_match_it_is_for_hands_only_and_says_so() {
    let (runbook, warnings) = read("r.yaml", "runbook: a\nsteps: [{ plugin: p }]\n").unwrap();
    assert!(runbook.matchers.is_empty());
    assert!(warnings[0].to_string().starts_with("r.yaml:1:1: warning: without \"match\""));
}

#[test]
fn what_the_probes_can_never_show_is_refused_or_warned_of() {
    let with = |verify: &str| {
        format!("runbook: a\nmatch: ['x=\"y\"']\nsteps: [{{ plugin: p }}]\nverify: {verify}\n")
    };
    let tcp = "probes: [{ tcp: { address: 'a:1' } }]";
    let refused = problems(&with(&format!("{{ within: 10s, stable_for: 11s, {tcp} }}")));
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(refused[0].starts_with("r.yaml:4:36: verify.stable_for (11s) is longer"), "{refused:?}");
    let warnings = |verify: &str| read("r.yaml", &with(verify)).unwrap().1;
    for (verify, wanted) in [
        (format!("{{ within: 20s, {tcp} }}"), "verify.stable_for (30s) is longer"),
        ("{ probes: [{ alert_resolved: {} }] }".to_owned(), "never not-fixed"),
    ] {
        let found = warnings(&verify);
        assert_eq!(found.len(), 1, "{verify}: {found:?}");
        assert!(!found[0].is_error() && found[0].message.contains(wanted), "{found:?}");
    }
    for verify in [
        format!("{{ within: 10s, stable_for: 10s, {tcp} }}"),
        "{ probes: [{ alert_resolved: {} }, { plugin: {} }] }".to_owned(),
    ] {
        assert_eq!(warnings(&verify), [], "{verify}");
    }
}
