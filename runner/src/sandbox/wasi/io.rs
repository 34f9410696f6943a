//! `wasi:io`: an input that is at its end, outputs that go to the log, and waits that are over at once.

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, LinkerInstance, Lower, Resource};

use super::handle;
use crate::sandbox::job::LogLevel;
use crate::sandbox::run::Run;

pub(super) const STDOUT: u32 = 1;
pub(super) const STDERR: u32 = 2;

/// How much a guest may write at once.
const WRITE_AT_ONCE: u64 = 4_096;

/// The kinds of handles.
pub(super) struct Input;
pub(super) struct Output;
pub(super) struct Pollable;
pub(super) struct IoError;

/// `streams.stream-error`; nothing here ever fails in another way.
#[expect(dead_code, reason = "the contract's other case has to be there")]
#[derive(ComponentType, Lower)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    Failed(Resource<IoError>),
    #[component(name = "closed")]
    Closed,
}

type Streamed<T> = Result<T, StreamError>;

pub(super) fn error(instance: &mut LinkerInstance<'_, Run>) -> wasmtime::Result<()> {
    handle::<IoError>(instance, "error")?;
    instance.func_wrap("[method]error.to-debug-string", |_, (_,): (Resource<IoError>,)| {
        Ok(("no such thing in the sandbox".to_owned(),))
    })
}

pub(super) fn poll(instance: &mut LinkerInstance<'_, Run>) -> wasmtime::Result<()> {
    handle::<Pollable>(instance, "pollable")?;
    instance.func_wrap("[method]pollable.ready", |_, (_,): (Resource<Pollable>,)| Ok((true,)))?;
    instance.func_wrap("[method]pollable.block", |_, (_,): (Resource<Pollable>,)| Ok(()))?;
    instance.func_wrap("poll", |_, (all,): (Vec<Resource<Pollable>>,)| {
        Ok(((0..u32::try_from(all.len()).unwrap_or(u32::MAX)).collect::<Vec<u32>>(),))
    })
}

pub(super) fn streams(instance: &mut LinkerInstance<'_, Run>) -> wasmtime::Result<()> {
    handle::<IoError>(instance, "error")?;
    handle::<Pollable>(instance, "pollable")?;
    handle::<Input>(instance, "input-stream")?;
    handle::<Output>(instance, "output-stream")?;
    for name in ["[method]input-stream.read", "[method]input-stream.blocking-read"] {
        instance.func_wrap(name, |_, (_, _): (Resource<Input>, u64)| {
            Ok((Streamed::<Vec<u8>>::Err(StreamError::Closed),))
        })?;
    }
    instance.func_wrap("[method]input-stream.subscribe", |_, (_,): (Resource<Input>,)| {
        Ok((Resource::<Pollable>::new_own(0),))
    })?;
    instance.func_wrap("[method]output-stream.subscribe", |_, (_,): (Resource<Output>,)| {
        Ok((Resource::<Pollable>::new_own(0),))
    })?;
    instance.func_wrap("[method]output-stream.check-write", |_, (_,): (Resource<Output>,)| {
        Ok((Streamed::Ok(WRITE_AT_ONCE),))
    })?;
    for name in ["[method]output-stream.write", "[method]output-stream.blocking-write-and-flush"] {
        instance.func_wrap(
            name,
            |mut store: StoreContextMut<'_, Run>, (to, bytes): (Resource<Output>, Vec<u8>)| {
                store.data_mut().print(to.rep(), &bytes);
                Ok((Streamed::Ok(()),))
            },
        )?;
    }
    for name in ["[method]output-stream.flush", "[method]output-stream.blocking-flush"] {
        instance.func_wrap(name, |_, (_,): (Resource<Output>,)| Ok((Streamed::Ok(()),)))?;
    }
    Ok(())
}

impl Run {
    /// What is printed becomes lines of the log, as it comes.
    fn print(&mut self, to: u32, bytes: &[u8]) {
        let level = if to == STDERR { LogLevel::Warn } else { LogLevel::Info };
        for line in String::from_utf8_lossy(bytes).split('\n').filter(|line| !line.is_empty()) {
            self.write_log(level, line.to_owned());
        }
    }
}
