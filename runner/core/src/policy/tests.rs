use super::*;

const GUARDRAILS: &str = include_str!("../../../../policies/guardrails.cedar");
const PEOPLE: &str = include_str!("../../../../policies/people.cedar");
const RUNBOOK: &str = "runbook: restart\nmatch: ['alertname=Down']\ntarget: '{{ labels.instance }}'\n\
    autonomy: automatic\nsteps: [{ plugin: restart-service }]\n";

fn load(files: &[(&str, &str)]) -> Result<Policies, Vec<String>> {
    Policies::load(files).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

#[test]
fn problems_of_all_files_are_reported_at_once() {
    let problems = load(&[
        ("p/runbooks/a.yaml", "runbook: a\nstep: []\n"),
        ("p/runbooks/b.yaml", RUNBOOK),
        ("p/runbooks/c.yaml", RUNBOOK),
        ("p/guardrails.cedar", "permit (principal, action == Action::\"fly\", resource);"),
        ("p/people.cedar", "permit (principal;"),
        ("p/windows.yaml", "windows:\n- { name: a, knd: freeze }\n"),
        ("p/notes.txt", ""),
        ("p/README.md", ""),
        ("p/cases/a.yaml", "name: a\nalert: { label: {} }\nexpect: {}\n"),
    ])
    .unwrap_err();
    for wanted in [
        "p/runbooks/a.yaml:2:1: unknown key \"step\" in the runbook (did you mean \"steps\"?)",
        "p/runbooks/c.yaml:1:1: runbook \"restart\" is defined in p/runbooks/b.yaml already",
        "p/guardrails.cedar:1:",
        "p/people.cedar:1:",
        "p/windows.yaml:2:14: unknown key \"knd\" in windows[0] (did you mean \"kind\"?)",
        "p/notes.txt:1:1: not a policy file; valid are runbooks/*.yaml",
        "p/cases/a.yaml:2:10: unknown key \"label\"",
        "p/cases/a.yaml:3:9: expect must name",
    ] {
        assert!(problems.iter().any(|problem| problem.starts_with(wanted)), "{wanted}: {problems:#?}");
    }
    assert!(!problems.iter().any(|problem| problem.contains("README")), "{problems:#?}");
}

#[test]
fn cases_run_through_the_code_that_decides() {
    let cases = "
- name: acts alone
  alert: { labels: { alertname: Down, instance: web-7 } }
  facts: { plugin: { restart-service: { effects: reversible, standing: automatic } } }
  expect: { runbook: restart, decision: act }
- name: asks when the plugin is new
  alert: { labels: { alertname: Down, instance: web-7 } }
  facts: { plugin: { restart-service: { standing: approve } } }
  expect: { decision: ask, code: approval-needed, reason: stands at approve }
- name: nothing for others
  alert: { labels: { alertname: Up } }
  expect: { runbooks: [], decision: no-match }
- name: needs the label
  alert: { labels: { alertname: Down } }
  expect: { decision: refuse, code: template, reason: labels.instance }
- name: wrong on purpose
  alert: { labels: { alertname: Down, instance: web-7 } }
  facts: { plugin: { restart-service: { standing: observe } } }
  expect: { decision: act }
";
    let policies = load(&[
        ("runbooks/r.yaml", RUNBOOK),
        ("guardrails.cedar", GUARDRAILS),
        ("people.cedar", PEOPLE),
        ("schema.cedarschema", SCHEMA),
        ("cases/c.yaml", cases),
    ])
    .unwrap();
    assert_eq!(policies.warnings(), []);
    let results = policies.run_cases();
    let problems: Vec<_> = results.iter().filter_map(|result| result.problem.as_ref()).collect();
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert_eq!(
        problems[0].to_string(),
        "cases/c.yaml:16:3: case \"wrong on purpose\": expected act, got observe (observe: it plans and no more: \
         restart-service 1.0.0 stands at observe)"
    );
}

#[test]
fn policy_digest_follows_runbook_guardrails_and_people_alone() {
    let digest = |runbook: &str, guardrails: &str, people: &str, other: &str| {
        let other = format!("runbook: other\ndescription: '{other}'\nmatch: []\nsteps: [{{ plugin: p }}]\n");
        let files = [
            ("runbooks/r.yaml", runbook),
            ("guardrails.cedar", guardrails),
            ("people.cedar", people),
            ("runbooks/o.yaml", &other),
        ];
        load(&files).unwrap().policy_digest("restart").unwrap()
    };
    let base = digest(RUNBOOK, GUARDRAILS, PEOPLE, "a");
    assert_eq!(base, digest(RUNBOOK, GUARDRAILS, PEOPLE, "b"));
    assert_ne!(base, digest(&format!("{RUNBOOK}\n"), GUARDRAILS, PEOPLE, "a"));
    assert_ne!(base, digest(RUNBOOK, &format!("{GUARDRAILS}\n"), PEOPLE, "a"));
    assert_ne!(base, digest(RUNBOOK, GUARDRAILS, &format!("{PEOPLE}\n"), "a"));
}

#[test]
fn plugins_not_installed_and_odd_roles_are_warnings() {
    let text = format!("{RUNBOOK}gate: {{ roles: [operater] }}\n");
    let policies = load(&[("runbooks/r.yaml", &text), ("schema.cedarschema", "entity A;")]).unwrap();
    let warnings: Vec<String> = policies.warnings().iter().map(ToString::to_string).collect();
    assert!(
        warnings[0].contains("warning: neither Staunch nor people.cedar knows the role \"operater\""),
        "{warnings:?}"
    );
    assert!(warnings[1].contains("differs from the schema of this version"), "{warnings:?}");
    let missing = policies.missing_plugins(&BTreeSet::new());
    assert_eq!(
        missing[0].to_string(),
        "runbooks/r.yaml:5:9: warning: plugin \"restart-service\" is not installed; runs of restart are refused until it is"
    );
    assert!(policies.missing_plugins(&BTreeSet::from(["restart-service".to_owned()])).is_empty());
}

#[test]
fn windows_have_their_say_in_cases_that_name_a_time() {
    let windows = "- { name: night, kind: maintenance, from: '2026-05-09T22:00:00Z', until: '2026-05-10T04:00:00Z' }\n\
        - { name: office, kind: business-hours, from: '2026-05-11T09:00:00Z', until: '2026-05-11T17:00:00Z', \
        inside: approve }\n";
    let case = |now: &str, expect: &str| {
        format!(
            "- name: c\n  alert: {{ labels: {{ alertname: Down, instance: web-7 }} }}\n  facts: {{ {now} plugin: {{ \
             restart-service: {{ effects: reversible, standing: automatic }} }} }}\n  expect: {{ {expect} }}\n"
        )
    };
    let cases = [
        case("", "decision: act"),
        case("now: '2026-05-09T21:59:59Z',", "decision: act"),
        case("now: '2026-05-09T22:00:00Z',", "decision: refuse, code: window, reason: window night"),
        case("now: '2026-05-11T10:00:00Z',", "decision: ask, reason: inside of office"),
    ];
    let policies = load(&[
        ("runbooks/r.yaml", RUNBOOK),
        ("guardrails.cedar", GUARDRAILS),
        ("people.cedar", PEOPLE),
        ("windows.yaml", windows),
        ("cases/c.yaml", &cases.concat()),
    ])
    .unwrap();
    let problems: Vec<_> = policies.run_cases().into_iter().filter_map(|result| result.problem).collect();
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn a_blackout_must_name_a_window_that_there_is() {
    let runbook = "runbook: nightly\nschedule: '0 3 * * *'\nblackout: [audit]\nsteps: [{ plugin: p }]\n";
    let windows =
        "- { name: audit, kind: freeze, from: 2026-05-01T00:00:00Z, until: 2026-05-02T00:00:00Z }\n";
    let policies = load(&[("p/runbooks/n.yaml", runbook), ("p/windows.yaml", windows)]).unwrap();
    assert_eq!(policies.windows().all().len(), 1);
    let problems = load(&[("p/runbooks/n.yaml", runbook)]).unwrap_err();
    assert_eq!(
        problems,
        ["p/runbooks/n.yaml:1:1: blackout names the window \"audit\", which windows.yaml does not have"]
    );
}
