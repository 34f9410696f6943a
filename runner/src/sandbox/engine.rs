//! The one constructor of the engine's configuration, and the ticker that interrupts guests.
//!
//! The compile helper and the daemon must agree on everything that shapes machine code, so both begin with
//! [`config`]. What only matters at run time (pooling) is added by [`engine`].

use std::num::NonZero;
use std::thread;
use std::time::Duration;

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, RegallocAlgorithm,
    WasmBacktraceDetails,
};

/// How often the epoch advances: the resolution of deadlines, and how long a guest may keep a worker thread.
pub const TICK: Duration = Duration::from_millis(10);

/// The most linear memory that any plugin may ask for, in bytes. It is the size of a pooled slot, and machine
/// code depends on it.
pub const MAX_MEMORY: usize = 256 << 20;

/// The most elements of all tables of one run together; a Python guest needs most of it.
pub const MAX_TABLE_ELEMENTS: usize = 100_000;

const MAX_WASM_STACK: usize = 1 << 20;
const ASYNC_STACK: usize = 2 << 20;
const HEAP_IMAGE: u64 = 64 << 20;

/// Regions that executions leave behind before their memory is given back, all at once: each time stops all threads of
/// the daemon for a moment. An execution leaves about four.
const DECOMMIT_BATCH: u32 = 64;

/// The settings that shape machine code, and the limits that belong to them.
#[must_use]
pub fn config() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .concurrency_support(false)
        .consume_fuel(true)
        .epoch_interruption(true)
        .cranelift_nan_canonicalization(true)
        .cranelift_regalloc_algorithm(RegallocAlgorithm::Backtracking)
        .wasm_relaxed_simd(true)
        .relaxed_simd_deterministic(true)
        .wasm_threads(false)
        .wasm_memory64(false)
        .wasm_gc(false)
        .wasm_exceptions(false)
        .wasm_stack_switching(false)
        .wasm_function_references(true)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .max_wasm_stack(MAX_WASM_STACK)
        .async_stack_size(ASYNC_STACK)
        .async_stack_zeroing(true)
        .memory_reservation(MAX_MEMORY as u64)
        .memory_guaranteed_dense_image_size(HEAP_IMAGE);
    config
}

/// An engine that runs guests: [`config`], and a pool for `concurrent` runs at a time.
///
/// Where the address space does not allow the pool, memory is mapped on demand, with a warning.
///
/// # Errors
/// When the machine cannot run the configuration at all.
pub fn engine(concurrent: u32) -> wasmtime::Result<Engine> {
    let mut pooled = config();
    pooled.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(concurrent)));
    Engine::new(&pooled).or_else(|error| {
        tracing::warn!(
            error = format!("{error:#}"),
            "no room for a pool of instances, mapping memory on demand"
        );
        Engine::new(&config())
    })
}

/// Sizes for the biggest guests: a Python component has 38 core modules. What each thread may just be giving back is
/// there once more, since nobody else can have it meanwhile.
fn pool(concurrent: u32) -> PoolingAllocationConfig {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let given_back = u32::try_from(threads).unwrap_or(u32::MAX).saturating_mul(DECOMMIT_BATCH);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(concurrent)
        .total_core_instances(concurrent.saturating_mul(40))
        .total_memories(concurrent.saturating_mul(2).saturating_add(given_back))
        .total_tables(concurrent.saturating_mul(4).saturating_add(given_back))
        .total_stacks(concurrent.saturating_add(given_back))
        .total_gc_heaps(1)
        .max_component_instance_size(10 << 20)
        .max_core_instance_size(10 << 20)
        .max_core_instances_per_component(256)
        .max_memories_per_component(16)
        .max_memories_per_module(16)
        .max_tables_per_component(64)
        .max_tables_per_module(64)
        .table_elements(MAX_TABLE_ELEMENTS)
        .max_memory_size(MAX_MEMORY)
        .decommit_batch_size(DECOMMIT_BATCH as usize)
        .max_unused_warm_slots(concurrent.min(32))
        .linear_memory_keep_resident(128 << 10)
        .table_keep_resident(16 << 10)
        .async_stack_keep_resident(32 << 10)
        .pagemap_scan(Enabled::Auto);
    pool
}

/// Starts the thread that advances the epoch every [`TICK`] until the engine is gone.
///
/// # Errors
/// When the thread cannot be started: nothing may run then, as nothing would interrupt it.
pub(super) fn start_ticker(engine: &Engine) -> std::io::Result<()> {
    let weak = engine.weak();
    thread::Builder::new().name("epoch".to_owned()).spawn(move || {
        while let Some(engine) = weak.upgrade() {
            engine.increment_epoch();
            drop(engine);
            thread::sleep(TICK);
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};

    use wasmtime::component::Component;

    use super::*;

    fn compatibility(engine: &Engine) -> u64 {
        let mut state = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut state);
        state.finish()
    }

    #[test]
    fn loads_what_the_compile_configuration_compiled() {
        let compiler = Engine::new(&config()).unwrap();
        let bytes = wat::parse_str("(component)").unwrap();
        let code = Component::new(&compiler, bytes).unwrap().serialize().unwrap();
        let runner = engine(4).unwrap();
        assert_eq!(compatibility(&runner), compatibility(&compiler));
        #[expect(unsafe_code, reason = "the bytes were compiled two lines above")]
        // SAFETY: the bytes come unchanged from `serialize` of the same wasmtime.
        let loaded = unsafe { Component::deserialize(&runner, &code) };
        assert!(loaded.is_ok());
    }
}
