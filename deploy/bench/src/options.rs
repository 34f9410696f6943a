//! What can be asked for on the command line, and how much work each size means.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Measures the release program against its bars. Prints figures; exits 1 when a count is wrong.
#[derive(Debug, Parser)]
#[command(name = "staunch-bench", version)]
pub(crate) struct Cli {
    /// The program to measure; the one beside this program when absent
    #[arg(long)]
    pub(crate) staunch: Option<PathBuf>,
    /// The source tree, for the plugin and the verifier in Go
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))]
    pub(crate) root: PathBuf,
    /// Where the throw-away installations go: on the disk to be measured; beside the program when absent
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
    /// Only these parts; may be repeated
    #[arg(long, value_enum)]
    pub(crate) only: Vec<Part>,
    /// A tenth of the work: shows that it works, measures little
    #[arg(long)]
    pub(crate) quick: bool,
    /// Write the figures here as JSON
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// Where the random choices of bytes begin
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Leave the installations where they are
    #[arg(long)]
    pub(crate) keep: bool,
    /// Used by the measurement itself
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What else this program is.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The bare relay that the daemon is compared with
    Relay(RelayArgs),
}

/// `relay`
#[derive(Debug, Args)]
pub(crate) struct RelayArgs {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// Where each alert becomes a POST
    #[arg(long)]
    pub(crate) target: SocketAddr,
}

/// One part of the measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Latency, throughput and CPU of the road, beside the bare relay
    Road,
    /// The same with every fsync and fdatasync 2 ms longer
    SlowDisk,
    /// Start, memory and first action with ten plugins
    Idle,
    /// 2,000 runs counted, their journal verified and broken
    Exact,
    /// The kill switch amid 1,000 effects a second
    Halt,
    /// Twenty changed plugins
    Tamper,
    /// Recorded alerts under policies
    Backtest,
    /// One decision under 500 runbooks, 200 Cedar policies and ten windows
    Gate,
    /// What 1,000 runs hold that wait for people
    Waiting,
    /// 1,000 alerts for one target that may be acted on once, and five power cuts
    Burst,
    /// 50 decisions of people about one run at the same moment
    Approvals,
}

impl Part {
    const ALL: [Self; 11] = [
        Self::Road,
        Self::SlowDisk,
        Self::Idle,
        Self::Exact,
        Self::Halt,
        Self::Tamper,
        Self::Backtest,
        Self::Gate,
        Self::Waiting,
        Self::Burst,
        Self::Approvals,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Road => "road",
            Self::SlowDisk => "slow-disk",
            Self::Idle => "idle",
            Self::Exact => "exact",
            Self::Halt => "halt",
            Self::Tamper => "tamper",
            Self::Backtest => "backtest",
            Self::Gate => "gate",
            Self::Waiting => "waiting",
            Self::Burst => "burst",
            Self::Approvals => "approvals",
        }
    }

    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::Road => "alert to one POST, automatic, planned, journaled; alternating with a bare relay",
            Self::SlowDisk => "the same with every fsync and fdatasync 2 ms longer",
            Self::Idle => "ten plugins installed: start, memory at rest, first action",
            Self::Exact => {
                "every run one request, every run in the journal, every change of the export found"
            }
            Self::Halt => "a halt of everything amid 1,000 effects a second, and the last effect after it",
            Self::Tamper => "single-byte changes of component, manifest, envelope and installed copy",
            Self::Backtest => "recorded alerts decided by ten runbooks under limits, nothing run",
            Self::Gate => {
                "one decision under 500 runbooks, 200 Cedar policies and ten windows, from alert to permit"
            }
            Self::Waiting => "what the daemon holds of runs that wait for approval",
            Self::Burst => "a burst for one target under `1 per 10m`, without and with power cuts",
            Self::Approvals => "50 people who decide about one run at the same moment",
        }
    }
}

/// How much is done in one measurement of the road.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// Alerts before anything counts.
    pub(crate) warm_up: u64,
    /// How often daemon and relay take turns.
    pub(crate) rounds: u64,
    /// Alerts a turn, one after the other.
    pub(crate) in_turn: u64,
    /// Alerts a turn, from all workers.
    pub(crate) at_once: u64,
}

impl Cli {
    /// The parts to be done, in order.
    pub(crate) fn parts(&self) -> Vec<Part> {
        Part::ALL.into_iter().filter(|part| self.only.is_empty() || self.only.contains(part)).collect()
    }

    /// How much the road is walked.
    pub(crate) fn road(&self) -> Effort {
        match self.quick {
            true => Effort { warm_up: 20, rounds: 2, in_turn: 40, at_once: 300 },
            false => Effort { warm_up: 500, rounds: 5, in_turn: 400, at_once: 6_000 },
        }
    }

    /// How much it is walked with a slow disk: each turn takes longer.
    pub(crate) fn slow_road(&self) -> Effort {
        match self.quick {
            true => Effort { warm_up: 20, rounds: 2, in_turn: 20, at_once: 200 },
            false => Effort { warm_up: 200, rounds: 3, in_turn: 200, at_once: 4_000 },
        }
    }

    /// The larger number, or the smaller one when it shall be quick.
    pub(crate) fn many(&self, full: u64, quick: u64) -> u64 {
        if self.quick { quick } else { full }
    }
}
