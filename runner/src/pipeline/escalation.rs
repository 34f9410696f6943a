//! The ladder: who is told, one after the other, while nobody answers.

use chrono::{DateTime, Utc};
use staunch_core::event::{self, Fact, Outside, payload};
use staunch_core::gate::{due_escalations, next_escalation};
use staunch_core::run::Run;

use super::drive::Interrupted;
use super::live::{LiveRun, Wait};
use super::shared::Shared;

/// Tells those whose time has come, each once, also over restarts. Says when something is due again: the next rung, or
/// the end of the question.
pub(super) async fn tell(shared: &Shared, live: &LiveRun) -> Result<Option<DateTime<Utc>>, Interrupted> {
    let now = shared.now();
    let due = |run: &Run| -> Vec<(u32, String)> {
        let Some(ask) = &run.ask else { return Vec::new() };
        let rungs = due_escalations(ask, now, run.told).iter().map(|rung| rung.to.clone());
        (run.told..).zip(rungs).collect()
    };
    if !live.look(due).await.is_empty() {
        let mut told = Vec::new();
        let tell = |run: &Run| -> Result<Vec<Fact>, Interrupted> {
            told = due(run);
            Ok(told.iter().map(|(rung, to)| escalated(*rung, to)).collect())
        };
        live.decide(Wait::Durable, tell).await?;
        for (_, to) in told {
            let id = live.id();
            tracing::warn!(run.id = %id, escalation.to = to, "run {id} waits for people, and {to} is told");
        }
    }
    let next = |run: &Run| {
        let ask = run.ask.as_ref()?;
        Some(next_escalation(ask, run.told).unwrap_or(ask.expires))
    };
    Ok(live.look(next).await)
}

fn escalated(rung: u32, to: &str) -> Fact {
    let leaf = event::RunEscalated { rung, to: to.to_owned() };
    Fact::RunEscalated(leaf, Outside::Kept(payload::RunEscalated {}))
}
