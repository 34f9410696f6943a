//! Requests that may come twice, and what they were answered: kept for a day beside the journal.
//!
//! For: `Idempotency-Key`. The writer that appends entries writes these rows too, one after the other, so that a
//! request is on the disk as taken before anything that it leads to. Never: a part of the journal or of its views.
//! Nothing follows from a row but the answer to a repeated request, and losing all of them changes no run.

use chrono::{DateTime, TimeDelta, Utc};
use staunch_core::id::Digest;

use super::error::JournalError;
use super::writer::Command;
use super::{Journal, sql};

/// How long an answer is kept.
pub const REQUESTS_KEPT_FOR: TimeDelta = TimeDelta::hours(24);
/// The most requests that are kept; the oldest go first.
const MAX_REQUESTS: i64 = 10_000;
/// The longest answer whose body is kept, in bytes.
pub const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// A request that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenRequest {
    /// Digest of its body.
    pub body: Digest,
    /// What it was answered; none when that was never said.
    pub answer: Option<TakenAnswer>,
}

/// What a request was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The media type.
    pub media_type: Option<String>,
    /// The body; none when it must not be stored, or is longer than [`MAX_ANSWER_BYTES`].
    pub body: Option<Vec<u8>>,
}

/// A change to the rows that are kept beside the journal.
#[derive(Debug)]
pub(super) enum Change {
    Take { key: Digest, body: Digest, now: DateTime<Utc> },
    Answer { key: Digest, answer: TakenAnswer },
    Forget { key: Digest },
    TokenUse { token: String, at: DateTime<Utc> },
}

type Columns = (String, Option<i64>, Option<String>, Option<Vec<u8>>);

impl Journal {
    /// Takes a request, or says what was taken under its key before. The caller sees to it that the same key does
    /// not come twice at once.
    ///
    /// # Errors
    /// [`JournalError::Database`], [`JournalError::Damaged`], [`JournalError::Closed`]: the request is not taken.
    pub async fn take_request(
        &self,
        key: Digest,
        body: Digest,
        now: DateTime<Utc>,
    ) -> Result<Option<TakenRequest>, JournalError> {
        let query = sqlx::query_as(sql::TAKEN_REQUEST)
            .bind(key.to_string())
            .bind((now - REQUESTS_KEPT_FOR).timestamp_micros());
        let row: Option<Columns> = query
            .fetch_optional(&self.inner.pool)
            .await
            .map_err(JournalError::database("look for a request"))?;
        if let Some(row) = row {
            return taken(row).map(Some);
        }
        let change = Change::Take { key, body, now };
        self.ask(|reply| Command::Request { change, reply }).await.map(|()| None)
    }

    /// Keeps what a request was answered; durable when it returns.
    ///
    /// # Errors
    /// [`JournalError::Database`], [`JournalError::Closed`].
    pub async fn keep_answer(&self, key: Digest, mut answer: TakenAnswer) -> Result<(), JournalError> {
        answer.body = answer.body.filter(|body| body.len() <= MAX_ANSWER_BYTES);
        let change = Change::Answer { key, answer };
        self.ask(|reply| Command::Request { change, reply }).await
    }

    /// Forgets a request of which nothing was done, so that it may come again.
    ///
    /// # Errors
    /// [`JournalError::Database`], [`JournalError::Closed`].
    pub async fn forget_request(&self, key: Digest) -> Result<(), JournalError> {
        let change = Change::Forget { key };
        self.ask(|reply| Command::Request { change, reply }).await
    }
}

fn taken((body, status, media_type, answer): Columns) -> Result<TakenRequest, JournalError> {
    let damaged = || JournalError::Damaged("a row of the taken requests cannot be read".to_owned());
    let answer = match status {
        Some(status) => {
            let status = u16::try_from(status).map_err(|_| damaged())?;
            Some(TakenAnswer { status, media_type, body: answer })
        }
        None => None,
    };
    Ok(TakenRequest { body: body.parse().map_err(|_| damaged())?, answer })
}

impl Change {
    /// Writes it, as a transaction of its own.
    pub(super) async fn write(self, connection: &mut sqlx::SqliteConnection) -> Result<(), sqlx::Error> {
        let query = match self {
            Self::Take { key, body, now } => sqlx::query(sql::TAKE_REQUEST)
                .bind((now - REQUESTS_KEPT_FOR).timestamp_micros())
                .bind(MAX_REQUESTS - 1)
                .bind(key.to_string())
                .bind(now.timestamp_micros())
                .bind(body.to_string()),
            Self::Answer { key, answer } => sqlx::query(sql::KEEP_ANSWER)
                .bind(i64::from(answer.status))
                .bind(answer.media_type)
                .bind(answer.body)
                .bind(key.to_string()),
            Self::Forget { key } => sqlx::query(sql::FORGET_REQUEST).bind(key.to_string()),
            Self::TokenUse { token, at } => sqlx::query(sql::KEEP_TOKEN_USE).bind(token).bind(at.timestamp()),
        };
        query.execute(connection).await.map(drop)
    }
}
