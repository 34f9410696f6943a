//! `serve`: the daemon's start-up story. What is wrong with the configuration is told before anything is bound;
//! then it announces itself, waits, and drains.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use super::args::ServeArgs;
use super::check::{Checked, load};
use super::output::Output;
use super::{Done, Failure, local};
use crate::causes::chain;
use crate::clock::Clock;
use crate::http::{App, router};
use crate::journal::Journal;
use crate::memory;
use crate::pipeline::Pipeline;
use crate::pipeline::plugins::PluginSet;
use crate::plugin::{Compiler, Registry};
use crate::sandbox::{self, Sandbox};

/// How long runs that act have to come to their end when the daemon stops.
const DRAIN: Duration = Duration::from_secs(20);

pub(super) async fn run(args: &ServeArgs, path: &Path, output: &Output) -> Done {
    logging(args)?;
    local::must_exist(path)?;
    let checked = load(path).map_err(|problems| Failure::Usage(local::lines(&problems)))?;
    memory::configuration_is_read();
    for warning in &checked.warnings {
        tracing::warn!("{warning}");
    }
    let listen = checked.rules.config.listen;
    let data = checked.rules.config.data.clone();
    let (app, pipeline, journal) = assemble(checked).await?;
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|error| Failure::Unreachable(format!("listen: {listen} cannot be bound: {error}")))?;
    let address = listener.local_addr().map_err(|error| Failure::Unreachable(format!("listen: {error}")))?;
    let stop = CancellationToken::new();
    let signals = Signals::register()?;
    // A service once and for all: the routes are not copied for each connection.
    let routes = router(app.clone());
    let reloads = tokio::spawn(signals.watch(stop.clone(), app, pipeline.clone(), path.to_owned()));
    announce(output, &data, address);
    memory::start_is_over();
    tokio::spawn(memory::give_back_code());
    let listener = listener.tap_io(|stream| {
        // Answers are small: waiting to fill a packet would only delay them.
        drop(stream.set_nodelay(true));
    });
    let stopping = stop.clone();
    let serving = axum::serve(listener, routes.into_make_service())
        .with_graceful_shutdown(async move { stopping.cancelled().await });
    let served = tokio::select! {
        served = serving.into_future() => served,
        // Streams of events never end by themselves: what is still open is cut off after a while.
        () = async { stop.cancelled().await; tokio::time::sleep(Duration::from_secs(3)).await } => Ok(()),
    };
    stop.cancel();
    tracing::info!("draining");
    pipeline.drain(DRAIN).await;
    journal.shutdown().await;
    drop(std::fs::remove_file(data.join(local::DAEMON_URL)));
    drop(reloads.await);
    served.map_err(|error| Failure::Unreachable(format!("the server broke: {error}")))
}

fn logging(args: &ServeArgs) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&args.log).map_err(|error| Failure::Usage(format!("--log: {error}")))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if args.log_json {
        builder.json().init();
    } else {
        let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
        builder.with_ansi(colour).init();
    }
    Ok(())
}

fn announce(output: &Output, data: &Path, address: SocketAddr) {
    let url = format!("http://{address}");
    // For the commands of this machine; without it they take the configured address.
    if let Err(error) = std::fs::write(data.join(local::DAEMON_URL), format!("{url}\n")) {
        tracing::warn!(error = %error, "the address could not be written down for local commands");
    }
    output.data(&format!("staunch: listening on {url}"));
}

/// Puts the rooms together.
async fn assemble(checked: Checked) -> Result<(App, Pipeline, Journal), Failure> {
    let Checked { rules, sources, trust, roots, identity, .. } = checked;
    let failed = |error: &dyn std::error::Error| Failure::Usage(chain(error));
    let clock = Clock::machine();
    let mut options = sandbox::Options::new(clock.clone());
    options.secrets = rules.config.secrets.clone();
    options.extra_roots = roots;
    options.concurrent = u32::try_from(rules.config.workers).unwrap_or(u32::MAX);
    // The one computes while the other waits for the disk.
    let sandbox = aside(move || Sandbox::new(options));
    let journal = Journal::open(local::journal_options(&rules.config, &clock)?).await;
    let journal = journal.map_err(|error| failed(&error))?;
    let sandbox = sandbox.await.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
    let sandbox = Arc::new(sandbox);
    let compiler = Compiler::new(&rules.config.data).map_err(|error| failed(&error))?;
    let set = PluginSet {
        registry: Registry::at(rules.config.plugins.clone()),
        trust,
        compiler,
        sandbox: Arc::clone(&sandbox),
        grants: rules.config.grants.clone(),
        clock: clock.clone(),
    };
    let halt_file = rules.config.data.join(local::HALT_FILE);
    let pipeline = Pipeline::open(journal.clone(), clock, sandbox, set, rules, halt_file)
        .await
        .map_err(|error| failed(&error))?;
    warn_of_gates(&pipeline);
    Ok((App::new(pipeline.clone(), sources, identity), pipeline, journal))
}

/// Does a part of the start on a thread of its own. It ends with the work, and leaves no memory behind as one of the
/// runtime's threads would, which wait for more.
fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
    let (done, result) = oneshot::channel();
    // Who waits for it may be gone, since another part of the start failed.
    std::thread::spawn(move || drop(done.send(work())));
    result
}

/// A gate that nobody could pass is no reason not to serve: the tokens for it may come later. Neither is a plugin that
/// is out of service.
fn warn_of_gates(pipeline: &Pipeline) {
    // Whom a provider may vouch for is not known here.
    let gates = if pipeline.rules().config.oidc.is_some() { Vec::new() } else { pipeline.impossible_gates() };
    for problem in gates.into_iter().chain(pipeline.out_of_service()) {
        tracing::warn!("{problem}");
    }
}

/// SIGTERM and SIGINT stop; SIGHUP loads everything again, and keeps the old when the new is wrong.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Takes the signals over: from now on none of them ends the process by itself.
    fn register() -> Result<Self, Failure> {
        let take = |kind| signal(kind).map_err(|error| Failure::Unreachable(format!("signals: {error}")));
        Ok(Self {
            terminate: take(SignalKind::terminate())?,
            interrupt: take(SignalKind::interrupt())?,
            hangup: take(SignalKind::hangup())?,
        })
    }

    async fn watch(mut self, stop: CancellationToken, app: App, pipeline: Pipeline, path: PathBuf) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => break,
                _ = self.interrupt.recv() => break,
                _ = self.hangup.recv() => reload(&app, &pipeline, &path).await,
                () = stop.cancelled() => return,
            }
        }
        stop.cancel();
    }
}

async fn reload(app: &App, pipeline: &Pipeline, path: &Path) {
    let checked = match load(path) {
        Ok(checked) => checked,
        Err(problems) => {
            tracing::error!(
                "the new configuration is wrong, the old one stays in force:\n{}",
                local::lines(&problems)
            );
            return;
        }
    };
    let Checked { rules, sources, trust, roots, identity, .. } = checked;
    let grants = rules.config.grants.clone();
    let secrets = rules.config.secrets.clone();
    if let Err(error) = pipeline.replace_secrets(secrets) {
        tracing::error!(error = %error, "the new secrets are wrong, the old configuration stays in force");
        return;
    }
    if let Err(error) = pipeline.reload(rules).await {
        tracing::error!(error = %error, "the new configuration could not be written down, the old one stays in force");
        return;
    }
    pipeline.replace_roots(roots);
    pipeline.plugins().reload(|set| {
        set.grants = grants;
        set.trust = trust;
    });
    app.reload(sources, identity);
    pipeline.decide_again();
    warn_of_gates(pipeline);
    tracing::info!("configuration and policies are loaded again");
}
