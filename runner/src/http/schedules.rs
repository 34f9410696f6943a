//! Schedules: when runbooks run by the clock, and when they did not.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use staunch_core::policy::{Object, PersonAction, duration};
use staunch_core::schedule::{CatchUp, Overlap, Schedule};

use super::App;
use super::auth::Caller;
use super::problem::Problem;
use super::shapes::Page;
use crate::pipeline::schedules::Shown;

fn shape(shown: &Shown, schedule: &Schedule) -> Value {
    let record = shown.record.as_ref();
    let missed = record.map(|record| record.missed.as_slice()).unwrap_or_default();
    json!({
        "runbook": shown.runbook.name,
        "cron": schedule.calendar.source(),
        "time_zone": schedule.calendar.zone().name(),
        "jitter": duration::print(schedule.jitter),
        "catch_up": match schedule.catch_up {
            CatchUp::None => "none",
            CatchUp::Last => "last",
            CatchUp::All { .. } => "all",
        },
        "overlap": match schedule.overlap {
            Overlap::Skip => "skip",
            Overlap::Queue => "queue",
        },
        "blackout": schedule.blackout,
        "next": shown.next,
        "last": record.and_then(|record| record.ran.as_ref()).map(|ran| json!({
            "at": ran.occurrence.at,
            "starts": ran.occurrence.starts,
            "run": ran.run,
        })),
        "missed": missed.iter().rev().map(|missed| json!({
            "at": missed.occurrence.at,
            "starts": missed.occurrence.starts,
            "reason": missed.reason,
        })).collect::<Vec<_>>(),
    })
}

/// The schedules in force: their next times, the last run, and what was missed and why, newest first.
#[utoipa::path(get, path = "/v1/schedules", tag = "schedules",
    responses((status = 200, body = Page), (status = 401, body = Problem), (status = 403, body = Problem)))]
pub(super) async fn list(State(app): State<App>, caller: Caller) -> Result<Json<Page>, Problem> {
    caller.may(&app, PersonAction::Read, Object::System)?;
    let shown = app.pipeline().schedules();
    let items = shown.iter().filter_map(|shown| Some(shape(shown, shown.runbook.schedule.as_ref()?)));
    Ok(Json(Page { items: items.collect(), next: None }))
}
