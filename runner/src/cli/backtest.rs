//! `backtest`: recorded alerts under policies, decided by the code that decides about runs, with nothing run.

use std::path::Path;
use std::time::Duration;

use staunch_core::backtest::{
    Assumed, Backtest, Comparison, MOST_ALERTS, Recorded, Summary, World, in_order,
};
use staunch_core::policy::{Policies, duration};
use staunch_core::silence::Silences;

use super::args::{BacktestArgs, Connection};
use super::output::Output;
use super::{Done, Failure, check, local};
use crate::clock::Clock;
use crate::config::Config;

mod past;
mod print;
mod recorded;
mod world;

use past::Past;
use print::Printer;

pub(super) async fn run(args: &BacktestArgs, connection: &Connection, output: &Output) -> Done {
    let config = local::config(&connection.config)?;
    let runs_take = span("--runs-take", &args.runs_take)?;
    let assumed = Assumed { runs_take, approved: !args.unanswered };
    let now = Clock::machine().now();
    // What is wrong with files is said before anybody is asked anything.
    let given = args.alerts.as_deref().map(recorded::read).transpose()?;
    let since = args.since.as_deref().map(|text| recorded::since(text, now)).transpose()?;
    let policies = load(args.policies.as_deref().unwrap_or(&config.policies))?;
    let against = args.against.as_deref().map(load).transpose()?;
    let past = Past::open(&config, connection).await?;
    let known = known(&past, &config, since).await;
    past.close().await;
    let Known { plugins, silences, alerts } = known?;
    let alerts = match given {
        Some(alerts) => in_order(alerts, now),
        None => alerts,
    };
    if alerts.len() > MOST_ALERTS {
        let count = alerts.len();
        return Err(Failure::Refused(format!(
            "{count} alerts are more than the {MOST_ALERTS} of one backtest"
        )));
    }
    let canonical = |name: &str| config.hosts.canonical(name);
    let (groups, silences): (_, Silences) = (world::groups(&config)?, silences.into_iter().collect());
    let world = World {
        policies: &policies,
        limits: &config.limits,
        plugins: &plugins,
        groups: &groups,
        silences: &silences,
        canonical: &canonical,
        assumed,
    };
    let printer = Printer::new(output, args.summary, args.all);
    match &against {
        Some(against) => compare(world, against, &alerts, printer),
        None => play(world, &alerts, printer),
    }
}

/// What is known of the installation and its past.
struct Known {
    plugins: world::Plugins,
    silences: Vec<staunch_core::silence::Silence>,
    alerts: Vec<Recorded>,
}

async fn known(
    past: &Past,
    config: &Config,
    since: Option<chrono::DateTime<chrono::Utc>>,
) -> Result<Known, Failure> {
    let plugins = world::plugins(config, past.standings().await?)?;
    let alerts = match since {
        Some(since) => past.alerts(since).await?,
        None => Vec::new(),
    };
    Ok(Known { plugins, silences: past.silences().await?, alerts })
}

fn span(flag: &str, text: &str) -> Result<Duration, Failure> {
    duration::parse(text).map_err(|error| Failure::Usage(format!("{flag}: {error}")))
}

/// The policies of a folder; what is wrong with them is said in full.
fn load(folder: &Path) -> Result<Policies, Failure> {
    match check::policies(folder) {
        Ok((policies, _)) => Ok(policies),
        Err(problems) => Err(Failure::Usage(local::lines(&problems))),
    }
}

fn play(world: World<'_>, alerts: &[Recorded], mut printer: Printer<'_>) -> Done {
    let (mut backtest, mut summary) = (Backtest::new(world), Summary::default());
    printer.begin("alerts");
    for Recorded { at, alert } in alerts {
        backtest.hear(*at, alert, &mut |about, judged| {
            summary.note(&judged);
            printer.judged(about, &judged);
        });
    }
    printer.end(&world.assumed, &summary);
    Ok(())
}

fn compare(world: World<'_>, against: &Policies, alerts: &[Recorded], mut printer: Printer<'_>) -> Done {
    let mut comparison = Comparison::new(world, World { policies: against, ..world });
    printer.begin("differences");
    for Recorded { at, alert } in alerts {
        comparison.hear(*at, alert, &mut |about, difference| printer.difference(about, &difference));
    }
    printer.compared(&world.assumed, &comparison);
    Ok(())
}
