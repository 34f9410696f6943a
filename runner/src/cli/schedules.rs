//! `schedules`

use super::Done;
use super::args::Connection;
use super::client::Client;
use super::output::Output;

/// `schedules`
pub(super) async fn list(connection: &Connection, output: &Output) -> Done {
    let listed = Client::new(connection)?.get("/v1/schedules").await?;
    let items = listed.get("items").and_then(serde_json::Value::as_array).cloned().unwrap_or_default();
    let columns = [
        ("RUNBOOK", "/runbook"),
        ("CRON", "/cron"),
        ("ZONE", "/time_zone"),
        ("NEXT", "/next/0/starts"),
        ("LAST", "/last/at"),
        ("RUN", "/last/run"),
        ("MISSED", "/missed/0/at"),
        ("WHY", "/missed/0/reason/message"),
    ];
    output.listing(&items, &columns);
    Ok(())
}
