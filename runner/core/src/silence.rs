//! Silences: labels about which nothing is to happen until a time, as in Alertmanager, made by people through
//! the API.
//!
//! A silenced alert is recorded, and its resolve passes; it starts no run and tells nobody, and the trace says
//! which silence did that. The state is a fold over `silence-created` and `silence-expired`.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::decision::{Code, Decision, Stage};
use crate::event::{Event, Fact, Outside, SilenceCreated, payload};
use crate::id::SilenceId;
use crate::policy::matcher::{self, Matcher};
use crate::window::Ruling;

/// The most silences that have not ended.
pub const MOST_SILENCES: usize = 1_000;

/// The most matchers of one silence.
pub const MOST_MATCHERS: usize = 32;

/// The longest silence.
pub const LONGEST: TimeDelta = TimeDelta::days(366);

/// How long a silence is still listed after it ended.
pub const LISTED_FOR: TimeDelta = TimeDelta::days(7);

/// Matchers that were checked; written as texts in Alertmanager's syntax.
#[derive(Debug, Clone)]
pub struct Matchers(Vec<Matcher>);

impl Matchers {
    /// Checks matchers, one text holding one or several.
    ///
    /// # Errors
    /// What is wrong, with the text. Also when an alert without any label would fit: that silences everything.
    pub fn parse<S: AsRef<str>>(texts: &[S]) -> Result<Self, SilenceError> {
        let mut matchers = Vec::new();
        for text in texts {
            let text = text.as_ref();
            let parsed = matcher::parse(text).map_err(|error| {
                let shown = text.chars().take(80).collect();
                SilenceError::Matcher { text: shown, message: error.to_string() }
            })?;
            matchers.extend(parsed);
        }
        if matchers.len() > MOST_MATCHERS {
            return Err(SilenceError::TooManyMatchers);
        }
        if matchers.iter().all(|matcher| matcher.matches(&BTreeMap::new())) {
            return Err(SilenceError::MatchesEverything);
        }
        Ok(Self(matchers))
    }

    /// Whether all of them fit.
    #[must_use]
    pub fn fit(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|matcher| matcher.matches(labels))
    }

    /// Each as text.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }
}

impl PartialEq for Matchers {
    fn eq(&self, other: &Self) -> bool {
        self.texts() == other.texts()
    }
}

impl fmt::Display for Matchers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}}}", self.texts().join(","))
    }
}

impl Serialize for Matchers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.texts().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Matchers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        Self::parse(&texts).map_err(serde::de::Error::custom)
    }
}

/// One silence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Silence {
    /// Its id.
    pub id: SilenceId,
    /// Which labels. All of them must fit.
    pub matchers: Matchers,
    /// Its first instant.
    pub starts_at: DateTime<Utc>,
    /// The first instant after it.
    pub ends_at: DateTime<Utc>,
    /// Who made it.
    pub created_by: String,
    /// Why.
    pub comment: String,
}

/// Where a silence stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SilenceState {
    /// It has not begun.
    Pending,
    /// It silences.
    Active,
    /// It is over.
    Expired,
}

impl Silence {
    /// Where it stands at an instant.
    #[must_use]
    pub fn state(&self, now: DateTime<Utc>) -> SilenceState {
        if now >= self.ends_at {
            SilenceState::Expired
        } else if now < self.starts_at {
            SilenceState::Pending
        } else {
            SilenceState::Active
        }
    }

    /// What it says about what it covers.
    #[must_use]
    pub fn refuse(&self, now: DateTime<Utc>, subject: &str) -> Decision {
        let Self { id, created_by, ends_at, .. } = self;
        let until = ends_at.format("%FT%TZ");
        let message = format!("silence {id} by {created_by} covers it until {until}");
        Decision::refuse(now, Stage::Window, subject, Code::Silence, message)
    }

    /// Adds what it says about a run of `runbook` to what windows say.
    pub fn cover(&self, now: DateTime<Utc>, runbook: &str, ruling: &mut Ruling) {
        ruling.decisions.push(self.refuse(now, runbook));
        (ruling.autonomy, ruling.mute) = (None, true);
    }
}

/// A silence that cannot be made or ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SilenceError {
    /// A text is no matcher.
    #[error("matcher {text:?}: {message}")]
    Matcher {
        /// The text.
        text: String,
        /// What is wrong with it.
        message: String,
    },
    /// There are too many.
    #[error("a silence has at most {MOST_MATCHERS} matchers")]
    TooManyMatchers,
    /// It would silence all alerts.
    #[error("the matchers fit an alert without any label: say what is to be silent")]
    MatchesEverything,
    /// It would be over at once.
    #[error("ends_at must be later than starts_at, and than now")]
    Over,
    /// It would last too long.
    #[error("a silence lasts at most 366 days")]
    TooLong,
    /// Nobody says why.
    #[error("comment must not be empty: say why")]
    NoComment,
    /// There are too many.
    #[error("there are {MOST_SILENCES} silences already; expire some first")]
    TooMany,
    /// There is no such silence.
    #[error("there is no silence {0}")]
    Unknown(SilenceId),
    /// It ended before.
    #[error("silence {0} is over already")]
    Expired(SilenceId),
}

/// All silences that have not ended, and those that ended lately.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Silences {
    silences: Vec<Silence>,
}

impl FromIterator<Silence> for Silences {
    /// All of these, whenever they ended: for looking back.
    fn from_iter<I: IntoIterator<Item = Silence>>(silences: I) -> Self {
        Self { silences: silences.into_iter().collect() }
    }
}

impl Silences {
    /// Whether a silence may be made; the event that makes it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn create(&self, now: DateTime<Utc>, silence: &Silence) -> Result<Fact, SilenceError> {
        if silence.ends_at <= silence.starts_at || silence.ends_at <= now {
            return Err(SilenceError::Over);
        }
        if silence.ends_at - silence.starts_at.max(now) > LONGEST {
            return Err(SilenceError::TooLong);
        }
        if silence.comment.trim().is_empty() {
            return Err(SilenceError::NoComment);
        }
        let open = self.silences.iter().filter(|other| other.state(now) != SilenceState::Expired);
        if open.count() >= MOST_SILENCES {
            return Err(SilenceError::TooMany);
        }
        let leaf =
            SilenceCreated { id: silence.id.clone(), starts_at: silence.starts_at, ends_at: silence.ends_at };
        let outside = payload::SilenceCreated {
            matchers: silence.matchers.texts(),
            by: silence.created_by.clone(),
            comment: silence.comment.clone(),
        };
        Ok(Fact::SilenceCreated(leaf, Outside::Kept(outside)))
    }

    /// Whether a silence may be ended now.
    ///
    /// # Errors
    /// When there is none with this id, or it is over.
    pub fn may_expire(&self, now: DateTime<Utc>, id: &SilenceId) -> Result<&Silence, SilenceError> {
        let silence = self.silences.iter().find(|silence| silence.id == *id);
        let silence = silence.ok_or_else(|| SilenceError::Unknown(id.clone()))?;
        match silence.state(now) {
            SilenceState::Expired => Err(SilenceError::Expired(id.clone())),
            SilenceState::Pending | SilenceState::Active => Ok(silence),
        }
    }

    /// Takes in an event; others than the two about silences change nothing.
    ///
    /// A silence whose matchers were removed under retention silences nothing any more.
    pub fn apply(&mut self, event: &Event) {
        match &event.fact {
            Fact::SilenceCreated(leaf, outside) => {
                let Some(outside) = outside.get() else { return };
                let Ok(matchers) = Matchers::parse(&outside.matchers) else { return };
                self.silences
                    .retain(|silence| event.at - silence.ends_at < LISTED_FOR && silence.id != leaf.id);
                self.silences.push(Silence {
                    id: leaf.id.clone(),
                    matchers,
                    starts_at: leaf.starts_at,
                    ends_at: leaf.ends_at,
                    created_by: outside.by.clone(),
                    comment: outside.comment.clone(),
                });
            }
            Fact::SilenceExpired(leaf, _) => {
                if let Some(silence) = self.silences.iter_mut().find(|silence| silence.id == leaf.id) {
                    silence.ends_at = silence.ends_at.min(event.at);
                }
            }
            _ => {}
        }
    }

    /// Takes in a silence as it was folded before: instead of the one with its id, if there is one. Those that ended
    /// long ago are forgotten.
    pub fn put(&mut self, silence: Silence, now: DateTime<Utc>) {
        self.silences.retain(|other| now - other.ends_at < LISTED_FOR && other.id != silence.id);
        if now - silence.ends_at < LISTED_FOR {
            self.silences.push(silence);
        }
    }

    /// All that are listed, oldest first.
    #[must_use]
    pub fn all(&self) -> &[Silence] {
        &self.silences
    }

    /// The silence that covers these labels now: of several, the one that ends last.
    #[must_use]
    pub fn silenced(&self, now: DateTime<Utc>, labels: &BTreeMap<String, String>) -> Option<&Silence> {
        let active = self.silences.iter().filter(|silence| silence.state(now) == SilenceState::Active);
        active.filter(|silence| silence.matchers.fit(labels)).max_by_key(|silence| silence.ends_at)
    }

    /// When a silence begins or ends next: what was silent is then looked at again.
    #[must_use]
    pub fn next_change(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let changes = self.silences.iter().flat_map(|silence| [silence.starts_at, silence.ends_at]);
        changes.filter(|at| *at > now).min()
    }
}

#[cfg(test)]
mod tests;
