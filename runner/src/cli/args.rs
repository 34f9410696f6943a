//! Every command and its flags.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use staunch_core::run::State;

mod rehearsal;

pub(super) use rehearsal::{BacktestArgs, DrillArgs};

/// Signed, sandboxed plugins in answer to alerts: planned, gated, verified, journaled.
#[derive(Debug, Parser)]
#[command(name = "staunch", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// How listings are printed.
    #[arg(long, global = true, value_enum, default_value_t = Format::Table)]
    pub output: Format,
    /// Where the daemon is.
    #[command(flatten)]
    pub connection: Connection,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How listings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// How to reach the daemon.
#[derive(Debug, Clone, Args)]
pub struct Connection {
    /// Address of the daemon; the local configuration's when absent.
    #[arg(long, global = true, env = "STAUNCH_URL")]
    pub url: Option<String>,
    /// Access token; the local installation's administrator token when absent.
    #[arg(long, global = true, env = "STAUNCH_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// The configuration file.
    #[arg(long, global = true, env = "STAUNCH_CONFIG", default_value = "staunch.yaml")]
    pub config: PathBuf,
}

/// Which part of a list is printed.
#[derive(Debug, Clone, Args)]
pub struct Part {
    /// At most so many.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_LISTED)))]
    pub limit: u32,
    /// Go on behind this place: what an earlier listing said.
    #[arg(long, value_name = "CURSOR")]
    pub after: Option<String>,
    /// All of them, at most 100,000.
    #[arg(long, conflicts_with = "limit")]
    pub all: bool,
}

/// The most that one listing prints.
pub(super) const MOST_LISTED: u32 = 100_000;

impl Part {
    /// At most so many items.
    #[must_use]
    pub fn most(&self) -> usize {
        usize::try_from(if self.all { MOST_LISTED } else { self.limit }).unwrap_or(usize::MAX)
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a complete, working installation
    Init(InitArgs),
    /// Run the daemon
    Serve(ServeArgs),
    /// Validate configuration, policies, cases, plugins and signatures
    Check,
    /// A whole story on one machine: an alert, a plan, an approval, a fix, a verified journal
    Demo(DemoArgs),
    /// Alerts: list, show, why, and parse a body offline
    Alerts(AlertsArgs),
    /// Runs: list, show, why, start, approve, reject, cancel, takeover, break-glass, settle
    Runs(RunsArgs),
    /// The kill switch: nothing that it covers acts until it is released
    Halt(HaltArgs),
    /// End a halt
    Release(ReleaseArgs),
    /// List halts, newest first
    Halts(HaltsArgs),
    /// Keep alerts with these labels quiet for a while
    Silence(SilenceArgs),
    /// List silences, newest first
    Silences(SilencesArgs),
    /// End a silence before its time
    Unsilence {
        /// Its id.
        id: String,
    },
    /// List the schedules of runbooks: next times, last run, what was missed and why
    Schedules,
    /// Circuit breakers: list, trip, reset
    Breakers(BreakersArgs),
    /// Storms: what each holds as one item; approve or reject all of it
    Storms(StormsArgs),
    /// Rehearse recorded alerts: what would have matched, been limited, been gated, run
    Backtest(BacktestArgs),
    /// Walk a runbook's road with a synthetic alert: planned only, or acted at targets that are marked for drills
    Drill(DrillArgs),
    /// Plugins: scaffold, build, test, run, sign, verify, install, list
    Plugin(PluginArgs),
    /// The journal: verify, prove, export, checkpoint
    Audit(AuditArgs),
    /// Keys: generate
    Keys(KeysArgs),
    /// Access tokens: create, list, revoke
    Token(TokenArgs),
    /// Print a shell's completion script
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write all of them
    Manual {
        /// A directory for all pages.
        #[arg(long)]
        to: Option<PathBuf>,
    },
    /// Compiles a verified plugin: started by the daemon itself
    #[command(hide = true)]
    CompileHelper,
}

/// `init`
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Where; the current directory when absent.
    #[arg(default_value = ".")]
    pub directory: PathBuf,
    /// Ask nothing.
    #[arg(long)]
    pub yes: bool,
    /// Where the daemon will listen.
    #[arg(long, default_value = "127.0.0.1:7878")]
    pub listen: std::net::SocketAddr,
}

/// `serve`
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// How much to log: error, warn, info, debug, trace, or a tracing filter.
    #[arg(long, env = "STAUNCH_LOG", default_value = "info")]
    pub log: String,
    /// Log as JSON lines.
    #[arg(long)]
    pub log_json: bool,
}

/// `demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Ask nothing: the approval is given by itself.
    #[arg(long)]
    pub yes: bool,
    /// Keep the throwaway directory.
    #[arg(long)]
    pub keep: bool,
    /// Where the built first-party plugins are.
    #[arg(long, default_value = "plugins")]
    pub plugins: PathBuf,
}

/// `alerts`
#[derive(Debug, Args)]
pub struct AlertsArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: AlertsCommand,
}

/// `alerts ...`
#[derive(Debug, Subcommand)]
pub enum AlertsCommand {
    /// List alerts, newest first
    List {
        /// Only those with this status.
        #[arg(long, value_parser = ["firing", "resolved", "stale"])]
        status: Option<String>,
        /// Only those of a source.
        #[arg(long)]
        source: Option<String>,
        /// Only those that fire and lead nowhere, with the reason.
        #[arg(long)]
        unanswered: bool,
        /// How long a run may wait before its alert is unanswered; 30m when absent.
        #[arg(long, requires = "unanswered")]
        patience: Option<String>,
        /// Which part of the list.
        #[command(flatten)]
        part: Part,
    },
    /// Show one alert
    Show {
        /// Its id.
        id: String,
    },
    /// Why it ran, or why not
    Why {
        /// Its id.
        id: String,
    },
    /// Print the normalised alerts that a body would give; needs no daemon
    Parse {
        /// The source's format, or the name of a source of the configuration.
        #[arg(long, value_name = "FORMAT")]
        source: String,
        /// A file with the `mapping` of a source, in YAML; for the format generic.
        #[arg(long, value_name = "FILE")]
        mapping: Option<PathBuf>,
        /// A header of the request, `Name: value`.
        #[arg(long = "header")]
        headers: Vec<String>,
        /// The time to take for now, RFC 3339.
        #[arg(long)]
        now: Option<chrono::DateTime<chrono::Utc>>,
        /// The body; `-` for stdin.
        file: PathBuf,
    },
}

/// `runs`
#[derive(Debug, Args)]
pub struct RunsArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: RunsCommand,
}

/// `runs ...`
#[derive(Debug, Subcommand)]
pub enum RunsCommand {
    /// List runs, newest first
    List {
        /// Only in this state.
        #[arg(long, value_parser = State::ALL.map(State::as_str))]
        state: Option<String>,
        /// Only of a runbook.
        #[arg(long)]
        runbook: Option<String>,
        /// Only of a plugin.
        #[arg(long)]
        plugin: Option<String>,
        /// Only at a target.
        #[arg(long)]
        target: Option<String>,
        /// Which part of the list.
        #[command(flatten)]
        part: Part,
    },
    /// Show one run, with its plan and effects
    Show {
        /// Its id.
        id: String,
    },
    /// Why it ran as it did
    Why {
        /// Its id.
        id: String,
    },
    /// Start a runbook by hand
    Start {
        /// The runbook.
        runbook: String,
        /// What to act on.
        #[arg(long)]
        target: Option<String>,
        /// The input of the first step, as JSON.
        #[arg(long)]
        input: Option<String>,
        /// A label, `name=value`; they fill the templates.
        #[arg(long = "label")]
        labels: Vec<String>,
        /// Why.
        #[arg(long)]
        reason: String,
        /// Act, once every gate is passed; without it, plan only.
        #[arg(long)]
        act: bool,
        /// Pass the change freeze that covers it, and why that cannot wait; a second person has to review it.
        #[arg(long, value_name = "REASON", requires = "act")]
        break_glass: Option<String>,
    },
    /// Approve the plan that was shown
    Approve {
        /// The run.
        id: String,
        /// The digest of the plan that was shown; asked for at the terminal when absent.
        #[arg(long)]
        plan: Option<String>,
        /// What to say with it.
        #[arg(long)]
        comment: Option<String>,
        /// Sign it with this private key; its public key stands under people in the daemon's staunch.yaml.
        #[arg(long)]
        key: Option<PathBuf>,
    },
    /// Say no
    Reject {
        /// The run.
        id: String,
        /// Why.
        #[arg(long)]
        comment: Option<String>,
    },
    /// End a run that is no longer wanted
    Cancel {
        /// The run.
        id: String,
        /// Why.
        #[arg(long)]
        comment: Option<String>,
    },
    /// Take a run over, to do it by hand: it does no further effect
    Takeover {
        /// The run.
        id: String,
        /// Why.
        #[arg(long)]
        comment: Option<String>,
        /// Keep it as it is, to be given back; without it, it comes to its end.
        #[arg(long)]
        hold: bool,
    },
    /// Give back a run that was taken over with --hold: it is planned and asks anew
    GiveBack {
        /// The run.
        id: String,
        /// What was done by hand.
        #[arg(long)]
        comment: Option<String>,
    },
    /// Let a run act without the approvals that it lacks, or in a change freeze; a second person has to review why
    BreakGlass {
        /// The run.
        id: String,
        /// The digest of the plan that was shown.
        #[arg(long)]
        plan: String,
        /// Why it cannot wait.
        #[arg(long)]
        reason: String,
        /// What is to be passed; whatever of both holds it when absent.
        #[arg(long, value_parser = ["freeze", "quorum"])]
        passes: Option<String>,
    },
    /// List why somebody broke the glass, as far as no second person has reviewed it
    Justifications {
        /// Those that were reviewed.
        #[arg(long)]
        reviewed: bool,
        /// Which part of the list.
        #[command(flatten)]
        part: Part,
    },
    /// Review why others broke the glass for a run
    Review {
        /// The run.
        id: String,
        /// What was found.
        #[arg(long)]
        comment: String,
        /// It was not justified.
        #[arg(long)]
        unjustified: bool,
    },
    /// Say what became of an effect in doubt
    Settle {
        /// The run.
        id: String,
        /// What became of it.
        #[arg(long, value_parser = ["done", "not-done", "abandon"])]
        outcome: String,
        /// The effect's index; the first one in doubt when absent.
        #[arg(long)]
        effect: Option<u32>,
        /// What the plugin is told, as JSON.
        #[arg(long)]
        answer: Option<String>,
        /// How that is known.
        #[arg(long)]
        comment: Option<String>,
    },
}

/// `halt`
#[derive(Debug, Args)]
pub struct HaltArgs {
    /// What: all, runbook=NAME, plugin=NAME or target=NAME.
    #[arg(long, default_value = "all")]
    pub scope: String,
    /// Why.
    #[arg(long)]
    pub reason: String,
}

/// `release`
#[derive(Debug, Args)]
pub struct ReleaseArgs {
    /// The halt's id; the halts of the scope when absent.
    pub id: Option<String>,
    /// Which halts: those of all, runbook=NAME, plugin=NAME or target=NAME.
    #[arg(long, default_value = "all", conflicts_with = "id")]
    pub scope: String,
    /// Why.
    #[arg(long)]
    pub reason: Option<String>,
}

/// `halts`
#[derive(Debug, Args)]
pub struct HaltsArgs {
    /// Which ones.
    #[arg(long, value_parser = ["in-force", "released", "all"], default_value = "in-force")]
    pub state: String,
    /// Which part of the list.
    #[command(flatten)]
    pub part: Part,
}

/// `silence`
#[derive(Debug, Args)]
pub struct SilenceArgs {
    /// Matchers over labels, in Alertmanager's syntax: 'alertname="DiskFull"'. All must fit.
    #[arg(required = true)]
    pub matchers: Vec<String>,
    /// How long, as in 2h.
    #[arg(
        long = "for",
        value_name = "DURATION",
        required_unless_present = "until",
        conflicts_with = "until"
    )]
    pub duration: Option<String>,
    /// Until when, RFC 3339.
    #[arg(long)]
    pub until: Option<chrono::DateTime<chrono::Utc>>,
    /// From when on, RFC 3339; from now on when absent.
    #[arg(long)]
    pub from: Option<chrono::DateTime<chrono::Utc>>,
    /// Why.
    #[arg(long)]
    pub comment: String,
}

/// `silences`
#[derive(Debug, Args)]
pub struct SilencesArgs {
    /// Which ones; those that have not ended when absent.
    #[arg(long, value_parser = ["active", "pending", "expired", "all"])]
    pub state: Option<String>,
    /// Which part of the list.
    #[command(flatten)]
    pub part: Part,
}

/// `storms`
#[derive(Debug, Args)]
pub struct StormsArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: StormsCommand,
}

/// `storms ...`
#[derive(Debug, Subcommand)]
pub enum StormsCommand {
    /// List the storms that hold runs now
    List,
    /// Show which runs one holds
    Show {
        /// `all`, or runbook=NAME.
        id: String,
    },
    /// Approve all plans that it holds: each run as if alone
    Approve {
        /// `all`, or runbook=NAME.
        id: String,
        /// The digest that was shown; without it, the storm is shown and asked about at the terminal.
        #[arg(long)]
        digest: Option<String>,
        /// What to say with it.
        #[arg(long)]
        comment: Option<String>,
    },
    /// Say no to all runs that it holds
    Reject {
        /// `all`, or runbook=NAME.
        id: String,
        /// The digest that was shown; without it, the storm is shown and asked about at the terminal.
        #[arg(long)]
        digest: Option<String>,
        /// Why not.
        #[arg(long)]
        comment: Option<String>,
    },
}

/// `breakers`
#[derive(Debug, Args)]
pub struct BreakersArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: BreakersCommand,
}

/// `breakers ...`
#[derive(Debug, Subcommand)]
pub enum BreakersCommand {
    /// List the breakers that remember anything
    List {
        /// Only those in this state.
        #[arg(long, value_parser = ["closed", "open", "half-open"])]
        state: Option<String>,
        /// Which part of the list.
        #[command(flatten)]
        part: Part,
    },
    /// Open one, until it is reset
    Trip {
        /// PLUGIN, PLUGIN@TARGET, or probe:ENDPOINT as it is listed.
        id: String,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// Close one; what was before no longer counts
    Reset {
        /// PLUGIN, PLUGIN@TARGET, or probe:ENDPOINT as it is listed.
        id: String,
        /// Why.
        #[arg(long)]
        reason: String,
    },
}

/// `plugin`
#[derive(Debug, Args)]
pub struct PluginArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: PluginCommand,
}

/// `plugin ...`
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// Make a project that builds, tests and runs as it is
    New {
        /// The plugin's name, and the directory's.
        name: String,
        /// What to write it in.
        #[arg(long, default_value = "rust", value_parser = ["rust"])]
        language: String,
        /// What it is for.
        #[arg(long, default_value = "remediation", value_parser = ["remediation", "connector", "check"])]
        kind: String,
    },
    /// From source to component
    Build {
        /// The project.
        #[arg(default_value = ".")]
        directory: PathBuf,
    },
    /// Run the scenarios in the real sandbox, against scripted worlds; with --record, the live one
    Test {
        /// The project.
        #[arg(default_value = ".")]
        directory: PathBuf,
        /// Write what happened into the scenarios, as what is expected from now on.
        #[arg(long)]
        bless: bool,
        /// Let the daemon run the signed, installed plugin with the input of each scenario that says neither `world`
        /// nor `expect`, and write into it what the live world answered.
        #[arg(long, conflicts_with = "bless")]
        record: bool,
        /// While recording, act instead of planning only.
        #[arg(long, requires = "record")]
        act: bool,
        /// While recording, what to act on.
        #[arg(long, requires = "record")]
        target: Option<String>,
        /// Why it is recorded.
        #[arg(long, requires = "record", default_value = "a scenario is recorded")]
        reason: String,
    },
    /// One run from the shell: plans, and acts with --act, through every gate
    Run {
        /// The component; its signature must satisfy the trust policy.
        file: PathBuf,
        /// The input, as JSON.
        #[arg(long)]
        input: String,
        /// Act instead of planning only.
        #[arg(long)]
        act: bool,
        /// What to act on.
        #[arg(long)]
        target: Option<String>,
        /// Why.
        #[arg(long, default_value = "started from the shell")]
        reason: String,
    },
    /// What a component is, asks for and imports
    Inspect {
        /// The component.
        file: PathBuf,
    },
    /// Sign a component: writes FILE.dsse.json beside it
    Sign {
        /// The component.
        file: PathBuf,
        /// The private key.
        #[arg(long)]
        key: PathBuf,
    },
    /// Verify a component against the trust policy, or one key
    Verify {
        /// The component.
        file: PathBuf,
        /// A public key to trust instead of the configuration's.
        #[arg(long)]
        key: Option<PathBuf>,
    },
    /// Verify, store and compile a component
    Install {
        /// The component, with its envelope beside it.
        file: PathBuf,
        /// Another standing than the initial one; needs --reason.
        #[arg(long, requires = "reason", value_parser = ["observe", "approve", "automatic"])]
        standing: Option<String>,
        /// Why it gets that standing, or why an older release is installed.
        #[arg(long)]
        reason: Option<String>,
        /// Install an older release over a newer one; needs --reason.
        #[arg(long, requires = "reason")]
        allow_downgrade: bool,
    },
    /// How a plugin stands: rate, interval, sample, moves and why
    Standing {
        /// Its name.
        name: String,
    },
    /// Put a plugin one step up again
    Reinstate {
        /// Its name.
        name: String,
        /// Why.
        #[arg(long)]
        reason: String,
        /// To automatic: how many runs need approval still [default: standing.canary of the configuration].
        #[arg(long, value_name = "N")]
        canary: Option<u32>,
    },
    /// Take a plugin out of service
    Revoke {
        /// Its name.
        name: String,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// List installed plugins
    List,
    /// Show one plugin
    Show {
        /// Its name.
        name: String,
    },
}

/// `audit`
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: AuditCommand,
}

/// `audit ...`
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Verify an exported log; needs only the files and the public key
    Verify {
        /// The exported directory.
        directory: PathBuf,
        /// The log's verifier key: the file log.vkey, or its text.
        #[arg(long)]
        key: String,
    },
    /// Prove that the entries of a run, or one entry, are in the log
    Prove {
        /// A run's id, or an entry's index.
        what: String,
        /// Where the proof goes; stdout when absent.
        #[arg(long)]
        to: Option<PathBuf>,
    },
    /// Write the whole log into a directory
    Export {
        /// The directory; empty, or not there yet.
        #[arg(long)]
        to: PathBuf,
        /// Leave out what came from outside.
        #[arg(long)]
        without_payloads: bool,
    },
    /// Print the latest signed checkpoint
    Checkpoint,
    /// End the log under its key, and go on under another name and a new key; while no daemon runs
    NewEpoch {
        /// Why.
        #[arg(long)]
        reason: String,
    },
}

/// `keys`
#[derive(Debug, Args)]
pub struct KeysArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: KeysCommand,
}

/// `keys ...`
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make an Ed25519 key pair
    Generate {
        /// Where the private key goes; the public one goes to the same name with `.pub`.
        file: PathBuf,
    },
}

/// `token`
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: TokenCommand,
}

/// `token ...`
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token; it is printed once
    Create {
        /// Whose it is.
        #[arg(long)]
        name: String,
        /// What its bearer is.
        #[arg(long = "role", required = true)]
        roles: Vec<String>,
        /// How long it is good, like 90d; for ever when absent.
        #[arg(long)]
        expires: Option<String>,
    },
    /// List tokens, without what they are
    List {
        /// Which part of the list.
        #[command(flatten)]
        part: Part,
    },
    /// Take a token back
    Revoke {
        /// Its id.
        id: String,
    },
}
