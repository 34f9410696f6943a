//! Runbooks: what to do about matching alerts.
//!
//! This file says what a runbook is; `read` says how one is read from YAML.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::facts::{Autonomy, Effects};
use super::matcher::Matcher;
use super::problem::Position;
use super::template::{Input, Template, TemplateError, Templates, Values};
use crate::id::Digest;
use crate::schedule::Schedule;

mod gate;
mod read;
mod schedule;

pub use gate::{Comment, Deputies, Gate, Rung, Separation};
pub use read::read;

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
    /// Whether it may act on a target on which another run acts.
    pub parallel: bool,
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

    /// The input of one of its steps.
    ///
    /// # Errors
    /// When a template in it cannot be rendered.
    pub fn input(&self, step: &Step, values: &Values) -> Result<Value, TemplateError> {
        self.templates.render_input(&step.input, values)
    }

    /// Its probes, ready to be made.
    ///
    /// # Errors
    /// When a template in one of them cannot be rendered.
    pub fn probes(&self, values: &Values) -> Result<Vec<ReadyProbe>, TemplateError> {
        let probes = self.verify.iter().flat_map(|verify| &verify.probes);
        probes.map(|probe| self.ready(probe, values)).collect()
    }

    fn ready(&self, probe: &Probe, values: &Values) -> Result<ReadyProbe, TemplateError> {
        let render = |template: &Template| self.templates.render(template, values);
        Ok(match probe {
            Probe::Http { url, method, status, body_contains } => ReadyProbe::Http {
                url: render(url)?,
                method: method.clone(),
                status: *status,
                body_contains: body_contains.as_ref().map(render).transpose()?,
            },
            Probe::Tcp { address } => ReadyProbe::Tcp { address: render(address)? },
            Probe::AlertResolved => ReadyProbe::AlertResolved {},
            Probe::Service { unit, state } => {
                ReadyProbe::Service { unit: render(unit)?, state: state.clone() }
            }
            Probe::Plugin => ReadyProbe::Plugin {},
        })
    }
}
