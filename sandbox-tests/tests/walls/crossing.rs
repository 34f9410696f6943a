//! From the journal into acting: a run that was cut off long ago looks again before it goes on.
//!
//! The daemon is the real one until it is killed; what goes on in its place is the pipeline in this process, whose
//! clock says that minutes have passed.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{SecondsFormat, SubsecRound as _, TimeDelta};
use sandbox_tests::alerts::Firing;
use sandbox_tests::installation::{Installation, succeeded};
use sandbox_tests::poll::{SOON, until};
use sandbox_tests::program;
use sandbox_tests::target::{Behaviour, Target};
use staunch::clock::Clock;
use staunch::config::Config;
use staunch::journal::{self, Journal};
use staunch::keys;
use staunch::pipeline::plugins::PluginSet;
use staunch::pipeline::{Pipeline, Refusal, Rules, Yes};
use staunch::plugin::compile::helper::SUBCOMMAND;
use staunch::plugin::component::embed_manifest;
use staunch::plugin::{Compiler, Registry, TrustPolicy, TrustedKey};
use staunch::sandbox::{Options, ProbeGrants, Sandbox};
use staunch_core::alert::{Alert, Severity, Status};
use staunch_core::decision::Code;
use staunch_core::effect::EffectStatus;
use staunch_core::id::{Digest, RunId};
use staunch_core::policy::Person;
use staunch_core::run::{Outcome, Run, State};

use super::harness::component;

const MANIFEST: &str = r#"[plugin]
name = "looker"
version = "1.0.0"
kind = "remediation"
description = "Looks, sends and sleeps."
language = "rust"
release = 1
effects = "reversible"
[capabilities.http]
read = ["GET http://**"]
send = ["POST http://**"]
"#;

/// An installation whose one runbook looks at the target and sends it a POST.
struct Stage {
    home: Installation,
    target: Target,
}

impl Stage {
    fn set(autonomy: &str) -> Self {
        Self::set_with(autonomy, MANIFEST)
    }

    fn set_with(autonomy: &str, manifest: &str) -> Self {
        let target = Target::broken();
        let mut home = Installation::empty();
        let file = home.path("looker.wasm");
        let bytes = component("look-send-sleep", "remediator");
        fs::write(&file, embed_manifest(&bytes, manifest.as_bytes()).unwrap()).unwrap();
        let address = target.address();
        home.grants.push(format!(
            "looker: {{ http: {{ read: ['GET http://{address}/**'], send: ['POST http://{address}/**'] }} }}"
        ));
        home.configure();
        let _signed = succeeded(&home.sign(&file));
        let _installed = succeeded(&home.install(&file));
        home.runbook(
            "look",
            &format!(
                "match: ['alertname=\"Down\"']\ntarget: shop\nautonomy: {autonomy}\n\
                 gate: {{ approvals: 1, roles: [operator], expires: 5m }}\n\
                 steps:\n  - plugin: looker\n    input: {{ url: 'http://{address}/state' }}\n"
            ),
        );
        Self { home, target }
    }

    /// A run whose POST was done, and that sleeps when the power goes.
    fn cut_off(&self) -> RunId {
        let daemon = self.home.serve();
        let id = daemon.run_of(&Firing::new("Down", "shop"));
        if let "waiting" = self.decided(&daemon, &id).as_str() {
            let waiting = daemon.until(&id, "waiting");
            let _run = daemon.approve(&self.home.administrator, &waiting).expect(200);
        }
        until("the effect is known to be done, also on the disk", SOON, || {
            let settled = |entry: &serde_json::Value| entry["leaf"]["kind"] == "effect-settled";
            daemon.journal(&id).iter().any(settled).then_some(())
        });
        daemon.kill();
        assert_eq!(self.target.posts().len(), 1);
        id.parse().unwrap()
    }

    fn decided(&self, daemon: &sandbox_tests::daemon::Daemon, id: &str) -> String {
        until("it waits or acts", SOON, || {
            let state = daemon.run(id)["state"].as_str().unwrap().to_owned();
            (state != "planning" && state != "queued").then_some(state)
        })
    }

    /// The pipeline over what the daemon left, so many minutes later.
    async fn later(&self, minutes: i64) -> Later {
        let config = Config::load(&self.home.config()).unwrap();
        let clock = Clock::manual(Clock::machine().now() + TimeDelta::minutes(minutes));
        let signer = keys::load_private(&self.home.path("keys/journal.key")).unwrap();
        let options = journal::Options::new(config.data.clone(), self.home.origin(), signer);
        let journal = Journal::open(options).await.unwrap();
        let sandbox = Arc::new(Sandbox::new(Options::new(clock.clone())).unwrap());
        let compiler = Compiler::new(&config.data).unwrap();
        let author = keys::load_public(&self.home.path("keys/author.pub")).unwrap();
        let set = PluginSet {
            registry: Registry::at(config.plugins.clone()),
            trust: TrustPolicy { keys: vec![TrustedKey::new(author)], threshold: 1 },
            compiler: compiler.with_helper(program::staunch(), vec![SUBCOMMAND.to_owned()]),
            sandbox: Arc::clone(&sandbox),
            grants: config.grants.clone(),
            clock: clock.clone(),
        };
        let halt = config.data.join("HALT");
        let rules = Rules {
            policies: Arc::new(config.load_policies().unwrap()),
            probes: ProbeGrants::compile(&config.probes).unwrap(),
            stale_after: [].into(),
            people_keys: [].into(),
            config_digest: Digest::of(&fs::read(self.home.config()).unwrap()),
            policies_digest: Digest::of(b""),
            config,
        };
        let pipeline =
            Pipeline::open(journal.clone(), clock, sandbox, set, rules, halt.clone()).await.unwrap();
        Later { pipeline, journal, halt }
    }
}

struct Later {
    pipeline: Pipeline,
    journal: Journal,
    halt: PathBuf,
}

impl Later {
    async fn until(&self, id: &RunId, what: &str, holds: impl Fn(&Run) -> bool) -> Run {
        let looking = async {
            loop {
                let run = self.pipeline.run(id).await.unwrap().unwrap();
                if holds(&run) {
                    return run;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        match tokio::time::timeout(SOON, looking).await {
            Ok(run) => run,
            Err(_) => panic!("not {what}: {:#?}", self.pipeline.run(id).await.unwrap()),
        }
    }

    async fn asks(&self, id: &RunId, code: Code) -> Run {
        let asks = |run: &Run| {
            run.state == State::Parked
                && run.ask.is_some()
                && run.reason.as_ref().is_some_and(|r| r.code == code)
        };
        self.until(id, "asking people", asks).await
    }

    async fn ended(&self, id: &RunId) -> Run {
        let run = self.until(id, "ended", |run| run.state == State::Ended).await;
        self.pipeline.drain(Duration::from_secs(5)).await;
        self.journal.shutdown().await;
        run
    }

    async fn approve(&self, run: &Run) -> Result<Run, Refusal> {
        // Whoever has no token when it would act does not count.
        let roles = vec!["operator".to_owned()];
        let (token, _) = self.pipeline.create_token("ada", roles.clone(), None, "a test").await?;
        let subject = Some(token.id.to_string());
        let ada = Person {
            name: "ada".to_owned(),
            roles: roles.into_iter().collect(),
            groups: Default::default(),
            subject,
        };
        let yes = Yes { plan: run.plan.unwrap(), comment: None, envelope: None, storm: None };
        self.pipeline.approve(&run.id, ada, yes).await
    }
}

fn statuses(run: &Run) -> Vec<EffectStatus> {
    run.effects().iter().map(|effect| effect.status).collect()
}

fn on_a_runtime(work: impl Future<Output = ()>) {
    tokio::runtime::Runtime::new().unwrap().block_on(work);
}

#[test]
fn a_changed_reading_has_the_run_planned_anew_and_asks_again() {
    let stage = Stage::set("automatic");
    let id = stage.cut_off();
    on_a_runtime(async {
        // The POST made it well, so that the plugin wants something else now than what was planned.
        let later = stage.later(5).await;
        let run = later.asks(&id, Code::ReadingChanged).await;
        assert_eq!(statuses(&run), [EffectStatus::Planned, EffectStatus::Done], "{run:#?}");
        assert_eq!(stage.target.posts().len(), 1, "nothing is done that nobody was asked about");
        later.approve(&run).await.unwrap();
        let run = later.ended(&id).await;
        assert_eq!(statuses(&run), [EffectStatus::Done, EffectStatus::Done], "{run:#?}");
        let posts = stage.target.posts();
        let keys: Vec<_> = posts.iter().map(|seen| seen.header("idempotency-key").unwrap()).collect();
        assert_eq!(keys.len(), 2);
        assert_ne!(keys[0], keys[1], "two effects, two keys");
    });
}

#[test]
fn a_run_whose_readings_still_hold_goes_on_and_does_nothing_twice() {
    let stage = Stage::set("automatic");
    stage.target.behave(Behaviour::Answer(202));
    let id = stage.cut_off();
    on_a_runtime(async {
        let later = stage.later(5).await;
        let run = later.ended(&id).await;
        assert_eq!(statuses(&run), [EffectStatus::Done], "{run:#?}");
        assert!(run.parked_at.is_none(), "there was nothing to ask: {run:#?}");
        assert_eq!(stage.target.posts().len(), 1);
    });
}

#[test]
fn a_run_that_was_cut_off_a_moment_ago_goes_on_with_what_it_knows() {
    let stage = Stage::set("automatic");
    let id = stage.cut_off();
    on_a_runtime(async {
        let later = stage.later(0).await;
        let run = later.ended(&id).await;
        assert_eq!((statuses(&run), run.parked_at), (vec![EffectStatus::Done], None), "{run:#?}");
        assert_eq!(stage.target.posts().len(), 1);
    });
}

#[test]
fn an_approval_that_has_expired_meanwhile_carries_nothing_on() {
    let stage = Stage::set("approve");
    stage.target.behave(Behaviour::Answer(202));
    let id = stage.cut_off();
    on_a_runtime(async {
        let later = stage.later(10).await;
        let run = later.asks(&id, Code::Expired).await;
        assert_eq!(statuses(&run), [EffectStatus::Done]);
        later.approve(&run).await.unwrap();
        let run = later.ended(&id).await;
        assert_eq!(
            (run.outcome, statuses(&run)),
            (Some(Outcome::Unknown), vec![EffectStatus::Done]),
            "{run:#?}"
        );
        assert_eq!(stage.target.posts().len(), 1);
    });
}

#[test]
fn a_halt_holds_a_parked_run_until_its_release() {
    let stage = Stage::set("automatic");
    let id = stage.cut_off();
    on_a_runtime(async {
        let later = stage.later(5).await;
        let run = later.asks(&id, Code::ReadingChanged).await;
        fs::write(&later.halt, "").unwrap();
        let refusal = later.approve(&run).await.unwrap_err();
        assert!(matches!(&refusal, Refusal::Conflict(reason) if reason.code == Code::Halt), "{refusal:?}");
        let run = later.pipeline.run(&id).await.unwrap().unwrap();
        assert_eq!((run.state, stage.target.posts().len()), (State::Parked, 1), "{run:#?}");
        fs::remove_file(&later.halt).unwrap();
        later.approve(&run).await.unwrap();
        let run = later.ended(&id).await;
        assert_eq!(statuses(&run), [EffectStatus::Done, EffectStatus::Done], "{run:#?}");
    });
}

#[test]
fn an_approval_comes_too_late_when_the_alert_is_over() {
    let stage = Stage::set("automatic");
    let id = stage.cut_off();
    on_a_runtime(async {
        let later = stage.later(5).await;
        let run = later.asks(&id, Code::ReadingChanged).await;
        let record = later.pipeline.alert(run.alert.as_ref().unwrap()).await.unwrap().unwrap();
        let alert = Alert { status: Status::Resolved, ..Alert::clone(&record.alert.unwrap()) };
        let _accepted =
            later.pipeline.receive(&record.source, b"{}".as_slice().into(), vec![alert]).await.unwrap();
        // It may have been given up already, because nobody waits for it any more.
        let _run = later.approve(&run).await;
        let run = later.ended(&id).await;
        assert_eq!(run.given_up.as_ref().map(|reason| reason.code), Some(Code::NoLongerNeeded), "{run:#?}");
        assert_eq!((statuses(&run)[1], stage.target.posts().len()), (EffectStatus::Done, 1), "{run:#?}");
    });
}

#[test]
fn a_plugin_runs_until_its_end_and_not_from_then_on() {
    let ends = (Clock::machine().now() + TimeDelta::minutes(10)).trunc_subsecs(0);
    let dated = format!("release = 1\nexpires = {}", ends.to_rfc3339_opts(SecondsFormat::Secs, true));
    let stage = Stage::set_with("approve", &MANIFEST.replace("release = 1", &dated));
    on_a_runtime(async {
        let later = stage.later(5).await;
        let heard = |since: TimeDelta| {
            later.pipeline.clock().set(ends + since);
            let begun = Some(ends + since);
            let alert = Alert { starts_at: begun, ..down(&since.to_string()) };
            later.pipeline.receive("am", b"{}".as_slice().into(), vec![alert])
        };
        let before = heard(TimeDelta::microseconds(-1)).await.unwrap().remove(0);
        assert_eq!(before.runs.len(), 1, "it is good to its last moment");
        // The same process, which holds it ready to run.
        for since in [TimeDelta::zero(), TimeDelta::microseconds(1)] {
            let accepted = heard(since).await.unwrap().remove(0);
            let record = later.pipeline.alert(&accepted.id.unwrap()).await.unwrap().unwrap();
            let refused = record.decisions.iter().any(|said| said.message.contains("expired"));
            assert!(accepted.runs.is_empty() && refused, "{since}: {:#?}", record.decisions);
        }
        later.pipeline.drain(Duration::from_secs(5)).await;
        later.journal.shutdown().await;
    });
}

/// An alert that the runbook answers to, with this fingerprint.
fn down(fingerprint: &str) -> Alert {
    Alert {
        id: None,
        source: "am".to_owned(),
        fingerprint: fingerprint.to_owned(),
        status: Status::Firing,
        severity: Severity::Critical,
        title: None,
        description: None,
        service: None,
        target: None,
        labels: [("alertname".to_owned(), "Down".to_owned())].into(),
        annotations: [].into(),
        starts_at: None,
        ends_at: None,
        links: Vec::new(),
        raw_digest: Digest::of(b"raw"),
    }
}
