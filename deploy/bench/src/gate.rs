//! One decision from alert to permit under 500 runbooks, 200 Cedar policies and ten windows.
//!
//! The files lie in an installation, `staunch check` accepts them, and they are read here by what `check` and `serve`
//! read them with. What is timed are the functions of `staunch-core` that the daemon's pipeline calls for an alert,
//! in its order, in this process: no disk, socket or plugin has a part in it.

mod files;
mod world;

use std::time::Duration;

use anyhow::bail;
use staunch::clock::Clock;

use crate::installation::{Installation, PLUGIN};
use crate::options::Cli;
use crate::process;
use crate::report::{Bar, Report, progress};
use crate::stats::milliseconds;
use crate::workshop::Workshop;

use world::{PARTS, World};

/// How long `staunch check` may take with all of it.
const CHECK: Duration = Duration::from_secs(120);

/// From one alert to the next, in the time that decisions see: a thousand in ten minutes.
const APART: Duration = Duration::from_millis(600);

/// The bar: the median of a whole decision, in microseconds.
const MOST: f64 = 100.0;

pub(crate) async fn run(cli: &Cli, workshop: &Workshop, report: &mut Report) -> anyhow::Result<()> {
    let installation = Installation::ready(workshop, "gate", &[PLUGIN.to_owned()]).await?;
    files::write(&installation, workshop)?;
    // A gate that nobody can pass would be refused.
    for name in ["ada", "ben"] {
        process::succeed(
            installation.command(&["token", "create", "--name", name, "--role", "operator"]),
            CHECK,
        )
        .await?;
    }
    progress("   checking the policies");
    process::succeed(installation.command(&["check"]), CHECK).await?;
    let clock = Clock::machine();
    let mut world = World::load(&installation, &clock)?;
    let (runbooks, policies, windows) = world.size();
    progress(&format!(
        "   deciding under {runbooks} runbooks, {policies} Cedar policies and {windows} windows"
    ));
    let (warm_up, count) = (cli.many(2_000, 200), cli.many(20_000, 1_000));
    let (mut whole, mut parts) = (Vec::new(), vec![Vec::new(); PARTS.len()]);
    let (mut alone, mut asked) = (0, 0);
    let began = clock.now();
    for number in 0..warm_up + count {
        // The alerts come as a busy installation gets them: the limits' windows hold a thousand runs, and no more.
        let now = began + APART * u32::try_from(number).unwrap_or(u32::MAX);
        let decided = world.decide(number, now)?;
        if number < warm_up {
            continue;
        }
        whole.push(decided.took.iter().sum());
        for (times, took) in parts.iter_mut().zip(decided.took) {
            times.push(took);
        }
        alone += u64::from(!decided.asked);
        asked += u64::from(decided.asked);
    }
    report.count("runbooks", runbooks, files::RUNBOOKS);
    report.count("Cedar policies", policies, files::POLICIES);
    report.count("windows", windows, files::WINDOWS);
    report.count("permits of runs that act alone", alone, count / 2);
    report.count("permits of runs that two people approved", asked, count / 2);
    let times = Micros::of(whole);
    report.figure("alert to permit, p50", times.p50, "us", Some(Bar::AtMost(MOST)));
    report.figure("alert to permit, p90", times.p90, "us", None);
    report.figure("alert to permit, p99", times.p99, "us", None);
    for (name, times) in PARTS.iter().zip(parts) {
        let times = Micros::of(times);
        report.figure(format!("of it {name}, p50"), times.p50, "us", None);
        report.figure(format!("of it {name}, p99"), times.p99, "us", None);
    }
    if cfg!(debug_assertions) {
        report.note("built without optimisation: the figures say nothing");
    }
    if times.p50 <= 0.0 {
        bail!("the clock of this machine is too coarse for this");
    }
    Ok(())
}

/// Quantiles in microseconds.
#[derive(Debug, Clone, Copy)]
struct Micros {
    p50: f64,
    p90: f64,
    p99: f64,
}

impl Micros {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |percent: usize| {
            let rank = (times.len() * percent).div_ceil(100).saturating_sub(1);
            times.get(rank).map_or(0.0, |time| milliseconds(*time) * 1_000.0)
        };
        Self { p50: at(50), p90: at(90), p99: at(99) }
    }
}
