//! `service`: units of systemd, over D-Bus. Effects wait for the manager's job.

mod bus;
mod change;

pub(in crate::sandbox) use self::bus::Bus;

use std::time::Duration;

use self::change::Change;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use staunch_core::effect::CallError;
use tokio::time::Instant;
use wasmtime::component::{ComponentType, Linker, Lower};

use super::table;
use super::types::{Awaited, Intent};
use crate::sandbox::broker::{self, Failure, Found, Function, Site};
use crate::sandbox::capability;
use crate::sandbox::grants::Grants;
use crate::sandbox::run::Run;
use crate::sandbox::scrub::{Scrub, Scrubber};

/// systemd's own bound on names.
const MAX_UNIT: usize = 255;
/// Between two looks of `await-active`.
const POLL: Duration = Duration::from_millis(250);

const TYPES: [&str; 11] = [
    "service",
    "socket",
    "device",
    "mount",
    "automount",
    "swap",
    "target",
    "path",
    "timer",
    "slice",
    "scope",
];

/// `service.unit-status`
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lower, Serialize, Deserialize)]
#[component(record)]
pub(in crate::sandbox) struct UnitStatus {
    pub(in crate::sandbox) load: String,
    pub(in crate::sandbox) active: String,
    #[serde(default)]
    pub(in crate::sandbox) sub: String,
    #[serde(default)]
    pub(in crate::sandbox) invocation: String,
}

impl UnitStatus {
    fn assumed(active: &str, sub: &str) -> Self {
        let [load, active, sub] = ["loaded", active, sub].map(str::to_owned);
        Self { load, active, sub, invocation: String::new() }
    }
}

impl Scrub for UnitStatus {
    fn scrub(&mut self, _scrubber: &Scrubber) {}
}

/// A unit's name that systemd would accept and that means one unit.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct Unit(String);

impl Unit {
    pub(in crate::sandbox) fn new(name: String) -> Result<Self, CallError> {
        let known_type =
            name.rsplit_once('.').is_some_and(|(stem, kind)| !stem.is_empty() && TYPES.contains(&kind));
        let plain = |byte: u8| {
            byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'-' | b'_' | b'.' | b'\\' | b'@')
        };
        if !known_type || name.len() > MAX_UNIT || !name.bytes().all(plain) || name.starts_with('@') {
            let mut shown = name;
            crate::sandbox::log_text::cut(&mut shown, MAX_UNIT);
            return Err(CallError {
                code: "invalid-argument".to_owned(),
                message: format!("{shown:?} is no unit name with its type, like web.service"),
                retryable: false,
            });
        }
        Ok(Self(name))
    }

    fn target(&self, host: Option<&str>) -> String {
        format!("{}/service:{}", host.unwrap_or("unknown"), self.0)
    }
}

/// The functions whose only argument is the unit.
macro_rules! on_unit {
    ($name:ident, $function:literal, $change:expr, $assumed:expr, $bus:ident, $unit:ident, $deadline:ident => $deed:expr) => {
        pub(in crate::sandbox) struct $name(pub(in crate::sandbox) Unit);

        impl Function for $name {
            const FUNCTION: &'static capability::Function = table!("service", $function);
            type Output = UnitStatus;
            type Leave = ();

            fn target(&self, host: Option<&str>) -> String {
                self.0.target(host)
            }

            fn host_bound(&self) -> bool {
                true
            }

            fn arguments(&self) -> Value {
                json!({ "unit": self.0.0 })
            }

            fn authorise(&self, grants: &Grants) -> Result<(), CallError> {
                grants.service(Self::FUNCTION.name, &self.0.0)
            }

            fn assume(&self) -> UnitStatus {
                $assumed
            }

            async fn perform(&self, site: Site<'_, ()>) -> Result<UnitStatus, Failure> {
                let ($bus, $unit, $deadline) = (&site.world.bus, self.0.0.as_str(), site.deadline);
                $deed.await
            }

            async fn before(&self, site: Site<'_, ()>) -> Option<Value> {
                let change: Option<Change> = $change;
                change?.before(&site.world.bus, &self.0.0, site.deadline).await
            }

            async fn reconcile(&self, before: &Value, site: Site<'_, ()>) -> Found<UnitStatus> {
                let change: Option<Change> = $change;
                let Some(change) = change else { return Found::Unknown };
                change.ask(&site.world.bus, &self.0.0, before, site.deadline).await
            }
        }
    };
}

on_unit!(Status, "status", None, UnitStatus::assumed("active", "running"), bus, unit, deadline => bus.status(unit, deadline));
on_unit!(Start, "start", Some(Change::Start), UnitStatus::assumed("active", "running"), bus, unit, deadline => bus.job("StartUnit", unit, deadline));
on_unit!(Stop, "stop", Some(Change::Stop), UnitStatus::assumed("inactive", "dead"), bus, unit, deadline => bus.job("StopUnit", unit, deadline));
on_unit!(Restart, "restart", Some(Change::Restart), UnitStatus::assumed("active", "running"), bus, unit, deadline => bus.job("RestartUnit", unit, deadline));
on_unit!(ResetFailed, "reset-failed", None, UnitStatus::assumed("inactive", "dead"), bus, unit, deadline => bus.reset_failed(unit, deadline));

/// `service.await-active`
struct AwaitActive {
    unit: Unit,
    timeout: u32,
    /// Looks once, however long it might wait.
    once: bool,
}

impl Function for AwaitActive {
    const FUNCTION: &'static capability::Function = table!("service", "await-active");
    type Output = Awaited;
    type Leave = ();

    fn target(&self, host: Option<&str>) -> String {
        self.unit.target(host)
    }

    fn host_bound(&self) -> bool {
        true
    }

    fn arguments(&self) -> Value {
        json!({ "unit": self.unit.0, "timeout_ms": self.timeout })
    }

    fn authorise(&self, grants: &Grants) -> Result<(), CallError> {
        grants.service(Self::FUNCTION.name, &self.unit.0)
    }

    fn assume(&self) -> Awaited {
        Awaited::assumed("active")
    }

    fn hurry(&mut self) {
        self.once = true;
    }

    fn same(before: &Value, now: &Value) -> bool {
        Awaited::same(before, now)
    }

    fn polls(awaited: &Awaited) -> u32 {
        awaited.polls
    }

    async fn perform(&self, site: Site<'_, ()>) -> Result<Awaited, Failure> {
        let end = site.deadline.min(Instant::now() + Duration::from_millis(u64::from(self.timeout)));
        let mut awaited = Awaited { met: false, assumed: false, last: String::new(), polls: 0 };
        loop {
            awaited.polls += 1;
            let status = site.world.bus.status(&self.unit.0, site.deadline).await?;
            awaited.met = status.active == "active";
            awaited.last = status.active;
            if awaited.met || self.once || Instant::now() + POLL >= end {
                return Ok(awaited);
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

pub(super) fn link(linker: &mut Linker<Run>) -> wasmtime::Result<()> {
    let mut interface = linker.instance("staunch:service/service@1.0.0")?;
    interface.func_wrap_async("status", |store, (unit,): (String,)| {
        Box::new(async move { Ok((broker::reading(store, Unit::new(unit).map(Status)).await?,)) })
    })?;
    interface.func_wrap_async("await-active", |store, (unit, timeout): (String, u32)| {
        let function = Unit::new(unit).map(|unit| AwaitActive { unit, timeout, once: false });
        Box::new(async move { Ok((broker::reading(store, function).await?,)) })
    })?;
    interface.func_wrap_async("start", |store, (unit, intent): (String, Intent)| {
        Box::new(async move { Ok((broker::effect(store, Unit::new(unit).map(Start), intent).await?,)) })
    })?;
    interface.func_wrap_async("stop", |store, (unit, intent): (String, Intent)| {
        Box::new(async move { Ok((broker::effect(store, Unit::new(unit).map(Stop), intent).await?,)) })
    })?;
    interface.func_wrap_async("restart", |store, (unit, intent): (String, Intent)| {
        Box::new(async move { Ok((broker::effect(store, Unit::new(unit).map(Restart), intent).await?,)) })
    })?;
    interface.func_wrap_async("reset-failed", |store, (unit, intent): (String, Intent)| {
        Box::new(async move { Ok((broker::effect(store, Unit::new(unit).map(ResetFailed), intent).await?,)) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_names_mean_one_unit() {
        for name in ["web.service", "foo@bar.service", "dev-sda1.swap", "a\\x2db.mount", "x.timer"] {
            assert!(Unit::new(name.to_owned()).is_ok(), "{name}");
        }
        for name in [
            "",
            "web",
            ".service",
            "web.conf",
            "*.service",
            "a/b.service",
            "a b.service",
            "ü.service",
            "@x.service",
        ] {
            assert!(Unit::new(name.to_owned()).is_err(), "{name}");
        }
        assert!(Unit::new(format!("{}.service", "a".repeat(255))).is_err());
    }
}
