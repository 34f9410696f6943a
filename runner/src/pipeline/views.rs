//! Rows of the views: what listings and look-ups read, folded from the journal.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use staunch_core::decision::Code;
use staunch_core::event::{Event, Fact};
use staunch_core::halt::Halt;
use staunch_core::id::{AlertId, Digest, HaltId, RunId, TokenId};
use staunch_core::limit::Reservation;
use staunch_core::policy::Standing;
use staunch_core::record::AlertRecord;
use staunch_core::run::{Glass, Mode, Outcome, Run, State};
use staunch_core::schedule::ScheduleRecord;
use staunch_core::silence::{Silence, Silences};
use staunch_core::standing::{Ended, Record, Settings};

use super::breakers::{BreakerRecord, Whose};
use super::interventions::InterventionRecord;
use crate::journal::ViewRow;
use crate::people::TokenRecord;

/// The kind of rows that say which runs there are: keys are runbook, first plugin, target.
pub const RUN: &str = "run";
/// The state of the rows of runs that have not ended.
pub const OPEN: &str = "open";
/// The kind of rows that hold alerts: keys are source, fingerprint, alert name.
pub const ALERT: &str = "alert";
/// The kind of rows that hold access tokens: the first key is the owner's name.
pub const TOKEN: &str = "token";
/// The kind of rows that hold installed plugins, by their names.
pub const PLUGIN: &str = "plugin";

/// The kind of rows that hold what counts of runs that are over, in the order of their ends: the second key is the
/// first plugin, the third the target. Each run that acted makes one, so there are no more keys than somebody lists by.
pub const ACTION: &str = "action";

/// The kind of rows that hold what happened after runs that were thought to have fixed it, in the order of time: the
/// first key is the run.
pub const INTERVENTION: &str = "intervention";

/// The kind of rows that hold circuit breakers, as they were when their state changed last: keys are plugin, target.
pub const BREAKER: &str = "breaker";

/// The kind of rows that hold halts: keys are the scope's kind, and the name in it.
pub const HALT: &str = "halt";
/// The state of the rows of halts that are in force.
pub const IN_FORCE: &str = "in-force";
/// The state of the rows of halts that were released.
pub const RELEASED: &str = "released";

/// The kind of the row that says whether the file that halts everything was there last.
pub const HALT_FILE: &str = "halt-file";

/// The kind of rows that hold the reasons for which somebody broke the glass: keys are the runbook and the person.
pub const JUSTIFICATION: &str = "justification";
/// The state of the rows of justifications that a second person has to look at yet.
pub const OWED: &str = "owed";
/// The state of the rows of justifications that a second person looked at.
pub const REVIEWED: &str = "reviewed";

/// The kind of rows that hold silences.
pub const SILENCE: &str = "silence";

/// The kind of rows that say where schedules stand, by the names of their runbooks.
pub const SCHEDULE: &str = "schedule";

/// What the journal says about an installed plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginRecord {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its release counter.
    pub release: u64,
    /// Digest of the component.
    pub digest: Digest,
    /// Key ids of the signatures that counted.
    pub signers: Vec<String>,
    /// Its place on the trust ladder.
    pub standing: Standing,
    /// When it was installed.
    pub installed_at: DateTime<Utc>,
    /// What its runs came to, and how it moved.
    pub record: Record,
}

/// The record of a version that stands here from its installation on; `chosen`: who chose that, and why.
#[must_use]
pub fn first_record(
    standing: Standing,
    at: DateTime<Utc>,
    name: &str,
    digest: Digest,
    chosen: Option<(&str, &str)>,
) -> Record {
    let settings = Settings { initial: standing, ..Settings::default() };
    let chosen = chosen.filter(|(_, reason)| !reason.trim().is_empty());
    let chosen = chosen.map(|(by, reason)| (standing, by, reason));
    Record::begin(&settings, at, name, digest, None, chosen).expect("a choice without a reason was left out")
}

fn doc<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("records hold only what JSON can hold")
}

/// Reads a row's document back.
///
/// # Errors
/// When the row was written by another version.
pub fn read<T: DeserializeOwned>(doc: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(doc)
}

/// The state of the rows of runs that have ended: nearly all have, so nobody has to search for them by it.
pub const ENDED: &str = "";

/// The row of a run: that it is there, whether it is still open, and by what it is listed. What it is like is folded
/// from its entries when somebody asks, so that a run that acts does not store all of it twice.
#[must_use]
pub fn run(run: &Run) -> ViewRow {
    ViewRow {
        kind: RUN,
        id: run.id.to_string(),
        state: if run.state == State::Ended { ENDED } else { OPEN }.to_owned(),
        keys: [
            Some(run.runbook.clone()),
            run.steps.first().map(|step| step.plugin.clone()),
            run.target.clone(),
        ],
        doc: Vec::new(),
    }
}

/// What counts of a run that is over: for limits, breakers and standing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// The run.
    pub run: RunId,
    /// When it ended.
    pub at: DateTime<Utc>,
    /// How.
    pub outcome: Outcome,
    /// Its reason.
    pub code: Code,
    /// Its target.
    pub target: Option<String>,
    /// The plugins that acted, or trapped.
    pub acted: Vec<Acted>,
    /// Its part of the limits; `None` where it intended no effect.
    pub taken: Option<Reservation>,
}

/// A plugin that acted, or trapped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acted {
    /// Its name.
    pub name: String,
    /// Its exact bytes.
    pub digest: Digest,
    /// What the run says about it.
    pub ended: Ended,
}

impl Action {
    /// What counts of a run; `None` while it is not over, and where it was a drill, was to plan only or came to
    /// nothing.
    #[must_use]
    pub fn of(run: &Run) -> Option<Self> {
        let (at, outcome) = run.ended_at.zip(run.outcome)?;
        if run.mode == Mode::Plan || run.drill.is_some() {
            return None;
        }
        let acted = run.steps.iter().enumerate().filter_map(|(index, step)| {
            let ended = Ended::of(run, index, run.drill.is_some())?;
            Some(Acted { name: step.plugin.clone(), digest: step.plugin_digest, ended })
        });
        let acted: Vec<Acted> = acted.collect();
        let taken = Reservation::of(run);
        if acted.is_empty() && taken.is_none() {
            return None;
        }
        let code = run.reason.as_ref().map_or(Code::Internal, |reason| reason.code);
        Some(Self { run: run.id.clone(), at, outcome, code, target: run.target.clone(), acted, taken })
    }
}

/// The row of what counts of a run that is over: the beginning of its id is the time of its end.
#[must_use]
pub fn action(run: &Run) -> Option<ViewRow> {
    let action = Action::of(run)?;
    Some(ViewRow {
        kind: ACTION,
        id: format!("{:016x}-{}", action.at.timestamp_micros().max(0), run.id),
        state: String::new(),
        keys: [None, run.steps.first().map(|step| step.plugin.clone()), run.target.clone()],
        doc: doc(&action),
    })
}

/// The row of what happened after a run: the beginning of its id is the time.
#[must_use]
pub fn intervention(record: &InterventionRecord) -> ViewRow {
    ViewRow {
        kind: INTERVENTION,
        id: format!("{:016x}-{}", record.at.timestamp_micros().max(0), record.run),
        state: "noted".to_owned(),
        keys: [Some(record.run.to_string()), None, None],
        doc: doc(record),
    }
}

/// The row of a circuit breaker.
#[must_use]
pub fn breaker(record: &BreakerRecord) -> ViewRow {
    ViewRow {
        kind: BREAKER,
        id: record.whose.to_string(),
        state: record.breaker.state().as_str().to_owned(),
        keys: [Some(record.whose.plugin.clone()), record.whose.target.clone(), None],
        doc: doc(record),
    }
}

/// The breaker that a `breaker-changed` event tells of; `None` where its payload was removed.
#[must_use]
pub fn breaker_changed(event: &Event) -> Option<BreakerRecord> {
    let Fact::BreakerChanged(leaf, outside) = &event.fact else { return None };
    let outside = outside.get()?;
    let whose = Whose { plugin: leaf.plugin.clone(), target: outside.target.clone() };
    Some(BreakerRecord { whose, breaker: outside.breaker.clone(), at: event.at })
}

/// The rows that an event of a run changes.
#[must_use]
pub fn of_run(known: &Run, fact: &Fact) -> Vec<ViewRow> {
    let ended = matches!(fact, Fact::RunEnded(..)).then(|| run(known));
    ended.into_iter().chain(action(known)).chain(justification(known, fact)).collect()
}

/// The row of an alert.
#[must_use]
pub fn alert(record: &AlertRecord) -> ViewRow {
    let alert = record.alert.as_ref();
    ViewRow {
        kind: ALERT,
        id: record.id.to_string(),
        state: record.status.as_str().to_owned(),
        keys: [
            Some(record.source.clone()),
            alert.map(|alert| alert.fingerprint.clone()),
            alert.and_then(|alert| alert.labels.get("alertname").cloned()),
        ],
        doc: doc(record),
    }
}

/// The row of an access token.
#[must_use]
pub fn token(record: &TokenRecord) -> ViewRow {
    ViewRow {
        kind: TOKEN,
        id: record.id.to_string(),
        state: if record.revoked_at.is_some() { "revoked" } else { "good" }.to_owned(),
        keys: [Some(record.name.clone()), None, None],
        doc: doc(record),
    }
}

/// The row of an installed plugin.
#[must_use]
pub fn plugin(record: &PluginRecord) -> ViewRow {
    ViewRow {
        kind: PLUGIN,
        id: record.name.clone(),
        state: record.standing.as_str().to_owned(),
        keys: [None, None, None],
        doc: doc(record),
    }
}

/// The row of a halt.
#[must_use]
pub fn halt(halt: &Halt) -> ViewRow {
    ViewRow {
        kind: HALT,
        id: halt.id.to_string(),
        state: if halt.in_force() { IN_FORCE } else { RELEASED }.to_owned(),
        keys: [Some(halt.scope.kind().as_str().to_owned()), halt.scope.name().map(str::to_owned), None],
        doc: doc(halt),
    }
}

/// The row of the file that halts everything, as an event tells of it.
#[must_use]
pub fn halt_file(event: &Event) -> Option<ViewRow> {
    let state = match event.fact {
        Fact::HaltFileSeen(..) => IN_FORCE,
        Fact::HaltFileGone(..) => RELEASED,
        _ => return None,
    };
    let (id, keys) = ("file".to_owned(), [None, None, None]);
    Some(ViewRow { kind: HALT_FILE, id, state: state.to_owned(), keys, doc: doc(&event.at) })
}

/// The id of a justification: its run, and which time that the glass was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JustificationId {
    run: RunId,
    glass: u32,
}

impl fmt::Display for JustificationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.run, self.glass)
    }
}

impl FromStr for JustificationId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (run, glass) = text.rsplit_once('-').ok_or(())?;
        Ok(Self { run: run.parse().map_err(|_| ())?, glass: glass.parse().map_err(|_| ())? })
    }
}

/// One time that somebody broke the glass for a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Justification {
    /// The run.
    pub run: RunId,
    /// Its runbook.
    pub runbook: String,
    /// What it is about.
    pub target: Option<String>,
    /// Which time that the glass of this run was broken, from 0.
    pub glass: u32,
    /// Who, when and why, and what a second person found.
    pub broken: Glass,
}

/// The row of the justification that an event about a run makes or changes; the run is as it is after it.
#[must_use]
pub fn justification(run: &Run, fact: &Fact) -> Option<ViewRow> {
    let glass = match fact {
        Fact::GlassBroken(..) => u32::try_from(run.glass.len()).ok()?.checked_sub(1)?,
        Fact::JustificationReviewed(leaf, _) => leaf.glass,
        _ => return None,
    };
    let broken = run.glass.get(glass as usize)?.clone();
    let record = Justification {
        run: run.id.clone(),
        runbook: run.runbook.clone(),
        target: run.target.clone(),
        glass,
        broken,
    };
    Some(ViewRow {
        kind: JUSTIFICATION,
        id: JustificationId { run: run.id.clone(), glass }.to_string(),
        state: if record.broken.review.is_some() { REVIEWED } else { OWED }.to_owned(),
        keys: [Some(record.runbook.clone()), Some(record.broken.by.clone()), None],
        doc: doc(&record),
    })
}

/// The row of a silence. Where it stands follows from the time, so its row does not say.
#[must_use]
pub fn silence(silence: &Silence) -> ViewRow {
    ViewRow {
        kind: SILENCE,
        id: silence.id.to_string(),
        state: "made".to_owned(),
        keys: [Some(silence.created_by.clone()), None, None],
        doc: doc(silence),
    }
}

/// The row of a schedule.
#[must_use]
pub fn schedule(record: &ScheduleRecord) -> ViewRow {
    ViewRow {
        kind: SCHEDULE,
        id: record.runbook.clone(),
        state: if record.calendar.is_some() { "set" } else { "gone" }.to_owned(),
        keys: [None, None, None],
        doc: doc(record),
    }
}

/// Folds the whole journal into rows: the proof that views hold nothing else, and the way to make them anew.
#[derive(Debug, Default)]
pub struct Fold {
    runs: HashMap<RunId, Run>,
    alerts: HashMap<AlertId, AlertRecord>,
    tokens: HashMap<TokenId, TokenRecord>,
    halts: HashMap<HaltId, Halt>,
    silences: Silences,
    schedules: HashMap<String, ScheduleRecord>,
    plugins: HashMap<String, PluginRecord>,
}

impl Fold {
    /// The rows that an event changes, as they are after it. Events must come in the journal's order.
    pub fn apply(&mut self, event: &Event) -> Vec<ViewRow> {
        match (&event.fact, &event.run, &event.alert) {
            (Fact::AlertReceived(..), _, Some(id)) => {
                let Some(record) = AlertRecord::begin(event) else { return Vec::new() };
                let row = alert(&record);
                self.alerts.insert(id.clone(), record);
                vec![row]
            }
            (
                Fact::AlertRepeated(..)
                | Fact::AlertTakenUp(..)
                | Fact::AlertResolved(..)
                | Fact::AlertStale(..),
                _,
                Some(id),
            ) => {
                let Some(record) = self.alerts.get_mut(id) else { return Vec::new() };
                record.apply(event);
                vec![alert(record)]
            }
            (Fact::TokenCreated(..) | Fact::TokenRevoked(..), _, _) => self.token(event),
            (Fact::Halted(..) | Fact::HaltReleased(..), _, _) => self.halt(event),
            (Fact::HaltFileSeen(..) | Fact::HaltFileGone(..), _, _) => halt_file(event).into_iter().collect(),
            (Fact::SilenceCreated(..) | Fact::SilenceExpired(..), _, _) => self.silence(event),
            (Fact::ScheduleSet(..) | Fact::OccurrenceDue(..) | Fact::OccurrenceMissed(..), _, _) => {
                self.schedule(event)
            }
            (Fact::RunIntervened(..), _, _) => {
                InterventionRecord::of(event).iter().map(intervention).collect()
            }
            (Fact::BreakerChanged(..), _, _) => breaker_changed(event).iter().map(breaker).collect(),
            (Fact::PluginInstalled(..) | Fact::PluginMoved(..), _, _) => self.plugin(event),
            (Fact::RunCreated(..), Some(id), _) => {
                let Some(begun) = Run::begin(event) else { return Vec::new() };
                let row = run(&begun);
                self.runs.insert(id.clone(), begun);
                vec![row]
            }
            (_, Some(id), _) => {
                let Some(known) = self.runs.get_mut(id) else { return Vec::new() };
                if known.apply(event).is_err() {
                    return Vec::new();
                }
                let rows = of_run(known, &event.fact);
                // A reason that is owed is reviewed after the end, too; nothing else follows it.
                if known.ended_at.is_some() && known.justifications_owed().next().is_none() {
                    self.runs.remove(id);
                }
                rows
            }
            _ => Vec::new(),
        }
    }

    fn halt(&mut self, event: &Event) -> Vec<ViewRow> {
        if let Some(begun) = Halt::begin(event) {
            let row = halt(&begun);
            self.halts.insert(begun.id.clone(), begun);
            return vec![row];
        }
        let Fact::HaltReleased(leaf, _) = &event.fact else { return Vec::new() };
        // Nothing follows a release.
        let Some(mut known) = self.halts.remove(&leaf.halt) else { return Vec::new() };
        known.apply(event);
        vec![halt(&known)]
    }

    fn silence(&mut self, event: &Event) -> Vec<ViewRow> {
        let id = match &event.fact {
            Fact::SilenceCreated(leaf, _) => &leaf.id,
            Fact::SilenceExpired(leaf, _) => &leaf.id,
            _ => return Vec::new(),
        };
        self.silences.apply(event);
        self.silences.all().iter().filter(|known| known.id == *id).map(silence).collect()
    }

    fn schedule(&mut self, event: &Event) -> Vec<ViewRow> {
        let runbook = match &event.fact {
            Fact::ScheduleSet(leaf, _) => &leaf.runbook,
            Fact::OccurrenceDue(leaf, _) => &leaf.runbook,
            Fact::OccurrenceMissed(leaf, _) => &leaf.runbook,
            _ => return Vec::new(),
        };
        let Some(record) = ScheduleRecord::fold(self.schedules.remove(runbook), event) else {
            return Vec::new();
        };
        let row = schedule(&record);
        self.schedules.insert(record.runbook.clone(), record);
        vec![row]
    }

    fn plugin(&mut self, event: &Event) -> Vec<ViewRow> {
        if let Some(begun) = installed(event) {
            let row = plugin(&begun);
            self.plugins.insert(begun.name.clone(), begun);
            return vec![row];
        }
        let Fact::PluginMoved(leaf, outside) = &event.fact else { return Vec::new() };
        let Some(known) = self.plugins.get_mut(&leaf.plugin) else { return Vec::new() };
        if let Some((_, standing)) = Standing::WORDS.iter().find(|(word, _)| *word == leaf.to) {
            known.standing = *standing;
        }
        known.record = match outside.get() {
            Some(outside) => outside.record.clone(),
            None => first_record(known.standing, event.at, &leaf.plugin, leaf.digest, None),
        };
        vec![plugin(known)]
    }

    fn token(&mut self, event: &Event) -> Vec<ViewRow> {
        let changed = match &event.fact {
            Fact::TokenCreated(leaf, _) => {
                let Some(record) = token_created(event) else { return Vec::new() };
                self.tokens.insert(leaf.token.clone(), record.clone());
                record
            }
            Fact::TokenRevoked(leaf, _) => {
                let Some(record) = self.tokens.get_mut(&leaf.token) else { return Vec::new() };
                record.revoked_at = Some(event.at);
                record.clone()
            }
            _ => return Vec::new(),
        };
        vec![token(&changed)]
    }
}

/// The record that a `token-created` event makes.
#[must_use]
pub fn token_created(event: &Event) -> Option<TokenRecord> {
    let Fact::TokenCreated(leaf, outside) = &event.fact else { return None };
    let outside = outside.get();
    Some(TokenRecord {
        id: leaf.token.clone(),
        name: outside.map_or(staunch_core::run::REMOVED, |o| o.name.as_str()).to_owned(),
        roles: leaf.roles.clone(),
        hash: outside.map(|o| o.hash),
        created_at: event.at,
        expires: leaf.expires,
        revoked_at: None,
    })
}

/// The record that a `plugin-installed` event makes.
#[must_use]
pub fn installed(event: &Event) -> Option<PluginRecord> {
    let Fact::PluginInstalled(leaf, outside) = &event.fact else { return None };
    let standing = Standing::WORDS.iter().find(|(word, _)| *word == leaf.standing)?.1;
    let chosen = outside.get().and_then(|o| Some((o.by.as_str(), o.comment.as_deref()?)));
    Some(PluginRecord {
        record: first_record(standing, event.at, &leaf.name, leaf.digest, chosen),
        name: leaf.name.clone(),
        version: leaf.version.clone(),
        release: leaf.release,
        digest: leaf.digest,
        signers: leaf.signers.clone(),
        standing,
        installed_at: event.at,
    })
}
