//! The list of what can happen, in groups by subject: one enum, one table of names, and for each kind what stays in
//! the leaf and what came from outside.
//!
//! A group is a macro that adds its facts to those before it and hands all of them to the next one; the last in the
//! row, `facts`, makes them code.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::alert::{Alert, Severity, Status};
use crate::breaker::Breaker;
use crate::decision::{Code, Decision};
use crate::effect::{Answer, Call, EffectStatus, Repeat};
use crate::halt::{Scope, ScopeKind};
use crate::id::{Digest, HaltId, RunId, SilenceId, TokenId};
use crate::plan::StepPlan;
use crate::run::{
    Approval, Ask, EffectRecord, Flow, Mode, Outcome, Passes, ProbeAnswer, UndoState, Verdict, VerifyPlan,
};
use crate::schedule::Occurrence;
use crate::standing::{Intervention, Record};
use crate::text::Text;

use super::form::{LeafIn, json_bytes, parse};
use super::{Before, Encoded, Event, EventError, Outside};

#[macro_use]
mod words;
#[macro_use]
mod intake;
#[macro_use]
mod runs;
#[macro_use]
mod guards;
#[macro_use]
mod administration;

facts_of_intake! { [facts_of_runs, facts_of_guards, facts_of_administration, facts] }
