//! Runbooks: what to do about matching alerts.
//!
//! This file says what a runbook is; `read` says how one is read from YAML.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::facts::{Autonomy, Effects};
use super::matcher::Matcher;
use super::problem::Position;
use super::template::{Condition, Input, Template, TemplateError, Templates, Values};
use crate::id::Digest;
use crate::limit::Limits;
use crate::schedule::Schedule;

mod gate;
mod limits;
pub(crate) mod probe;
mod read;
mod schedule;
pub mod sequence;
mod steps;

pub use gate::{Comment, Deputies, Gate, Rung, Separation};
pub use read::read;
use sequence::{ReadyRequest, Request};
pub use steps::{OnFailure, Retry, Undo};

/// One runbook, checked and compiled.
#[derive(Debug, Clone)]
pub struct Runbook {
    /// Its name.
    pub name: String,
    /// What it is for, for people.
    pub description: String,
    /// Runbooks with a higher one come first when several match; 0 unless the file says otherwise.
    pub priority: i64,
    /// When it runs by the clock. `None`: it answers to alerts, or is started by hand.
    pub schedule: Option<Schedule>,
    /// All of them must match. None at all: it is started by hand or by its schedule only.
    pub matchers: Vec<Matcher>,
    /// What it acts on. `None`: what the alert says that it is about.
    pub target: Option<Template>,
    /// The most autonomy that it may have.
    pub autonomy: Autonomy,
    /// What it does, in order. At least one.
    pub steps: Vec<Step>,
    /// Where it waits for people.
    pub gate: Gate,
    /// How recovery is verified. `None`: it is not.
    pub verify: Option<Verify>,
    /// When what it did is taken back.
    pub undo: Undo,
    /// The runbook that follows when this one did not fix it, and where the file says so.
    pub next: Option<(String, Position)>,
    /// Whether it passes change freezes.
    pub safe: bool,
    /// Whether a run that has not done anything yet, or is between two effects, ends when its alert is over.
    pub cancel_when_resolved: bool,
    /// Who is told of its runs: names under which connectors are routed.
    pub tell: Vec<String>,
    /// Whether it may act on a target on which another run acts.
    pub parallel: bool,
    /// The group that its targets belong to, and where the file says so.
    pub group: Option<(String, Position)>,
    /// How much it may do, how fast, to how many targets at once.
    pub limits: Limits,
    /// The file that it was read from.
    pub file: String,
    /// The digest of that file.
    pub digest: Digest,
    templates: Templates,
}

/// One step: a plugin and its input.
#[derive(Debug, Clone)]
pub struct Step {
    /// The plugin's name.
    pub plugin: String,
    /// Its input.
    pub input: Input,
    /// What its effects are to be taken for, where that is worse than its manifest says.
    pub effects: Option<Effects>,
    /// Whether it is done at all, asked when its turn comes. `None`: it is.
    pub when: Option<Condition>,
    /// How it is tried again. `None`: it is not.
    pub retry: Option<Retry>,
    /// What its failure means for the rest.
    pub on_failure: OnFailure,
    /// Where the step stands in the file.
    pub at: Position,
}

impl Step {
    /// What the effects of this step are like: the worse of what the plugin declares and the runbook says.
    #[must_use]
    pub fn effects(&self, declared: Effects) -> Effects {
        self.effects.map_or(declared, |tightened| tightened.max(declared))
    }
}

/// How recovery is verified.
#[derive(Debug, Clone)]
pub struct Verify {
    /// How long recovery may take.
    pub within: Duration,
    /// How long the probes must pass without a break.
    pub stable_for: Duration,
    /// The time from one round of probes to the next.
    pub interval: Duration,
    /// What is looked at. At least one.
    pub probes: Vec<Probe>,
}

/// One probe as the runbook says it.
#[derive(Debug, Clone)]
pub enum Probe {
    /// A request.
    Http {
        /// The address.
        url: Template,
        /// `GET` or `HEAD`.
        method: String,
        /// The status that passes. `None`: any from 200 to 299.
        status: Option<u16>,
        /// What the body must contain.
        body_contains: Option<Template>,
    },
    /// A connection.
    Tcp {
        /// Host and port.
        address: Template,
    },
    /// The alert is over.
    AlertResolved,
    /// The state of a unit.
    Service {
        /// The unit.
        unit: Template,
        /// The state that passes.
        state: String,
    },
    /// Several requests, one after the other.
    Sequence {
        /// The requests, in order.
        requests: Vec<Request>,
    },
    /// The `verify` export of the first step's plugin.
    Plugin,
}

/// One probe with its templates rendered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ReadyProbe {
    /// A request.
    Http {
        /// The address.
        url: String,
        /// `GET` or `HEAD`.
        method: String,
        /// The status that passes. `None`: any from 200 to 299.
        status: Option<u16>,
        /// What the body must contain.
        body_contains: Option<String>,
    },
    /// A connection.
    Tcp {
        /// Host and port.
        address: String,
    },
    /// The alert is over.
    AlertResolved {},
    /// The state of a unit.
    Service {
        /// The unit.
        unit: String,
        /// The state that passes.
        state: String,
    },
    /// Several requests, one after the other.
    Sequence {
        /// The requests, in order.
        requests: Vec<ReadyRequest>,
    },
    /// The `verify` export of the first step's plugin.
    Plugin {},
}

impl Runbook {
    /// The target that the runbook's template gives; `None` where it has none.
    ///
    /// # Errors
    /// When the template cannot be rendered, or gives an empty text.
    pub fn target(&self, values: &Values) -> Result<Option<String>, TemplateError> {
        let Some(template) = &self.target else {
            return Ok(None);
        };
        let target = self.templates.render(template, values)?;
        if target.trim().is_empty() {
            return Err(TemplateError {
                file: self.file.clone(),
                key: "target".to_owned(),
                message: "gives an empty text".to_owned(),
            });
        }
        Ok(Some(target))
    }

    /// Whether what it does may be taken back.
    #[must_use]
    pub fn wants_undo(&self) -> bool {
        self.undo != Undo::Never || self.steps.iter().any(|step| step.on_failure == OnFailure::Undo)
    }

    /// The input of one of its steps.
    ///
    /// # Errors
    /// When a template in it cannot be rendered.
    pub fn input(&self, step: &Step, values: &Values) -> Result<Value, TemplateError> {
        self.templates.render_input(&step.input, values)
    }

    /// Whether one of its steps is to be done, now that the steps before it came to their ends: `values` with
    /// [`Values::with_steps`].
    ///
    /// # Errors
    /// When its condition cannot be told: then it must not be done.
    pub fn wants(&self, step: &Step, values: &Values) -> Result<bool, TemplateError> {
        step.when.as_ref().map_or(Ok(true), |condition| self.templates.holds(condition, values))
    }

    /// Its probes, ready to be made.
    ///
    /// # Errors
    /// When a template in one of them cannot be rendered.
    pub fn probes(&self, values: &Values) -> Result<Vec<ReadyProbe>, TemplateError> {
        let probes = self.verify.iter().flat_map(|verify| &verify.probes);
        probes.map(|probe| probe.ready(&self.templates, values)).collect()
    }
}
