//! Twenty plugins with one byte changed: in the component, in its manifest, in its envelope, and in the copy that
//! is installed already. Each must be refused, and the target must hear of none.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use crate::component::{self, Place};
use crate::daemon::Daemon;
use crate::installation::{Installation, PLUGIN, envelope};
use crate::options::Cli;
use crate::report::{Report, progress};
use crate::stats::Chance;
use crate::workshop::Workshop;

/// Changes of each kind.
const EACH: u64 = 5;

/// How long a request that should not come is waited for once the run is over.
const SILENCE: Duration = Duration::from_millis(200);

/// How long a refused run may take.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn run(cli: &Cli, workshop: &Workshop, report: &mut Report) -> anyhow::Result<()> {
    let installation = Installation::make(workshop, "tamper", &[PLUGIN.to_owned()]).await?;
    let mut chance = Chance::new(cli.seed);
    at_install(workshop, &installation, &mut chance, report).await?;
    installed_copy(workshop, &installation, &mut chance, report).await
}

/// Changes before the installation.
async fn at_install(
    workshop: &Workshop,
    installation: &Installation,
    chance: &mut Chance,
    report: &mut Report,
) -> anyhow::Result<()> {
    let file = installation.folder.join(format!("{PLUGIN}.wasm"));
    write(&file, &workshop.component)?;
    installation.sign(&file).await?;
    let signature = read(&envelope(&file))?;
    let Place { section, manifest } = component::find(&workshop.component)?;
    let length = workshop.component.len();
    // The code on the larger side of the manifest's section.
    let code = if section.start > length - section.end { 0..section.start } else { section.end..length };
    progress("   changes before the installation");
    for (name, range) in [("component", Some(code)), ("manifest", Some(manifest)), ("envelope", None)] {
        let mut refused = 0;
        for _ in 0..EACH {
            let (mut wasm, mut signed) = (workshop.component.clone(), signature.clone());
            let place = match &range {
                Some(range) => chance.change(&mut wasm, range.clone()),
                None => chance.change(&mut signed, Range { start: 0, end: signature.len() }),
            };
            write(&file, &wasm)?;
            write(&envelope(&file), &signed)?;
            let finished = installation.install(&file).await?;
            if finished.code == Some(1) {
                refused += 1;
            } else {
                report.note(format!("{name}, byte {place}: exit {:?}: {}", finished.code, finished.said()));
            }
        }
        report.count(format!("refused, one byte of the {name} changed"), refused, EACH);
    }
    let stored = components(&installation.registry()).len();
    report.count("components in the registry after that", u64::try_from(stored).unwrap_or(u64::MAX), 0);
    write(&file, &workshop.component)?;
    write(&envelope(&file), &signature)?;
    installation.installed(&file).await
}

/// Changes behind the daemon's back: three while it is down, two while it runs.
async fn installed_copy(
    workshop: &Workshop,
    installation: &Installation,
    chance: &mut Chance,
    report: &mut Report,
) -> anyhow::Result<()> {
    progress("   changes of the installed copy");
    let stored = components(&installation.registry());
    let component = stored.iter().find(|path| path.extension().is_some_and(|extension| extension == "wasm"));
    let signature = stored.iter().find(|path| path.extension().is_some_and(|extension| extension == "json"));
    let component = component.context("the registry holds no component")?;
    let signature = signature.context("the registry holds no envelope")?;
    let mut refused = 0;
    for (file, running) in
        [(component, false), (component, false), (signature, false), (component, true), (signature, true)]
    {
        let whole = read(file)?;
        let mut broken = whole.clone();
        let place = chance.change(&mut broken, 0..whole.len());
        let outcome = changed_copy(workshop, installation, file, &broken, running).await;
        write(file, &whole)?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let when = if running { "while the daemon runs" } else { "while it is down" };
        match outcome? {
            Outcome::Refused(how) => {
                refused += 1;
                progress(&format!("   {name}, byte {place}, {when}: {how}"));
            }
            Outcome::Acted => report.note(format!("{name}, byte {place}, {when}: the plugin acted")),
        }
    }
    report.count("refused, one byte of the installed copy changed", refused, EACH);
    let daemon = Daemon::start(installation).await?;
    let good = acts(workshop, &daemon).await?;
    report.count("acts again when all is put back", u64::from(matches!(good, Outcome::Acted)), 1);
    report.stopped(daemon.stop().await?);
    Ok(())
}

/// What became of an alert.
#[derive(Debug)]
enum Outcome {
    Refused(String),
    Acted,
}

/// Changes a file of the registry before or after the daemon's start, and sends an alert.
async fn changed_copy(
    workshop: &Workshop,
    installation: &Installation,
    file: &Path,
    broken: &[u8],
    running: bool,
) -> anyhow::Result<Outcome> {
    if !running {
        write(file, broken)?;
    }
    let daemon = match Daemon::start(installation).await {
        Ok(daemon) => daemon,
        Err(error) if !running => {
            return Ok(Outcome::Refused(error.to_string()));
        }
        Err(error) => return Err(error),
    };
    if running {
        // It has used the good copy before.
        acts(workshop, &daemon).await?;
        write(file, broken)?;
    }
    let outcome = acts(workshop, &daemon).await;
    if !daemon.stop().await? {
        anyhow::bail!("the daemon did not stop cleanly");
    }
    outcome
}

/// Sends one alert and waits for what becomes of it.
async fn acts(workshop: &Workshop, daemon: &Daemon) -> anyhow::Result<Outcome> {
    let number = workshop.target.numbers(1)?.start;
    let runs = daemon.road().send(number).await?;
    let mut session = daemon.api().open().await?;
    let mut how = "no run was started".to_owned();
    for run in &runs {
        let run = session.ended(run, PATIENCE).await?;
        how = format!("{}: {}", run["outcome"], run["reason"]["message"]);
    }
    match workshop.target.wait(number, SILENCE).await {
        Some(_) => Ok(Outcome::Acted),
        None => Ok(Outcome::Refused(how)),
    }
}

/// The components and envelopes that a registry holds.
fn components(registry: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![registry.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok) {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if name.ends_with(".wasm") || name.ends_with(".dsse.json") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| path.display().to_string())
}

/// Writes a file in place; one that may only be read is made writable first.
fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    if let Ok(meta) = std::fs::metadata(path) {
        let mut permissions = meta.permissions();
        #[expect(clippy::permissions_set_readonly_false, reason = "a throw-away file of our own")]
        permissions.set_readonly(false);
        std::fs::set_permissions(path, permissions).with_context(|| path.display().to_string())?;
    }
    std::fs::write(path, bytes).with_context(|| path.display().to_string())
}
