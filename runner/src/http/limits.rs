//! What is left of every limit, and what is known of groups.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use staunch_core::limit::Roll;
use staunch_core::policy::{Object, PersonAction};
use utoipa::ToSchema;

use super::App;
use super::auth::Caller;
use super::problem::Problem;

/// Limits and groups as they are now.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LimitsShape {
    /// One entry a limit and subject: `limit`, `runbook` (`null`: `staunch.yaml`), `subject`, `rule`, `most`, `used`,
    /// `left`, and `free_at`, where none are left and only time has to pass. Those with the least left first.
    #[schema(value_type = Vec<Object>)]
    items: Vec<Value>,
    /// Always `null`: it is one page.
    next: Option<String>,
    /// The groups of `staunch.yaml`.
    groups: Vec<GroupShape>,
}

/// A group as it was seen last.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GroupShape {
    /// Its name.
    group: String,
    /// Its members, by the names that runs have as their targets.
    members: Vec<String>,
    /// Those that a probe found healthy; `null` where nobody looks.
    healthy: Option<Vec<String>>,
    /// When that was.
    at: Option<DateTime<Utc>>,
    /// Why it is not known, where it is not; then every limit that needs it refuses.
    problem: Option<String>,
}

/// What is left of every limit, for each subject that took something; and what is known of groups.
#[utoipa::path(get, path = "/v1/limits", tag = "limits",
    responses((status = 200, body = LimitsShape), (status = 401, body = Problem), (status = 403, body = Problem)))]
pub(super) async fn list(State(app): State<App>, caller: Caller) -> Result<Json<LimitsShape>, Problem> {
    caller.may(&app, PersonAction::Read, Object::System)?;
    let left = app.pipeline().limits_left();
    let items = left.iter().filter_map(|line| serde_json::to_value(line).ok()).collect();
    let groups = app.pipeline().groups_seen().into_iter();
    let groups = groups.map(|(name, seen)| group(name, seen.as_deref())).collect();
    Ok(Json(LimitsShape { items, next: None, groups }))
}

fn group(group: String, seen: Result<&Roll, &String>) -> GroupShape {
    match seen {
        Ok(roll) => GroupShape {
            group,
            members: roll.members.iter().cloned().collect(),
            healthy: roll.healthy.as_ref().map(|healthy| healthy.iter().cloned().collect()),
            at: Some(roll.at),
            problem: None,
        },
        Err(why) => {
            GroupShape { group, members: Vec::new(), healthy: None, at: None, problem: Some(why.clone()) }
        }
    }
}
