//! Silences in force: who makes and ends them, and what they cover.
//!
//! A silence is durable before whoever made it is answered, and in force from then on. What it kept quiet is taken
//! up when it ends.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use chrono::{DateTime, Utc};
use staunch_core::decision::{Code, Reason};
use staunch_core::event::{self, Fact, Outside, payload};
use staunch_core::id::SilenceId;
use staunch_core::silence::{Matchers, Silence, SilenceError, SilenceState, Silences};
use tokio::sync::Mutex;

use super::scribe::Line;
use super::{Listed, Listing, Pipeline, Refusal, views};

/// Longest comment in bytes.
pub const MAX_COMMENT: usize = 4096;

/// All silences that are listed.
#[derive(Debug, Default)]
pub(super) struct Book {
    silences: RwLock<Silences>,
    /// One change at a time, so that bounds hold and each silence ends once.
    changing: Mutex<()>,
}

impl Book {
    fn read(&self) -> RwLockReadGuard<'_, Silences> {
        self.silences.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// A silence that was there when the daemon stopped.
    pub(super) fn restore(&self, silence: Silence, now: DateTime<Utc>) {
        self.silences.write().unwrap_or_else(PoisonError::into_inner).put(silence, now);
    }

    /// The silence that covers these labels.
    pub(super) fn covering(&self, now: DateTime<Utc>, labels: &BTreeMap<String, String>) -> Option<Silence> {
        self.read().silenced(now, labels).cloned()
    }

    /// When one begins or ends next.
    pub(super) fn next_change(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.read().next_change(now)
    }
}

/// A silence that somebody asks for.
#[derive(Debug, Clone)]
pub struct SilenceRequest {
    /// Which labels.
    pub matchers: Matchers,
    /// Its first instant.
    pub starts_at: DateTime<Utc>,
    /// The first instant after it.
    pub ends_at: DateTime<Utc>,
    /// Why.
    pub comment: String,
}

/// The words for where a silence stands.
pub const STATES: [(&str, SilenceState); 3] = [
    ("active", SilenceState::Active),
    ("pending", SilenceState::Pending),
    ("expired", SilenceState::Expired),
];

fn refusal(error: &SilenceError) -> Refusal {
    let message = error.to_string();
    match error {
        SilenceError::Matcher { .. } | SilenceError::TooManyMatchers | SilenceError::MatchesEverything => {
            Refusal::Invalid { field: "matchers", message }
        }
        SilenceError::Over | SilenceError::TooLong => Refusal::Invalid { field: "ends_at", message },
        SilenceError::NoComment => Refusal::Invalid { field: "comment", message },
        SilenceError::TooMany => Refusal::Conflict(Reason::new(Code::Limit, message)),
        SilenceError::Unknown(id) => Refusal::NotFound { what: "silence", id: id.to_string() },
        SilenceError::Expired(_) => Refusal::Conflict(Reason::new(Code::Expired, message)),
    }
}

impl Pipeline {
    /// Makes a silence; durable and in force when this returns.
    ///
    /// # Errors
    /// When it would be over at once, too long or one too many, or the journal does not take it.
    pub async fn silence(&self, request: SilenceRequest, by: &str) -> Result<Silence, Refusal> {
        let (shared, by) = (Arc::clone(&self.0), by.to_owned());
        self.whole(async move {
            let _one_at_a_time = shared.silences.changing.lock().await;
            let SilenceRequest { matchers, starts_at, ends_at, comment } = request;
            let now = shared.now();
            let silence = Silence {
                id: SilenceId::from_bits(shared.scribe.clock().id_bits()),
                matchers,
                starts_at,
                ends_at,
                created_by: by,
                comment,
            };
            let fact = shared.silences.read().create(now, &silence).map_err(|error| refusal(&error))?;
            let event = shared.scribe.event(None, None, fact);
            let line = Line { event: Arc::new(event), views: vec![views::silence(&silence)] };
            shared.scribe.commit(vec![line]).await?;
            shared.silences.restore(silence.clone(), now);
            shared.windows.changed();
            tracing::info!(silence.id = %silence.id, "{} silenced {}", silence.created_by, silence.matchers);
            Ok(silence)
        })
        .await
    }

    /// Ends a silence before its time. What it kept quiet is taken up.
    ///
    /// # Errors
    /// When there is no such silence or it is over, or the journal does not take it: then it stays in force.
    pub async fn unsilence(&self, id: &SilenceId, by: &str) -> Result<Silence, Refusal> {
        let (shared, id, by) = (Arc::clone(&self.0), id.clone(), by.to_owned());
        self.whole(async move {
            let _one_at_a_time = shared.silences.changing.lock().await;
            let now = shared.now();
            let mut silence =
                shared.silences.read().may_expire(now, &id).map_err(|error| refusal(&error))?.clone();
            let leaf = event::SilenceExpired { id: id.clone() };
            let fact = Fact::SilenceExpired(leaf, Outside::Kept(payload::SilenceExpired { by: by.clone() }));
            let event = shared.scribe.event(None, None, fact);
            silence.ends_at = silence.ends_at.min(event.at);
            let line = Line { event: Arc::new(event), views: vec![views::silence(&silence)] };
            shared.scribe.commit(vec![line]).await?;
            shared.silences.restore(silence.clone(), now);
            shared.windows.changed();
            tracing::info!(silence.id = %id, "{by} ended the silence {id}");
            Ok(silence)
        })
        .await
    }

    /// Silences, newest first; those that ended stay listed for a week, unless `open`: only the others. States are
    /// those of [`STATES`].
    #[must_use]
    pub fn silences(&self, listing: &Listing, open: bool) -> Listed<Silence> {
        let now = self.0.now();
        let wanted = listing.state.as_deref();
        let word = |silence: &Silence| {
            let state = silence.state(now);
            STATES.iter().find(|(_, other)| *other == state).map(|(word, _)| *word)
        };
        let behind =
            |silence: &Silence| listing.after.as_ref().is_none_or(|after| silence.id.as_str() < after.id());
        let mut items: Vec<Silence> = {
            let book = self.0.silences.read();
            let of_state = |silence: &&Silence| {
                let over = silence.state(now) == SilenceState::Expired;
                !(open && over) && (wanted.is_none() || word(silence) == wanted)
            };
            book.all().iter().filter(of_state).filter(|silence| behind(silence)).cloned().collect()
        };
        items.sort_unstable_by(|a, b| b.id.cmp(&a.id));
        Listed::page(items, listing.limit, |silence| silence.id.as_str())
    }
}
