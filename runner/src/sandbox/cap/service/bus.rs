//! The manager's side: systemd's D-Bus interface, `org.freedesktop.systemd1`.

use std::collections::HashMap;

use futures_util::StreamExt as _;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};
use zbus::connection::Builder;
use zbus::{Connection, OwnedObjectPath, OwnedVariant, Proxy};

use super::UnitStatus;
use super::change::Seen;
use crate::sandbox::broker::Failure;

const DESTINATION: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// The system bus, connected to at the first use and again when the connection was lost.
#[derive(Debug, Default)]
pub(in crate::sandbox) struct Bus {
    /// `None` is the system bus.
    address: Option<String>,
    connection: Mutex<Option<Connection>>,
}

/// `JobRemoved(id, job, unit, result)`
type JobRemoved = (u32, OwnedObjectPath, String, String);

impl Bus {
    pub(in crate::sandbox) fn new(address: Option<String>) -> Self {
        Self { address, connection: Mutex::default() }
    }

    /// Load, active and sub state, and the invocation.
    pub(super) async fn status(&self, unit: &str, deadline: Instant) -> Result<UnitStatus, Failure> {
        let reading = async {
            let manager = self.manager().await?;
            read_status(&manager, unit).await
        };
        timeout_at(deadline, reading).await.unwrap_or_else(|_| Err(silent("status", unit, false)))
    }

    /// As [`Self::status`], with what a change of the unit leaves its trace in.
    pub(super) async fn look(&self, unit: &str, deadline: Instant) -> Result<Seen, Failure> {
        let reading = async {
            let manager = self.manager().await?;
            look(&manager, unit).await
        };
        timeout_at(deadline, reading).await.unwrap_or_else(|_| Err(silent("status", unit, false)))
    }

    /// Queues a job and waits until it is gone.
    pub(super) async fn job(
        &self,
        method: &'static str,
        unit: &str,
        deadline: Instant,
    ) -> Result<UnitStatus, Failure> {
        let preparing = async {
            let manager = self.manager().await?;
            // Subscribed before the job exists, so that its end cannot be missed.
            manager.call_method("Subscribe", &()).await.or_else(already_subscribed).map_err(known)?;
            let removals = manager.receive_signal("JobRemoved").await.map_err(known)?;
            Ok((manager, removals))
        };
        let prepared: Result<_, Failure> =
            timeout_at(deadline, preparing).await.unwrap_or_else(|_| Err(silent(method, unit, false)));
        let (manager, mut removals) = prepared?;
        let working = async {
            let job: OwnedObjectPath = manager.call(method, &(unit, "replace")).await.map_err(performed)?;
            while let Some(message) = removals.next().await {
                let removed: JobRemoved = message.body().deserialize().map_err(performed)?;
                if removed.1 == job {
                    return ended(&manager, method, unit, &removed.3).await;
                }
            }
            Err(Failure::in_doubt(
                "connection-lost",
                format!("the bus went away while {unit} was waited for"),
            ))
        };
        timeout_at(deadline, working).await.unwrap_or_else(|_| Err(silent(method, unit, true)))
    }

    /// Clears the failed state.
    pub(super) async fn reset_failed(&self, unit: &str, deadline: Instant) -> Result<UnitStatus, Failure> {
        let working = async {
            let manager = self.manager().await?;
            manager.call_method("ResetFailedUnit", &(unit,)).await.map_err(performed)?;
            read_status(&manager, unit).await
        };
        timeout_at(deadline, working).await.unwrap_or_else(|_| Err(silent("ResetFailedUnit", unit, true)))
    }

    async fn manager(&self) -> Result<Proxy<'static>, Failure> {
        let connection = self.connection().await?;
        Proxy::new(&connection, DESTINATION, MANAGER_PATH, MANAGER).await.map_err(known)
    }

    async fn connection(&self) -> Result<Connection, Failure> {
        let mut slot = self.connection.lock().await;
        if let Some(connection) = slot.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(connection.clone());
        }
        let builder = match &self.address {
            Some(address) => Builder::address(address.as_str()),
            None => Builder::system(),
        };
        let connection = builder.build().await.map_err(|error| {
            Failure::known(
                "unreachable",
                format!("the service manager's bus cannot be reached: {error}"),
                true,
            )
        })?;
        *slot = Some(connection.clone());
        Ok(connection)
    }
}

async fn read_status(manager: &Proxy<'_>, unit: &str) -> Result<UnitStatus, Failure> {
    Ok(look(manager, unit).await?.status)
}

async fn look(manager: &Proxy<'_>, unit: &str) -> Result<Seen, Failure> {
    let path: OwnedObjectPath = manager.call("LoadUnit", &(unit,)).await.map_err(known)?;
    let properties = Proxy::new(manager.connection(), DESTINATION, path, PROPERTIES).await.map_err(known)?;
    let mut values: HashMap<String, OwnedVariant> =
        properties.call("GetAll", &(UNIT,)).await.map_err(known)?;
    let mut text =
        |name: &str| values.remove(name).and_then(|value| String::try_from(value).ok()).unwrap_or_default();
    let (load, active, sub) = (text("LoadState"), text("ActiveState"), text("SubState"));
    let id =
        values.remove("InvocationID").and_then(|value| Vec::<u8>::try_from(value).ok()).unwrap_or_default();
    let mut invocation = String::new();
    staunch_core::id::push_hex(&mut invocation, &id);
    let stopped_at = values.remove("InactiveEnterTimestamp").and_then(|value| u64::try_from(value).ok());
    // A unit without a job has the job 0.
    let job = values.remove("Job").and_then(|value| <(u32, OwnedObjectPath)>::try_from(value).ok());
    let status = UnitStatus { load, active, sub, invocation };
    Ok(Seen { status, stopped_at: stopped_at.unwrap_or_default(), job: job.is_some_and(|(id, _)| id != 0) })
}

async fn ended(manager: &Proxy<'_>, method: &str, unit: &str, result: &str) -> Result<UnitStatus, Failure> {
    if matches!(result, "done" | "skipped") {
        return read_status(manager, unit).await;
    }
    let state = match read_status(manager, unit).await {
        Ok(status) => format!("; it is {} ({})", status.active, status.sub),
        Err(_) => String::new(),
    };
    Err(Failure::known("job-failed", format!("{method} of {unit} ended with `{result}`{state}"), true))
}

fn already_subscribed(error: zbus::Error) -> Result<zbus::Message, zbus::Error> {
    match error {
        zbus::Error::MethodError(name, _, message) if name.as_str().ends_with("AlreadySubscribed") => {
            Ok(message)
        }
        error => Err(error),
    }
}

fn silent(method: &str, unit: &str, in_doubt: bool) -> Failure {
    let message = format!("{method} of {unit} did not end in time");
    if in_doubt { Failure::in_doubt("timeout", message) } else { Failure::known("timeout", message, true) }
}

/// An error before anything was asked for, or of something that only looks.
#[expect(clippy::needless_pass_by_value, reason = "the shape of `map_err`")]
fn known(error: zbus::Error) -> Failure {
    failure(&error, false)
}

/// An error of something that changes the world: an answer is known, a lost connection is not.
#[expect(clippy::needless_pass_by_value, reason = "the shape of `map_err`")]
fn performed(error: zbus::Error) -> Failure {
    let answered = matches!(error, zbus::Error::MethodError(..) | zbus::Error::FDO(_));
    failure(&error, !answered)
}

fn failure(error: &zbus::Error, in_doubt: bool) -> Failure {
    let text = error.to_string();
    let code = match error {
        _ if in_doubt => "connection-lost",
        _ if text.contains("NoSuchUnit") || text.contains("not found") => "not-found",
        _ if text.contains("AccessDenied") || text.contains("InteractiveAuthorizationRequired") => {
            "not-permitted"
        }
        zbus::Error::MethodError(..) | zbus::Error::FDO(_) => "service-manager",
        _ => "unreachable",
    };
    let message = format!("the service manager answered: {text}");
    if in_doubt { Failure::in_doubt(code, message) } else { Failure::known(code, message, false) }
}
