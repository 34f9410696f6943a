//! The road alert -> plan -> permit -> intent -> one POST, daemon and bare relay in turns.

use crate::daemon::{Daemon, Relay};
use crate::installation::{Installation, PLUGIN};
use crate::load::{AtOnce, InTurn};
use crate::options::{Cli, Effort};
use crate::proc;
use crate::report::{Bar, Report, progress};
use crate::stats::{Quantiles, median};
use crate::workshop::Workshop;

/// The bars of the road.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bars {
    p50: Bar,
    p99: Bar,
    per_second: Bar,
    cpu: Bar,
}

pub(crate) async fn run(cli: &Cli, workshop: &Workshop, report: &mut Report) -> anyhow::Result<()> {
    let installation = Installation::ready(workshop, "road", &[PLUGIN.to_owned()]).await?;
    let daemon = Daemon::start(&installation).await?;
    let bars = Bars {
        p50: Bar::AtMost(0.5),
        p99: Bar::AtMost(1.5),
        per_second: Bar::AtLeast(5_000.0),
        cpu: Bar::AtMost(0.25),
    };
    walk(workshop, &daemon, cli.road(), Some(bars), report).await?;
    let memory = proc::memory(daemon.pid)?;
    report.figure("memory after the load, resident", memory.resident, "MiB", None);
    report.figure("memory after the load, anonymous", memory.anonymous, "MiB", None);
    report.stopped(daemon.stop().await?);
    Ok(())
}

/// Measures one daemon beside a relay.
pub(crate) async fn walk(
    workshop: &Workshop,
    daemon: &Daemon,
    effort: Effort,
    bars: Option<Bars>,
    report: &mut Report,
) -> anyhow::Result<()> {
    let relay = Relay::start(workshop).await?;
    let walked = turns(workshop, daemon, &relay, effort).await.map_err(|error| daemon.blame(error))?;
    relay.stop().await?;
    walked.tell(bars, report);
    Ok(())
}

/// All that the turns gave.
#[derive(Debug, Default)]
struct Walked {
    daemon: InTurn,
    relay: InTurn,
    daemon_at_once: Vec<AtOnce>,
    relay_at_once: Vec<AtOnce>,
    /// Median of the daemon over median of the relay, a round each.
    ratios: Vec<f64>,
    closed: Vec<std::time::Duration>,
}

async fn turns(
    workshop: &Workshop,
    daemon: &Daemon,
    relay: &Relay,
    effort: Effort,
) -> anyhow::Result<Walked> {
    let target = &workshop.target;
    let (ours, bare) = (daemon.road(), relay.road());
    ours.in_turn(target, effort.warm_up).await?;
    bare.in_turn(target, effort.warm_up).await?;
    let mut walked = Walked::default();
    for round in 1..=effort.rounds {
        progress(&format!("   one after the other, round {round} of {}", effort.rounds));
        let of_daemon = ours.in_turn(target, effort.in_turn).await?;
        let of_relay = bare.in_turn(target, effort.in_turn).await?;
        let middle = |times: &InTurn| Quantiles::of(times.arrived.clone()).p50;
        walked.ratios.push(middle(&of_daemon) / middle(&of_relay));
        walked.daemon.add(of_daemon);
        walked.relay.add(of_relay);
    }
    for round in 1..=effort.rounds {
        progress(&format!("   from 16 workers, round {round} of {}", effort.rounds));
        walked.daemon_at_once.push(ours.at_once(target, effort.at_once, daemon.pid).await?);
        walked.relay_at_once.push(bare.at_once(target, effort.at_once, relay.pid()).await?);
    }
    progress("   from 16 workers, each waiting for its request to arrive");
    walked.closed = ours.closed(target, effort.at_once).await?;
    Ok(walked)
}

impl Walked {
    fn tell(self, bars: Option<Bars>, report: &mut Report) {
        let ours = Quantiles::of(self.daemon.arrived);
        let bare = Quantiles::of(self.relay.arrived);
        report.figure("alert sent to POST arrived, p50", ours.p50, "ms", bars.map(|bars| bars.p50));
        report.figure("alert sent to POST arrived, p90", ours.p90, "ms", None);
        report.figure("alert sent to POST arrived, p99", ours.p99, "ms", bars.map(|bars| bars.p99));
        report.figure("alert sent to POST arrived, max", ours.max, "ms", None);
        report.figure("alert sent to POST arrived, p50, bare relay", bare.p50, "ms", None);
        report.figure("alert sent to POST arrived, p99, bare relay", bare.p99, "ms", None);
        report.figure("ratio of p50 to the bare relay, median of rounds", median(self.ratios), "x", None);
        let answered = Quantiles::of(self.daemon.answered);
        report.figure("alert sent to 202, p50", answered.p50, "ms", None);
        report.figure("alert sent to 202, p99", answered.p99, "ms", None);
        let ended = Quantiles::of(self.daemon.ended);
        report.figure("alert sent to run seen as ended, p50", ended.p50, "ms", None);
        report.figure("alert sent to run seen as ended, p99", ended.p99, "ms", None);
        let middle = |rounds: &[AtOnce], of: fn(&AtOnce) -> f64| median(rounds.iter().map(of).collect());
        let per_second = middle(&self.daemon_at_once, |round| round.per_second);
        let bare_per_second = middle(&self.relay_at_once, |round| round.per_second);
        let cpu = middle(&self.daemon_at_once, |round| round.cpu_ms);
        let bare_cpu = middle(&self.relay_at_once, |round| round.cpu_ms);
        report.figure("runs a second, 16 workers", per_second, "/s", bars.map(|bars| bars.per_second));
        report.figure("runs a second, 16 workers, bare relay", bare_per_second, "/s", None);
        report.figure("ratio of runs a second to the bare relay", per_second / bare_per_second, "x", None);
        report.figure("CPU of the daemon a run, busy", cpu, "ms", bars.map(|bars| bars.cpu));
        report.figure("CPU of the bare relay a run, busy", bare_cpu, "ms", None);
        let closed = Quantiles::of(self.closed);
        report.figure("alert sent to POST arrived, 16 workers, p50", closed.p50, "ms", None);
        report.figure("alert sent to POST arrived, 16 workers, p99", closed.p99, "ms", None);
        let refused: u64 = self.daemon_at_once.iter().map(|round| round.refused).sum();
        if refused > 0 {
            report.note(format!("senders were told {refused} times to come again (503), and did"));
        }
    }
}
