//! `clock`: the run's own time, the true time, and waiting.

use std::time::Duration;

use serde_json::{Value, json};
use staunch_core::effect::CallError;
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use super::table;
use crate::sandbox::broker::{self, Failure, Function, Site};
use crate::sandbox::capability;
use crate::sandbox::grants::Grants;
use crate::sandbox::job::Mode;
use crate::sandbox::run::Run;

/// The true time; needs no grant.
struct Wall;

impl Function for Wall {
    const FUNCTION: &'static capability::Function = table!("clock", "wall");
    type Output = u64;
    type Leave = ();

    fn target(&self, _host: Option<&str>) -> String {
        "clock".to_owned()
    }

    fn host_bound(&self) -> bool {
        false
    }

    fn arguments(&self) -> Value {
        json!({})
    }

    fn authorise(&self, _grants: &Grants) -> Result<(), CallError> {
        Ok(())
    }

    fn assume(&self) -> u64 {
        0
    }

    /// Time goes on: that it did says nothing.
    fn same(_before: &Value, _now: &Value) -> bool {
        true
    }

    async fn perform(&self, site: Site<'_, ()>) -> Result<u64, Failure> {
        Ok(u64::try_from(site.world.clock.now().timestamp_millis()).unwrap_or_default())
    }
}

pub(super) fn link(linker: &mut Linker<Run>) -> wasmtime::Result<()> {
    let mut interface = linker.instance("staunch:clock/clock@1.0.0")?;
    interface.func_wrap("now", |store: StoreContextMut<'_, Run>, (): ()| {
        Ok((u64::try_from(store.data().job.began.timestamp_millis()).unwrap_or_default(),))
    })?;
    interface.func_wrap_async("wall", |store, (): ()| {
        Box::new(async move {
            let now = broker::reading(store, Ok(Wall)).await?;
            Ok((now.unwrap_or_default(),))
        })
    })?;
    interface.func_wrap_async("sleep", |mut store: StoreContextMut<'_, Run>, (milliseconds,): (u32,)| {
        Box::new(async move { sleep(store.data_mut(), milliseconds).await })
    })
}

/// Waits only when really acting, past what is replayed; a wait beyond the deadline ends the run there.
async fn sleep(run: &mut Run, milliseconds: u32) -> wasmtime::Result<()> {
    run.count_call()?;
    if !matches!(run.job.mode, Mode::Act { .. }) || !run.replay.as_slice().is_empty() {
        return Ok(());
    }
    let wanted = Duration::from_millis(u64::from(milliseconds));
    let left = run.deadline.saturating_duration_since(tokio::time::Instant::now());
    tokio::time::sleep(wanted.min(left)).await;
    if wanted > left {
        return Err(run.past_deadline().into());
    }
    Ok(())
}
