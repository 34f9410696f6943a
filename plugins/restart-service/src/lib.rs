//! Restarts one systemd unit, and waits until it is active.

#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::Deserialize;
use staunch_plugin::service::UnitStatus;
use staunch_plugin::{Error, Host, Outcome, Remediation, Verdict, Verification, placeholder};

/// The remediation.
#[derive(Debug)]
struct RestartService;

/// The input, as `[input]` of `plugin.toml` describes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    unit: String,
    /// Leave a unit alone that is active.
    #[serde(default)]
    only_if_not_active: bool,
    /// Clear the failed state first, so that the start limit does not refuse the restart.
    #[serde(default = "yes")]
    reset_failed: bool,
    /// How long the unit may take to become active after the restart, in seconds.
    #[serde(default = "half_a_minute")]
    wait: u32,
}

fn yes() -> bool {
    true
}

fn half_a_minute() -> u32 {
    30
}

impl Remediation for RestartService {
    type Input = Input;

    fn remediate(input: Input, host: &Host) -> Result<Outcome, Error> {
        let unit = input.unit.as_str();
        let before = known(host, unit)?;
        if input.only_if_not_active && before.active == "active" {
            return Ok(Outcome::unchanged(format!("{unit} is active ({})", before.sub)));
        }
        if input.reset_failed && before.active == "failed" {
            host.service()
                .reset_failed(unit)
                .because("so that the start limit does not refuse it")
                .perform()?;
        }
        let after = restart(host, unit, &before)?;
        await_active(host, unit, input.wait)?;
        Outcome::changed(format!("restarted {unit}, which was {} ({})", before.active, before.sub))
            .with_details(&serde_json::json!({ "before": before, "invocation": after.invocation }))
    }
}

/// The unit's status, if there is such a unit and it can be started at all.
fn known(host: &Host, unit: &str) -> Result<UnitStatus, Error> {
    let status = host.service().status(unit)?;
    match status.load.as_str() {
        "not-found" => Err(Error::new("unit-not-found", format!("there is no unit {unit}"))),
        "masked" => Err(Error::new("unit-masked", format!("{unit} is masked, so it can't be started"))),
        _ => Ok(status),
    }
}

/// Restarts the unit and makes sure that it was started anew.
fn restart(host: &Host, unit: &str, before: &UnitStatus) -> Result<UnitStatus, Error> {
    let after = host
        .service()
        .restart(unit)
        .because(format!("{unit} is {} ({})", before.active, before.sub))
        .assume(&UnitStatus::loaded("active", "running", placeholder("invocation")))
        .perform()?;
    if !before.invocation.is_empty() && before.invocation == after.invocation {
        let message = format!("the restart of {unit} came back, and it is still the same invocation");
        return Err(Error::new("not-restarted", message));
    }
    Ok(after)
}

fn await_active(host: &Host, unit: &str, wait: u32) -> Result<(), Error> {
    let awaited = host.service().await_active(unit, Duration::from_secs(wait.into()))?;
    if awaited.met {
        return Ok(());
    }
    let message = format!("{unit} is {} {wait} s after its restart", awaited.last);
    Err(Error::new("not-active", message).retryable())
}

impl Verification for RestartService {
    fn verify(input: Input, host: &Host) -> Result<Verdict, Error> {
        let status = host.service().status(&input.unit)?;
        Ok(match status.active.as_str() {
            "active" => Verdict::Passed,
            // On its way: the host asks again until the time for verification is over.
            "activating" | "reloading" => Verdict::NoAnswer,
            _ => Verdict::Failed,
        })
    }
}

staunch_plugin::export!(RestartService with verification);
