//! What the daemon holds of an installation, and the decisions that it takes about one alert, in its order.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use staunch::clock::Clock;
use staunch::config::Config;
use staunch::keys;
use staunch::plugin::{Registry, TrustPolicy, TrustedKey, VerifiedPlugin};
use staunch_core::alert::{Alert, Severity, Status};
use staunch_core::breaker::Breaker;
use staunch_core::decision::Reason;
use staunch_core::effect::{Answer, Call, Repeat};
use staunch_core::event::{self, Event, Fact, Outside, payload};
use staunch_core::gate::{self, PersonNow, PreGateFacts, QuorumFacts, RolesNow};
use staunch_core::halt::{Halt, Halts, Scope, Subject as HaltSubject};
use staunch_core::id::{Digest, HaltId, RunId};
use staunch_core::limit::{Horizon, Ledger, Population, Request, SERVICE, Stop};
use staunch_core::permit::PlanPermit;
use staunch_core::plan::{Plan, PlannedEffect, StepPlan};
use staunch_core::policy::gate::{PlannedStep, Question, Verdict, decide};
use staunch_core::policy::prepare::{Occasion, Prepared, prepare};
use staunch_core::policy::{PluginFacts, Policies, Runbook, Standing};
use staunch_core::record::{Identity, identify};
use staunch_core::run::{Approval, Ask, Mode, Outcome, Run};
use staunch_core::silence::Silences;
use staunch_core::window::{self, Outlook, Ruling, Subject};

use super::files;
use crate::installation::{Installation, PLUGIN};

/// What a decision consists of.
pub(super) const PARTS: [&str; 5] = [
    "match: identity and runbooks",
    "target and input",
    "pre-gate: halts, windows, breaker, limits",
    "policy: windows, standing, Cedar",
    "permit: halts, limits, breaker, quorum",
];

/// After so many decisions what no window reaches any more is dropped, as the daemon does once a second.
const FORGETS: u64 = 100;

/// One decision, as it went.
#[derive(Debug)]
pub(super) struct Decided {
    /// How long each part took.
    pub(super) took: [Duration; PARTS.len()],
    /// Whether people were asked.
    pub(super) asked: bool,
}

/// All that decisions rest on.
#[derive(Debug)]
pub(super) struct World {
    policies: Policies,
    config: Config,
    plugin: VerifiedPlugin,
    facts: PluginFacts,
    plugins: Vec<String>,
    outlook: Option<Outlook>,
    silences: Silences,
    halts: Halts,
    breakers: BTreeMap<(String, Option<String>), Breaker>,
    ledger: Ledger,
    people: BTreeMap<String, PersonNow>,
    rules: u64,
}

impl World {
    /// Reads an installation as `check` and `serve` do.
    pub(super) fn load(installation: &Installation, clock: &Clock) -> anyhow::Result<Self> {
        let said = |problems: Vec<staunch_core::policy::Problem>| {
            anyhow!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        };
        let config = Config::load(&installation.config()).map_err(said)?;
        let policies = config.load_policies().map_err(said)?;
        let mut keys = Vec::new();
        for key in &config.trust.keys {
            keys.push(TrustedKey::new(keys::load_public(&key.file).context("an author's key")?));
        }
        let trust = TrustPolicy { keys, threshold: 1 };
        let plugin = Registry::at(config.plugins.clone()).open(PLUGIN, &trust, clock.now())?;
        let manifest = plugin.manifest();
        let facts = PluginFacts {
            name: manifest.name.clone(),
            version: manifest.version.to_string(),
            kind: manifest.kind,
            effects: manifest.effects,
            standing: Standing::Automatic,
            capabilities: manifest.capabilities.keys().cloned().collect(),
        };
        let text = std::fs::read_to_string(config.policies.join("guardrails.cedar")).context("guardrails")?;
        let operator = |name: &str| {
            let roles = RolesNow::Known(["operator".to_owned()].into());
            (name.to_owned(), PersonNow { person: name.to_owned(), roles })
        };
        Ok(Self {
            policies,
            config,
            plugin,
            facts,
            plugins: vec![PLUGIN.to_owned()],
            outlook: None,
            silences: Silences::default(),
            halts: halts(clock.now()),
            breakers: [(PLUGIN.to_owned(), None)].into_iter().map(|whose| (whose, Breaker::new())).collect(),
            ledger: Ledger::default(),
            people: ["ada", "ben", "cleo"].map(operator).into(),
            rules: u64::try_from(text.matches("@id(").count()).unwrap_or_default(),
        })
    }

    /// Runbooks, Cedar policies of the guardrails, windows.
    pub(super) fn size(&self) -> (u64, u64, u64) {
        let length = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        (
            length(self.policies.routing().runbooks().len()),
            self.rules,
            length(self.policies.windows().all().len()),
        )
    }

    /// Decides about the so-manieth alert, up to the permit to act, and has its run end well at once.
    pub(super) fn decide(&mut self, number: u64, now: DateTime<Utc>) -> anyhow::Result<Decided> {
        let alert = alert(number);
        let id = RunId::from_bits(u128::from(number) + 1);
        let mut took = [Duration::ZERO; PARTS.len()];

        let began = Instant::now();
        let identity = identify(&alert, None);
        let routed = self.policies.routing().route(&alert, now);
        took[0] = began.elapsed();
        let (Identity::New, [runbook]) = (identity, routed.runbooks.as_slice()) else {
            bail!("alert {number} is answered by {} runbooks", routed.runbooks.len());
        };

        let began = Instant::now();
        let prepared = self.prepare(runbook, &id, &alert)?;
        took[1] = began.elapsed();

        let began = Instant::now();
        let (permit, _) = self.pre_gate(runbook, &id, &alert, &prepared.target, now)?;
        took[2] = began.elapsed();
        if permit.run() != &id {
            bail!("the permit is of another run");
        }

        // What the plugin would have planned, and the run as the journal would have it.
        let plan = plan(&id, runbook, &self.plugin, &prepared);
        let calls: Vec<Call> = plan.steps[0].effects.iter().map(|effect| effect.call.clone()).collect();
        let began = Instant::now();
        let verdict = self.policy(runbook, &alert, &prepared.target, &calls, now);
        took[3] = began.elapsed();

        let asked = match &verdict {
            Verdict::Act => None,
            Verdict::Ask(gate) => Some(Ask::new(gate, now)),
            Verdict::Observe | Verdict::Refuse(_) => bail!("alert {number}: {verdict:?}"),
        };
        let policy = self.policies.policy_digest(&runbook.name).context("no such runbook")?;
        let run = run(&id, runbook, &alert, prepared, &plan, asked.clone(), policy, now)?;
        let began = Instant::now();
        self.permit(runbook, &run, &plan, policy, now)?;
        took[4] = began.elapsed();
        self.ledger.acted(now, &id);
        self.ledger.settle(now, &id, Outcome::Fixed);
        if number.is_multiple_of(FORGETS) {
            let runbooks = self.policies.routing().runbooks().iter();
            let limits = runbooks.map(|runbook| (runbook.name.as_str(), &runbook.limits));
            self.ledger.forget(now, &Horizon::new(&self.config.limits, limits));
        }
        Ok(Decided { took, asked: asked.is_some() })
    }

    fn prepare(&self, runbook: &Runbook, id: &RunId, alert: &Alert) -> anyhow::Result<Prepared> {
        let occasion =
            Occasion { run: id, alert: Some(alert), labels: &alert.labels, target: None, input: None };
        let prepared = prepare(runbook, &occasion, |name| self.config.hosts.canonical(name));
        let prepared = prepared.map_err(|reason| refused(&reason))?;
        for input in &prepared.inputs {
            self.plugin.manifest().input.check(input).map_err(|error| anyhow!("{error}"))?;
        }
        Ok(prepared)
    }

    /// What windows and silences say; the calendar is computed once for the time until any of them changes.
    fn windows(&mut self, runbook: &Runbook, alert: &Alert, target: &str, now: DateTime<Utc>) -> Ruling {
        if !self.outlook.as_ref().is_some_and(|outlook| outlook.reaches(now)) {
            self.outlook = None;
        }
        let windows = self.policies.windows();
        let outlook = self.outlook.get_or_insert_with(|| windows.outlook(now));
        let subject = Subject {
            labels: &alert.labels,
            target: Some(target),
            runbook: &runbook.name,
            plugins: &[PLUGIN],
            safe: runbook.safe,
        };
        let mut ruling = window::rule(now, &runbook.name, &windows.in_force(outlook, now, &subject), None);
        if let Some(silence) = self.silences.silenced(now, &alert.labels) {
            silence.cover(now, &runbook.name, &mut ruling);
        }
        ruling
    }

    fn halted(&self, runbook: &Runbook, target: &str) -> Option<String> {
        let subject =
            HaltSubject { runbook: &runbook.name, plugins: &[PLUGIN], target: Some(target), aliases: &[] };
        self.halts.of(&subject).map(Halt::sentence)
    }

    fn broken(&self, id: &RunId, target: &str, now: DateTime<Utc>) -> Option<String> {
        let both = [(PLUGIN.to_owned(), Some(target.to_owned())), (PLUGIN.to_owned(), None)];
        let mut answers = both.iter().filter_map(|whose| self.breakers.get(whose)?.ask(now, id).err());
        answers.next().map(|reason| reason.message)
    }

    fn pre_gate(
        &mut self,
        runbook: &Runbook,
        id: &RunId,
        alert: &Alert,
        target: &str,
        now: DateTime<Utc>,
    ) -> anyhow::Result<(PlanPermit, Vec<staunch_core::decision::Decision>)> {
        let halted = self.halted(runbook, target);
        let windows = self.windows(runbook, alert, target, now);
        let breaker = self.broken(id, target, now);
        self.ledger.sighted(now, &runbook.name, target);
        let request = Request {
            run: id,
            runbook: &runbook.name,
            limits: &runbook.limits,
            plugins: &self.plugins,
            target: Some(target),
            service: alert.labels.get(SERVICE).map(String::as_str),
            approved: false,
        };
        let limit = self.ledger.ask(now, &self.config.limits, &request, Population::NoGroup).err();
        let facts = PreGateFacts {
            target: Some(target),
            unended: None,
            out_of_service: &[],
            alert_over: false,
            halted: halted.as_deref(),
            windows: &windows.decisions,
            breaker: breaker.as_deref(),
            limit: limit.as_ref(),
        };
        gate::pre_gate(now, id, &runbook.name, &facts).map_err(|said| anyhow!("{said:?}"))
    }

    fn policy(
        &mut self,
        runbook: &Runbook,
        alert: &Alert,
        target: &str,
        calls: &[Call],
        now: DateTime<Utc>,
    ) -> Verdict {
        let windows = self.windows(runbook, alert, target, now);
        let question = Question {
            now,
            runbook,
            target,
            alert: Some(alert),
            manual: false,
            labels: &alert.labels,
            steps: &[PlannedStep { plugin: &self.facts, effects: calls }],
            windows: Some(&windows),
        };
        decide(self.policies.guardrails(), &question).verdict
    }

    /// What is asked right before the permit, and the permit.
    fn permit(
        &mut self,
        runbook: &Runbook,
        run: &Run,
        plan: &Plan,
        policy: Digest,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let target = run.target.as_deref().unwrap_or_default();
        if let Some(why) = self.halted(runbook, target) {
            bail!("halted: {why}");
        }
        let request = Request {
            run: &run.id,
            runbook: &run.runbook,
            limits: &runbook.limits,
            plugins: &self.plugins,
            target: Some(target),
            service: run.labels.get(SERVICE).map(String::as_str),
            approved: run.ask.is_some(),
        };
        let taken = self.ledger.reserve(now, &self.config.limits, &request, Population::NoGroup);
        taken.map(drop).map_err(|stop: Stop| refused(&stop.reason()))?;
        if let Some(why) = self.broken(&run.id, target, now) {
            bail!("breaker: {why}");
        }
        let permit = if run.ask.is_some() {
            let facts = QuorumFacts {
                plan: plan.digest,
                policy,
                starter: None,
                signers: &[],
                releasers: &[],
                people: &self.people,
            };
            gate::permit_by_quorum(run, now, &facts).map(|(permit, _)| permit)
        } else {
            gate::permit_alone(run, plan.digest, true)
        };
        permit.map(drop).map_err(|reason| refused(&reason))
    }
}

fn refused(reason: &Reason) -> anyhow::Error {
    anyhow!("{}: {}", reason.code.as_str(), reason.message)
}

/// Halts of others, so that there is something to look at.
fn halts(now: DateTime<Utc>) -> Halts {
    let mut halts = Halts::default();
    for number in 0..5_u128 {
        halts.put(Halt {
            id: HaltId::from_bits(number + 1),
            scope: Scope::Runbook(format!("other-{number}")),
            reason: "the bench".to_owned(),
            by: "ada".to_owned(),
            created_at: now,
            released_at: None,
            released_by: None,
            release_reason: None,
        });
    }
    halts
}

fn alert(number: u64) -> Alert {
    let labels = [
        ("alertname", format!("Bench{:03}", number % files::RUNBOOKS)),
        ("instance", format!("web-{number}:9100")),
        ("job", "bench".to_owned()),
        ("severity", "critical".to_owned()),
        ("team", "payments".to_owned()),
        ("zone", "eu-west-1a".to_owned()),
    ];
    Alert {
        id: None,
        source: "bench".to_owned(),
        fingerprint: format!("{number:016x}"),
        status: Status::Firing,
        severity: Severity::Critical,
        title: Some(format!("web-{number} does not answer")),
        description: None,
        service: None,
        target: Some(format!("web-{number}:9100")),
        labels: labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        annotations: BTreeMap::new(),
        starts_at: None,
        ends_at: None,
        links: Vec::new(),
        raw_digest: Digest::of(&number.to_be_bytes()),
    }
}

/// The plan that `http-request` makes: one request.
fn plan(id: &RunId, runbook: &Runbook, plugin: &VerifiedPlugin, prepared: &Prepared) -> Plan {
    let input = prepared.inputs.first().cloned().unwrap_or_default();
    let call = Call {
        capability: "http".into(),
        function: "send".into(),
        target: "http:127.0.0.1:9000".into(),
        arguments: json!({ "method": "POST", "url": input["url"], "headers": [], "body": input["body"] })
            .into(),
    };
    let effect = PlannedEffect {
        call,
        reason: "the runbook says so".to_owned(),
        assumed: Answer::Ok(Value::Null.into()),
        repeat: Repeat::Once,
    };
    let step = StepPlan {
        plugin: PLUGIN.to_owned(),
        plugin_digest: plugin.digest(),
        input,
        effects: vec![effect],
        readings: Vec::new(),
    };
    Plan::new(id, &runbook.name, vec![step])
}

/// The run as the fold of its entries: made, planned and, where people are asked, approved by two.
#[expect(clippy::too_many_arguments, reason = "each is one part of the entries")]
fn run(
    id: &RunId,
    runbook: &Runbook,
    alert: &Alert,
    prepared: Prepared,
    plan: &Plan,
    asked: Option<Ask>,
    policy: Digest,
    at: DateTime<Utc>,
) -> anyhow::Result<Run> {
    let event = |fact| Event { at, run: Some(id.clone()), alert: None, fact };
    let leaf = event::RunCreated {
        runbook: runbook.name.clone(),
        policy,
        plugins: plan.steps.iter().map(|step| (step.plugin.clone(), step.plugin_digest)).collect(),
        mode: Mode::Act,
        queued: false,
        irreversible: false,
        drill: false,
    };
    let outside = payload::RunCreated {
        target: Some(prepared.target),
        host: None,
        inputs: prepared.inputs,
        labels: alert.labels.clone().into(),
        verify: None,
        by: None,
        comment: None,
        decisions: Vec::new(),
        flow: staunch_core::run::Flow::of(runbook),
        drill: None,
    };
    let mut run = Run::begin(&event(Fact::RunCreated(leaf, Outside::Kept(outside)))).context("no run")?;
    let ask = asked.is_some();
    let leaf = event::RunPlanned { plan: plan.digest, effects: 1, ask, policy };
    let outside = payload::RunPlanned {
        steps: plan.steps.clone(),
        asked,
        decisions: Vec::new(),
        log: Vec::new(),
        changes: Vec::new(),
        undo: Vec::new(),
    };
    run.apply(&event(Fact::RunPlanned(leaf, Outside::Kept(outside))))?;
    for by in ["ada", "ben"].into_iter().filter(|_| ask) {
        let approval = Approval {
            by: by.to_owned(),
            at,
            plan: plan.digest,
            comment: Some("seen".to_owned()),
            subject: None,
            envelope: None,
            storm: None,
            roles: vec!["operator".to_owned()],
            policy: Some(policy),
        };
        let leaf = event::RunApproved { plan: plan.digest, policy };
        run.apply(&event(Fact::RunApproved(leaf, Outside::Kept(payload::RunApproved { approval }))))?;
    }
    Ok(run)
}
