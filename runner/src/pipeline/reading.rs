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
