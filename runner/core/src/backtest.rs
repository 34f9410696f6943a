//! Backtest: what policies would have decided about alerts that were recorded.
//!
//! Each alert goes the road of a received one (identity, match, prepare, pre-gate, gate, limits) through the very
//! functions that decide about runs, at its own time. What follows from earlier decisions is carried along: what
//! was taken of the limits, which runs have not ended, and what a window kept quiet and is tried again after it.
//!
//! ```text
//!  Recorded (time, alert) --> advance: runs that end, windows that end --> hear: identity, match
//!                                                                            --> rehearse: one runbook --> Judged
//! ```
//!
//! What nobody can know without running a plugin is not guessed: planned effects, and with them the guardrails'
//! rules about effects, the baseline probes, and how a run ended. [`Assumed`] says what is taken for granted instead,
//! and [`NOT_ASKED`] what had no say.
//!
//! Never here: reading files, and anything that a run would do.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use crate::alert::Alert;
use crate::decision::{Code, Decision, Reason, Stage};
use crate::id::{AlertId, RunId};
use crate::limit::{GlobalLimits, Horizon, Ledger, Roll};
use crate::policy::{PluginFacts, Policies, Runbook};
use crate::record::{Identity, Known, Standing, identify};
use crate::silence::Silences;
use crate::window::Outlook;

mod compare;
mod diary;
mod rehearse;
mod summary;

pub use compare::{Comparison, Difference};
pub use diary::{MOST_ALERTS, Recorded, in_order};
pub use summary::{Counts, Summary};

use diary::Ends;

/// What has no say in a backtest, and why.
pub const NOT_ASKED: [(&str, &str); 4] = [
    ("halt", "whether somebody had halted it then is not part of the policies"),
    ("breaker", "breakers follow from how runs ended, which only runs can tell"),
    ("effects", "planned effects are known only from a plan: the guardrails' rules about effects had no say"),
    ("baseline", "whether the probes would have passed before the first effect is known only from probing"),
];

/// What is taken for granted where only a run could tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assumed {
    /// How long each run takes that acts. It ends well.
    pub runs_take: Duration,
    /// Whether people approve at once what they are asked. Else nobody answers, and the run waits until its gate
    /// expires or its alert is over.
    pub approved: bool,
}

/// Checks an input against a plugin's schema.
pub type CheckInput = Box<dyn Fn(&Value) -> Result<(), Reason> + Send + Sync>;

/// A plugin as a backtest knows it.
pub struct Plugin {
    /// What decisions know about it.
    pub facts: PluginFacts,
    /// Checks an input against its schema.
    pub check_input: CheckInput,
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin").field("facts", &self.facts).finish_non_exhaustive()
    }
}

/// What decisions rest on, beside the alerts.
#[derive(Clone, Copy)]
pub struct World<'a> {
    /// The policies.
    pub policies: &'a Policies,
    /// The limits over everything.
    pub limits: &'a GlobalLimits,
    /// Installed plugins by their names; why one cannot be used, where that is so.
    pub plugins: &'a BTreeMap<String, Result<Plugin, Reason>>,
    /// The members of groups, by the groups' names: all of them count as healthy.
    pub groups: &'a BTreeMap<String, Roll>,
    /// Silences, by the times between which they stood.
    pub silences: &'a Silences,
    /// The name under which a target is counted.
    pub canonical: &'a (dyn Fn(&str) -> String + Sync),
    /// What is taken for granted.
    pub assumed: Assumed,
}

impl fmt::Debug for World<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("assumed", &self.assumed).finish_non_exhaustive()
    }
}

/// What an alert was to those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Heard {
    /// A firing that was not known.
    New,
    /// The same firing again; what was lost to something that passes is tried again.
    Repeat,
    /// The end of a firing.
    Resolved,
    /// A window or silence ended, and what was lost to it is tried again.
    TakenUp,
}

/// What would have come of an alert, or of one runbook that answers to it. What goes furthest stands first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decided {
    /// It would have acted alone.
    Act,
    /// It would have asked people.
    Ask,
    /// It would have planned and no more.
    Observe,
    /// A rule would have said no.
    Refuse,
    /// No runbook answers to it.
    NoMatch,
    /// It was known, and started nothing new.
    Duplicate,
    /// It was over.
    Resolved,
}

impl Decided {
    /// The word, as in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Act => "act",
            Self::Ask => "ask",
            Self::Observe => "observe",
            Self::Refuse => "refuse",
            Self::NoMatch => "no-match",
            Self::Duplicate => "duplicate",
            Self::Resolved => "resolved",
        }
    }
}

/// Whom a run would have asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Asked {
    /// How many people must approve.
    pub approvals: u32,
    /// The roles of which each must have one.
    pub roles: Vec<String>,
    /// How long the question stands.
    pub expires: String,
}

/// What would have come of one runbook that answers to an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rehearsed {
    /// The runbook.
    pub runbook: String,
    /// The canonical target, where it could be told.
    pub target: Option<String>,
    /// What it comes to.
    pub decided: Decided,
    /// Why, for programs.
    pub code: Code,
    /// Why, for people.
    pub message: String,
    /// Whom it asks.
    pub asked: Option<Asked>,
    /// What could still change it, and is known only from a plan: `effects`, and `effects_count` where the
    /// guardrails look at it.
    pub needs_plan: Vec<&'static str>,
}

/// What would have come of one alert at one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Judged {
    /// The time at which it was decided.
    pub at: DateTime<Utc>,
    /// What the alert was to those before it.
    pub heard: Heard,
    /// What goes furthest of all that comes of it.
    pub decided: Decided,
    /// The runbooks that answer, in order.
    pub runbooks: Vec<Rehearsed>,
    /// Everything that had a say, in order.
    pub decisions: Vec<Decision>,
}

/// One firing that was heard of.
#[derive(Debug)]
struct Firing {
    known: Known,
    /// The runbooks that matched and started nothing, for a reason that may pass.
    lost: BTreeSet<String>,
    /// Those of them that a window or silence kept quiet.
    quiet: BTreeSet<String>,
    /// The alert, as long as something of it may be tried again.
    about: Option<Arc<Alert>>,
}

/// Source and fingerprint of an alert.
type Identified = (String, String);

/// Alerts one after the other, in the order of time, and all that follows from the earlier ones.
#[derive(Debug)]
pub struct Backtest<'a> {
    world: World<'a>,
    now: DateTime<Utc>,
    /// Ids are counted, so that the same alerts give the same traces.
    ids: u128,
    firings: HashMap<Identified, Firing>,
    /// The firings of which a window or silence keeps something quiet.
    quieted: BTreeSet<Identified>,
    unended: HashMap<(String, String), RunId>,
    ends: BinaryHeap<Ends>,
    ledger: Ledger,
    horizon: Horizon,
    limited: bool,
    forgot_at: DateTime<Utc>,
    outlook: Option<Outlook>,
    needs_plan: Vec<&'static str>,
}

impl<'a> Backtest<'a> {
    /// A backtest in which nothing has happened yet.
    #[must_use]
    pub fn new(world: World<'a>) -> Self {
        let runbooks = || world.policies.routing().runbooks().iter();
        let limits = || runbooks().map(|runbook| (runbook.name.as_str(), &runbook.limits));
        let limited = *world.limits != GlobalLimits::default()
            || runbooks().any(|runbook| runbook.limits != Default::default());
        let mut needs_plan = vec!["effects"];
        if world.policies.guardrails().counts_effects() {
            needs_plan.push("effects_count");
        }
        Self {
            world,
            now: DateTime::<Utc>::MIN_UTC,
            ids: 0,
            firings: HashMap::new(),
            quieted: BTreeSet::new(),
            unended: HashMap::new(),
            ends: BinaryHeap::new(),
            ledger: Ledger::default(),
            horizon: Horizon::new(world.limits, limits()),
            limited,
            forgot_at: DateTime::<Utc>::MIN_UTC,
            outlook: None,
            needs_plan,
        }
    }

    /// Hears an alert, and hands over what comes of it: first what was to be tried again until then. Alerts come in
    /// the order of time; one that is earlier than what was heard before is heard at that time.
    pub fn hear(&mut self, at: DateTime<Utc>, alert: &Alert, sink: &mut dyn FnMut(&Alert, Judged)) {
        self.advance(at, sink);
        let key = (alert.source.clone(), alert.fingerprint.clone());
        let known = self.firings.get(&key).map(|firing| firing.known.clone());
        let judged = match (identify(alert, known.as_ref()), known) {
            (Identity::New, _) | (_, None) => self.begins(&key, alert),
            (Identity::Repeat, Some(_)) => self.repeats(&key, alert),
            (Identity::Resolves, Some(_)) => self.resolves(&key),
            (Identity::AlreadyOver, Some(_)) => {
                let message = "the firing is over already";
                let said = Decision::pass(self.now, Stage::Dedup, &alert.fingerprint, message);
                self.judged(Heard::Resolved, Decided::Resolved, Vec::new(), vec![said])
            }
        };
        sink(alert, judged);
    }

    fn judged(
        &self,
        heard: Heard,
        otherwise: Decided,
        runbooks: Vec<Rehearsed>,
        decisions: Vec<Decision>,
    ) -> Judged {
        let decided = runbooks.iter().map(|one| one.decided).min().unwrap_or(otherwise);
        Judged { at: self.now, heard, decided, runbooks, decisions }
    }

    fn next_id(&mut self) -> u128 {
        self.ids += 1;
        self.ids
    }

    fn begins(&mut self, key: &Identified, alert: &Alert) -> Judged {
        let routed = self.world.policies.routing().route(alert, self.now);
        let mut decisions =
            vec![Decision::pass(self.now, Stage::Dedup, &alert.fingerprint, "not known before")];
        decisions.extend(routed.decisions);
        let resolved = alert.status == crate::alert::Status::Resolved;
        let known = Known {
            id: AlertId::from_bits(self.next_id()),
            status: if resolved { Standing::Resolved } else { Standing::Firing },
            starts_at: alert.starts_at,
        };
        self.quieted.remove(key);
        let firing = Firing { known, lost: BTreeSet::new(), quiet: BTreeSet::new(), about: None };
        self.firings.insert(key.clone(), firing);
        let runs = self.try_all(key, alert, &routed.runbooks, &mut decisions);
        let (heard, otherwise) =
            if resolved { (Heard::Resolved, Decided::Resolved) } else { (Heard::New, Decided::NoMatch) };
        self.judged(heard, otherwise, runs, decisions)
    }

    fn repeats(&mut self, key: &Identified, alert: &Alert) -> Judged {
        let said = "the same firing again";
        let mut decisions =
            vec![Decision::refuse(self.now, Stage::Dedup, &alert.fingerprint, Code::Duplicate, said)];
        let firing = self.firings.get(key);
        let lost: Vec<String> =
            firing.map(|firing| firing.lost.iter().cloned().collect()).unwrap_or_default();
        let about = firing.and_then(|firing| firing.about.clone());
        let runs = match about {
            Some(about) => self.try_named(key, &about, &lost, &mut decisions),
            None => Vec::new(),
        };
        self.judged(Heard::Repeat, Decided::Duplicate, runs, decisions)
    }

    fn resolves(&mut self, key: &Identified) -> Judged {
        self.quieted.remove(key);
        if let Some(firing) = self.firings.get_mut(key) {
            firing.known.status = Standing::Resolved;
            firing.lost.clear();
            firing.quiet.clear();
            firing.about = None;
            let id = firing.known.id.clone();
            self.end_waiting(&id);
        }
        let said = Decision::pass(self.now, Stage::Dedup, &key.1, "the firing is over");
        self.judged(Heard::Resolved, Decided::Resolved, Vec::new(), vec![said])
    }

    /// Rehearses the named runbooks for an alert, as far as they are still there.
    fn try_named(
        &mut self,
        key: &Identified,
        alert: &Alert,
        names: &[String],
        decisions: &mut Vec<Decision>,
    ) -> Vec<Rehearsed> {
        let policies = self.world.policies;
        let runbooks: Vec<Arc<Runbook>> =
            names.iter().filter_map(|name| policies.runbook(name).cloned()).collect();
        self.try_all(key, alert, &runbooks, decisions)
    }

    /// Rehearses runbooks for an alert, and remembers which of them are lost to something that passes.
    fn try_all(
        &mut self,
        key: &Identified,
        alert: &Alert,
        runbooks: &[Arc<Runbook>],
        decisions: &mut Vec<Decision>,
    ) -> Vec<Rehearsed> {
        let Some(id) = self.firings.get(key).map(|firing| firing.known.id.clone()) else { return Vec::new() };
        let mut runs = Vec::with_capacity(runbooks.len());
        for runbook in runbooks {
            let (rehearsed, lost) = self.rehearse(runbook, &id, alert, decisions);
            self.remember(key, alert, &runbook.name, lost);
            runs.push(rehearsed);
        }
        runs
    }

    fn remember(&mut self, key: &Identified, alert: &Alert, runbook: &str, lost: rehearse::Lost) {
        let Some(firing) = self.firings.get_mut(key) else { return };
        let note = |set: &mut BTreeSet<String>, is_so: bool| {
            if is_so {
                set.insert(runbook.to_owned())
            } else {
                set.remove(runbook)
            };
        };
        note(&mut firing.lost, lost.may_pass);
        note(&mut firing.quiet, lost.quiet);
        if firing.lost.is_empty() {
            firing.about = None;
        } else if firing.about.is_none() {
            firing.about = Some(Arc::new(alert.clone()));
        }
        if firing.quiet.is_empty() {
            self.quieted.remove(key);
        } else {
            self.quieted.insert(key.clone());
        }
    }
}

#[cfg(test)]
mod tests;
