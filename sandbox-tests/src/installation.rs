//! A throw-away installation: made by `staunch init`, with a configuration and runbooks of the test's own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::daemon::Daemon;
use crate::program::{self, Finished};
use crate::skip;

/// The name of the source that tests send to.
pub const SOURCE: &str = "alertmanager";

/// An installation; its folder goes with it.
#[derive(Debug)]
pub struct Installation {
    folder: TempDir,
    /// The administrator's token.
    pub administrator: String,
    /// What alerts of [`SOURCE`] are authenticated with.
    pub source_token: String,
    /// What alerts of the source `prometheus` are authenticated with.
    pub prometheus_token: String,
    /// Lines below `grants:`, without their indent.
    pub grants: Vec<String>,
    /// What probes may read: the inside of `probes: {}`.
    pub probes: String,
    /// The member `log` as `init` wrote it: a journal keeps its name.
    log: String,
    /// Further members of the configuration, whole lines.
    pub more: Vec<String>,
    /// Further members of the source: `, max_body: 1KiB`.
    pub source_more: String,
}

impl Installation {
    /// Makes one without plugins, runbooks and grants.
    ///
    /// # Panics
    /// When `init` fails.
    #[must_use]
    pub fn empty() -> Self {
        let folder = tempfile::Builder::new().prefix("staunch-test-").tempdir().unwrap();
        let root = folder.path().join("home");
        let mut init = program::command(program::staunch());
        init.arg("init").arg(&root).args(["--yes", "--output", "json"]);
        let said = succeed(&program::finish(&mut init));
        let made: Value = serde_json::from_str(&said).unwrap();
        for samples in ["policies/runbooks", "policies/cases"] {
            for entry in fs::read_dir(root.join(samples)).unwrap() {
                fs::remove_file(entry.unwrap().path()).unwrap();
            }
        }
        let written = fs::read_to_string(root.join("staunch.yaml")).unwrap();
        let log = written.lines().find(|line| line.starts_with("log:")).unwrap_or_default().to_owned();
        let token = |name: &str| fs::read_to_string(root.join(name)).unwrap().trim().to_owned();
        let installation = Self {
            administrator: made["token"].as_str().unwrap().to_owned(),
            source_token: token("keys/alertmanager.token"),
            prometheus_token: token("keys/prometheus.token"),
            folder,
            grants: Vec::new(),
            probes: String::new(),
            log,
            more: Vec::new(),
            source_more: String::new(),
        };
        installation.configure();
        installation
    }

    /// Makes one and installs these first-party plugins with the standing `automatic`; `None`, with a visible skip,
    /// where they are not built.
    #[must_use]
    pub fn with(plugins: &[&str]) -> Option<Self> {
        let built: Vec<PathBuf> = plugins.iter().map(|name| component(name)).collect::<Option<_>>()?;
        let installation = Self::empty();
        for component in built {
            let copy = installation.path(&format!("{}", component.file_name()?.display()));
            fs::copy(&component, &copy).unwrap();
            succeed(&installation.sign(&copy));
            succeed(&installation.install(&copy));
        }
        Some(installation)
    }

    /// A path in its folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("home").join(name)
    }

    /// Its folder, outside the installation proper: for what a test needs besides.
    #[must_use]
    pub fn aside(&self) -> &Path {
        self.folder.path()
    }

    /// The configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.path("staunch.yaml")
    }

    /// The name of its journal.
    ///
    /// # Panics
    /// When `init` wrote none.
    #[must_use]
    pub fn origin(&self) -> String {
        let (_, rest) = self.log.split_once("origin:").unwrap();
        rest.trim_matches([' ', '{', '}']).to_owned()
    }

    /// Writes the configuration from this value's members.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn configure(&self) {
        let grants: String = self.grants.iter().map(|line| format!("  {line}\n")).collect();
        let grants = if grants.is_empty() { String::new() } else { format!("grants:\n{grants}") };
        let text = format!(
            "listen: 127.0.0.1:0\ndata: ./data\npolicies: ./policies\nplugins: ./plugins\n\
             trust: {{ keys: [./keys/author.pub], threshold: 1 }}\n\
             hosts: {{ local: {{ names: [web-7, 'web-7:9100'] }} }}\n\
             sources:\n  {SOURCE}: {{ format: alertmanager, bearer: '${{file:keys/alertmanager.token}}'{} }}\n  \
             prometheus: {{ format: prometheus, bearer: '${{file:keys/prometheus.token}}' }}\n\
             {grants}probes: {{ {} }}\n{}\n{}",
            self.source_more,
            self.probes,
            self.log,
            self.more.concat(),
        );
        fs::write(self.config(), text).unwrap();
    }

    /// Says in the configuration whose the author's key is.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn trust_author_as(&self, person: &str) {
        let key = "keys: [./keys/author.pub]";
        let held = format!("keys: [{{ file: ./keys/author.pub, person: {person} }}]");
        let text = fs::read_to_string(self.config()).unwrap();
        assert!(text.contains(key), "{text}");
        fs::write(self.config(), text.replace(key, &held)).unwrap();
    }

    /// Writes a runbook.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn runbook(&self, name: &str, text: &str) {
        let text = format!("runbook: {name}\ndescription: For a test.\n{text}");
        fs::write(self.path(&format!("policies/runbooks/{name}.yaml")), text).unwrap();
    }

    /// A command of the program, on this installation.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program::command(program::staunch());
        command.arg("--config").arg(self.config()).args(arguments).current_dir(self.folder.path());
        command
    }

    /// Runs a command of the program, on this installation.
    #[must_use]
    pub fn staunch(&self, arguments: &[&str]) -> Finished {
        program::finish(&mut self.command(arguments))
    }

    /// Signs a component with the trusted key: the envelope comes to lie beside it.
    #[must_use]
    pub fn sign(&self, component: &Path) -> Finished {
        let key = self.path("keys/author.key");
        let (component, key) = (component.display().to_string(), key.display().to_string());
        self.staunch(&["plugin", "sign", &component, "--key", &key])
    }

    /// Installs a signed component, so that it may act alone.
    #[must_use]
    pub fn install(&self, component: &Path) -> Finished {
        let component = component.display().to_string();
        self.staunch(&["plugin", "install", &component, "--standing", "automatic", "--reason", "a test"])
    }

    /// Makes an access token.
    ///
    /// # Panics
    /// When it is refused.
    #[must_use]
    pub fn token(&self, name: &str, role: &str) -> String {
        let made = self.staunch(&["token", "create", "--name", name, "--role", role, "--output", "json"]);
        let made: Value = serde_json::from_str(&succeed(&made)).unwrap();
        made["token"].as_str().unwrap().to_owned()
    }

    /// Starts its daemon.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn serve(&self) -> Daemon {
        Daemon::start(self)
    }

    /// Gives a file another mode.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn chmod(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }
}

/// The output of a command that must have succeeded.
///
/// # Panics
/// When it did not.
#[must_use]
pub fn succeeded(finished: &Finished) -> String {
    succeed(finished)
}

fn succeed(finished: &Finished) -> String {
    assert_eq!(finished.code, Some(0), "{}{}", finished.stdout, finished.stderr);
    finished.stdout.clone()
}

/// What `make plugins` left of a first-party plugin: the newest component; else `None`, with a visible skip.
#[must_use]
pub fn component(plugin: &str) -> Option<PathBuf> {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins").join(plugin).join("dist");
    let entries = fs::read_dir(dist).into_iter().flatten().flatten().map(|entry| entry.path());
    let components = entries.filter(|path| path.extension().is_some_and(|found| found == "wasm"));
    let newest = components.max_by_key(|path| fs::metadata(path).and_then(|meta| meta.modified()).ok());
    if newest.is_none() {
        skip(&format!("{plugin} is not built; `make plugins` builds it"));
    }
    newest
}
