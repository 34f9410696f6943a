//! The daemon as a process, and what its senders, operators and approvers ask of it.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::alerts::{Firing, webhook};
use crate::client::{Answer, send};
use crate::installation::{Installation, SOURCE};
use crate::poll::{SOON, within_time};
use crate::program::Running;

/// How long a stop may take: runs that act are given time.
const STOP: Duration = Duration::from_secs(60);

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    process: Running,
    address: SocketAddr,
    administrator: String,
    source_token: String,
    log: PathBuf,
    /// Open to its end: a daemon that cannot write would be another one.
    _stdout: BufReader<ChildStdout>,
}

impl Daemon {
    pub(crate) fn start(installation: &Installation) -> Self {
        Self::start_as(installation, installation.command(&["serve"]))
    }

    /// Starts it by a command of the test's own.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start_as(installation: &Installation, mut command: Command) -> Self {
        let log = installation.aside().join("daemon.log");
        let stderr = std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let mut process = Running(command.stdout(Stdio::piped()).stderr(stderr).spawn().unwrap());
        let mut stdout = BufReader::new(process.0.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("staunch: listening on http://");
        let Some(address) = address.and_then(|address| address.parse().ok()) else {
            panic!("the daemon said {line:?}; its log:\n{}", std::fs::read_to_string(&log).unwrap());
        };
        Self {
            process,
            address,
            administrator: installation.administrator.clone(),
            source_token: installation.source_token.clone(),
            log,
            _stdout: stdout,
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All that it logged.
    #[must_use]
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Stops it as an operator would; its exit code.
    ///
    /// # Panics
    /// When it does not stop in time.
    pub fn stop(mut self) -> Option<i32> {
        self.process.signal(Signal::TERM);
        self.process.ended(STOP)
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not come in time.
    pub fn ended(mut self) -> Option<i32> {
        self.process.ended(STOP)
    }

    /// Ends it as a power cut would.
    pub fn kill(mut self) {
        self.process.signal(Signal::KILL);
        self.process.ended(STOP);
    }

    /// A GET by the administrator.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn get(&self, path: &str) -> Answer {
        let authorization = format!("Bearer {}", self.administrator);
        send(self.address, "GET", path, &[("authorization", &authorization)], b"").unwrap()
    }

    /// A POST by the administrator.
    #[must_use]
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_by(&self.administrator, path, body)
    }

    /// A POST by whoever has this token.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn post_by(&self, token: &str, path: &str, body: &Value) -> Answer {
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        send(self.address, "POST", path, &headers, body.to_string().as_bytes()).unwrap()
    }

    /// A DELETE by the administrator.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn delete(&self, path: &str) -> Answer {
        let authorization = format!("Bearer {}", self.administrator);
        send(self.address, "DELETE", path, &[("authorization", &authorization)], b"").unwrap()
    }

    /// Halts a scope: the halt's id.
    ///
    /// # Panics
    /// When it is refused.
    #[must_use]
    pub fn halt(&self, scope: &Value) -> String {
        let body = json!({ "scope": scope, "reason": "a test wants it" });
        let halt = self.post("/v1/halts", &body).expect(201);
        halt["id"].as_str().unwrap().to_owned()
    }

    /// Ends a halt.
    ///
    /// # Panics
    /// When it is refused.
    pub fn release(&self, id: &str) {
        let released = self.delete(&format!("/v1/halts/{id}")).expect(200);
        assert!(released["released_at"].is_string(), "{released}");
    }

    /// A body as Alertmanager would send it.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn deliver(&self, body: &[u8]) -> Answer {
        let authorization = format!("Bearer {}", self.source_token);
        let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        send(self.address, "POST", &format!("/v1/alerts/{SOURCE}"), &headers, body).unwrap()
    }

    /// Sends alerts, which must be accepted: the entries of the answer.
    ///
    /// # Panics
    /// When they are not accepted.
    #[must_use]
    pub fn alerts(&self, alerts: &[Firing]) -> Vec<Value> {
        let answer = self.deliver(webhook(alerts).to_string().as_bytes()).expect(202);
        answer["alerts"].as_array().unwrap().clone()
    }

    /// Sends one alert that must start one run: the run's id.
    ///
    /// # Panics
    /// When it starts none.
    #[must_use]
    pub fn run_of(&self, alert: &Firing) -> String {
        let entries = self.alerts(std::slice::from_ref(alert));
        match entries[0]["runs"].as_array().map(Vec::as_slice) {
            Some([run]) => run.as_str().unwrap().to_owned(),
            _ => panic!("not one run: {entries:?}\n{}", self.why(&entries[0])),
        }
    }

    /// The decision trace of an entry of an answer, as text.
    #[must_use]
    pub fn why(&self, entry: &Value) -> String {
        let id = entry["id"].as_str().unwrap_or("-");
        let why = self.get(&format!("/v1/alerts/{id}/why")).json();
        serde_json::to_string_pretty(&why["decisions"]).unwrap_or_default()
    }

    /// The decision of a trace with this code.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn decision(&self, entry: &Value, code: &str) -> Value {
        let id = entry["id"].as_str().unwrap_or("-");
        let why = self.get(&format!("/v1/alerts/{id}/why")).expect(200);
        let decisions = why["decisions"].as_array().unwrap();
        let found = decisions.iter().find(|decision| decision["code"] == code).cloned();
        found.unwrap_or_else(|| panic!("no {code} in {why:#}"))
    }

    /// The run as it is.
    #[must_use]
    pub fn run(&self, id: &str) -> Value {
        self.get(&format!("/v1/runs/{id}")).expect(200)
    }

    /// Waits until a run is in a state.
    ///
    /// # Panics
    /// When it does not come to it.
    #[must_use]
    pub fn until(&self, id: &str, state: &str) -> Value {
        let mut last = Value::Null;
        within_time(SOON, || {
            last = self.run(id);
            (last["state"] == state).then_some(())
        })
        .unwrap_or_else(|| panic!("run {id} does not become {state}: {last:#}\n{}", self.said()));
        last
    }

    /// Waits until a run has ended with an outcome.
    ///
    /// # Panics
    /// When it ends otherwise, or does not end.
    #[must_use]
    pub fn outcome(&self, id: &str, outcome: &str) -> Value {
        let run = self.until(id, "ended");
        assert_eq!(run["outcome"], outcome, "{run:#}");
        run
    }

    /// Approves the plan that a run waits on, as whoever has this token.
    #[must_use]
    pub fn approve(&self, token: &str, run: &Value) -> Answer {
        let path = format!("/v1/runs/{}/approve", run["id"].as_str().unwrap_or("-"));
        self.post_by(token, &path, &json!({ "plan": run["plan"]["digest"], "comment": "seen" }))
    }

    /// The leaves and payloads of a run.
    ///
    /// # Panics
    /// When there are none.
    #[must_use]
    pub fn journal(&self, id: &str) -> Vec<Value> {
        let journal = self.get(&format!("/v1/runs/{id}/journal")).expect(200);
        journal["items"].as_array().unwrap().clone()
    }

    /// Waits until its log holds a text.
    ///
    /// # Panics
    /// When it does not come.
    pub fn until_said(&self, text: &str) {
        let said = within_time(SOON, || self.said().contains(text).then_some(()));
        assert!(said.is_some(), "the daemon does not say {text:?}; its log:\n{}", self.said());
    }
}
