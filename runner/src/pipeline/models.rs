//! Limits, breakers, standing and the gate against models, over the real store.
//!
//! What is driven is what the pipeline drives: runs in memory that write into the journal, the books that are kept by
//! what they write, and after a restart the books as `recover` puts them together again from the views, sometimes
//! from views that were made anew. Only plugins do not run: what they would do is told. The models know nothing of
//! all that; each is a list of what happened, and the rule in a few lines.

mod breakers;
mod expiries;
mod gate;
mod limits;
mod standing;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use chrono::{DateTime, TimeDelta, Utc};
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};
use staunch_core::decision::Code;
use staunch_core::effect::{Answer, Call, EffectStatus, Repeat};
use staunch_core::event::{self, Event, Fact, Outside, payload};
use staunch_core::id::{Digest, RunId};
use staunch_core::plan::{PlannedEffect, StepPlan};
use staunch_core::policy::Policies;
use staunch_core::run::{Ask, Flow, Mode, Outcome, Run};

use super::books::Blocked;
use super::live::{LiveRun, Wait};
use super::plugins::PluginSet;
use super::scribe::Line;
use super::{Pipeline, Rules, recover, views};
use crate::clock::Clock;
use crate::config::{Config, Environment};
use crate::journal::{FoldError, Journal, JournalError, Options, StoredPayload};
use crate::plugin::{Compiler, Registry, TrustPolicy};
use crate::sandbox::{ProbeGrants, Sandbox};

/// How many stories each model tells, and how long they are: what a debug build does in a few seconds.
pub(super) const CASES: u32 = 16;

/// The plugin of every run.
const PLUGIN: &str = "p";

/// The time at which every story begins.
const BEGINNING: i64 = 1_800_000_000;

/// An installation whose journal is real, and which can be opened again.
struct World {
    runtime: tokio::runtime::Runtime,
    folder: tempfile::TempDir,
    clock: Clock,
    /// The files that the rules are read from.
    config: String,
    runbooks: Vec<(String, String)>,
    /// `None` only while it is opened again.
    open: Option<(Journal, Pipeline)>,
    /// The runs that have not ended, by their numbers.
    runs: BTreeMap<u64, Arc<LiveRun>>,
}

/// What a story is told to: an installation, and the model as it was before the step.
struct Real<Model> {
    world: World,
    before: Model,
}

impl<Model: std::fmt::Debug> std::fmt::Debug for Real<Model> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.before.fmt(f)
    }
}

fn plugin() -> Digest {
    Digest::of(PLUGIN.as_bytes())
}

/// The id of a run, by its number.
fn id(number: u64) -> RunId {
    RunId::from_bits(u128::from(number) + 1)
}

/// One engine is enough for all: nothing runs in it.
fn sandbox(clock: &Clock) -> Arc<Sandbox> {
    static SANDBOX: OnceLock<Arc<Sandbox>> = OnceLock::new();
    let made = || Arc::new(Sandbox::new(crate::sandbox::Options::new(clock.clone())).unwrap());
    Arc::clone(SANDBOX.get_or_init(made))
}

impl World {
    /// A new installation with this configuration and these runbooks, and with the plugin installed.
    fn new(config: &str, runbooks: &[(&str, &str)]) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual(DateTime::from_timestamp(BEGINNING, 0).unwrap());
        let text = |(name, members): &(&str, &str)| {
            let file = format!("runbooks/{name}.yaml");
            let steps = format!("steps: [{{ plugin: {PLUGIN}, input: {{}} }}]\n");
            (file, format!("runbook: {name}\nmatch: []\ntarget: t\n{members}{steps}"))
        };
        let runbooks = runbooks.iter().map(text).collect();
        let (config, open, runs) = (config.to_owned(), None, BTreeMap::new());
        let mut world = Self { runtime, folder, clock, config, runbooks, open, runs };
        world.open();
        world.install();
        world
    }

    fn open(&mut self) {
        self.runtime.block_on(async {
            let data = self.folder.path().join("data");
            let options = Options {
                reserve_bytes: 64 * 1024,
                ..Options::new(data.clone(), "example.org/test/models", SigningKey::from_bytes(&[7; 32]))
            };
            let journal = loop {
                match Journal::open(options.clone()).await {
                    // The writer of the handle before may not have gone yet.
                    Err(JournalError::Locked { .. }) => tokio::task::yield_now().await,
                    other => break other.unwrap(),
                }
            };
            let file = self.folder.path().join("staunch.yaml");
            std::fs::write(&file, &self.config).unwrap();
            let config = Config::load_with(&file, &Environment::given(BTreeMap::new())).unwrap();
            let set = PluginSet {
                registry: Registry::at(self.folder.path().join("plugins")),
                trust: TrustPolicy { keys: Vec::new(), threshold: 1 },
                compiler: Compiler::uncached(),
                sandbox: sandbox(&self.clock),
                grants: BTreeMap::new(),
                clock: self.clock.clone(),
            };
            let rules = Rules {
                policies: Arc::new(Policies::load(&self.runbooks).unwrap()),
                probes: ProbeGrants::default(),
                stale_after: [("s".to_owned(), std::time::Duration::from_secs(12 * 3_600))].into(),
                people_keys: BTreeMap::new(),
                config_digest: Digest::of(b"config"),
                policies_digest: Digest::of(b"policies"),
                config,
            };
            let (clock, halt) = (self.clock.clone(), data.join("HALT"));
            let pipeline = Pipeline::assemble(journal.clone(), clock, sandbox(&self.clock), set, rules, halt);
            let open = recover::restore(&pipeline.0).await.unwrap();
            let known: Vec<RunId> = open.iter().map(|run| run.id.clone()).collect();
            let expected: Vec<RunId> = self.runs.keys().map(|number| id(*number)).collect();
            assert_eq!(known, expected, "the open runs are those that had not ended");
            for (live, run) in self.runs.values_mut().zip(open) {
                assert_eq!(*live.snapshot().await, *run, "the run is what its entries say");
                *live = pipeline.0.live(Run::clone(&run), None);
                pipeline.0.runs.add(Arc::clone(live));
            }
            self.open = Some((journal, pipeline));
        });
    }

    /// Stops it and opens it again; with `anew`, the views are made again from the journal before.
    fn restart(&mut self, anew: bool) {
        if anew {
            let journal = self.journal();
            let mut fold = views::Fold::default();
            let rows = |_: u64, leaf: &[u8], payload: Option<&StoredPayload>| -> Result<_, FoldError> {
                let bytes = match payload {
                    Some(StoredPayload::Kept(payload)) => Some(&payload.bytes[..]),
                    Some(StoredPayload::Removed) | None => None,
                };
                Ok(fold.apply(&Event::decode(leaf, bytes)?))
            };
            let rebuilt = self.runtime.block_on(journal.rebuild_views(rows, true)).unwrap();
            assert_eq!(rebuilt.differences, [], "the views are what the journal gives");
        }
        let (journal, pipeline) = self.open.take().unwrap();
        self.runtime.block_on(journal.shutdown());
        drop((journal, pipeline));
        self.open();
    }

    fn pipeline(&self) -> &Pipeline {
        &self.open.as_ref().unwrap().1
    }

    fn journal(&self) -> Journal {
        self.open.as_ref().unwrap().0.clone()
    }

    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    fn wait(&self, time: TimeDelta) {
        self.clock.set(self.now() + time);
    }

    fn install(&mut self) {
        let leaf = event::PluginInstalled {
            name: PLUGIN.to_owned(),
            version: "1.0.0".to_owned(),
            release: 1,
            digest: plugin(),
            signers: Vec::new(),
            standing: "automatic".to_owned(),
        };
        let outside = payload::PluginInstalled { by: "ada".to_owned(), comment: Some("because".to_owned()) };
        let pipeline = self.pipeline();
        let fact = Fact::PluginInstalled(leaf, Outside::Kept(outside));
        let event = pipeline.scribe().event(None, None, fact);
        let record = views::installed(&event).unwrap();
        let line = Line { event: Arc::new(event), views: vec![views::plugin(&record)] };
        self.runtime.block_on(pipeline.plugin_installed(line, record)).unwrap();
    }

    /// Makes a run, and gives it a plan of one effect; `ask`: the question that it puts to people.
    fn begin(&mut self, number: u64, runbook: &str, target: &str, by: Option<&str>, ask: Option<Ask>) {
        let shared = &self.open.as_ref().unwrap().1.0;
        let policy = shared.runbook(runbook).map(|runbook| shared.policy_digest(&runbook)).unwrap();
        let leaf = event::RunCreated {
            runbook: runbook.to_owned(),
            policy,
            plugins: vec![(PLUGIN.to_owned(), plugin())],
            mode: Mode::Act,
            queued: false,
            irreversible: false,
            drill: false,
        };
        let outside = payload::RunCreated {
            target: Some(target.to_owned()),
            host: None,
            inputs: vec![json!({}).into()],
            labels: BTreeMap::new().into(),
            verify: None,
            by: by.map(str::to_owned),
            comment: None,
            decisions: Vec::new(),
            flow: Flow::default(),
            drill: None,
        };
        let fact = Fact::RunCreated(leaf, Outside::Kept(outside));
        let event = shared.scribe.event(Some(&id(number)), None, fact);
        let run = Run::begin(&event).unwrap();
        let line = Line { views: vec![views::run(&run)], event: Arc::new(event) };
        self.runtime.block_on(shared.scribe.commit(vec![line])).unwrap();
        let live = shared.live(run, None);
        shared.runs.add(Arc::clone(&live));
        self.runs.insert(number, live);
        self.tell(number, vec![planned(policy, ask)]);
    }

    /// Writes down what happened to a run.
    fn tell(&self, number: u64, facts: Vec<Fact>) {
        self.runtime.block_on(self.runs[&number].record(facts, Wait::Durable)).unwrap();
    }

    fn run(&self, number: u64) -> Arc<Run> {
        self.runtime.block_on(self.runs[&number].snapshot())
    }

    /// Takes a run's part of all that is counted, and writes its permit down; whether it got one.
    fn permit(&self, number: u64, approved: bool) -> Result<(), Code> {
        let run = self.run(number);
        match self.runtime.block_on(self.pipeline().0.take_part(&run, approved, None)).unwrap() {
            Ok(()) => {
                let leaf = event::RunPermitted { plan: run.plan.unwrap(), approved };
                self.tell(number, vec![Fact::RunPermitted(leaf, Outside::Kept(payload::RunPermitted {}))]);
                Ok(())
            }
            Err(Blocked::Refused(said) | Blocked::Asks(said) | Blocked::Full(said)) => Err(said.code),
        }
    }

    /// The run does its one effect.
    fn act(&self, number: u64, effect: u32) {
        self.tell(number, vec![intended(effect)]);
        self.tell(number, vec![settled(effect)]);
    }

    /// The run ends. One that acted returned before.
    fn end(&mut self, number: u64, ending: Option<&str>, outcome: Outcome, code: Code) {
        let mut facts = Vec::new();
        if let Some(ending) = ending {
            let leaf = event::StepEnded { step: 0, ending: ending.to_owned(), fuel: 1 };
            let outside = payload::StepEnded { result: None, error: None, log: Vec::new() };
            facts.push(Fact::StepEnded(leaf, Outside::Kept(outside)));
        }
        let outside = payload::RunEnded {
            message: "as it was told".to_owned(),
            by: None,
            comment: None,
            decisions: Vec::new(),
        };
        let leaf = event::RunEnded { outcome, verdict: None, code };
        facts.push(Fact::RunEnded(leaf, Outside::Kept(outside)));
        self.tell(number, facts);
        let live = self.runs.remove(&number).unwrap();
        self.runtime.block_on(self.pipeline().0.forget(&live));
    }
}

fn call() -> Call {
    Call {
        capability: "http".into(),
        function: "send".into(),
        target: "http:h:80".into(),
        arguments: json!({ "url": "http://h/" }).into(),
    }
}

fn planned(policy: Digest, ask: Option<Ask>) -> Fact {
    let effect = PlannedEffect {
        call: call(),
        reason: String::new(),
        assumed: Answer::Ok(Value::Null.into()),
        repeat: Repeat::Once,
    };
    let step = StepPlan {
        plugin: PLUGIN.to_owned(),
        plugin_digest: plugin(),
        input: json!({}).into(),
        effects: vec![effect],
        readings: Vec::new(),
    };
    let leaf = event::RunPlanned { plan: Digest::of(b"plan"), effects: 1, ask: ask.is_some(), policy };
    let outside = payload::RunPlanned {
        steps: vec![step],
        asked: ask,
        decisions: Vec::new(),
        log: Vec::new(),
        changes: Vec::new(),
        undo: Vec::new(),
    };
    Fact::RunPlanned(leaf, Outside::Kept(outside))
}

fn intended(effect: u32) -> Fact {
    let leaf = event::EffectIntended {
        step: 0,
        effect,
        capability: "http".into(),
        function: "send".into(),
        key: "k".to_owned(),
        repeat: Repeat::Once,
        planned: effect == 0,
        fuel: 1,
    };
    let outside = payload::EffectIntended { call: call(), reason: String::new(), before: None };
    Fact::EffectIntended(leaf, Outside::Kept(outside))
}

fn settled(effect: u32) -> Fact {
    let leaf = event::EffectSettled { step: 0, effect, status: EffectStatus::Done };
    let answer = Some(Answer::Ok(Value::Null.into()));
    Fact::EffectSettled(leaf, Outside::Kept(payload::EffectSettled { answer, by: None, comment: None }))
}

fn seconds(seconds: i64) -> TimeDelta {
    TimeDelta::seconds(seconds)
}

/// The settings of all of them: few stories, since each step of one waits for the disk.
fn few() -> proptest::prelude::ProptestConfig {
    proptest::prelude::ProptestConfig { cases: CASES, max_shrink_iters: 200, ..Default::default() }
}
