//! A sandbox, guests made of `guests/*.wat`, a ledger that remembers, and targets that behave as told.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use staunch::clock::Clock;
use staunch::sandbox::{
    Export, Grants, Intent, Job, Ledger, LedgerError, Limits, Mode, Options, Outcome, PatternMap, Prepared,
    Reading, Report, Resolve, Resume, Sandbox, Verdict,
};
use staunch_core::effect::{Access, Answer, Call};
use staunch_core::gate::{self, PersonNow, QuorumFacts, RolesNow};
use staunch_core::id::{Digest, RunId};
use staunch_core::permit::Permit;
use staunch_core::plan::{Cover, PlannedEffect, Recorded};
use staunch_core::policy::Gate;
use staunch_core::run::{Approval, Ask, Mode as RunMode, Run, State};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use wasmtime::component::Component;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve as Wit;

const WIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../wit");
const WORLDS: &str = "package test:guests@1.0.0;
world remediator { include staunch:plugin/remediator@1.0.0; }
world verifier { include staunch:plugin/capabilities@1.0.0; include staunch:plugin/verifier@1.0.0; }
interface outside { escape: func(); }
world stranger { import outside; include staunch:plugin/remediator@1.0.0; }
world wasi {
    import wasi:cli/environment@0.2.3;
    import wasi:cli/exit@0.2.3;
    import wasi:cli/stdout@0.2.3;
    import wasi:clocks/wall-clock@0.2.3;
    import wasi:random/random@0.2.3;
    import wasi:sockets/instance-network@0.2.3;
    include staunch:plugin/remediator@1.0.0;
}
package wasi:io@0.2.3 {
    interface error { resource error { to-debug-string: func() -> string; } }
    interface streams {
        use error.{error};
        variant stream-error { last-operation-failed(error), closed }
        resource output-stream {
            check-write: func() -> result<u64, stream-error>;
            blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>;
        }
    }
}
package wasi:cli@0.2.3 {
    interface environment { get-environment: func() -> list<tuple<string, string>>; }
    interface exit { exit: func(status: result); }
    interface stdout { use wasi:io/streams@0.2.3.{output-stream}; get-stdout: func() -> output-stream; }
}
package wasi:clocks@0.2.3 {
    interface wall-clock { record datetime { seconds: u64, nanoseconds: u32 } now: func() -> datetime; }
}
package wasi:random@0.2.3 { interface random { get-random-u64: func() -> u64; } }
package wasi:sockets@0.2.3 {
    interface network { resource network; }
    interface instance-network { use network.{network}; instance-network: func() -> network; }
}
";

/// The component of `guests/NAME.wat`.
pub(crate) fn component(name: &str, world: &str) -> Vec<u8> {
    let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/walls/guests");
    let text = std::fs::read_to_string(guests.join(format!("{name}.wat"))).unwrap();
    let prelude = std::fs::read_to_string(guests.join("prelude.wat")).unwrap();
    component_of(&text.replace("  ;;@prelude", &prelude), world)
}

/// The component of a core module's text.
pub(crate) fn component_of(text: &str, world: &str) -> Vec<u8> {
    let mut wit = Wit::default();
    wit.push_dir(WIT).unwrap();
    let package = wit.push_str("guests.wit", WORLDS).unwrap();
    let world = wit.packages[package].worlds[world];
    let mut module = wat::parse_str(text).unwrap();
    embed_component_metadata(&mut module, &wit, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
}

/// A resolver that answers as told; everything else does not exist.
#[derive(Default)]
pub(crate) struct Names(pub(crate) BTreeMap<String, Vec<IpAddr>>);

impl Resolve for Names {
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            self.0.get(host).cloned().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such name"))
        })
    }
}

pub(crate) fn sandbox() -> Sandbox {
    sandbox_with(Names::default(), &[])
}

pub(crate) fn sandbox_with(names: Names, secrets: &[(&str, &str)]) -> Sandbox {
    let mut options = Options::new(Clock::machine());
    options.concurrent = 8;
    options.resolver = Arc::new(names);
    options.secrets = secrets.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    Sandbox::new(options).unwrap()
}

pub(crate) fn prepare(sandbox: &Sandbox, name: &str) -> Arc<Prepared> {
    prepare_world(sandbox, name, "remediator")
}

pub(crate) fn prepare_world(sandbox: &Sandbox, name: &str, world: &str) -> Arc<Prepared> {
    let bytes = component(name, world);
    let compiled = Component::new(sandbox.engine(), &bytes).unwrap();
    sandbox.prepare(Digest::of(&bytes), &compiled).unwrap()
}

/// Remembers all that the broker writes down, in order.
#[derive(Default)]
pub(crate) struct Book {
    pub(crate) lines: Mutex<Vec<String>>,
    pub(crate) recorded: Mutex<Vec<Recorded>>,
    pub(crate) halted: AtomicBool,
    /// The kill switch is thrown while this intent is written, counted from 0.
    pub(crate) halt_at: Mutex<Option<usize>>,
    /// This intent and those behind it are refused, because the run is halted.
    pub(crate) refuse_from: Mutex<Option<usize>>,
    pub(crate) broken: AtomicBool,
    pub(crate) verdict: Mutex<Option<Verdict>>,
}

impl Book {
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    fn write(&self, line: String) -> Result<(), LedgerError> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(LedgerError::Unavailable("the disk is full".to_owned()));
        }
        self.lines.lock().unwrap().push(line);
        Ok(())
    }

    fn record(&self, call: &Call, answer: &Answer, access: Access, fuel: u64, index: Option<u32>) {
        let recorded = Recorded { call: call.clone(), answer: Some(answer.clone()), access, fuel, index };
        self.recorded.lock().unwrap().push(recorded);
    }
}

impl Ledger for Book {
    fn halted(&self) -> Option<String> {
        self.halted.load(Ordering::SeqCst).then(|| "maintenance".to_owned())
    }

    fn judge(&self, _call: &Call, _unplanned: bool) -> Verdict {
        self.verdict.lock().unwrap().clone().unwrap_or(Verdict::Allow)
    }

    fn intend<'a>(&'a self, intent: Intent<'a>) -> BoxFuture<'a, Result<(), LedgerError>> {
        Box::pin(async move {
            let intents = self.lines().iter().filter(|line| line.starts_with("intend")).count();
            if self.refuse_from.lock().unwrap().is_some_and(|from| intents >= from) {
                return Err(LedgerError::Halted("maintenance".to_owned()));
            }
            if *self.halt_at.lock().unwrap() == Some(intents) {
                self.halted.store(true, Ordering::SeqCst);
            }
            self.write(format!(
                "intend {} {} unplanned={}",
                intent.index, intent.call.function, intent.unplanned
            ))
        })
    }

    fn settle<'a>(&'a self, outcome: Outcome<'a>) -> BoxFuture<'a, Result<(), LedgerError>> {
        Box::pin(async move {
            self.record(outcome.call, outcome.answer, Access::Effect, outcome.fuel, Some(outcome.index));
            self.write(format!("settle {} {:?}", outcome.index, outcome.status))
        })
    }

    fn reading<'a>(&'a self, reading: Reading<'a>) -> BoxFuture<'a, Result<(), LedgerError>> {
        Box::pin(async move {
            self.record(reading.call, reading.answer, Access::Reading, reading.fuel, None);
            self.write(format!("reading {}", reading.call.function))
        })
    }

    fn denied<'a>(
        &'a self,
        call: &'a Call,
        answer: &'a Answer,
        fuel: u64,
    ) -> BoxFuture<'a, Result<(), LedgerError>> {
        Box::pin(async move {
            self.record(call, answer, Access::Effect, fuel, None);
            self.write(format!("denied {}", call.function))
        })
    }
}

pub(crate) fn patterns(entries: &[(&str, &str, &str)]) -> PatternMap {
    let mut map = PatternMap::new();
    for (capability, function, pattern) in entries {
        let functions = map.entry((*capability).to_owned()).or_default();
        functions.entry((*function).to_owned()).or_default().push((*pattern).to_owned());
    }
    map
}

/// Grants of exactly these patterns, requested in the same words.
pub(crate) fn grants(entries: &[(&str, &str, &str)]) -> Arc<Grants> {
    Arc::new(Grants::own("guest", &patterns(entries)).unwrap())
}

pub(crate) fn run_id() -> RunId {
    RunId::from_bits(7)
}

pub(crate) fn time(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(second, 0).unwrap()
}

/// An execution to begin with; tests change what they are about.
pub(crate) fn job(prepared: &Arc<Prepared>, input: &str, grants: &Arc<Grants>, book: &Arc<Book>) -> Job {
    Job {
        prepared: prepared.clone(),
        export: Export::Remediate,
        input: input.to_owned(),
        outcome: None,
        run: run_id(),
        step: 0,
        began: time(1_000_000),
        seed: [7; 32],
        host: Some("local".to_owned()),
        grants: grants.clone(),
        limits: Limits { fuel: 100_000_000, memory: 64 << 20, deadline: Duration::from_secs(10) },
        ledger: book.clone(),
        replay: Vec::new(),
        resume: Resume::default(),
        mode: Mode::Plan,
    }
}

/// A run that waits with one approval, so that the real gate makes the permits.
fn waiting() -> Run {
    let plan = Digest::of(b"plan");
    Run {
        id: run_id(),
        runbook: "r".to_owned(),
        policy: Digest::of(b""),
        mode: RunMode::Act,
        irreversible: false,
        alert: None,
        target: Some("t".to_owned()),
        host: None,
        labels: BTreeMap::new().into(),
        verify: None,
        by: None,
        drill: None,
        state: State::Waiting,
        outcome: None,
        verdict: None,
        reason: None,
        steps: Vec::new(),
        flow: Default::default(),
        undo: None,
        plan: Some(plan),
        planned_at: Some(time(0)),
        ask: Some(Ask::new(&Gate { expires: Duration::from_secs(100), ..Gate::default() }, time(0))),
        approvals: vec![Approval {
            by: "ada".to_owned(),
            at: time(1),
            plan,
            comment: None,
            subject: None,
            envelope: None,
            storm: None,
            roles: Vec::new(),
            policy: None,
        }],
        told: 0,
        held: None,
        glass: Vec::new(),
        given_up: None,
        parked_at: None,
        approved: false,
        approved_until: None,
        granted_by: None,
        question: None,
        baseline: None,
        decisions: Vec::new(),
        created_at: time(0),
        started_at: None,
        acted_at: None,
        ended_at: None,
    }
}

pub(crate) fn plan_permit() -> Permit {
    Permit::Plan(gate::permit_replan(&waiting()).unwrap())
}

pub(crate) fn act_permit(approved: bool) -> Permit {
    let run = waiting();
    Permit::Act(match approved {
        true => {
            let roles = RolesNow::Known(BTreeSet::from(["operator".to_owned()]));
            let ada = PersonNow { person: "ada".to_owned(), roles };
            let people = BTreeMap::from([("ada".to_owned(), ada)]);
            let facts = QuorumFacts {
                plan: Digest::of(b"plan"),
                policy: run.policy,
                starter: None,
                signers: &[],
                releasers: &[],
                people: &people,
            };
            gate::permit_by_quorum(&run, time(2), &facts).unwrap().0
        }
        false => gate::permit_alone(&run, Digest::of(b"plan"), true).unwrap(),
    })
}

/// Plans, then acts on the plan with an approval: the honest road.
pub(crate) async fn plan_and_act(sandbox: &Sandbox, make: impl Fn() -> Job) -> (Report, Report) {
    let plan = sandbox.execute(plan_permit(), make()).await;
    let (effects, _) = plan.clone().into_plan();
    let act = sandbox.execute(act_permit(true), Job { mode: acting(effects), ..make() }).await;
    (plan, act)
}

pub(crate) fn acting(effects: Vec<PlannedEffect>) -> Mode {
    let planned = u32::try_from(effects.len()).unwrap();
    Mode::Act { cover: Cover::new(effects), planned }
}

/// A target on loopback that answers every connection with the same bytes, and remembers what it got.
pub(crate) struct Target {
    pub(crate) address: String,
    pub(crate) port: u16,
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
}

/// What a target does once it has read a request.
#[derive(Clone)]
pub(crate) enum Manner {
    Answer(Vec<u8>),
    /// Says nothing and keeps the connection.
    Hang,
    /// Closes the connection.
    Reset,
    /// One byte at a time, with pauses.
    Drip(Vec<u8>),
}

impl Manner {
    pub(crate) fn ok(body: &str) -> Self {
        Self::Answer(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes())
    }
}

impl Target {
    pub(crate) async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, manner.clone(), seen.clone()));
            }
        });
        Self { address: format!("http://127.0.0.1:{port}/"), port, requests }
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(mut stream: tokio::net::TcpStream, manner: Manner, seen: Arc<Mutex<Vec<String>>>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        seen.lock().unwrap().push(String::from_utf8_lossy(&buffer[..count]).into_owned());
        let written = match &manner {
            Manner::Answer(bytes) => stream.write_all(bytes).await,
            Manner::Hang => std::future::pending().await,
            Manner::Reset => return,
            Manner::Drip(bytes) => drip(&mut stream, bytes).await,
        };
        if written.is_err() {
            return;
        }
    }
}

async fn drip(stream: &mut tokio::net::TcpStream, bytes: &[u8]) -> io::Result<()> {
    for byte in bytes {
        stream.write_all(&[*byte]).await?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
