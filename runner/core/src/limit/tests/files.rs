//! What operators write.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::policy::reader::Reader;
use crate::policy::{ReadyProbe, runbook, yaml};

fn read_runbook(limits: &str) -> Result<runbook::Runbook, Vec<String>> {
    let text = format!("runbook: a\nmatch: ['x=\"y\"']\nsteps: [{{ plugin: p }}]\n{limits}\n");
    let read = runbook::read("r.yaml", &text);
    read.map(|(runbook, _)| runbook).map_err(|all| all.iter().map(ToString::to_string).collect())
}

#[test]
fn a_runbook_says_its_limits() {
    let runbook = read_runbook(
        "group: web\nlimits:\n  per_target: 1 per 10m\n  per_runbook: 5 per 1h\n  per_plugin: 9 per 1d\n  \
         per_service: 2 per 90s\n  concurrent: 4\n  concurrent_targets: 25%\n  at_least_healthy: 2\n  \
         cooldown: { after_success: 5m, after_failure: 1h }\n  storm: { targets: 3, within: 5m }",
    )
    .unwrap();
    assert_eq!(runbook.group.as_ref().map(|(name, _)| name.as_str()), Some("web"));
    let wanted = Limits {
        per_target: rate("1 per 10m"),
        per_runbook: rate("5 per 1h"),
        per_plugin: rate("9 per 1d"),
        per_service: rate("2 per 90s"),
        concurrent: Some(4),
        concurrent_targets: Some(Share::Percent(25)),
        at_least_healthy: Some(2),
        cooldown: Cooldown { after_success: Some(seconds(300)), after_failure: Some(seconds(3_600)) },
        storm: Some(Storm { targets: 3, within: seconds(300) }),
    };
    assert_eq!(runbook.limits, wanted);
    let json = serde_json::to_vec(&wanted).unwrap();
    assert_eq!(serde_json::from_slice::<Limits>(&json).unwrap(), wanted);
    assert_eq!(read_runbook("").unwrap().limits, Limits::default());
    let number = read_runbook("limits: { concurrent_targets: 3 }").unwrap();
    assert_eq!(number.limits.concurrent_targets, Some(Share::Count(3)));
}

#[test]
fn wrong_limits_are_refused_at_their_place() {
    for (limits, place, wanted) in [
        ("limits: { per_taget: 1 per 1m }", "4:11", "did you mean \"per_target\"?"),
        ("limits: { per_target: 10 }", "4:23", "must be text (quote it), but is a number"),
        ("limits: { per_target: 1/10m }", "4:23", "\"1/10m\" is not a rate; write a number and a duration"),
        ("limits: { per_target: 0 per 10m }", "4:23", "from 1 to 1000000 actions"),
        ("limits: { per_target: 1 per 10w }", "4:23", "\"10w\" is not a duration"),
        ("limits: { per_target: 1 per 0s }", "4:23", "longer than 0s and at most 31d"),
        ("limits: { per_target: 1 per 32d }", "4:23", "longer than 0s and at most 31d"),
        ("limits: { concurrent: 0 }", "4:23", "limits.concurrent must be from 1"),
        ("group: w\nlimits: { concurrent_targets: 0% }", "5:31", "must be a percentage from 1% to 100%"),
        ("group: w\nlimits: { concurrent_targets: 101% }", "5:31", "must be a percentage from 1% to 100%"),
        (
            "limits: { concurrent_targets: 25% }",
            "4:11",
            "a percentage in limits.concurrent_targets needs the key",
        ),
        ("limits: { at_least_healthy: 2 }", "4:11", "limits.at_least_healthy needs the key \"group\""),
        ("limits: { cooldown: { after_failure: 0s } }", "4:38", "longer than 0s"),
        ("limits: { cooldown: 5m }", "4:21", "limits.cooldown must be a mapping"),
        ("limits: { storm: { targets: 3 } }", "4:18", "limits.storm needs the key \"within\""),
        ("group: 'not a name'", "4:8", "group cannot be \"not a name\""),
    ] {
        let problems = read_runbook(limits).unwrap_err();
        let [problem] = problems.as_slice() else { panic!("{limits}: {problems:?}") };
        assert!(problem.starts_with(&format!("r.yaml:{place}: ")) && problem.contains(wanted), "{problem}");
    }
}

fn read<T>(text: &str, read: impl FnOnce(&mut Reader<'_>, &yaml::Node) -> T) -> Result<T, Vec<String>> {
    let root = yaml::parse("staunch.yaml", text).unwrap();
    let mut reader = Reader::new("staunch.yaml");
    let value = read(&mut reader, &root);
    let problems: Vec<String> = reader.finish().iter().map(ToString::to_string).collect();
    if problems.is_empty() { Ok(value) } else { Err(problems) }
}

#[test]
fn the_limits_over_everything() {
    let text =
        "{ actions: 30 per 10m, concurrent: 8, per_target: 3 per 1h, storm: { targets: 9, within: 1m } }";
    let wanted = GlobalLimits {
        actions: rate("30 per 10m"),
        concurrent: Some(8),
        per_target: rate("3 per 1h"),
        storm: Some(Storm { targets: 9, within: seconds(60) }),
        ..GlobalLimits::default()
    };
    assert_eq!(read(text, global).unwrap(), wanted);
    assert_eq!(
        read("{ at_least_healthy: 2 }", global).unwrap_err(),
        ["staunch.yaml:1:3: \"at_least_healthy\" is a limit of a runbook; write it in the runbook's file"]
    );
    let problems = read("{ action: 30 per 10m }", global).unwrap_err();
    assert_eq!(
        problems,
        [
            "staunch.yaml:1:3: unknown key \"action\" in limits (did you mean \"actions\"?); valid keys: actions, \
          per_target, per_runbook, per_plugin, per_service, concurrent, storm"
        ]
    );
}

#[test]
fn groups_have_members_and_a_probe() {
    let text = "web: { members: [web-7, web-8], healthy: { http: { url: 'http://{{ member }}:80/ok', status: 200 } } }\n\
                db: { members: { file: ./db.txt }, refresh: 30s, fresh_for: 5m }\n\
                job: { members: { prometheus: { url: 'http://127.0.0.1:9090', query: up == 1 } } }";
    let groups = read(text, groups).unwrap();
    let Members::List(members) = &groups["web"].members else { panic!() };
    assert_eq!(members.len(), 2);
    let Some(ReadyProbe::Http { url, status, .. }) = groups["web"].probe("web-7").unwrap() else { panic!() };
    assert_eq!((url.as_str(), status), ("http://web-7:80/ok", Some(200)));
    assert_eq!(groups["db"].members, Members::File("./db.txt".to_owned()));
    assert_eq!((groups["db"].refresh, groups["db"].fresh_for), (seconds(30), seconds(300)));
    let Members::Prometheus(query) = &groups["job"].members else { panic!() };
    assert_eq!((query.label.as_str(), query.bearer.is_none()), ("instance", true));
    assert_eq!(Members::of_text("# fleet\nweb-1\n\n web-2 \n").unwrap().len(), 2);
    assert_eq!(Members::of_text("web-1\nweb-1\n").unwrap_err(), "must not name \"web-1\" twice");
    assert_eq!(Members::of_text("#\n").unwrap_err(), "must name at least one member");
}

#[test]
fn wrong_groups_are_refused_at_their_place() {
    for (text, wanted) in [
        ("web: {}", "1:6: groups.web needs the key \"members\""),
        ("web: { members: [] }", "1:17: groups.web.members must name at least one member"),
        ("web: { members: [a, a] }", "1:17: groups.web.members must not name \"a\" twice"),
        ("web: { members: { query: x } }", "1:19: unknown key \"query\" in groups.web.members"),
        (
            "web: { members: {} }",
            "1:17: groups.web.members must be a list, or have exactly one key of file, prometheus",
        ),
        (
            "web: { members: { prometheus: { url: 'http://a', query: ' ' } } }",
            "1:57: groups.web.members.prometheus.query must be a query of at most 4096 bytes",
        ),
        (
            "web: { members: { prometheus: { url: 'http://a', query: up, label: 9a } } }",
            "1:68: groups.web.members.prometheus.label must be the name of a label",
        ),
        ("web: { members: { prometheus: { query: up } } }", "needs the key \"url\""),
        ("web: { members: { prometheus: { token: x } } }", "valid keys: url, query, label, bearer"),
        ("web: { members: [a], fresh_for: 5s }", "1:1: groups.web.fresh_for is 5s, shorter than the 15s"),
        (
            "web: { members: [a], healthy: { tcp: { address: '{{ host }}:22' } } }",
            "there is no host; the only name is member",
        ),
        ("web: { members: [a], healthy: { alert_resolved: {} } }", "valid keys: http, tcp"),
        ("'a b': { members: [a] }", "1:1: a group cannot be \"a b\""),
    ] {
        let problems = read(text, groups).unwrap_err();
        assert!(problems.iter().any(|problem| problem.contains(wanted)), "{text}: {problems:?}");
    }
}

#[test]
fn a_runbook_of_a_group_that_is_not_there_is_found() {
    let groups = read("web: { members: [a] }", groups).unwrap();
    let check = |limits: &str, groups: &BTreeMap<String, Group>| {
        let runbook = Arc::new(read_runbook(limits).unwrap());
        check_groups(&[runbook], groups).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        check("group: wbe", &groups),
        ["r.yaml:4:8: group \"wbe\" is not in staunch.yaml; its groups: web"]
    );
    assert_eq!(
        check("group: web", &BTreeMap::new()),
        ["r.yaml:4:8: group \"web\" is not in staunch.yaml; its groups: there are none"]
    );
    assert_eq!(check("group: web\nlimits: { concurrent_targets: 50% }", &groups), [""; 0]);
    assert_eq!(
        check("group: web\nlimits: { at_least_healthy: 1 }", &groups),
        ["r.yaml:4:8: limits.at_least_healthy needs the key \"healthy\" in group \"web\" of staunch.yaml"]
    );
}
