//! Cases: given this alert and these facts, expect this decision and reason. Operators write them beside their
//! runbooks, and `staunch check` runs them through the very code that decides about runs.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::Policies;
use super::facts::{Effects, PluginFacts, PluginKind, Standing};
use super::gate::{self, PlannedStep, Question, Verdict};
use super::prepare::{Occasion, prepare};
use super::problem::{Position, Problem};
use super::reader::{Fields, Reader};
use super::runbook::Runbook;
use super::yaml::{self, Node};
use crate::alert::{Alert, Severity, Status};
use crate::decision::{Code, Reason};
use crate::effect::Call;
use crate::id::{Digest, RunId};
use crate::window;

const ALERT_KEYS: [&str; 11] = [
    "source",
    "fingerprint",
    "status",
    "severity",
    "title",
    "description",
    "service",
    "target",
    "labels",
    "annotations",
    "starts_at",
];
const PLUGIN_KEYS: [&str; 5] = ["effects", "standing", "kind", "capabilities", "version"];

/// One case.
#[derive(Debug, Clone)]
pub struct Case {
    /// What it is about.
    pub name: String,
    file: String,
    at: Position,
    alert: Alert,
    plugins: BTreeMap<String, PluginFacts>,
    effects: Vec<Call>,
    now: Option<DateTime<Utc>>,
    expected: Expected,
}

#[derive(Debug, Clone)]
struct Expected {
    runbooks: Option<Vec<String>>,
    decision: Option<&'static str>,
    code: Option<Code>,
    reason: Option<String>,
}

/// What came of one case.
#[derive(Debug, Clone)]
pub struct CaseResult {
    /// The case's name.
    pub name: String,
    /// What did not come as expected, at the place of the case.
    pub problem: Option<Problem>,
}

/// What the policies decide about an alert, in the words of a case.
struct Actual {
    decision: &'static str,
    code: Code,
    reason: String,
}

/// Reads the cases of one file: one mapping, or a list of them.
///
/// # Errors
/// All problems of the file.
pub fn read(file: &str, text: &str) -> Result<Vec<Case>, Vec<Problem>> {
    let root = yaml::parse(file, text).map_err(|problem| vec![problem])?;
    let mut reader = Reader::new(file);
    let cases: Vec<Case> = match &root.tree {
        yaml::Tree::List(items) => items.iter().filter_map(|item| read_case(&mut reader, item)).collect(),
        _ => read_case(&mut reader, &root).into_iter().collect(),
    };
    if reader.failed() { Err(reader.finish()) } else { Ok(cases) }
}

fn read_case(reader: &mut Reader<'_>, node: &Node) -> Option<Case> {
    let fields = reader.fields(node, "the case", &["name", "alert", "facts", "expect"]);
    let name = reader.required(fields, "name", "the case");
    let name = name.and_then(|node| reader.text(node, "name"));
    let alert = reader.required(fields, "alert", "the case");
    let alert = alert.and_then(|node| read_alert(reader, node));
    let expect = reader.required(fields, "expect", "the case");
    let expected = expect.map(|node| read_expected(reader, node));
    let mut case = Case {
        name: name?.to_owned(),
        file: reader.file().to_owned(),
        at: node.at,
        alert: alert?,
        plugins: BTreeMap::new(),
        effects: Vec::new(),
        now: None,
        expected: expected?,
    };
    if let Some(node) = fields.get("facts") {
        read_facts(reader, node, &mut case);
    }
    Some(case)
}

/// Reads an alert as people write it in cases and scenarios: all of it may be left out.
pub fn read_alert(reader: &mut Reader<'_>, node: &Node) -> Option<Alert> {
    let fields = reader.fields(node, "alert", &ALERT_KEYS);
    let mut text = |key: &str| fields.get(key).and_then(|node| reader.text(node, key)).map(str::to_owned);
    let source = text("source").unwrap_or_else(|| "case".to_owned());
    let fingerprint = text("fingerprint").unwrap_or_else(|| "case".to_owned());
    let (title, description) = (text("title"), text("description"));
    let (service, target) = (text("service"), text("target"));
    let statuses = [("firing", Status::Firing), ("resolved", Status::Resolved)];
    let severities =
        [Severity::Critical, Severity::Error, Severity::Warning, Severity::Info].map(|s| (s.as_str(), s));
    let status =
        fields.get("status").map_or(Some(Status::Firing), |node| reader.word(node, "status", &statuses));
    let severity = fields
        .get("severity")
        .map_or(Some(Severity::default()), |node| reader.word(node, "severity", &severities));
    let starts_at = fields.get("starts_at").and_then(|node| read_time(reader, node, "starts_at"));
    Some(Alert {
        id: None,
        source,
        fingerprint,
        status: status?,
        severity: severity?,
        title,
        description,
        service,
        target,
        labels: read_map(reader, fields, "labels"),
        annotations: read_map(reader, fields, "annotations"),
        starts_at,
        ends_at: None,
        links: Vec::new(),
        raw_digest: Digest::of(b""),
    })
}

fn read_map(reader: &mut Reader<'_>, fields: Fields<'_>, key: &str) -> BTreeMap<String, String> {
    let Some(node) = fields.get(key) else { return BTreeMap::new() };
    let entries = reader.entries(node, key).entries();
    let pair = |entry: &yaml::Entry| {
        let what = format!("{key}.{}", entry.key);
        Some((entry.key.clone(), reader.text(&entry.node, &what)?.to_owned()))
    };
    entries.iter().filter_map(pair).collect()
}

fn read_time(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<DateTime<Utc>> {
    let text = reader.text(node, what)?;
    let time = DateTime::parse_from_rfc3339(text);
    if time.is_err() {
        reader.error(node.at, format!("{what} must be a time as in 2026-03-01T12:00:00Z, but is {text:?}"));
    }
    time.ok().map(|time| time.with_timezone(&Utc))
}

fn read_facts(reader: &mut Reader<'_>, node: &Node, case: &mut Case) {
    let fields = reader.fields(node, "facts", &["plugin", "effects", "now"]);
    if let Some(now) = fields.get("now").and_then(|node| read_time(reader, node, "now")) {
        case.now = Some(now);
    }
    if let Some(node) = fields.get("plugin") {
        for entry in reader.entries(node, "facts.plugin").entries() {
            let facts = read_plugin(reader, &entry.key, &entry.node);
            case.plugins.insert(entry.key.clone(), facts);
        }
    }
    let effects = fields.get("effects").and_then(|node| reader.list(node, "effects"));
    for node in effects.unwrap_or_default() {
        let fields = reader.fields(node, "each of effects", &["capability", "function", "target"]);
        let mut text = |key| {
            let node = reader.required(fields, key, "each of effects")?;
            reader.text(node, key).map(str::to_owned)
        };
        let (capability, function, target) = (text("capability"), text("function"), text("target"));
        if let (Some(capability), Some(function), Some(target)) = (capability, function, target) {
            case.effects.push(Call {
                capability: capability.into(),
                function: function.into(),
                target: target.into(),
                arguments: serde_json::Value::Null.into(),
            });
        }
    }
}

fn read_plugin(reader: &mut Reader<'_>, name: &str, node: &Node) -> PluginFacts {
    let fields = reader.fields(node, "a plugin of facts", &PLUGIN_KEYS);
    let effects = fields.get("effects").and_then(|node| reader.word(node, "effects", &Effects::WORDS));
    let standing = fields.get("standing").and_then(|node| reader.word(node, "standing", &Standing::WORDS));
    let kind = fields.get("kind").and_then(|node| reader.word(node, "kind", &PluginKind::WORDS));
    let capabilities = fields.get("capabilities").and_then(|node| reader.texts(node, "capabilities"));
    let version = fields.get("version").and_then(|node| reader.text(node, "version"));
    PluginFacts {
        name: name.to_owned(),
        version: version.unwrap_or("1.0.0").to_owned(),
        kind: kind.unwrap_or(PluginKind::Remediation),
        effects: effects.unwrap_or(Effects::Reversible),
        standing: standing.unwrap_or(Standing::Approve),
        capabilities: capabilities.unwrap_or_default().into_iter().collect::<BTreeSet<_>>(),
    }
}

fn read_expected(reader: &mut Reader<'_>, node: &Node) -> Expected {
    let fields = reader.fields(node, "expect", &["runbook", "runbooks", "decision", "code", "reason"]);
    let one = fields.get("runbook").and_then(|node| reader.text(node, "runbook"));
    let several = fields.get("runbooks").and_then(|node| reader.texts(node, "runbooks"));
    let words = ["observe", "act", "ask", "refuse", "no-match"].map(|word| (word, word));
    let decision = fields.get("decision").and_then(|node| reader.word(node, "decision", &words));
    let code = fields.get("code").and_then(|node| {
        let codes: Vec<_> = Code::ALL.iter().map(|code| (code.as_str(), *code)).collect();
        reader.word(node, "code", &codes)
    });
    let reason = fields.get("reason").and_then(|node| reader.text(node, "reason"));
    if fields.entries().is_empty() {
        reader.error(node.at, "expect must name at least one of runbook, runbooks, decision, code, reason");
    }
    Expected {
        runbooks: one.map(|one| vec![one.to_owned()]).or(several),
        decision,
        code,
        reason: reason.map(str::to_owned),
    }
}

impl Case {
    /// Runs the case against the policies.
    #[must_use]
    pub fn run(&self, policies: &Policies) -> CaseResult {
        let routed = policies.routing().route(&self.alert, self.now.unwrap_or_default());
        let names: Vec<String> = routed.runbooks.iter().map(|runbook| runbook.name.clone()).collect();
        let actual = match routed.runbooks.first() {
            Some(runbook) => self.decide(policies, runbook),
            None => {
                let reason = routed.decisions.first().map(crate::decision::Decision::reason);
                let reason = reason.unwrap_or_else(|| Reason::new(Code::NoMatch, ""));
                Actual { decision: "no-match", code: reason.code, reason: reason.message }
            }
        };
        let mismatch = self.expected.mismatch(&names, &actual);
        let problem = mismatch
            .map(|message| Problem::error(&self.file, self.at, format!("case {:?}: {message}", self.name)));
        CaseResult { name: self.name.clone(), problem }
    }

    /// The decision about the first runbook that answers.
    fn decide(&self, policies: &Policies, runbook: &Runbook) -> Actual {
        let refuse =
            |reason: Reason| Actual { decision: "refuse", code: reason.code, reason: reason.message };
        let run = RunId::from_bits(0);
        let occasion = Occasion {
            run: &run,
            alert: Some(&self.alert),
            labels: &self.alert.labels,
            target: None,
            input: None,
        };
        let prepared = match prepare(runbook, &occasion, str::to_owned) {
            Ok(prepared) => prepared,
            Err(reason) => return refuse(reason),
        };
        let ruling = self.now.map(|now| windows(policies, runbook, &occasion, &prepared.target, now));
        let mut steps = Vec::new();
        for (index, step) in runbook.steps.iter().enumerate() {
            let Some(plugin) = self.plugins.get(&step.plugin) else {
                let message = format!("the facts of the case do not tell about plugin {:?}", step.plugin);
                return refuse(Reason::new(Code::PluginUnknown, message));
            };
            steps.push(PlannedStep { plugin, effects: if index == 0 { &self.effects } else { &[] } });
        }
        let gated = gate::decide(
            policies.guardrails(),
            &Question {
                now: self.now.unwrap_or_default(),
                runbook,
                target: &prepared.target,
                alert: Some(&self.alert),
                manual: false,
                labels: &self.alert.labels,
                steps: &steps,
                windows: ruling.as_ref(),
            },
        );
        let last = gated.decisions.last().map(crate::decision::Decision::reason);
        let Reason { code, message } = last.unwrap_or_else(|| Reason::new(Code::Passed, ""));
        match gated.verdict {
            Verdict::Observe => Actual { decision: "observe", code, reason: message },
            Verdict::Act => Actual { decision: "act", code, reason: message },
            Verdict::Ask(_) => Actual { decision: "ask", code, reason: message },
            Verdict::Refuse(reason) => refuse(reason),
        }
    }
}

/// What windows say about a run of the runbook at a time.
fn windows(
    policies: &Policies,
    runbook: &Runbook,
    occasion: &Occasion<'_>,
    target: &str,
    now: DateTime<Utc>,
) -> window::Ruling {
    let plugins: Vec<&str> = runbook.steps.iter().map(|step| step.plugin.as_str()).collect();
    let subject = window::Subject {
        labels: occasion.labels,
        target: Some(target),
        runbook: &runbook.name,
        plugins: &plugins,
        safe: runbook.safe,
    };
    let windows = policies.windows();
    let in_force = windows.in_force(&windows.outlook(now), now, &subject);
    window::rule(now, &runbook.name, &in_force, None)
}

impl Expected {
    /// What is not as expected; `None` when all is.
    fn mismatch(&self, runbooks: &[String], actual: &Actual) -> Option<String> {
        let Actual { decision, code, reason } = actual;
        let got = format!("{decision} ({code}: {reason})");
        if let Some(wanted) = self.runbooks.as_deref().filter(|wanted| *wanted != runbooks) {
            let list = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Some(format!("expected the runbooks {}, got {}", list(wanted), list(runbooks)));
        }
        if let Some(wanted) = self.decision.filter(|wanted| wanted != decision) {
            return Some(format!("expected {wanted}, got {got}"));
        }
        if let Some(wanted) = self.code.filter(|wanted| wanted != code) {
            return Some(format!("expected the code {wanted}, got {got}"));
        }
        let wanted = self.reason.as_deref().filter(|wanted| !reason.contains(wanted))?;
        Some(format!("expected a reason with {wanted:?}, got {got}"))
    }
}
