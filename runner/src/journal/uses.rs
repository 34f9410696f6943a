//! When access tokens were used last: kept beside the journal, to the minute, and no part of it.
//!
//! Nothing follows from a row but what a listing shows, and losing all of them changes nothing else.

use chrono::{DateTime, Utc};

use super::answers::Change;
use super::error::JournalError;
use super::read::give_back;
use super::writer::Command;
use super::{Journal, sql};

impl Journal {
    /// When tokens were used last, by their ids, as far as it was kept.
    ///
    /// # Errors
    /// [`JournalError::Database`].
    pub async fn token_uses(&self) -> Result<Vec<(String, DateTime<Utc>)>, JournalError> {
        let mut reader = self.reader().await?;
        let rows: Result<Vec<(String, i64)>, _> =
            sqlx::query_as(sql::TOKEN_USES).fetch_all(&mut *reader).await;
        give_back(reader).await;
        let rows = rows.map_err(JournalError::database("read when tokens were used"))?;
        Ok(rows.into_iter().filter_map(|(id, at)| Some((id, DateTime::from_timestamp(at, 0)?))).collect())
    }

    /// Keeps when a token was used last; an earlier time than what is kept changes nothing.
    ///
    /// # Errors
    /// [`JournalError::Database`], [`JournalError::Closed`].
    pub async fn keep_token_use(&self, token: &str, at: DateTime<Utc>) -> Result<(), JournalError> {
        let change = Change::TokenUse { token: token.to_owned(), at };
        self.ask(|reply| Command::Request { change, reply }).await
    }
}
