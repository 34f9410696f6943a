//! The journal as it grows: server-sent events, resumable by `Last-Event-ID`.

use std::convert::Infallible;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream, StreamExt as _};
use staunch_core::policy::{Object, PersonAction};

use super::App;
use super::auth::Caller;
use super::problem::Problem;
use crate::journal::MAX_PAGE;

/// Most entries fetched at once.
const BATCH: u64 = 200;

/// Leaves of the journal from now on, or from behind `Last-Event-ID`; the event's id is the index.
#[utoipa::path(get, path = "/v1/events", tag = "audit",
    responses((status = 200, content_type = "text/event-stream"), (status = 401, body = Problem)))]
pub(super) async fn stream(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    caller.may(&app, PersonAction::Read, Object::System)?;
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let from = last.map_or_else(|| app.pipeline().journal().size(), |index| index.saturating_add(1));
    let growth = app.pipeline().journal().growth();
    let batches = stream::unfold((app, growth, from), |(app, mut growth, from)| async move {
        loop {
            let journal = app.pipeline().journal();
            let to = journal.size().min(from.saturating_add(BATCH));
            if to > from {
                let Ok(entries) = journal.entries(from, to, MAX_PAGE).await else { return None };
                let next = entries.last().map_or(from, |entry| entry.index + 1);
                return Some((entries, (app, growth, next)));
            }
            // The journal is shut down when nobody can make it grow any more.
            growth.changed().await.ok()?;
        }
    });
    let events = batches.flat_map(|entries| {
        stream::iter(entries.into_iter().map(|entry| {
            let leaf = String::from_utf8_lossy(&entry.leaf).into_owned();
            Ok(Event::default().id(entry.index.to_string()).event("leaf").data(leaf))
        }))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}
