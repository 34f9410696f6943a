use std::time::Duration;

use super::*;
use crate::alert::{Severity, Status};
use crate::id::{Digest, SilenceId};
use crate::policy::{Effects, PluginKind, Standing as Place};
use crate::silence::{Matchers, Silence};

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
}

fn alert(name: &str, instance: &str, second: i64) -> Alert {
    let labels = [("alertname", name), ("instance", instance)];
    Alert {
        id: None,
        source: "s".to_owned(),
        fingerprint: format!("{name}-{instance}"),
        status: Status::Firing,
        severity: Severity::Error,
        title: None,
        description: None,
        service: None,
        target: None,
        labels: labels.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        annotations: BTreeMap::new(),
        starts_at: Some(at(second)),
        ends_at: None,
        links: Vec::new(),
        raw_digest: Digest::of(b""),
    }
}

fn over(alert: &Alert, second: i64) -> Alert {
    Alert { status: Status::Resolved, ends_at: Some(at(second)), ..alert.clone() }
}

const PERMIT_ALL: &str = "@id(\"all\") permit(principal, action, resource);";

/// A runbook `r` for alerts named `Down`, with more lines.
fn runbook(more: &str) -> String {
    format!(
        "runbook: r\nmatch: ['alertname=\"Down\"']\ntarget: '{{{{ labels.instance }}}}'\n\
         steps: [{{ plugin: p, input: {{ unit: '{{{{ labels.instance }}}}' }} }}]\n{more}\n"
    )
}

fn policies(more: &str, guardrails: &str, windows: &str) -> Policies {
    let runbook = runbook(more);
    let files =
        [("runbooks/r.yaml", runbook.as_str()), ("guardrails.cedar", guardrails), ("windows.yaml", windows)];
    Policies::load(&files).unwrap()
}

struct Play {
    policies: Policies,
    limits: GlobalLimits,
    plugins: BTreeMap<String, Result<Plugin, Reason>>,
    silences: Vec<Silence>,
    assumed: Assumed,
}

fn plugin(standing: Place) -> Plugin {
    let facts = PluginFacts {
        name: "p".to_owned(),
        version: "1.0.0".to_owned(),
        kind: PluginKind::Remediation,
        effects: Effects::Reversible,
        standing,
        capabilities: BTreeSet::new(),
    };
    let check = |input: &Value| match input["unit"].as_str() {
        Some("bad") => Err(Reason::new(Code::Input, "input of p: bad")),
        _ => Ok(()),
    };
    Plugin { facts, check_input: Box::new(check) }
}

impl Play {
    fn new(more: &str) -> Self {
        Self {
            policies: policies(more, PERMIT_ALL, "[]"),
            limits: GlobalLimits::default(),
            plugins: BTreeMap::from([("p".to_owned(), Ok(plugin(Place::Automatic)))]),
            silences: Vec::new(),
            assumed: Assumed { runs_take: Duration::from_secs(60), approved: true },
        }
    }

    fn play(&self, alerts: Vec<Alert>) -> (Vec<Judged>, Summary) {
        let silences: Silences = self.silences.iter().cloned().collect();
        let groups = BTreeMap::new();
        let world = self.world(&self.policies, &silences, &groups);
        let mut backtest = Backtest::new(world);
        let (mut all, mut summary) = (Vec::new(), Summary::default());
        for Recorded { at, alert } in in_order(alerts, at(0)) {
            backtest.hear(at, &alert, &mut |_, judged| {
                summary.note(&judged);
                all.push(judged);
            });
        }
        (all, summary)
    }

    fn world<'a>(
        &'a self,
        policies: &'a Policies,
        silences: &'a Silences,
        groups: &'a BTreeMap<String, Roll>,
    ) -> World<'a> {
        World {
            policies,
            limits: &self.limits,
            plugins: &self.plugins,
            groups,
            silences,
            canonical: &|name: &str| name.trim_end_matches(":9100").to_owned(),
            assumed: self.assumed,
        }
    }

    /// What each alert comes to, as `decided code`.
    fn check(&self, alerts: Vec<Alert>, wanted: &[&str]) {
        let (all, _) = self.play(alerts);
        let said: Vec<String> = all.iter().map(said).collect();
        assert_eq!(said, wanted);
    }
}

fn said(judged: &Judged) -> String {
    match judged.runbooks.as_slice() {
        [] => judged.decided.as_str().to_owned(),
        runs => runs
            .iter()
            .map(|run| format!("{} {}", run.decided.as_str(), run.code))
            .collect::<Vec<_>>()
            .join("; "),
    }
}

#[test]
fn an_alert_is_routed_gated_and_run_as_the_policies_say() {
    let hosts = || vec![alert("Down", "web-1", 0), alert("Up", "web-1", 1), alert("Down", "bad", 2)];
    for (autonomy, wanted) in [
        ("automatic", ["act passed", "no-match", "refuse input"]),
        ("approve", ["ask approval-needed", "no-match", "refuse input"]),
        ("observe", ["observe observe", "no-match", "refuse input"]),
    ] {
        Play::new(&format!("autonomy: {autonomy}")).check(hosts(), &wanted);
    }
}

#[test]
fn standing_holds_a_run_down_and_out() {
    for (standing, wanted) in [
        (Place::Observe, "observe observe"),
        (Place::Approve, "ask approval-needed"),
        (Place::Automatic, "act passed"),
        (Place::Deprecated, "refuse standing"),
        (Place::Revoked, "refuse standing"),
    ] {
        let mut play = Play::new("autonomy: automatic");
        play.plugins.insert("p".to_owned(), Ok(plugin(standing)));
        play.check(vec![alert("Down", "web-1", 0)], &[wanted]);
    }
    let mut play = Play::new("autonomy: automatic");
    play.plugins.clear();
    play.check(vec![alert("Down", "web-1", 0)], &["refuse plugin-unknown"]);
}

#[test]
fn a_rate_limits_as_it_would_have() {
    let play = Play::new("autonomy: automatic\nlimits: { per_target: 1 per 10m }");
    let alerts = |seconds: &[i64]| seconds.iter().map(|second| alert("Down", "web-1", *second)).collect();
    play.check(
        alerts(&[0, 300, 599, 600, 1300]),
        &["act passed", "refuse limit", "refuse limit", "act passed", "act passed"],
    );
    let (_, summary) = play.play(alerts(&[0, 300, 599, 600, 1300]));
    assert_eq!((summary.decided.act, summary.decided.refuse), (3, 2));
    assert_eq!(summary.decided.refused_by, BTreeMap::from([("limit", 2)]));
    assert_eq!((summary.alerts, summary.matched, summary.unmatched), (5, 5, 0));
}

#[test]
fn a_storm_asks_instead_of_acting() {
    let play = Play::new("autonomy: automatic\nlimits: { storm: { targets: 2, within: 10m } }");
    let alerts = (0..4).map(|host| alert("Down", &format!("web-{host}"), host)).collect();
    play.check(alerts, &["act passed", "act passed", "ask storm", "ask storm"]);
}

#[test]
fn a_run_that_has_not_ended_keeps_its_place() {
    let play = Play::new("autonomy: automatic");
    let firing = |second| {
        let instance = if second == 30 { "web-1:9100" } else { "web-1" };
        Alert { fingerprint: format!("f{second}"), ..alert("Down", instance, second) }
    };
    play.check(vec![firing(0), firing(30), firing(60)], &["act passed", "refuse busy", "act passed"]);
}

#[test]
fn unanswered_questions_keep_their_place_until_they_expire_or_the_alert_is_over() {
    let mut play = Play::new("autonomy: approve\ngate: { expires: 10m }");
    play.assumed.approved = false;
    let firing = |second| Alert { fingerprint: format!("f{second}"), ..alert("Down", "web-1", second) };
    let asks = "ask approval-needed";
    play.check(vec![firing(0), firing(599), firing(600)], &[asks, "refuse busy", asks]);
    play.check(vec![firing(0), over(&firing(0), 100), firing(101)], &[asks, "resolved", asks]);
}

#[test]
fn repeats_and_ends_start_nothing() {
    let play = Play::new("autonomy: automatic");
    let first = alert("Down", "web-1", 0);
    let alerts = vec![first.clone(), first.clone(), over(&first, 5), over(&first, 6), first.clone()];
    // The repeat at the end stands at the time of its start, so it is heard of before the end.
    play.check(alerts, &["act passed", "duplicate", "duplicate", "resolved", "resolved"]);
}

fn silence(from: i64, until: i64) -> Silence {
    Silence {
        id: SilenceId::from_bits(1),
        matchers: Matchers::parse(&["instance=web-1"]).unwrap(),
        starts_at: at(from),
        ends_at: at(until),
        created_by: "ada".to_owned(),
        comment: "c".to_owned(),
    }
}

#[test]
fn what_a_silence_keeps_quiet_is_taken_up_when_it_ends() {
    let mut play = Play::new("autonomy: automatic");
    play.silences.push(silence(-10, 100));
    let (quiet, other, later) = (alert("Down", "web-1", 0), alert("Down", "web-2", 1), alert("Up", "x", 200));
    let alerts = || vec![quiet.clone(), other.clone(), later.clone()];
    let (all, summary) = play.play(alerts());
    let heard: Vec<_> = all.iter().map(|judged| (judged.heard, judged.at, said(judged))).collect();
    assert_eq!(
        heard,
        [
            (Heard::New, at(0), "refuse silence".to_owned()),
            (Heard::New, at(1), "act passed".to_owned()),
            (Heard::TakenUp, at(100), "act passed".to_owned()),
            (Heard::New, at(200), "no-match".to_owned()),
        ]
    );
    assert_eq!((summary.alerts, summary.taken_up), (3, 1));
    // One that is over by then is not.
    let mut gone = alerts();
    gone.insert(1, over(&quiet, 50));
    play.check(gone, &["refuse silence", "act passed", "resolved", "no-match"]);
}

#[test]
fn windows_refuse_at_their_own_time() {
    let windows =
        "- name: move\n  kind: maintenance\n  from: 2027-01-15T08:00:00Z\n  until: 2027-01-15T09:00:00Z\n";
    let mut play = Play::new("autonomy: automatic");
    play.policies = policies("autonomy: automatic", PERMIT_ALL, windows);
    let (from, until) = ("2027-01-15T08:00:00Z", "2027-01-15T09:00:00Z");
    let second = |text: &str| text.parse::<DateTime<Utc>>().unwrap().timestamp() - at(0).timestamp();
    let alerts = vec![
        alert("Down", "web-1", second(from) - 1),
        alert("Down", "web-2", second(from)),
        alert("Down", "web-3", second(until)),
    ];
    play.check(alerts, &["act passed", "refuse window", "act passed", "act passed"]);
}

#[test]
fn says_what_only_a_plan_could_tell() {
    let few = "@id(\"few\") permit(principal, action == Action::\"act-alone\", resource)
        when { context.effects_count <= 3 };";
    for (guardrails, wanted) in [(PERMIT_ALL, vec!["effects"]), (few, vec!["effects", "effects_count"])] {
        let mut play = Play::new("autonomy: automatic");
        play.policies = policies("autonomy: automatic", guardrails, "[]");
        let (all, _) = play.play(vec![alert("Down", "web-1", 0)]);
        assert_eq!(all[0].runbooks[0].needs_plan, wanted);
        let plan = all[0].decisions.last().unwrap();
        assert_eq!(plan.stage, Stage::Plan);
        assert!(plan.message.contains("not planned"), "{}", plan.message);
    }
    let (all, _) = Play::new("autonomy: observe").play(vec![alert("Down", "web-1", 0)]);
    assert!(all[0].runbooks[0].needs_plan.is_empty(), "what only observes does nothing anyhow");
}

#[test]
fn nothing_is_said_by_what_was_not_asked() {
    let (all, _) = Play::new("autonomy: automatic").play(vec![alert("Down", "web-1", 0)]);
    let stages: Vec<_> = all[0].decisions.iter().map(|said| said.stage).collect();
    assert!(!stages.contains(&Stage::Halt) && !stages.contains(&Stage::Breaker), "{stages:?}");
    for stage in
        [Stage::Dedup, Stage::Match, Stage::Window, Stage::Standing, Stage::Limit, Stage::Policy, Stage::Gate]
    {
        assert!(stages.contains(&stage), "{stage} in {stages:?}");
    }
}

#[test]
fn alerts_without_a_time_stand_with_the_one_before_them() {
    let timeless = |name: &str| Alert { starts_at: None, ..alert(name, "x", 0) };
    let order = |alerts: Vec<Alert>| -> Vec<_> {
        let named = |recorded: Recorded| (recorded.alert.labels["alertname"].clone(), recorded.at);
        in_order(alerts, at(99)).into_iter().map(named).collect()
    };
    let ordered = order(vec![timeless("a"), alert("b", "x", 7), timeless("c"), alert("d", "x", 3)]);
    let wanted = [("d", 3), ("a", 7), ("b", 7), ("c", 7)];
    assert_eq!(ordered, wanted.map(|(name, second)| (name.to_owned(), at(second))));
    assert_eq!(order(vec![timeless("a")]), [("a".to_owned(), at(99))]);
}

#[test]
fn a_comparison_names_what_is_decided_otherwise_and_why() {
    let play = Play::new("autonomy: approve");
    let (silences, groups) = (Silences::default(), BTreeMap::new());
    let after = policies("autonomy: approve\ngate: { approvals: 2 }", PERMIT_ALL, "[]");
    let compare = |after: &Policies| {
        let (before, after) =
            (play.world(&play.policies, &silences, &groups), play.world(after, &silences, &groups));
        let mut comparison = Comparison::new(before, after);
        let mut told = Vec::new();
        for alert in [alert("Down", "web-1", 0), alert("Up", "web-1", 1)] {
            comparison.hear(at(0), &alert, &mut |about, difference| {
                told.push((about.fingerprint.clone(), difference));
            });
        }
        assert_eq!(comparison.before_all.alerts, 2);
        (comparison.different, told)
    };
    assert_eq!(compare(&play.policies.clone()), (0, Vec::new()));
    let (different, told) = compare(&after);
    assert_eq!(different, 1);
    let (fingerprint, difference) = &told[0];
    assert_eq!(fingerprint, "Down-web-1");
    let asked =
        |judged: &Option<Judged>| judged.as_ref().unwrap().runbooks[0].asked.clone().unwrap().approvals;
    assert_eq!((asked(&difference.before), asked(&difference.after)), (1, 2));
    assert!(difference.instead.iter().any(|said| said.message.contains("2 approvals")), "{difference:?}");
    assert!(difference.no_longer.iter().any(|said| said.message.contains("1 approval ")), "{difference:?}");
}
