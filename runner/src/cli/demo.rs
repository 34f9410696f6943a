//! `demo`: a whole story on one machine, with nothing installed and nothing faked.
//!
//! A throwaway installation, the daemon as a process of its own, a local service whose log tree has filled its
//! quota, an alert, the decision, the plan, an approval, the effects, the probe turning green, a duplicate held
//! off, a tampered plugin refused, the journal verified, and one byte of it broken and found. Every step is
//! observed from outside; the exit code is 0 only if each of them was seen.

mod service;
mod stage;

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::args::DemoArgs;
use super::output::Output;
use super::{Done, Failure};
use crate::clock::Clock;
use service::Service;
use stage::Stage;

/// How long the run may take from the approval to its end.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn run(args: &DemoArgs, output: &Output) -> Done {
    let component = component(&args.plugins)?;
    let root = tempfile::Builder::new()
        .prefix("staunch-demo-")
        .tempdir()
        .map_err(|error| Failure::Unreachable(format!("a throwaway directory: {error}")))?;
    let mut story = Story { output, number: 0, ask: !args.yes && std::io::stdin().is_terminal() };
    let told = tell(&mut story, root.path(), &component).await;
    if args.keep {
        output.note(&format!("kept {}", root.keep().display()));
    }
    told
}

/// The disk-cleanup plugin that was built.
fn component(plugins: &Path) -> Result<PathBuf, Failure> {
    let dist = plugins.join("disk-cleanup/dist");
    let found = std::fs::read_dir(&dist).ok().and_then(|entries| {
        let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "wasm"));
        files.sort();
        files.pop()
    });
    found.ok_or_else(|| {
        let message = format!(
            "there is no built plugin in {}: `staunch plugin build {}` builds it, --plugins names another folder",
            dist.display(),
            plugins.join("disk-cleanup").display()
        );
        Failure::Unreachable(message)
    })
}

/// Tells the story as it happens.
struct Story<'a> {
    output: &'a Output,
    number: u32,
    ask: bool,
}

impl Story<'_> {
    fn chapter(&mut self, title: &str) {
        self.number += 1;
        self.output.data(&format!("\n{}. {title}", self.number));
    }

    fn say(&self, text: &str) {
        for line in text.lines() {
            self.output.data(&format!("   {line}"));
        }
    }

    /// Says what was seen, or ends the story.
    fn observe(&self, seen: bool, what: &str) -> Done {
        if seen {
            self.say(&format!("✓ {what}"));
            return Ok(());
        }
        Err(Failure::Refused(format!("this was to be seen, and was not: {what}")))
    }

    fn approved(&self) -> Result<bool, Failure> {
        if !self.ask {
            self.say("(nobody sits here, so the approval is given by itself)");
            return Ok(true);
        }
        let mut stderr = std::io::stderr().lock();
        drop(write!(stderr, "   Approve this plan? [y/N] "));
        drop(stderr.flush());
        let mut answer = String::new();
        std::io::stdin()
            .read_line(&mut answer)
            .map_err(|error| Failure::Unreachable(format!("stdin: {error}")))?;
        Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
    }
}

async fn tell(story: &mut Story<'_>, root: &Path, component: &Path) -> Done {
    story.chapter("A throwaway installation, with keys of its own");
    let service = Service::start(&root.join("logs")).await?;
    let mut stage = Stage::set(root, &service)?;
    story.say(&format!("staunch init {}", root.display()));
    stage.staunch(&["plugin", "sign", &text(component), "--key", &stage.author_key()], 0)?;
    let installed = stage.staunch(&["plugin", "install", &text(component)], 0)?;
    story.observe(!installed.is_empty(), "the plugin disk-cleanup is signed, verified and installed")?;
    stage.serve()?;
    story.observe(stage.get("/readyz").await?.0 == 200, &format!("the daemon listens on {}", stage.url()))?;

    story.chapter("A service breaks for a real reason: its logs have filled their quota");
    let before = service.health().await?;
    story.say(&before.1);
    story.observe(before.0 == 503, "its health check answers 503")?;

    story.chapter("An alert fires");
    let alert = firing(&service);
    let (id, run) = send(story, &stage, &alert).await?;
    story.say(&stage.staunch(&["alerts", "why", &id], 0)?);

    story.chapter("The plan, before anything is done");
    let waiting = stage.until(&run, &["waiting", "ended"], PATIENCE).await?;
    story.say(&stage.staunch(&["runs", "show", &run], 0)?);
    story.observe(waiting["state"] == "waiting", "the run waits for a person: nothing was done yet")?;
    story.observe(service.health().await?.0 == 503, "the service is still broken")?;

    story.chapter("The approval, bound to exactly this plan");
    approve(story, &stage, &run, &waiting).await?;

    story.chapter("The effects, and the proof that they helped");
    let ended = stage.until(&run, &["ended"], PATIENCE).await?;
    story.say(&stage.staunch(&["runs", "show", &run], 0)?);
    let after = service.health().await?;
    story.observe(ended["outcome"] == "fixed", "the run ended as fixed, because its probe turned green")?;
    story.observe(after.0 == 200, &format!("the service is well again: {}", after.1))?;

    story.chapter("The same alert again");
    let (status, answer) = stage.alert(&alert).await?;
    story.say(&answer.to_string());
    let runs = answer.pointer("/alerts/0/runs").and_then(Value::as_array).map_or(0, Vec::len);
    let held_off = status == 202 && answer.pointer("/alerts/0/duplicate") == Some(&json!(true)) && runs == 1;
    story.observe(held_off, "it is known, and starts nothing")?;

    tampered(story, &stage, root, component)?;
    journal(story, &stage, root)?;
    stage.stop()?;
    story.output.data("\nAll of it was seen. That is what Staunch does.");
    Ok(())
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// What Alertmanager would send.
fn firing(service: &Service) -> Value {
    let now = Clock::machine().now();
    json!({
        "version": "4", "status": "firing", "receiver": "staunch", "groupKey": "{}", "truncatedAlerts": 0,
        "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "externalURL": "http://alertmanager.invalid",
        "alerts": [{
            "status": "firing",
            "labels": { "alertname": "LogQuotaFull", "instance": "demo-host", "severity": "critical", "service": "shop" },
            "annotations": { "summary": format!("the shop at {} answers 503", service.url()) },
            "startsAt": now, "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "", "fingerprint": "5ca1ab1e5ca1ab1e",
        }],
    })
}

async fn send(story: &Story<'_>, stage: &Stage, alert: &Value) -> Result<(String, String), Failure> {
    let (status, answer) = stage.alert(alert).await?;
    let member = |path: &str| answer.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (id, run) = (member("/alerts/0/id"), member("/alerts/0/runs/0"));
    story.observe(
        status == 202 && !id.is_empty() && !run.is_empty(),
        &format!("it is durably taken in as {id}, and run {run} answers it"),
    )?;
    Ok((id, run))
}

async fn approve(story: &Story<'_>, stage: &Stage, run: &str, waiting: &Value) -> Done {
    let digest = waiting.pointer("/plan/digest").and_then(Value::as_str).unwrap_or_default();
    let wrong = format!("sha256:{}", "0".repeat(64));
    let (status, _) = stage.post(&format!("/v1/runs/{run}/approve"), &json!({ "plan": wrong })).await?;
    story.observe(status == 409, "an approval of another plan is refused")?;
    if !story.approved()? {
        stage.staunch(&["runs", "reject", run, "--comment", "declined in the demo"], 0)?;
        return Err(Failure::Refused("the plan was not approved, so nothing was done".to_owned()));
    }
    stage.staunch(&["runs", "approve", run, "--plan", digest, "--comment", "go on"], 0)?;
    story.observe(true, &format!("approved: {digest}"))
}

fn tampered(story: &mut Story<'_>, stage: &Stage, root: &Path, component: &Path) -> Done {
    story.chapter("One byte of the plugin is changed");
    let copy = root.join("tampered.wasm");
    let envelope = |path: &Path| PathBuf::from(format!("{}.dsse.json", path.display()));
    let io = |error: std::io::Error| Failure::Unreachable(format!("{}: {error}", copy.display()));
    let mut bytes = std::fs::read(component).map_err(io)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&copy, bytes).map_err(io)?;
    std::fs::copy(envelope(component), envelope(&copy)).map_err(io)?;
    let refusal = stage.staunch(&["plugin", "install", &text(&copy)], 1)?;
    story.say(&refusal);
    story.observe(refusal.contains("digest"), "it is refused: nothing of it was compiled, let alone run")
}

fn journal(story: &mut Story<'_>, stage: &Stage, root: &Path) -> Done {
    story.chapter("The journal, verified from files alone");
    let exported = root.join("exported");
    let key = text(&exported.join("log.vkey"));
    stage.staunch(&["audit", "export", "--to", &text(&exported)], 0)?;
    let verified = stage.staunch(&["audit", "verify", &text(&exported), "--key", &key], 0)?;
    story.say(&verified);
    story.observe(true, "every entry is there, in order, under a signed checkpoint")?;
    let victim = stage::longest_file(&exported.join("tile/entries"))?;
    let io = |error: std::io::Error| Failure::Unreachable(format!("{}: {error}", victim.display()));
    let mut bytes = std::fs::read(&victim).map_err(io)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&victim, bytes).map_err(io)?;
    let found = stage.staunch(&["audit", "verify", &text(&exported), "--key", &key], 1)?;
    story.say(&found);
    story.observe(found.contains("tile/entries"), "one changed byte is found, and its place is named")
}
