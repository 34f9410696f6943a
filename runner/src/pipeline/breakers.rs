//! Circuit breakers at work: one for each plugin and target, one for each plugin, one for each endpoint of probes.
//!
//! A change of a breaker's state is an entry of its own, `breaker-changed`, with the whole breaker in it. What a
//! closed one remembers besides is put together again from the rows of kind [`views::ACTION`].

mod probes;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use staunch_core::breaker::{Breaker, BreakerSettings, Grade, NoReason, Settings, State};
use staunch_core::decision::Reason;
use staunch_core::event::{self, Fact, Outside, payload};
use staunch_core::id::RunId;
use staunch_core::run::{Mode, Run};

use super::scribe::{Line, Scribe};
use super::views::{self, Action};
use super::{Pipeline, Refusal};

/// The most breakers that remember anything. Beyond it those of further targets remember nothing.
const MOST: usize = 50_000;

/// Whose breaker it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Whose {
    /// The plugin; `probe:` where it is the one of an endpoint that probes look at.
    pub plugin: String,
    /// The target, or that endpoint; `None`: all targets together.
    pub target: Option<String>,
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Some(endpoint) if self.plugin == probes::PROBE => write!(f, "{}{endpoint}", probes::PROBE),
            Some(target) => write!(f, "{}@{target}", self.plugin),
            None => f.write_str(&self.plugin),
        }
    }
}

impl FromStr for Whose {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if let Some(endpoint) = text.strip_prefix(probes::PROBE) {
            let endpoint = probes::named(endpoint).ok_or(())?;
            return Ok(Self { plugin: probes::PROBE.to_owned(), target: Some(endpoint) });
        }
        let (plugin, target) = text.split_once('@').map_or((text, None), |(p, target)| (p, Some(target)));
        if plugin.is_empty() || target.is_some_and(str::is_empty) {
            return Err(());
        }
        Ok(Self { plugin: plugin.to_owned(), target: target.map(str::to_owned) })
    }
}

/// A breaker as its row holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerRecord {
    /// Whose it is.
    pub whose: Whose,
    /// What it is like.
    pub breaker: Breaker,
    /// When its state changed last.
    pub at: DateTime<Utc>,
}

/// A breaker whose state changed.
#[derive(Debug)]
pub(in crate::pipeline) struct Change {
    whose: Whose,
    from: &'static str,
    why: String,
    by: Option<String>,
    breaker: Breaker,
}

impl Change {
    /// The entry, with the row that it changes.
    pub(super) fn line(self, scribe: &Scribe, run: Option<&Run>) -> Line {
        let leaf = event::BreakerChanged {
            plugin: self.whose.plugin,
            from: self.from.to_owned(),
            to: self.breaker.state().as_str().to_owned(),
            of_run: run.map(|run| run.id.clone()),
        };
        let outside = payload::BreakerChanged {
            target: self.whose.target,
            why: self.why,
            by: self.by,
            breaker: self.breaker,
        };
        let event = scribe.event(None, None, Fact::BreakerChanged(leaf, Outside::Kept(outside)));
        let views = views::breaker_changed(&event).iter().map(views::breaker).collect();
        Line { event: Arc::new(event), views }
    }
}

pub(super) use probes::Heard;

/// All breakers that remember anything.
#[derive(Debug, Default)]
pub(super) struct Breakers {
    table: Mutex<BTreeMap<Whose, Breaker>>,
    settings: Mutex<BreakerSettings>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The breakers that a plugin at a target has to pass.
fn both<'a>(plugin: &'a str, target: Option<&'a str>) -> impl Iterator<Item = Whose> + 'a {
    let whose = |target: Option<&str>| Whose { plugin: plugin.to_owned(), target: target.map(str::to_owned) };
    target.map(|target| whose(Some(target))).into_iter().chain([whose(None)])
}

fn of(settings: &BreakerSettings, whose: &Whose) -> Settings {
    if whose.target.is_some() { settings.target } else { settings.plugin }
}

impl Breakers {
    pub(super) fn set(&self, settings: BreakerSettings) {
        *lock(&self.settings) = settings;
    }

    pub(super) fn settings(&self) -> BreakerSettings {
        *lock(&self.settings)
    }

    /// Why a run does not pass, if so. Changes nothing.
    pub(super) fn ask<'a>(
        &self,
        now: DateTime<Utc>,
        run: &RunId,
        plugins: impl Iterator<Item = &'a str>,
        target: Option<&str>,
    ) -> Option<String> {
        let table = lock(&self.table);
        if table.is_empty() {
            return None;
        }
        for plugin in plugins {
            for whose in both(plugin, target) {
                if let Some(Err(reason)) = table.get(&whose).map(|breaker| breaker.ask(now, run)) {
                    return Some(format!("breaker {whose}: {}", reason.message));
                }
            }
        }
        None
    }

    /// Lets a run pass that is about to act; where a breaker is half-open, the run takes the one trial.
    ///
    /// # Errors
    /// Why it does not pass. Then nothing changed.
    pub(super) fn begin(&self, now: DateTime<Utc>, run: &Run) -> Result<Vec<Change>, Reason> {
        let mut table = lock(&self.table);
        if table.is_empty() {
            return Ok(Vec::new());
        }
        let named = run.steps.iter().flat_map(|step| both(&step.plugin, run.target.as_deref()));
        let all: Vec<Whose> = named.filter(|whose| table.contains_key(whose)).collect();
        for whose in &all {
            if let Some(Err(reason)) = table.get(whose).map(|breaker| breaker.ask(now, &run.id)) {
                return Err(Reason::new(reason.code, format!("breaker {whose}: {}", reason.message)));
            }
        }
        let mut changes = Vec::new();
        for whose in all {
            let Some(breaker) = table.get_mut(&whose) else { continue };
            let before = breaker.state().clone();
            let (_, moved) = breaker.begin(now, &run.id)?;
            let why = moved.map_or_else(|| "a run tries".to_owned(), |moved| moved.why);
            changes.extend(changed(whose, &before, breaker, why));
        }
        Ok(changes)
    }

    /// Records the end of a run with every breaker that it had to pass.
    pub(super) fn ended(&self, run: &Run) -> Vec<Change> {
        let Some(action) = Action::of(run) else { return self.freed(run) };
        let mut changes = self.record(&action, true);
        changes.extend(self.freed(run));
        changes
    }

    /// Makes room for another trial where this run's came to nothing.
    fn freed(&self, run: &Run) -> Vec<Change> {
        let (Some(at), Mode::Act) = (run.ended_at, run.mode) else { return Vec::new() };
        let mut table = lock(&self.table);
        let settings = self.settings();
        let mut changes = Vec::new();
        let plugins = run.steps.iter().flat_map(|step| both(&step.plugin, run.target.as_deref()));
        for whose in plugins.chain(probes::of_run(run)) {
            let Some(breaker) = table.get_mut(&whose) else { continue };
            let before = breaker.state().clone();
            if matches!(&before, State::HalfOpen { trial: Some(trial), .. } if *trial == run.id) {
                breaker.record(&of(&settings, &whose), at, &run.id, Grade::Neither);
                changes.extend(changed(whose, &before, breaker, "a trial showed nothing".to_owned()));
            }
        }
        changes
    }

    /// Records what a run that is over says about its plugins.
    fn record(&self, action: &Action, say: bool) -> Vec<Change> {
        let grade = Grade::of(action.outcome, action.code);
        let settings = self.settings();
        let mut table = lock(&self.table);
        let mut changes = Vec::new();
        for whose in action.acted.iter().flat_map(|plugin| both(&plugin.name, action.target.as_deref())) {
            if !table.contains_key(&whose)
                && (grade == Grade::Neither || !has_room(&mut table, &settings, action.at))
            {
                continue;
            }
            let breaker = table.entry(whose.clone()).or_default();
            let before = breaker.state().clone();
            let moved = breaker.record(&of(&settings, &whose), action.at, &action.run, grade);
            let why = moved.map_or_else(|| "a trial was good".to_owned(), |moved| moved.why);
            if say {
                changes.extend(changed(whose, &before, breaker, why));
            }
        }
        changes
    }

    /// Takes up a breaker as its row says.
    pub(super) fn restore(&self, record: BreakerRecord) {
        lock(&self.table).insert(record.whose, record.breaker);
    }

    /// Takes up what the end of a run said, oldest first, unless the breaker's row says so already.
    pub(super) fn replay(&self, action: &Action, since: &BTreeMap<Whose, DateTime<Utc>>) {
        let mut later = action.clone();
        later.acted.retain(|plugin| {
            both(&plugin.name, action.target.as_deref())
                .all(|whose| since.get(&whose).is_none_or(|at| *at < action.at))
        });
        drop(self.record(&later, false));
    }

    /// Forgets those that say no more than new ones would.
    pub(super) fn prune(&self, now: DateTime<Utc>) {
        let settings = self.settings();
        lock(&self.table).retain(|whose, breaker| !breaker.is_idle(now, &of(&settings, whose)));
    }
}

fn has_room(table: &mut BTreeMap<Whose, Breaker>, settings: &BreakerSettings, now: DateTime<Utc>) -> bool {
    if table.len() >= MOST {
        table.retain(|whose, breaker| !breaker.is_idle(now, &of(settings, whose)));
    }
    table.len() < MOST
}

fn changed(whose: Whose, before: &State, breaker: &Breaker, why: String) -> Option<Change> {
    if before == breaker.state() {
        return None;
    }
    tracing::info!("breaker {whose} is {}: {why}", breaker.state().as_str());
    Some(Change { whose, from: before.as_str(), why, by: None, breaker: breaker.clone() })
}

/// What a person does to a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hand {
    /// Opens it, until somebody closes it.
    Trip,
    /// Closes it.
    Reset,
}

impl Hand {
    fn act(
        self,
        breaker: &mut Breaker,
        now: DateTime<Utc>,
        by: &str,
        reason: &str,
    ) -> Result<String, NoReason> {
        let moved = match self {
            Self::Trip => breaker.trip(now, by, reason),
            Self::Reset => breaker.reset(now, by, reason),
        };
        moved.map(|moved| moved.why)
    }
}

impl Pipeline {
    /// The breakers that are not as new ones would be, by their names.
    #[must_use]
    pub fn breakers(&self) -> Vec<(Whose, Breaker)> {
        let table = lock(&self.0.books.breakers.table);
        table.iter().map(|(whose, breaker)| (whose.clone(), breaker.clone())).collect()
    }

    /// Opens or closes a breaker by hand. Durable when it returns.
    ///
    /// # Errors
    /// When there is no such plugin, no reason, or the journal does not take it.
    pub async fn breaker_by_hand(
        &self,
        whose: Whose,
        hand: Hand,
        by: &str,
        reason: &str,
    ) -> Result<(Whose, Breaker), Refusal> {
        let shared = Arc::clone(&self.0);
        let (by, reason) = (by.to_owned(), reason.to_owned());
        self.whole(async move {
            if whose.endpoint().is_none() && shared.plugins.record(&whose.plugin).is_none() {
                return Err(Refusal::NotFound { what: "plugin of a breaker", id: whose.plugin });
            }
            let no_reason =
                |error: NoReason| Refusal::Invalid { field: "reason", message: error.to_string() };
            let breakers = &shared.books.breakers;
            let (now, mut breaker) =
                (shared.now(), lock(&breakers.table).get(&whose).cloned().unwrap_or_default());
            let from = breaker.state().as_str();
            let why = hand.act(&mut breaker, now, &by, &reason).map_err(no_reason)?;
            let change =
                Change { whose: whose.clone(), from, why, by: Some(by.clone()), breaker: breaker.clone() };
            shared.scribe.commit(vec![change.line(&shared.scribe, None)]).await?;
            // What came in meanwhile is cleared by a hand in any case.
            lock(&breakers.table).insert(whose.clone(), breaker.clone());
            tracing::warn!("breaker {whose} is {}", breaker.state().as_str());
            Ok((whose, breaker))
        })
        .await
    }
}
