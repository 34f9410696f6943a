//! Access tokens in the journal: made, listed and taken back, by a daemon or, where none runs, by a command.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use staunch_core::event::{self, Fact, Outside, payload};
use staunch_core::id::{Digest, TokenId};

use super::scribe::{Line, Scribe};
use super::shared::Shared;
use super::{Listed, Listing, Pipeline, ReadError, Refusal, list, views};
use crate::journal::{Journal, JournalError};
use crate::people::{TokenRecord, new_token};

/// From one time that uses are kept in the store to the next.
const KEEP_EVERY: Duration = Duration::from_secs(60);

/// Takes up when tokens were used last.
pub(super) async fn restore_uses(shared: &Shared) -> Result<(), JournalError> {
    for (id, at) in shared.scribe.journal().token_uses().await? {
        // An id that is none belongs to nothing that could be listed.
        if let Ok(id) = id.parse() {
            shared.tokens.restore_use(id, at);
        }
    }
    Ok(())
}

/// Keeps in the store when tokens were used, now and then, until the daemon drains.
pub(super) async fn watch(shared: Arc<Shared>) {
    while !shared.workers.is_closed() {
        tokio::time::sleep(KEEP_EVERY).await;
        keep_uses(&shared).await;
    }
}

/// Keeps in the store what it does not know yet of when tokens were used. What cannot be kept is only not listed
/// after a restart.
pub(super) async fn keep_uses(shared: &Shared) {
    for (id, at) in shared.tokens.uses_to_keep() {
        if let Err(error) = shared.scribe.journal().keep_token_use(id.as_str(), at).await {
            tracing::debug!(error = %error, "when a token was used is not kept");
            return;
        }
    }
}

impl Pipeline {
    /// Access tokens, newest first.
    ///
    /// # Errors
    /// When the views cannot be read.
    pub async fn list_tokens(&self, listing: Listing) -> Result<Listed<TokenRecord>, ReadError> {
        list_tokens(self.journal(), listing).await
    }

    /// Makes an access token; the text is shown once and kept nowhere.
    ///
    /// # Errors
    /// When the journal does not take it.
    pub async fn create_token(
        &self,
        name: &str,
        roles: Vec<String>,
        expires: Option<DateTime<Utc>>,
        by: &str,
    ) -> Result<(TokenRecord, String), Refusal> {
        let (line, record, token) = token_line(&self.0.scribe, name, roles, expires, by);
        self.0.scribe.commit(vec![line]).await?;
        self.0.tokens.put(record.clone());
        Ok((record, token))
    }

    /// Takes an access token back. One that was taken back before stays as it is.
    ///
    /// # Errors
    /// When there is none, or the journal does not take it.
    pub async fn revoke_token(&self, id: &TokenId, by: &str) -> Result<TokenRecord, Refusal> {
        let (line, record) = revocation(&self.0.scribe, id, by).await?;
        if let Some(line) = line {
            self.0.scribe.commit(vec![line]).await?;
        }
        self.0.tokens.put(record.clone());
        Ok(record)
    }
}

/// Access tokens, newest first.
///
/// # Errors
/// When the views cannot be read.
pub async fn list_tokens(journal: &Journal, listing: Listing) -> Result<Listed<TokenRecord>, ReadError> {
    list(journal, views::TOKEN, listing).await
}

/// The journal's line for a new token, its record, and the text to show once.
#[must_use]
pub fn token_line(
    scribe: &Scribe,
    name: &str,
    roles: Vec<String>,
    expires: Option<DateTime<Utc>>,
    by: &str,
) -> (Line, TokenRecord, String) {
    let token = new_token();
    let id = TokenId::from_bits(scribe.clock().id_bits());
    let leaf = event::TokenCreated { token: id.clone(), roles: roles.clone(), expires };
    let hash = Digest::of(token.as_bytes());
    let outside = payload::TokenCreated { name: name.to_owned(), hash, by: by.to_owned() };
    let event = scribe.event(None, None, Fact::TokenCreated(leaf, Outside::Kept(outside)));
    let record = TokenRecord {
        id,
        name: name.to_owned(),
        roles,
        hash: Some(hash),
        created_at: event.at,
        expires,
        revoked_at: None,
    };
    let line = Line { event: Arc::new(event), views: vec![views::token(&record)] };
    (line, record, token)
}

/// The journal's line for a token that is taken back, and its record; no line where it was taken back before.
///
/// # Errors
/// When there is no such token, or the views cannot be read.
pub async fn revocation(
    scribe: &Scribe,
    id: &TokenId,
    by: &str,
) -> Result<(Option<Line>, TokenRecord), Refusal> {
    let row = scribe.journal().view(views::TOKEN, id.as_str()).await.map_err(ReadError::from)?;
    let row = row.ok_or_else(|| Refusal::NotFound { what: "token", id: id.to_string() })?;
    let mut record: TokenRecord = views::read(&row.doc).map_err(ReadError::Row)?;
    if record.revoked_at.is_some() {
        return Ok((None, record));
    }
    let outside = payload::TokenRevoked { by: by.to_owned() };
    let fact = Fact::TokenRevoked(event::TokenRevoked { token: id.clone() }, Outside::Kept(outside));
    let event = scribe.event(None, None, fact);
    record.revoked_at = Some(event.at);
    let line = Line { event: Arc::new(event), views: vec![views::token(&record)] };
    Ok((Some(line), record))
}
