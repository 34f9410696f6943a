//! The command line: what an operator or author types, and what they read.
//!
//! Data goes to stdout, messages to stderr. Exit codes: 0 done, 1 refused, not found or found wanting, 2 wrong
//! usage or configuration, 3 could not reach or run. Never here: decisions.

mod alerts;
mod args;
mod audit;
mod backtest;
mod breakers;
mod check;
mod client;
mod demo;
mod drill;
mod epoch;
mod halts;
mod init;
mod keys;
mod local;
mod output;
mod plugin;
mod record;
mod runs;
mod schedules;
mod serve;
mod silences;
mod standing;
mod storms;
mod token;

use std::fmt;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

pub use args::Cli;
use args::Command;
use output::Output;

use crate::sandbox;

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub enum Failure {
    /// Refused, not found or found wanting: exit 1.
    Refused(String),
    /// Wrong usage or configuration: exit 2.
    Usage(String),
    /// Could not reach or run: exit 3.
    Unreachable(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(message) | Self::Usage(message) | Self::Unreachable(message) => {
                f.write_str(message)
            }
        }
    }
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Self::Refused(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
        }
    }
}

/// What a command gives back.
type Done = Result<(), Failure>;

/// The whole program: parses, does, prints, and says how it went.
#[must_use]
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == sandbox::PROCESS_HELPER) {
        return sandbox::process_helper(arguments);
    }
    let cli = Cli::parse();
    let output = Output::new(cli.output);
    match dispatch(cli, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let message = failure.to_string();
            if !message.is_empty() {
                output.error(&message);
            }
            ExitCode::from(failure.code())
        }
    }
}

fn dispatch(cli: Cli, output: &Output) -> Done {
    match cli.command {
        Command::CompileHelper => helper(),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "staunch", &mut script);
            output.data(&String::from_utf8_lossy(&script));
            Ok(())
        }
        Command::Manual { to } => manual(to.as_deref(), output),
        Command::Init(args) => runtime()?.block_on(init::run(&args, output)),
        Command::Demo(args) => runtime()?.block_on(demo::run(&args, output)),
        Command::Check => runtime()?.block_on(check::run(&cli.connection.config, output)),
        Command::Keys(args) => keys::run(&args, output),
        Command::Serve(args) => runtime()?.block_on(serve::run(&args, &cli.connection.config, output)),
        Command::Alerts(args) => runtime()?.block_on(alerts::run(args, &cli.connection, output)),
        Command::Runs(args) => runtime()?.block_on(runs::run(args, &cli.connection, output)),
        Command::Halt(args) => runtime()?.block_on(halts::halt(&args, &cli.connection, output)),
        Command::Release(args) => runtime()?.block_on(halts::release(&args, &cli.connection, output)),
        Command::Halts(args) => runtime()?.block_on(halts::list(&args, &cli.connection, output)),
        Command::Silence(args) => runtime()?.block_on(silences::silence(&args, &cli.connection, output)),
        Command::Silences(args) => runtime()?.block_on(silences::list(&args, &cli.connection, output)),
        Command::Unsilence { id } => runtime()?.block_on(silences::expire(&id, &cli.connection, output)),
        Command::Schedules => runtime()?.block_on(schedules::list(&cli.connection, output)),
        Command::Breakers(args) => runtime()?.block_on(breakers::run(args, &cli.connection, output)),
        Command::Storms(args) => runtime()?.block_on(storms::run(args, &cli.connection, output)),
        Command::Backtest(args) => runtime()?.block_on(backtest::run(&args, &cli.connection, output)),
        Command::Drill(args) => runtime()?.block_on(drill::run(&args, &cli.connection, output)),
        Command::Plugin(args) => runtime()?.block_on(plugin::run(args, &cli.connection, output)),
        Command::Audit(args) => runtime()?.block_on(audit::run(args, &cli.connection, output)),
        Command::Token(args) => runtime()?.block_on(token::run(args, &cli.connection, output)),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    // Only the first call installs it; another one finds it installed.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Unreachable(format!("the runtime cannot be started: {error}")))
}

fn helper() -> Done {
    crate::plugin::compile::helper::helper_main(std::io::stdin().lock(), std::io::stdout().lock())
        .map_err(|error| Failure::Refused(error.to_string()))
}

fn manual(to: Option<&std::path::Path>, output: &Output) -> Done {
    let command = Cli::command();
    match to {
        Some(directory) => {
            std::fs::create_dir_all(directory)
                .and_then(|()| clap_mangen::generate_to(command, directory))
                .map_err(|error| Failure::Unreachable(format!("{}: {error}", directory.display())))?;
            output.note(&format!("wrote the manual pages to {}", directory.display()));
            Ok(())
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command)
                .render(&mut page)
                .map_err(|error| Failure::Unreachable(format!("the manual page: {error}")))?;
            output.data(&String::from_utf8_lossy(&page));
            Ok(())
        }
    }
}
