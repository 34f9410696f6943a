//! A throw-away installation: made by `staunch init`, given one source, one runbook a plugin and the plugins.

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;
use tokio::process::Command;

use crate::alerts;
use crate::component;
use crate::process::{self, Finished};
use crate::workshop::Workshop;

/// The plugin that the road leads through.
pub(crate) const PLUGIN: &str = "http-request";

/// The name of the source.
pub(crate) const SOURCE: &str = "bench";

/// What alerts are authenticated with. It opens nothing but a throw-away daemon on the loopback.
pub(crate) const SOURCE_TOKEN: &str = "the-bench-sends-its-alerts-with-this";

/// How long a command may take; installing compiles.
const COMMAND: Duration = Duration::from_secs(120);

/// The parts of the configuration that are replaced.
const REPLACED: [&str; 8] =
    ["listen", "hosts", "sources", "grants", "probes", "secrets", "standing", "public"];

/// One installation.
#[derive(Debug)]
pub(crate) struct Installation {
    pub(crate) folder: PathBuf,
    /// The administrator's token.
    pub(crate) token: String,
    staunch: PathBuf,
    author_key: PathBuf,
}

/// What `init --output json` says; there is more.
#[derive(Debug, Deserialize)]
struct Made {
    token: String,
    author_key: PathBuf,
}

impl Installation {
    /// Makes one with these plugins, all of them copies of the same component, and installs none.
    pub(crate) async fn make(workshop: &Workshop, name: &str, plugins: &[String]) -> anyhow::Result<Self> {
        let folder = workshop.folder().join(name);
        let mut init = process::command(&workshop.staunch);
        init.arg("init").arg(&folder).args(["--yes", "--output", "json"]);
        let said = process::succeed(init, COMMAND).await?;
        let made: Made = serde_json::from_str(&said).with_context(|| format!("init printed {said:?}"))?;
        let author_key = std::path::absolute(&made.author_key).context("the author's key")?;
        let installation = Self { folder, token: made.token, staunch: workshop.staunch.clone(), author_key };
        installation.configure(workshop.target.address(), plugins)?;
        Ok(installation)
    }

    /// Makes one and installs everything.
    pub(crate) async fn ready(workshop: &Workshop, name: &str, plugins: &[String]) -> anyhow::Result<Self> {
        let installation = Self::make(workshop, name, plugins).await?;
        for plugin in plugins {
            let bytes = match plugin.as_str() {
                PLUGIN => workshop.component.clone(),
                other => component::renamed(&workshop.component, PLUGIN, other)?,
            };
            let file = installation.folder.join(format!("{plugin}.wasm"));
            std::fs::write(&file, bytes).with_context(|| file.display().to_string())?;
            installation.sign(&file).await?;
            installation.installed(&file).await?;
        }
        Ok(installation)
    }

    fn configure(&self, target: SocketAddr, plugins: &[String]) -> anyhow::Result<()> {
        let path = self.config();
        let written = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let mut text = without_blocks(&written, &REPLACED);
        text.push_str("\nlisten: 127.0.0.1:0\nsources:\n");
        text.push_str(&format!(
            "  {SOURCE}: {{ format: alertmanager, bearer: '${{file:keys/bench.token}}' }}\n"
        ));
        text.push_str("grants:\n");
        for plugin in plugins {
            text.push_str(&format!("  {plugin}: {{ http: {{ send: ['POST http://{target}/act/*'] }} }}\n"));
        }
        write(&path, &text, 0o644)?;
        write(&self.folder.join("keys/bench.token"), &format!("{SOURCE_TOKEN}\n"), 0o600)?;
        for samples in ["policies/runbooks", "policies/cases"] {
            clear(&self.folder.join(samples))?;
        }
        for plugin in plugins {
            let path = self.folder.join(format!("policies/runbooks/{plugin}.yaml"));
            write(&path, &runbook(plugin, target), 0o644)?;
        }
        Ok(())
    }

    /// Writes a runbook, or another one in its place. `members`: all of the file but its name and its one step, which
    /// makes a POST for the alert's instance.
    pub(crate) fn runbook(&self, workshop: &Workshop, name: &str, members: &str) -> anyhow::Result<()> {
        let text = format!("runbook: {name}\n{members}{}", step(PLUGIN, workshop.target.address()));
        write(&self.folder.join(format!("policies/runbooks/{name}.yaml")), &text, 0o644)
    }

    /// The configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.join("staunch.yaml")
    }

    /// The public key of the journal.
    pub(crate) fn log_key(&self) -> PathBuf {
        self.folder.join("keys/log.vkey")
    }

    /// The registry's folder.
    pub(crate) fn registry(&self) -> PathBuf {
        self.folder.join("plugins")
    }

    /// A command of the program, on this installation.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = process::command(&self.staunch);
        command.arg("--config").arg(self.config()).args(arguments).current_dir(&self.folder);
        command
    }

    /// Signs a component: the envelope comes to lie beside it.
    pub(crate) async fn sign(&self, file: &Path) -> anyhow::Result<()> {
        let mut sign = self.command(&["plugin", "sign"]);
        sign.arg(file).arg("--key").arg(&self.author_key);
        process::succeed(sign, COMMAND).await.map(drop)
    }

    /// Tries to install a component that may act alone.
    pub(crate) async fn install(&self, file: &Path) -> anyhow::Result<Finished> {
        process::finish(self.installing(file), COMMAND).await
    }

    /// Installs a component, which must work.
    pub(crate) async fn installed(&self, file: &Path) -> anyhow::Result<()> {
        process::succeed(self.installing(file), COMMAND).await.map(drop)
    }

    fn installing(&self, file: &Path) -> Command {
        let mut install =
            self.command(&["plugin", "install", "--standing", "automatic", "--reason", "bench"]);
        install.arg(file);
        install
    }
}

/// The file in which `plugin sign` leaves the envelope of a component.
pub(crate) fn envelope(component: &Path) -> PathBuf {
    let mut name = component.as_os_str().to_owned();
    name.push(".dsse.json");
    PathBuf::from(name)
}

/// A runbook that turns one kind of alert into one POST, without asking and without probes.
fn runbook(plugin: &str, target: SocketAddr) -> String {
    let alert = if plugin == PLUGIN { alerts::NAME } else { plugin };
    format!(
        "runbook: {plugin}\n\
         description: One POST at the target of the benchmark.\n\
         match: ['alertname=\"{alert}\"']\n\
         target: '{{{{ labels.instance }}}}'\n\
         autonomy: automatic\n{}",
        step(plugin, target)
    )
}

/// The one step of a runbook.
fn step(plugin: &str, target: SocketAddr) -> String {
    format!(
        "steps:\n  \
           - plugin: {plugin}\n    \
             input:\n      \
               method: POST\n      \
               url: 'http://{target}/act/{{{{ labels.instance }}}}'\n      \
               body: {{ instance: '{{{{ labels.instance }}}}' }}\n"
    )
}

/// The text without some of its members at the top: from the line that begins one to the next that begins another.
fn without_blocks(yaml: &str, names: &[&str]) -> String {
    let mut kept = String::with_capacity(yaml.len());
    let mut dropping = false;
    for line in yaml.lines() {
        let begins = line.starts_with(|c: char| c.is_ascii_alphabetic());
        if begins {
            dropping = line.split(':').next().is_some_and(|name| names.contains(&name));
        }
        if !dropping || line.starts_with('#') {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// Removes the files in a folder.
fn clear(folder: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry.context("a folder's entry")?.path();
        std::fs::remove_file(&path).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let options =
        || std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path);
    options().and_then(|mut file| file.write_all(text.as_bytes())).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_left_out_whole() {
        let text = "# a\nlisten: x\n\n# b\nsources:\n  a: { b: c }\n  # d\n\nlog: { origin: o }\nqueue: 1\n";
        assert_eq!(without_blocks(text, &["listen", "sources"]), "# a\n# b\nlog: { origin: o }\nqueue: 1\n");
    }

    #[test]
    fn the_runbook_is_laid_out_as_yaml_wants_it() {
        let text = runbook(PLUGIN, ([127, 0, 0, 1], 9).into());
        assert!(
            text.contains("\nsteps:\n  - plugin: http-request\n    input:\n      method: POST\n"),
            "{text}"
        );
        assert!(text.contains("'http://127.0.0.1:9/act/{{ labels.instance }}'"), "{text}");
    }
}
