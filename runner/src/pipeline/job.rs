//! Makes the job that the sandbox executes for one step of a run.

use std::sync::Arc;

use staunch_core::decision::{Code, Reason};
use staunch_core::id::Digest;
use staunch_core::policy::PluginKind;
use staunch_core::run::{Outcome, Run};

use super::drive::End;
use super::history::Past;
use super::ledger::{Judge, StepLedger};
use super::live::LiveRun;
use super::plugins::Loaded;
use super::shared::Shared;
use crate::sandbox::{Export, Job, Mode};

/// What the step is executed for.
#[derive(Debug)]
pub(super) enum Purpose {
    /// To plan, behind the calls that were made already.
    Plan(Past),
    /// To act, behind the calls that were made already.
    Act(Past),
    /// To look whether the fix worked.
    Verify,
}

/// Which part of a run is executed.
#[derive(Debug, Clone)]
pub(super) enum Part {
    /// A step.
    Step(usize),
    /// The undo of a step, with the details of its outcome as JSON text.
    Undo(usize, Option<String>),
}

impl Part {
    /// The step.
    pub(super) fn index(&self) -> usize {
        match self {
            Self::Step(index) | Self::Undo(index, _) => *index,
        }
    }

    /// The number under which entries of the journal tell of it.
    pub(super) fn number(&self) -> u32 {
        match self {
            Self::Step(index) => u32::try_from(*index).unwrap_or(u32::MAX),
            Self::Undo(index, _) => Run::undo_number(*index),
        }
    }
}

/// The export that a plugin of this kind has.
fn export(kind: PluginKind) -> Export {
    match kind {
        PluginKind::Remediation => Export::Remediate,
        PluginKind::Connector => Export::Deliver,
        PluginKind::Check => Export::Inspect,
    }
}

/// The job of one part of a run.
///
/// # Errors
/// How a run ends whose input was removed, so that it cannot be run.
pub(super) fn make(
    shared: &Arc<Shared>,
    live: &Arc<LiveRun>,
    run: &Run,
    part: &Part,
    plugin: &Arc<Loaded>,
    purpose: Purpose,
    mode: Mode,
) -> Result<Job, End> {
    let (index, number) = (part.index(), part.number());
    let step = &run.steps[index];
    let Some(input) = &step.input else {
        let reason = Reason::new(Code::Internal, "the run's input was removed from the journal");
        return Err(End::because(Outcome::Failed, reason));
    };
    let rules = shared.rules();
    let facts = shared.plugins.facts(plugin);
    let acts = matches!(purpose, Purpose::Act(_));
    let first = matches!(part, Part::Step(_)) && run.drill.is_none();
    let judged = acts && first && live.was_judged(run.plan, &rules.policies, index, &facts);
    let ledger = StepLedger {
        live: Arc::clone(live),
        step: number,
        judge: Judge {
            policies: Arc::clone(&rules.policies),
            runbook: run.runbook.clone(),
            plugin: facts,
            target: run.target.clone().unwrap_or_default(),
            irreversible: run.irreversible,
            drill: run.drill.as_ref().filter(|_| acts).map(|_| shared.drill_targets()),
        },
        halts: Arc::clone(&shared.halts),
        plugins: run.steps.iter().map(|step| step.plugin.clone()).collect(),
        aliases: shared.aliases(run.target.as_deref()),
        judged,
        planning: !acts,
    };
    let export = match (&purpose, part) {
        (Purpose::Verify, _) => Export::Verify,
        (_, Part::Undo(..)) => Export::Undo,
        (_, Part::Step(_)) => export(plugin.kind()),
    };
    let past = match purpose {
        Purpose::Plan(past) | Purpose::Act(past) => past,
        Purpose::Verify => Past::default(),
    };
    Ok(Job {
        prepared: plugin.prepared(),
        export,
        input: input.to_string(),
        outcome: match part {
            Part::Step(_) => None,
            Part::Undo(_, details) => details.clone(),
        },
        run: run.id.clone(),
        step: number,
        began: run.created_at,
        seed: seed(run, number),
        host: run.host.clone(),
        grants: plugin.grants(),
        limits: plugin.limits(),
        ledger: Arc::new(ledger),
        replay: past.replay,
        resume: past.resume,
        mode,
    })
}

/// The guest's randomness: fixed by what the journal says of the run, so that a plan and what is done later
/// draw the same.
fn seed(run: &Run, step: u32) -> [u8; 32] {
    *Digest::of_parts(&[b"staunch seed", run.id.as_str().as_bytes(), &step.to_be_bytes()]).as_bytes()
}
