//! The sandbox: the one way to run a plugin.
//!
//! [`Sandbox::execute`] takes a permit and a [`Job`], runs the plugin in a fresh store under all [`limits`], and
//! answers with a [`Report`]. The guest has no files, sockets, clock or randomness of its own: every call goes
//! through the broker, which asks the grants, the plan, the [`Ledger`] and then, perhaps, the world.
//!
//! This room never decides policy, never verifies plugins, and never hands a guest anything but an answer.

mod ask;
mod broker;
mod cap;
pub mod capability;
pub mod engine;
mod grants;
mod guest;
mod job;
mod ledger;
pub mod limits;
mod log_text;
mod probe;
mod reconcile;
mod roots;
mod run;
mod scrub;
mod secrets;
mod stop;
mod wasi;
mod world;

pub use broker::{Found, MAX_SENDS};
pub use cap::http::{Resolve, SystemResolver};
pub(crate) use cap::process::launch::{SUBCOMMAND as PROCESS_HELPER, helper_main as process_helper};
pub use capability::access_of;
pub use grants::{GrantError, Grants, PatternMap};
pub use guest::Prepared;
pub use job::{
    Again, Denial, EffectRecord, Ending, Export, Job, LogLevel, LogLine, Mode, ReadingRecord, Report, Resume,
};
pub use ledger::{Backend, Intent, Ledger, LedgerError, Outcome, Reading, Verdict};
pub use limits::Limits;
pub use probe::{Looked, ProbeGrants};
pub use roots::{Root, RootError, read_roots};
pub use secrets::{MIN_SECRET_BYTES, SecretError};

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use rustls::pki_types::CertificateDer;
use secrecy::SecretString;
use staunch_core::id::Digest;
use staunch_core::permit::Permit;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Store, Trap, UpdateDeadline};

use crate::clock::Clock;

use self::cap::http::Client;
use self::run::Run;
use self::secrets::Secrets;
use self::stop::Stop;
use self::world::World;

/// What a sandbox is made with.
pub struct Options {
    /// The true time, for the reading `clock.wall`.
    pub clock: Clock,
    /// Turns host names into addresses.
    pub resolver: Arc<dyn Resolve>,
    /// The values of `secret://NAME`.
    pub secrets: BTreeMap<String, SecretString>,
    /// Certificates to trust beside the system's.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// The D-Bus address at which systemd is reached; `None` is the system bus.
    pub bus_address: Option<String>,
    /// How many runs may hold guest memory at a time; more wait.
    pub concurrent: u32,
}

impl Options {
    /// The system's resolver, no secrets, 64 runs at a time.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            resolver: Arc::new(SystemResolver),
            secrets: BTreeMap::new(),
            extra_roots: Vec::new(),
            bus_address: None,
            concurrent: 64,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("concurrent", &self.concurrent).finish_non_exhaustive()
    }
}

/// Why the sandbox cannot be set up, or a plugin not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The machine cannot run the engine.
    #[error("the WebAssembly engine cannot be started: {0:#}")]
    Engine(wasmtime::Error),
    /// The epoch thread.
    #[error("the thread that interrupts plugins cannot be started")]
    Ticker(#[source] std::io::Error),
    /// A secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The component imports what the host does not have.
    #[error("plugin {digest} cannot be linked: {message}")]
    Link {
        /// The component.
        digest: Digest,
        /// What is missing, by name.
        message: String,
    },
}

/// Engine, linker, clients: made once.
pub struct Sandbox {
    engine: Engine,
    linker: Linker<Run>,
    world: Arc<World>,
    prepared: Mutex<HashMap<Digest, Arc<Prepared>>>,
    room: Semaphore,
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox").finish_non_exhaustive()
    }
}

impl Sandbox {
    /// Starts the engine and its ticker. No client is made before its first use.
    ///
    /// # Errors
    /// When the machine or the secrets do not allow it.
    pub fn new(options: Options) -> Result<Self, SandboxError> {
        let engine = engine::engine(options.concurrent).map_err(SandboxError::Engine)?;
        engine::start_ticker(&engine).map_err(SandboxError::Ticker)?;
        let mut linker = Linker::new(&engine);
        cap::link(&mut linker).map_err(SandboxError::Engine)?;
        let http = Client::new(options.resolver, options.extra_roots);
        let world = World::new(options.clock, http, Secrets::new(options.secrets)?, options.bus_address);
        Ok(Self {
            engine,
            linker,
            world: Arc::new(world),
            prepared: Mutex::default(),
            room: Semaphore::new(options.concurrent as usize),
        })
    }

    /// The engine that components must be loaded into.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Resolves a component's imports, once for each digest.
    ///
    /// # Errors
    /// When it imports something that the host does not have.
    pub fn prepare(&self, digest: Digest, component: &Component) -> Result<Arc<Prepared>, SandboxError> {
        let mut all = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(prepared) = all.get(&digest) {
            return Ok(prepared.clone());
        }
        let failed = |error: wasmtime::Error| SandboxError::Link { digest, message: format!("{error:#}") };
        let mut linker = self.linker.clone();
        wasi::link(&mut linker, component).map_err(failed)?;
        let pre = linker.instantiate_pre(component).map_err(failed)?;
        let prepared = Arc::new(Prepared::new(digest, component, pre));
        all.insert(digest, prepared.clone());
        Ok(prepared)
    }

    /// Forgets a prepared plugin; executions that hold it go on.
    pub fn forget(&self, digest: &Digest) {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner).remove(digest);
    }

    /// Puts other secrets in place, for calls that begin from now on.
    ///
    /// # Errors
    /// When one of them cannot be kept; the old ones stay.
    pub fn replace_secrets(&self, secrets: BTreeMap<String, SecretString>) -> Result<(), SecretError> {
        self.world.replace_secrets(Secrets::new(secrets)?);
        Ok(())
    }

    /// Trusts these certificates beside the system's, for connections that begin from now on.
    pub fn replace_roots(&self, extra_roots: Vec<CertificateDer<'static>>) {
        self.world.http.replace_roots(extra_roots);
    }

    /// Runs a plugin: the one way to do so. Waits for room if too many are running; the deadline counts from
    /// then on.
    ///
    /// The future must be driven to its end, also when nobody waits for the report any more: dropped between an
    /// intent and its outcome, it leaves the effect in doubt.
    pub async fn execute(&self, permit: Permit, job: Job) -> Report {
        if let Err(message) = check_permit(&permit, &job) {
            return Report::refused(Ending::NotPermitted(message));
        }
        let approved = matches!(&permit, Permit::Act(permit) if permit.approved());
        drop(permit);
        let Ok(_room) = self.room.acquire().await else {
            return Report::refused(trapped("engine", "the sandbox is shut down"));
        };
        let began = Instant::now();
        let fuel = job.limits.fuel;
        let mut store = match self.store(job, approved) {
            Ok(store) => store,
            Err(error) => return Report::refused(trapped("engine", format!("{error:#}"))),
        };
        let ending = match AssertUnwindSafe(guest::call(&mut store)).catch_unwind().await {
            Ok(Ok(ending)) => ending,
            Ok(Err(error)) => ending_of(error, &store),
            Err(panic) => trapped("panic", format!("the host failed: {}", panic_text(&*panic))),
        };
        let left = store.get_fuel().unwrap_or_default();
        let run = store.into_data();
        Report {
            ending,
            effects: run.effects,
            readings: run.readings,
            denials: run.denials,
            log: run.log,
            log_dropped: run.log_dropped,
            fuel: fuel.saturating_sub(left),
            duration: began.elapsed(),
        }
    }

    /// A fresh store with every bound set.
    fn store(&self, job: Job, approved: bool) -> wasmtime::Result<Store<Run>> {
        let fuel = job.limits.fuel;
        let mut store = Store::new(&self.engine, Run::new(job, self.world.clone(), approved));
        store.limiter(|run| &mut run.limiter);
        store.set_fuel(fuel)?;
        store.set_hostcall_fuel(limits::HOSTCALL_BYTES);
        store.set_max_component_handles(limits::MAX_HANDLES);
        // At every tick the guest gives way to others, and ends if its time is over.
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|context| {
            let run = context.data();
            match Instant::now() < run.deadline {
                // Unlike a plain yield, this one lets the worker look at its timers and sockets first.
                true => Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now()))),
                false => Err(run.past_deadline().into()),
            }
        });
        Ok(store)
    }
}

/// A permit is good for one run and one kind of execution.
fn check_permit(permit: &Permit, job: &Job) -> Result<(), String> {
    let (run, fits) = match permit {
        Permit::Plan(permit) => (Some(permit.run()), matches!(job.mode, Mode::Plan)),
        Permit::Act(permit) => (Some(permit.run()), matches!(job.mode, Mode::Act { .. })),
        Permit::Rehearsal(_) => (None, matches!(job.mode, Mode::Rehearse(_) | Mode::Replay)),
    };
    if !fits {
        return Err(format!("the permit is not for mode {:?}", job.mode));
    }
    match run {
        Some(run) if *run != job.run => Err(format!("the permit is for run {run}, not for {}", job.run)),
        _ => Ok(()),
    }
}

fn trapped(code: &'static str, message: impl Into<String>) -> Ending {
    Ending::Trapped { code, message: message.into() }
}

fn ending_of(error: wasmtime::Error, store: &Store<Run>) -> Ending {
    let error = match error.downcast::<Stop>() {
        Ok(stop) => return ending_of_stop(stop),
        Err(error) => error,
    };
    let Some(trap) = error.downcast_ref::<Trap>() else {
        let message = format!("{error:#}");
        let code = match store.data().instantiated {
            false => "engine",
            true if message.contains("hostcall") => "hostcall",
            // Texts, pointers or cases that do not exist, handed over by the guest.
            true => "abi",
        };
        return trapped(code, message);
    };
    match trap {
        Trap::OutOfFuel => {
            trapped("fuel", format!("it used all of its {} units of fuel", store.data().job.limits.fuel))
        }
        Trap::Interrupt => trapped("deadline", "it was interrupted at its deadline"),
        Trap::StackOverflow => trapped("stack", "its call stack is exhausted"),
        Trap::UnreachableCodeReached => trapped("unreachable", format!("it gave up: {error:#}")),
        _ => trapped("trap", format!("{error:#}")),
    }
}

fn ending_of_stop(stop: Stop) -> Ending {
    match stop {
        Stop::Parked { call, reason } => Ending::Parked { call: *call, reason },
        Stop::InDoubt { index, call, message } => Ending::InDoubt { index, call: *call, message },
        Stop::Halted(reason) => Ending::Halted(reason),
        Stop::ReadingChanged { calls, call, before, now } => {
            Ending::ReadingChanged { calls, call: *call, before: *before, now: *now }
        }
        Stop::Diverged { expected, call, fuel } => {
            Ending::Diverged { expected: expected.map(|recorded| *recorded), call: *call, fuel }
        }
        Stop::Ledger(message) => Ending::LedgerUnavailable(message),
        Stop::Limit { code, message } => Ending::Trapped { code, message },
        stop @ Stop::BadAnswer { .. } => trapped("answer", stop.to_string()),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without a message")
}
