//! The stage of the demo: a throwaway installation, this program as its commands, and the daemon as a process.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::super::Failure;
use super::service::Service;

/// The installation, and the daemon once it runs.
#[derive(Debug)]
pub(super) struct Stage {
    program: PathBuf,
    root: PathBuf,
    token: String,
    source_token: String,
    url: String,
    daemon: Option<Child>,
    http: reqwest::Client,
}

fn failed(what: &str) -> impl Fn(std::io::Error) -> Failure {
    move |error| Failure::Unreachable(format!("{what}: {error}"))
}

impl Stage {
    /// Writes the installation.
    #[expect(clippy::disallowed_methods, reason = "the demo is a client of its own daemon")]
    pub(super) fn set(root: &Path, service: &Service) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(failed("this program"))?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(30))
            .build()
            .map_err(|error| Failure::Unreachable(error.to_string()))?;
        let mut stage = Self {
            program,
            root: root.join("installation"),
            token: String::new(),
            source_token: String::new(),
            url: String::new(),
            daemon: None,
            http,
        };
        let root_text = stage.root.display().to_string();
        let made = stage
            .command(&["init", &root_text, "--yes", "--listen", "127.0.0.1:0", "--output", "json"], 0)?;
        let made: Value =
            serde_json::from_str(&made).map_err(|error| Failure::Unreachable(error.to_string()))?;
        made["token"].as_str().unwrap_or_default().clone_into(&mut stage.token);
        let token =
            std::fs::read_to_string(stage.root.join("keys/alertmanager.token")).map_err(failed("a token"))?;
        token.trim().clone_into(&mut stage.source_token);
        stage.configure(service)?;
        Ok(stage)
    }

    fn configure(&self, service: &Service) -> Result<(), Failure> {
        let logs = service.logs().display();
        let path = self.root.join("staunch.yaml");
        let written = std::fs::read_to_string(&path).map_err(failed("the configuration"))?;
        // The journal has begun under this name, and keeps it.
        let origin = written.lines().find(|line| line.starts_with("log:")).unwrap_or_default();
        let configuration = format!(
            "listen: 127.0.0.1:0\ndata: ./data\npolicies: ./policies\nplugins: ./plugins\n\
             trust: {{ keys: [./keys/author.pub], threshold: 1 }}\nstanding: {{ initial: approve }}\n\
             hosts: {{ local: {{ names: [demo-host] }} }}\n\
             sources:\n  alertmanager: {{ format: alertmanager, bearer: '${{file:keys/alertmanager.token}}' }}\n\
             grants:\n  disk-cleanup:\n    file:\n      stat: ['{logs}/**']\n      list: ['{logs}']\n      space: ['{logs}']\n\
             \x20     truncate: ['{logs}/*']\n      delete-older-than: ['{logs}/*']\n\
             probes: {{ http: {{ read: ['GET {}/healthz'] }} }}\n\
             {origin}\n",
            service.url(),
        );
        let runbook = format!(
            "runbook: clear-log-quota\ndescription: The log tree has filled its quota.\n\
             match: ['alertname=\"LogQuotaFull\"']\ntarget: '{{{{ labels.instance }}}}'\nautonomy: approve\n\
             steps:\n  - plugin: disk-cleanup\n    input:\n      path: {logs}\n      enough_free: 99%\n      actions:\n\
             \x20       - delete: {{ directory: {logs}, name: 'shop.log.*', older_than: 1d, keep: 1 }}\n\
             \x20       - truncate: {{ path: {logs}/shop.log, size: 1024 }}\n\
             verify:\n  within: 30s\n  stable_for: 1s\n  interval: 250ms\n  probes:\n    - http: {{ url: '{}/healthz', status: 200 }}\n",
            service.url(),
        );
        std::fs::write(&path, configuration)
            .and_then(|()| std::fs::write(self.root.join("policies/runbooks/clear-log-quota.yaml"), runbook))
            .map_err(failed("the demo's configuration"))
    }

    pub(super) fn author_key(&self) -> String {
        self.root.join("keys/author.key").display().to_string()
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Runs a command of this program in the installation, and gives what it printed.
    pub(super) fn staunch(&self, args: &[&str], wanted: i32) -> Result<String, Failure> {
        let config = self.root.join("staunch.yaml").display().to_string();
        let mut all = args.to_vec();
        all.extend(["--config", &config]);
        self.command(&all, wanted)
    }

    #[expect(clippy::disallowed_methods, reason = "the demo shows the program's own commands")]
    fn command(&self, args: &[&str], wanted: i32) -> Result<String, Failure> {
        let done = Command::new(&self.program)
            .args(args)
            .stdin(Stdio::null())
            .output()
            .map_err(failed("a command of this program"))?;
        let stdout = String::from_utf8_lossy(&done.stdout);
        let stderr = String::from_utf8_lossy(&done.stderr);
        if done.status.code() != Some(wanted) {
            let message =
                format!("`staunch {}` ended with {}:\n{stdout}{stderr}", args.join(" "), done.status);
            return Err(Failure::Refused(message));
        }
        let quiet = stdout.trim().is_empty() || wanted != 0;
        Ok(if quiet { format!("{stdout}{stderr}") } else { stdout.into_owned() }.trim_end().to_owned())
    }

    /// Starts the daemon, and waits until it says where it listens.
    #[expect(clippy::disallowed_methods, reason = "the demo runs the daemon as a process of its own")]
    pub(super) fn serve(&mut self) -> Result<(), Failure> {
        let log = std::fs::File::create(self.root.join("daemon.log")).map_err(failed("the daemon's log"))?;
        let mut child = Command::new(&self.program)
            .args(["serve", "--config"])
            .arg(self.root.join("staunch.yaml"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(failed("the daemon"))?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).map_err(failed("the daemon"))?;
        }
        self.daemon = Some(child);
        match line.trim().strip_prefix("staunch: listening on ") {
            Some(url) => {
                url.clone_into(&mut self.url);
                Ok(())
            }
            None => {
                let log = std::fs::read_to_string(self.root.join("daemon.log")).unwrap_or_default();
                Err(Failure::Unreachable(format!("the daemon did not start:\n{log}")))
            }
        }
    }

    /// Asks the daemon to stop, and waits for it.
    pub(super) fn stop(&mut self) -> Result<(), Failure> {
        let Some(mut child) = self.daemon.take() else { return Ok(()) };
        let id = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(id) = id {
            rustix::process::kill_process(id, rustix::process::Signal::TERM)
                .map_err(|error| Failure::Unreachable(format!("the daemon: {error}")))?;
        }
        let status = child.wait().map_err(failed("the daemon"))?;
        if status.success() {
            Ok(())
        } else {
            Err(Failure::Refused(format!("the daemon ended with {status}")))
        }
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<(u16, Value), Failure> {
        let unreachable = |error: reqwest::Error| Failure::Unreachable(format!("the daemon: {error}"));
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status().as_u16();
        let bytes = response.bytes().await.map_err(unreachable)?;
        Ok((status, serde_json::from_slice(&bytes).unwrap_or_default()))
    }

    pub(super) async fn get(&self, path: &str) -> Result<(u16, Value), Failure> {
        self.answer(self.http.get(format!("{}{path}", self.url)).bearer_auth(&self.token)).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<(u16, Value), Failure> {
        let request = self.http.post(format!("{}{path}", self.url)).bearer_auth(&self.token);
        self.answer(request.json(body)).await
    }

    /// Sends a body as Alertmanager would.
    pub(super) async fn alert(&self, body: &Value) -> Result<(u16, Value), Failure> {
        let request =
            self.http.post(format!("{}/v1/alerts/alertmanager", self.url)).bearer_auth(&self.source_token);
        self.answer(request.json(body)).await
    }

    /// Waits until a run is in one of these states.
    pub(super) async fn until(
        &self,
        run: &str,
        states: &[&str],
        patience: Duration,
    ) -> Result<Value, Failure> {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let (_, shape) = self.get(&format!("/v1/runs/{run}")).await?;
            if states.iter().any(|state| shape["state"] == *state) {
                return Ok(shape);
            }
            if tokio::time::Instant::now() > deadline {
                let message = format!("run {run} is {} after {patience:?}", shape["state"]);
                return Err(Failure::Refused(message));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Stage {
    /// A story that ends early leaves no daemon behind.
    fn drop(&mut self) {
        if let Some(mut child) = self.daemon.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// The largest file below a directory.
pub(super) fn longest_file(directory: &Path) -> Result<PathBuf, Failure> {
    let mut found: Option<(u64, PathBuf)> = None;
    let mut open = vec![directory.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).map_err(failed("the export"))? {
            let entry = entry.map_err(failed("the export"))?;
            let meta = entry.metadata().map_err(failed("the export"))?;
            if meta.is_dir() {
                open.push(entry.path());
            } else if found.as_ref().is_none_or(|(size, _)| meta.len() > *size) {
                found = Some((meta.len(), entry.path()));
            }
        }
    }
    found.map(|(_, path)| path).ok_or_else(|| Failure::Refused("the export holds no entries".to_owned()))
}
