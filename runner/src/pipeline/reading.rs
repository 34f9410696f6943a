//! Rows of several views, read together.

use std::ops::ControlFlow;

use serde::de::DeserializeOwned;

use super::{ReadError, next_page, views};
use crate::journal::{Journal, ViewQuery, ViewRow};

/// How many rows of a view are read at once.
pub(super) const ROWS_AT_ONCE: u32 = 500;

/// Takes the rows of a page, and says whether those of the next one are wanted.
type Take<'a> = Box<dyn FnMut(&[ViewRow]) -> Result<ControlFlow<()>, ReadError> + Send + 'a>;

/// What is to be read. A page of each view is read at a time, all with one call to the database, and handed over in
/// the order in which they were asked for.
#[derive(Default)]
pub(super) struct Reading<'a>(Vec<(ViewQuery, Take<'a>)>);

/// All rows of a view, or those in a state, oldest first.
pub(super) fn oldest(kind: &'static str, state: Option<&str>) -> ViewQuery {
    let state = state.map(str::to_owned);
    ViewQuery { kind, state, keys: [None, None, None], after: None, limit: ROWS_AT_ONCE, newest_first: false }
}

/// The same, newest first.
pub(super) fn newest(kind: &'static str, state: Option<&str>) -> ViewQuery {
    ViewQuery { newest_first: true, ..oldest(kind, state) }
}

impl<'a> Reading<'a> {
    /// Also hands over the rows that fit a query, a page at a time, as long as more are wanted.
    pub(super) fn pages(
        mut self,
        query: ViewQuery,
        take: impl FnMut(&[ViewRow]) -> Result<ControlFlow<()>, ReadError> + Send + 'a,
    ) -> Self {
        self.0.push((query, Box::new(take)));
        self
    }

    /// Also hands over each document that fits a query.
    pub(super) fn each<T: DeserializeOwned>(
        self,
        query: ViewQuery,
        mut take: impl FnMut(T) + Send + 'a,
    ) -> Self {
        self.each_until(query, move |document| {
            take(document);
            ControlFlow::Continue(())
        })
    }

    /// Also hands over each document that fits a query, as long as more are wanted.
    pub(super) fn each_until<T: DeserializeOwned>(
        self,
        query: ViewQuery,
        mut take: impl FnMut(T) -> ControlFlow<()> + Send + 'a,
    ) -> Self {
        self.pages(query, move |rows| {
            for row in rows {
                if take(views::read(&row.doc).map_err(ReadError::Row)?).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        })
    }

    /// Reads all of it.
    ///
    /// # Errors
    /// When a view cannot be read, or holds something else than it should; what came before it was handed over.
    pub(super) async fn read(self, journal: &Journal) -> Result<(), ReadError> {
        let Self(mut wanted) = self;
        while !wanted.is_empty() {
            let queries: Vec<ViewQuery> = wanted.iter().map(|(query, _)| query.clone()).collect();
            let pages = journal.views_at_once(&queries).await?;
            let mut more = Vec::new();
            for ((mut query, mut take), rows) in wanted.into_iter().zip(pages) {
                let next = next_page(&rows, query.limit);
                if take(&rows)?.is_continue() && next.is_some() {
                    query.after = next;
                    more.push((query, take));
                }
            }
            wanted = more;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ed25519_dalek::SigningKey;
    use staunch_core::event::{self, Fact, Outside, payload};
    use staunch_core::id::Digest;

    use super::super::scribe::{Line, Scribe};
    use super::*;
    use crate::clock::Clock;
    use crate::journal::Options;

    async fn journal_of(dir: &tempfile::TempDir, rows: &[(&'static str, usize)]) -> Journal {
        let options =
            Options::new(dir.path().join("data"), "test/reading/log", SigningKey::from_bytes(&[7; 32]));
        let journal = Journal::open(options).await.unwrap();
        let scribe = Scribe::new(journal.clone(), Clock::machine());
        let leaf = event::DaemonStarted {
            version: "0".to_owned(),
            config: Digest::of(b""),
            policies: Digest::of(b""),
        };
        let event =
            scribe.event(None, None, Fact::DaemonStarted(leaf, Outside::Kept(payload::DaemonStarted {})));
        let row = |kind, number: usize| ViewRow {
            kind,
            id: format!("{number:04}"),
            state: String::new(),
            keys: [None, None, None],
            doc: number.to_string().into_bytes(),
        };
        let rows = rows.iter().flat_map(|(kind, count)| (0..*count).map(move |number| row(kind, number)));
        scribe.commit(vec![Line { event: Arc::new(event), views: rows.collect() }]).await.unwrap();
        journal
    }

    fn by(limit: u32, query: ViewQuery) -> ViewQuery {
        ViewQuery { limit, ..query }
    }

    #[tokio::test]
    async fn views_are_read_to_their_ends_or_as_far_as_they_are_wanted() {
        let dir = tempfile::tempdir().unwrap();
        let journal = journal_of(&dir, &[(views::RUN, 10), (views::HALT, 4)]).await;
        let (mut runs, mut halts, mut first, mut newest_runs) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let reading = Reading::default()
            .each(by(3, oldest(views::RUN, None)), |number: usize| runs.push(number))
            .each(by(2, oldest(views::HALT, None)), |number: usize| halts.push(number))
            .each(oldest(views::TOKEN, None), |_: usize| unreachable!("there is none"))
            .pages(by(4, oldest(views::RUN, None)), |rows| {
                first.extend(rows.iter().map(|row| row.id.clone()));
                Ok(ControlFlow::Break(()))
            })
            .each_until(by(3, newest(views::RUN, None)), |number: usize| {
                newest_runs.push(number);
                if number > 5 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
        reading.read(&journal).await.unwrap();
        assert_eq!(runs, (0..10).collect::<Vec<_>>());
        assert_eq!(halts, [0, 1, 2, 3]);
        assert_eq!(first, ["0000", "0001", "0002", "0003"]);
        assert_eq!(newest_runs, [9, 8, 7, 6, 5]);
    }

    #[tokio::test]
    async fn a_row_that_cannot_be_read_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let journal = journal_of(&dir, &[(views::HALT, 1)]).await;
        let reading = Reading::default().each(oldest(views::HALT, None), |_: String| {});
        assert!(matches!(reading.read(&journal).await, Err(ReadError::Row(_))));
    }
}
