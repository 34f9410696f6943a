//! Measures the release program against its bars: the road from an alert to one HTTP POST, start and memory,
//! and what must be exact whatever the time it takes.
//!
//! It starts real daemons in throw-away installations, sends alerts over loopback, and is itself the target that
//! counts what arrives. Times are printed, never judged; a wrong count makes it exit with 1. It never leaves the
//! machine, and ends only the processes that it started.

mod alerts;
mod api;
mod approvals;
mod backtest;
mod burst;
mod client;
mod component;
mod daemon;
mod exact;
mod export;
mod gate;
mod halt;
mod idle;
mod installation;
mod load;
mod options;
mod proc;
mod process;
mod relay;
mod report;
mod road;
mod slow_disk;
mod stats;
mod tamper;
mod target;
mod waiting;
mod workshop;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;

use options::{Cli, Command, Part};
use report::Report;
use target::Target;
use workshop::Workshop;

/// As the daemon's: some parts time the daemon's own code in this process.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.command {
        Some(Command::Relay(args)) => relay::serve(args).map(|()| true),
        None => measure(&cli),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            report::progress(&format!("staunch-bench: {error:#}"));
            ExitCode::from(3)
        }
    }
}

/// Does all parts that were asked for; whether every count was right.
fn measure(cli: &Cli) -> anyhow::Result<bool> {
    // One thread: the load generator shares the cores with what it measures, and wakes nobody but itself.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime")?;
    runtime.block_on(async {
        let target = Target::start().await?;
        let workshop = Workshop::open(cli, target).await?;
        let mut report = Report::new(&workshop)?;
        for part in cli.parts() {
            report.begin(part);
            let done = match part {
                Part::Road => road::run(cli, &workshop, &mut report).await,
                Part::SlowDisk => slow_disk::run(cli, &workshop, &mut report).await,
                Part::Idle => idle::run(cli, &workshop, &mut report).await,
                Part::Exact => exact::run(cli, &workshop, &mut report).await,
                Part::Halt => halt::run(cli, &workshop, &mut report).await,
                Part::Tamper => tamper::run(cli, &workshop, &mut report).await,
                Part::Backtest => backtest::run(cli, &workshop, &mut report).await,
                Part::Gate => gate::run(cli, &workshop, &mut report).await,
                Part::Waiting => waiting::run(cli, &workshop, &mut report).await,
                Part::Burst => burst::run(cli, &workshop, &mut report).await,
                Part::Approvals => approvals::run(cli, &workshop, &mut report).await,
            };
            if let Err(error) = done {
                report.broken(&error);
            }
            report.print()?;
        }
        report.strays(workshop.target.strays());
        let right = report.finish(cli.json.as_deref())?;
        workshop.close(cli.keep || !right)?;
        Ok(right)
    })
}
