//! One runbook for one alert: the road of a run as far as it can be told without running anything.

use std::sync::Arc;

use crate::alert::Alert;
use crate::decision::{Code, Decision, Outcome, Reason, Stage};
use crate::gate::{self, PreGateFacts};
use crate::id::{AlertId, RunId};
use crate::limit::{Population, Request, SERVICE, Stop};
use crate::policy::gate::{PlannedStep, Question, Verdict};
use crate::policy::prepare::{Occasion, prepare};
use crate::policy::{Gate, Runbook, duration};
use crate::record::{is_quiet, may_pass};
use crate::window::{self, Ruling, Subject};

use super::{Asked, Backtest, Decided, Plugin, Rehearsed, World};

/// Whether what a runbook came to may pass by itself.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lost {
    /// It is tried again when the alert repeats.
    pub(super) may_pass: bool,
    /// It is tried again when the window or silence ends.
    pub(super) quiet: bool,
}

impl Lost {
    fn to(refusals: &[Decision]) -> Self {
        let refused = || refusals.iter().filter(|said| said.result == Outcome::Refuse).map(|said| said.code);
        Self { may_pass: refused().any(may_pass), quiet: refused().any(is_quiet) }
    }
}

/// A run to be, prepared.
struct Wish<'r> {
    run: RunId,
    runbook: &'r Arc<Runbook>,
    alert: &'r Alert,
    alert_id: &'r AlertId,
    plugins: Vec<&'r Plugin>,
    names: Vec<&'r str>,
    target: String,
}

impl<'r> Wish<'r> {
    fn place(&self) -> (String, String) {
        (self.runbook.name.clone(), self.target.clone())
    }

    fn said(&self, decided: Decided, reason: Reason) -> Rehearsed {
        let target = Some(self.target.clone());
        Rehearsed { target, ..rehearsed(self.runbook, decided, reason) }
    }

    fn subject(&'r self) -> Subject<'r> {
        Subject {
            labels: &self.alert.labels,
            target: Some(&self.target),
            runbook: &self.runbook.name,
            plugins: &self.names,
            safe: self.runbook.safe,
        }
    }
}

fn rehearsed(runbook: &Runbook, decided: Decided, reason: Reason) -> Rehearsed {
    Rehearsed {
        runbook: runbook.name.clone(),
        target: None,
        decided,
        code: reason.code,
        message: reason.message,
        asked: None,
        needs_plan: Vec::new(),
    }
}

fn asked(gate: &Gate) -> Asked {
    Asked { approvals: gate.approvals, roles: gate.roles.clone(), expires: duration::print(gate.expires) }
}

impl<'a> Backtest<'a> {
    /// What would have come of a runbook for an alert now, and what of it may be tried again.
    pub(super) fn rehearse(
        &mut self,
        runbook: &Arc<Runbook>,
        alert_id: &AlertId,
        alert: &Alert,
        decisions: &mut Vec<Decision>,
    ) -> (Rehearsed, Lost) {
        let run = RunId::from_bits(self.next_id());
        let wish = match wish(self.world, run, runbook, alert_id, alert) {
            Ok(wish) => wish,
            Err((stage, subject, reason)) => {
                let said = Decision::refuse(self.now, stage, &subject, reason.code, reason.message.clone());
                decisions.push(said);
                return (rehearsed(runbook, Decided::Refuse, reason), Lost::default());
            }
        };
        let windows = self.windows_over(&wish);
        if let Err(refusals) = self.pre_gate(&wish, &windows, decisions) {
            let reason = refusals.first().map(Decision::reason);
            let reason = reason.unwrap_or_else(|| Reason::new(Code::Internal, "refused"));
            let lost = Lost::to(&refusals);
            decisions.extend(refusals);
            return (wish.said(Decided::Refuse, reason), lost);
        }
        self.gate(&wish, &windows, decisions)
    }

    fn windows_over(&mut self, wish: &Wish<'_>) -> Ruling {
        let (now, world) = (self.now, self.world);
        let subject = wish.subject();
        let in_force = world.policies.windows().in_force(self.outlook(), now, &subject);
        let mut ruling = window::rule(now, &wish.runbook.name, &in_force, None);
        if let Some(silence) = world.silences.silenced(now, &wish.alert.labels) {
            silence.cover(now, &wish.runbook.name, &mut ruling);
        }
        ruling
    }

    /// Asks the pre-gate. What it lets pass without having been asked here is left out of the trace.
    fn pre_gate(
        &mut self,
        wish: &Wish<'_>,
        windows: &Ruling,
        decisions: &mut Vec<Decision>,
    ) -> Result<(), Vec<Decision>> {
        let facts = wish.plugins.iter().map(|plugin| &plugin.facts);
        let out = facts.filter(|facts| facts.standing.autonomy().is_none());
        let out: Vec<(&str, &str)> =
            out.map(|facts| (facts.name.as_str(), facts.standing.as_str())).collect();
        let limit = self.limit_of(wish);
        let facts = PreGateFacts {
            target: Some(&wish.target),
            unended: self.unended.get(&wish.place()),
            out_of_service: &out,
            alert_over: false,
            halted: None,
            windows: &windows.decisions,
            breaker: None,
            limit: limit.as_ref(),
        };
        let (_, passed) = gate::pre_gate(self.now, &wish.run, &wish.runbook.name, &facts)?;
        decisions
            .extend(passed.into_iter().filter(|said| !matches!(said.stage, Stage::Halt | Stage::Breaker)));
        Ok(())
    }

    /// Asks the gate over a plan without effects, and takes the run's part of the limits.
    fn gate(
        &mut self,
        wish: &Wish<'_>,
        windows: &Ruling,
        decisions: &mut Vec<Decision>,
    ) -> (Rehearsed, Lost) {
        let steps: Vec<PlannedStep<'_>> =
            wish.plugins.iter().map(|plugin| PlannedStep { plugin: &plugin.facts, effects: &[] }).collect();
        let question = Question {
            now: self.now,
            runbook: wish.runbook,
            target: &wish.target,
            alert: Some(wish.alert),
            manual: false,
            labels: &wish.alert.labels,
            steps: &steps,
            windows: Some(windows),
        };
        let gated = crate::policy::gate::decide(self.world.policies.guardrails(), &question);
        let last = gated.decisions.last().map(Decision::reason);
        let reason = last.unwrap_or_else(|| Reason::new(Code::Passed, ""));
        decisions.extend(gated.decisions);
        match gated.verdict {
            Verdict::Observe => (wish.said(Decided::Observe, reason), Lost::default()),
            Verdict::Refuse(reason) => {
                let lost = Lost { may_pass: may_pass(reason.code), quiet: is_quiet(reason.code) };
                (wish.said(Decided::Refuse, reason), lost)
            }
            Verdict::Act => self.act(wish, reason, decisions),
            Verdict::Ask(gate) => self.ask(wish, &gate, reason, decisions),
        }
    }

    /// It may act alone; unless a limit, or a storm, is against it.
    fn act(&mut self, wish: &Wish<'_>, reason: Reason, decisions: &mut Vec<Decision>) -> (Rehearsed, Lost) {
        match self.reserve(wish, false) {
            Ok(()) => {
                self.begin(wish);
                (self.open_to_a_plan(wish.said(Decided::Act, reason), wish, decisions), Lost::default())
            }
            Err(stop @ Stop::Refused(_)) => self.stopped(wish, &stop, decisions),
            Err(stop @ Stop::Asks(_)) => {
                decisions.push(stop.decision(self.now, &wish.runbook.name));
                self.ask(wish, &wish.runbook.gate, stop.reason(), decisions)
            }
        }
    }

    /// It asks people, who approve at once or not at all.
    fn ask(
        &mut self,
        wish: &Wish<'_>,
        gate: &Gate,
        reason: Reason,
        decisions: &mut Vec<Decision>,
    ) -> (Rehearsed, Lost) {
        if self.world.assumed.approved {
            if let Err(stop) = self.reserve(wish, true) {
                return self.stopped(wish, &stop, decisions);
            }
            self.begin(wish);
        } else {
            self.open(wish.run.clone(), wish.place(), gate.expires, Some(wish.alert_id.clone()));
        }
        let said = Rehearsed { asked: Some(asked(gate)), ..wish.said(Decided::Ask, reason) };
        (self.open_to_a_plan(said, wish, decisions), Lost::default())
    }

    fn stopped(&self, wish: &Wish<'_>, stop: &Stop, decisions: &mut Vec<Decision>) -> (Rehearsed, Lost) {
        decisions.push(stop.decision(self.now, &wish.runbook.name));
        let reason = stop.reason();
        let lost = Lost { may_pass: may_pass(reason.code), quiet: false };
        (wish.said(Decided::Refuse, reason), lost)
    }

    /// Says what a plan could still change.
    fn open_to_a_plan(&self, said: Rehearsed, wish: &Wish<'_>, decisions: &mut Vec<Decision>) -> Rehearsed {
        let message =
            format!("not planned: what depends on its {} is not known", self.needs_plan.join(" and "));
        decisions.push(Decision::pass(self.now, Stage::Plan, &wish.runbook.name, message));
        Rehearsed { needs_plan: self.needs_plan.clone(), ..said }
    }

    fn begin(&mut self, wish: &Wish<'_>) {
        if self.limited {
            self.ledger.acted(self.now, &wish.run);
        }
        self.open(wish.run.clone(), wish.place(), self.world.assumed.runs_take, None);
    }

    /// What of the limits stops it. Its target counts as one in trouble from now on.
    fn limit_of(&mut self, wish: &Wish<'_>) -> Option<Stop> {
        if !self.limited {
            return None;
        }
        self.ledger.sighted(self.now, &wish.runbook.name, &wish.target);
        let (plugins, population) = (names(wish), population(self.world, wish.runbook));
        let request = request(wish, &plugins, false);
        self.ledger.ask(self.now, self.world.limits, &request, population).err()
    }

    fn reserve(&mut self, wish: &Wish<'_>, approved: bool) -> Result<(), Stop> {
        if !self.limited {
            return Ok(());
        }
        let (plugins, population) = (names(wish), population(self.world, wish.runbook));
        let request = request(wish, &plugins, approved);
        self.ledger.reserve(self.now, self.world.limits, &request, population).map(drop)
    }
}

fn names(wish: &Wish<'_>) -> Vec<String> {
    wish.names.iter().map(|name| (*name).to_owned()).collect()
}

fn request<'w>(wish: &'w Wish<'_>, plugins: &'w [String], approved: bool) -> Request<'w> {
    Request {
        run: &wish.run,
        runbook: &wish.runbook.name,
        limits: &wish.runbook.limits,
        plugins,
        target: Some(&wish.target),
        service: wish.alert.labels.get(SERVICE).map(String::as_str),
        approved,
    }
}

fn population<'a>(world: World<'a>, runbook: &'a Runbook) -> Population<'a> {
    let Some((group, _)) = &runbook.group else { return Population::NoGroup };
    match world.groups.get(group) {
        Some(roll) => Population::Known(roll),
        None => Population::Unknown { group, why: "staunch.yaml has no such group" },
    }
}

/// What a run would need; or the stage that refuses, what it is about, and why.
fn wish<'r>(
    world: World<'r>,
    run: RunId,
    runbook: &'r Arc<Runbook>,
    alert_id: &'r AlertId,
    alert: &'r Alert,
) -> Result<Wish<'r>, (Stage, String, Reason)> {
    let mut plugins = Vec::with_capacity(runbook.steps.len());
    for step in &runbook.steps {
        let plugin = match world.plugins.get(&step.plugin) {
            Some(Ok(plugin)) => plugin,
            Some(Err(reason)) => return Err((Stage::Plan, step.plugin.clone(), reason.clone())),
            None => {
                let message =
                    format!("plugin {} is not installed: `staunch plugin install FILE`", step.plugin);
                return Err((Stage::Plan, step.plugin.clone(), Reason::new(Code::PluginUnknown, message)));
            }
        };
        plugins.push(plugin);
    }
    let occasion =
        Occasion { run: &run, alert: Some(alert), labels: &alert.labels, target: None, input: None };
    let prepared = prepare(runbook, &occasion, |name| (world.canonical)(name));
    let prepared = prepared.map_err(|reason| (Stage::Match, runbook.name.clone(), reason))?;
    for (plugin, input) in plugins.iter().zip(&prepared.inputs) {
        (plugin.check_input)(input).map_err(|reason| (Stage::Plan, runbook.name.clone(), reason))?;
    }
    let names = runbook.steps.iter().map(|step| step.plugin.as_str()).collect();
    Ok(Wish { run, runbook, alert, alert_id, plugins, names, target: prepared.target })
}
