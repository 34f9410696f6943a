//! Deterministic stubs for guests that import WASI 0.2 although there is nothing behind it.
//!
//! No environment, no arguments, no files, no sockets, no input. Output goes to the run's log. Clocks stand at
//! the run's own time, randomness comes from the run's seed. Leaving by `exit` ends the run. Everything else
//! traps when it is called. Nothing of it leaves the store, so nothing of it is journaled.

mod io;

use chrono::DateTime;
use wasmtime::StoreContextMut;
use wasmtime::component::{Component, ComponentType, Linker, LinkerInstance, Lower, Resource, ResourceType};

use self::io::{Input, Output, Pollable};
use super::run::Run;
use super::stop::Stop;

/// The most random bytes of one call.
const MAX_RANDOM: u64 = 64 << 10;
/// What a look at the monotonic clock takes: guests that wait for it to advance come to an end.
const TICK_NANOSECONDS: u64 = 1_000;

/// Handles that no guest can ever get.
struct Terminal;
struct Descriptor;

/// `wall-clock.datetime`
#[derive(Clone, Copy, ComponentType, Lower)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

/// Gives `linker` stubs for all that `component` imports of WASI, in exactly the versions that it names.
///
/// # Errors
/// When it imports something that is neither a capability nor WASI.
pub(super) fn link(linker: &mut Linker<Run>, component: &Component) -> wasmtime::Result<()> {
    let engine = component.engine();
    let kind = component.component_type();
    let names: Vec<String> = kind.imports(engine).map(|(name, _)| name.to_owned()).collect();
    if !names.iter().any(|name| name.starts_with("wasi:")) {
        return Ok(());
    }
    for name in &names {
        let Some(interface) = name.strip_prefix("wasi:") else { continue };
        let interface = interface.split_once('@').map_or(interface, |(interface, _)| interface);
        define(&mut linker.instance(name)?, interface)?;
    }
    // Only what is WASI may be missing: anything else has to fail when it is linked.
    if names.iter().all(|name| name.starts_with("wasi:") || name.starts_with("staunch:")) {
        linker.define_unknown_imports_as_traps(component)?;
    }
    Ok(())
}

fn define(instance: &mut LinkerInstance<'_, Run>, interface: &str) -> wasmtime::Result<()> {
    match interface {
        "cli/environment" => environment(instance),
        "cli/exit" => exit(instance),
        "cli/stdin" => stream::<Input>(instance, "input-stream", "get-stdin", 0),
        "cli/stdout" => stream::<Output>(instance, "output-stream", "get-stdout", io::STDOUT),
        "cli/stderr" => stream::<Output>(instance, "output-stream", "get-stderr", io::STDERR),
        "cli/terminal-input" => handle::<Terminal>(instance, "terminal-input"),
        "cli/terminal-output" => handle::<Terminal>(instance, "terminal-output"),
        "cli/terminal-stdin" => no_terminal(instance, "terminal-input", "get-terminal-stdin"),
        "cli/terminal-stdout" => no_terminal(instance, "terminal-output", "get-terminal-stdout"),
        "cli/terminal-stderr" => no_terminal(instance, "terminal-output", "get-terminal-stderr"),
        "clocks/wall-clock" => wall_clock(instance),
        "clocks/monotonic-clock" => monotonic_clock(instance),
        "random/random" => random(instance, "get-random-bytes", "get-random-u64"),
        "random/insecure" => random(instance, "get-insecure-random-bytes", "get-insecure-random-u64"),
        "random/insecure-seed" => {
            instance.func_wrap("insecure-seed", |mut store: StoreContextMut<'_, Run>, (): ()| {
                let run = store.data_mut();
                Ok(((draw_u64(run), draw_u64(run)),))
            })
        }
        "filesystem/types" => handle::<Descriptor>(instance, "descriptor"),
        "filesystem/preopens" => preopens(instance),
        "io/error" => io::error(instance),
        "io/poll" => io::poll(instance),
        "io/streams" => io::streams(instance),
        _ => Ok(()),
    }
}

/// Defines a resource type, or names one again where an interface uses another's.
fn handle<T: 'static>(instance: &mut LinkerInstance<'_, Run>, name: &str) -> wasmtime::Result<()> {
    instance.resource(name, ResourceType::host::<T>(), |_, _| Ok(()))
}

fn stream<T: 'static>(
    instance: &mut LinkerInstance<'_, Run>,
    kind: &str,
    name: &str,
    number: u32,
) -> wasmtime::Result<()> {
    handle::<T>(instance, kind)?;
    instance.func_wrap(name, move |_, (): ()| Ok((Resource::<T>::new_own(number),)))
}

fn preopens(instance: &mut LinkerInstance<'_, Run>) -> wasmtime::Result<()> {
    handle::<Descriptor>(instance, "descriptor")?;
    instance.func_wrap("get-directories", |_, (): ()| Ok((Vec::<(Resource<Descriptor>, String)>::new(),)))
}

fn no_terminal(instance: &mut LinkerInstance<'_, Run>, kind: &str, name: &str) -> wasmtime::Result<()> {
    handle::<Terminal>(instance, kind)?;
    instance.func_wrap(name, |_, (): ()| Ok((None::<Resource<Terminal>>,)))
}

fn environment(instance: &mut LinkerInstance<'_, Run>) -> wasmtime::Result<()> {
    instance.func_wrap("get-environment", |_, (): ()| Ok((Vec::<(String, String)>::new(),)))?;
    instance.func_wrap("get-arguments", |_, (): ()| Ok((Vec::<String>::new(),)))?;
    instance.func_wrap("initial-cwd", |_, (): ()| Ok((None::<String>,)))
}

fn exit(instance: &mut LinkerInstance<'_, Run>) -> wasmtime::Result<()> {
    instance.func_wrap("exit", |_, (status,): (Result<(), ()>,)| -> wasmtime::Result<()> {
        let code = i32::from(status.is_err());
        Err(Stop::limit("exit", format!("it left by itself, with code {code}")).into())
    })
}

fn wall_clock(instance: &mut LinkerInstance<'_, Run>) -> wasmtime::Result<()> {
    instance.func_wrap("now", |store: StoreContextMut<'_, Run>, (): ()| {
        let began: DateTime<chrono::Utc> = store.data().job.began;
        let seconds = u64::try_from(began.timestamp()).unwrap_or_default();
        Ok((Datetime { seconds, nanoseconds: began.timestamp_subsec_nanos() },))
    })?;
    instance.func_wrap("resolution", |_, (): ()| Ok((Datetime { seconds: 0, nanoseconds: 1_000 },)))
}

fn monotonic_clock(instance: &mut LinkerInstance<'_, Run>) -> wasmtime::Result<()> {
    handle::<Pollable>(instance, "pollable")?;
    instance.func_wrap("now", |mut store: StoreContextMut<'_, Run>, (): ()| {
        let run = store.data_mut();
        run.monotonic += TICK_NANOSECONDS;
        Ok((run.monotonic,))
    })?;
    instance.func_wrap("resolution", |_, (): ()| Ok((TICK_NANOSECONDS,)))?;
    instance.func_wrap("subscribe-instant", |mut store: StoreContextMut<'_, Run>, (when,): (u64,)| {
        let run = store.data_mut();
        run.monotonic = run.monotonic.max(when);
        Ok((Resource::<Pollable>::new_own(0),))
    })?;
    instance.func_wrap("subscribe-duration", |mut store: StoreContextMut<'_, Run>, (duration,): (u64,)| {
        let run = store.data_mut();
        run.monotonic = run.monotonic.saturating_add(duration);
        Ok((Resource::<Pollable>::new_own(0),))
    })
}

fn random(instance: &mut LinkerInstance<'_, Run>, bytes: &str, word: &str) -> wasmtime::Result<()> {
    instance.func_wrap(bytes, |mut store: StoreContextMut<'_, Run>, (length,): (u64,)| {
        if length > MAX_RANDOM {
            return Err(
                Stop::limit("random", format!("{length} random bytes are more than {MAX_RANDOM}")).into()
            );
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        store.data_mut().draw(&mut bytes);
        Ok((bytes,))
    })?;
    instance.func_wrap(word, |mut store: StoreContextMut<'_, Run>, (): ()| Ok((draw_u64(store.data_mut()),)))
}

fn draw_u64(run: &mut Run) -> u64 {
    let mut bytes = [0; 8];
    run.draw(&mut bytes);
    u64::from_le_bytes(bytes)
}
