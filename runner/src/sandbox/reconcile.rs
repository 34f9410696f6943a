//! Asks the world about an effect that was interrupted, outside any execution: when the daemon starts again.

use std::time::Duration;

use serde_json::Value;
use staunch_core::effect::Call;
use tokio::time::{Instant, timeout_at};

use super::Sandbox;
use super::broker::{Found, Function, Site};
use super::cap::service::{Restart, Start, Stop, Unit};

impl Sandbox {
    /// Whether an effect happened, by how that which it acts on was `before` it. Asks for no longer than `within`.
    /// Only functions whose trace in the world is certain can be told; for all others the answer is
    /// [`Found::Unknown`].
    pub async fn reconcile(&self, call: &Call, before: &Value, within: Duration) -> Found<Value> {
        let deadline = Instant::now() + within;
        let unit = call.arguments.get("unit").and_then(Value::as_str).unwrap_or_default().to_owned();
        let Ok(unit) = Unit::new(unit) else { return Found::Unknown };
        match (call.capability.as_str(), call.function.as_str()) {
            ("service", "start") => self.ask(&Start(unit), before, deadline).await,
            ("service", "stop") => self.ask(&Stop(unit), before, deadline).await,
            ("service", "restart") => self.ask(&Restart(unit), before, deadline).await,
            _ => Found::Unknown,
        }
    }

    async fn ask<F: Function<Leave = ()>>(
        &self,
        function: &F,
        before: &Value,
        deadline: Instant,
    ) -> Found<Value> {
        let site = Site { world: &self.world, leave: &(), deadline, key: None };
        let asking = timeout_at(deadline, function.reconcile(before, site));
        match asking.await.unwrap_or(Found::Unknown) {
            Found::Done(output) => serde_json::to_value(output).map_or(Found::Unknown, Found::Done),
            Found::Failed(error) => Found::Failed(error),
            Found::NotDone => Found::NotDone,
            Found::Unknown => Found::Unknown,
        }
    }
}
