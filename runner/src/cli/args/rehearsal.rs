//! Flags of what is rehearsed instead of done.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

/// `backtest`
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("recorded").required(true).args(["alerts", "since"]))]
pub struct BacktestArgs {
    /// A file of normalised alerts, as `alerts parse` prints them: JSON arrays, or one alert a line; `-` for stdin.
    /// Each is heard of at its `starts_at`, or at its `ends_at` when it is over.
    #[arg(long, value_name = "FILE")]
    pub alerts: Option<PathBuf>,
    /// The alerts of the journal since this time (RFC 3339), or for so long (as in 24h).
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// A folder of policies, instead of those in force.
    #[arg(long, value_name = "DIR")]
    pub policies: Option<PathBuf>,
    /// A second folder of policies: prints only the alerts that it decides otherwise, and why.
    #[arg(long, value_name = "DIR")]
    pub against: Option<PathBuf>,
    /// How long each run is taken to last that acts.
    #[arg(long, value_name = "DURATION", default_value = "1m")]
    pub runs_take: String,
    /// Nobody answers what people are asked; else they approve at once.
    #[arg(long)]
    pub unanswered: bool,
    /// Print the numbers only.
    #[arg(long, conflicts_with = "all")]
    pub summary: bool,
    /// Print a line for every alert; else the first 50. JSON has all of them anyway.
    #[arg(long)]
    pub all: bool,
}

/// `drill`
#[derive(Debug, Args)]
pub struct DrillArgs {
    /// The runbook.
    pub runbook: String,
    /// A file with the normalised alert, as `alerts parse` prints it; `-` for stdin. One that the runbook's matchers
    /// demand when absent.
    #[arg(long, value_name = "FILE")]
    pub alert: Option<PathBuf>,
    /// A label of the synthetic alert, `name=value`.
    #[arg(long = "label", conflicts_with = "alert")]
    pub labels: Vec<String>,
    /// Act, once every gate is passed; only at targets that staunch.yaml marks under drill.targets.
    #[arg(long)]
    pub act: bool,
    /// Why.
    #[arg(long, default_value = "a drill")]
    pub reason: String,
    /// How long to wait for its end, or until it asks people.
    #[arg(long, value_name = "DURATION", default_value = "2m")]
    pub wait: String,
}
