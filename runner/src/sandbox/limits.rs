//! What one run may use. Each bound ends the run with a code of its own, so that the journal says which.

use std::time::Duration;

use wasmtime::ResourceLimiter;

use super::engine::{MAX_MEMORY, MAX_TABLE_ELEMENTS};
use super::stop::Stop;

/// Calls through capabilities, the run's own functions included.
pub const MAX_CALLS: u32 = 1_000;
/// Arguments and answers of all calls together, as they are journaled.
pub const MAX_JOURNAL_BYTES: usize = 4 << 20;
/// All log lines together; further lines are counted and dropped.
pub const MAX_LOG_BYTES: usize = 64 << 10;
/// One log line; what is longer is cut.
pub const MAX_LOG_LINE: usize = 4 << 10;
/// What a plugin may return.
pub const MAX_RESULT_BYTES: usize = 64 << 10;
/// A reason or an idempotency key; what is longer is cut or refused.
pub const MAX_INTENT_TEXT: usize = 4 << 10;
/// What a guest may hand over in one call: wasmtime's own bound on lifted strings and lists.
pub(super) const HOSTCALL_BYTES: usize = 8 << 20;
/// Resources that a guest may hold; the interfaces have none, WASI stubs a few.
pub(super) const MAX_HANDLES: usize = 1_000;
/// Core instances, memories and tables of one component.
const MAX_INSTANCES: usize = 1_000;
const MAX_TABLES: usize = 64;
const MAX_MEMORIES: usize = 16;

/// The bounds of one run that its manifest chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Units of work; about one a WebAssembly instruction.
    pub fuel: u64,
    /// Bytes of linear memory, at most [`MAX_MEMORY`].
    pub memory: usize,
    /// Running time, waiting in host calls included.
    pub deadline: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { fuel: 500_000_000, memory: 64 << 20, deadline: Duration::from_secs(60) }
    }
}

/// Counts memory and table elements of all of a run's instances together, and ends the run at the bound
/// instead of letting the guest go on in a state that its author never saw.
#[derive(Debug)]
pub(super) struct Limiter {
    memory_left: usize,
    elements_left: usize,
}

impl Limiter {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { memory_left: limits.memory.min(MAX_MEMORY), elements_left: MAX_TABLE_ELEMENTS }
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        match self.memory_left.checked_sub(more) {
            Some(left) => self.memory_left = left,
            None => {
                return Err(
                    Stop::limit("memory", format!("{desired} bytes of memory are over its limit")).into()
                );
            }
        }
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(Stop::limit("memory", format!("memory could not grow: {error:#}")).into())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        match self.elements_left.checked_sub(more) {
            Some(left) => self.elements_left = left,
            None => {
                return Err(
                    Stop::limit("table", format!("{desired} table elements are over the limit")).into()
                );
            }
        }
        Ok(true)
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(Stop::limit("table", format!("a table could not grow: {error:#}")).into())
    }

    fn instances(&self) -> usize {
        MAX_INSTANCES
    }

    fn tables(&self) -> usize {
        MAX_TABLES
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES
    }
}
