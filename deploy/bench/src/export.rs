//! The exported journal: verified by the program itself and by Go's `sumdb` packages, whole, and broken one byte
//! at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::installation::Installation;
use crate::options::Cli;
use crate::process::{self, Finished};
use crate::report::{Report, progress};
use crate::stats::{Chance, milliseconds};
use crate::workshop::Workshop;

/// How long one command may take.
const COMMAND: Duration = Duration::from_secs(300);

/// How long all changes together may take; what is left is said.
const CHANGES: Duration = Duration::from_secs(300);

/// Exports the journal of a daemon that runs, and checks what comes out.
pub(crate) async fn check(
    cli: &Cli,
    workshop: &Workshop,
    installation: &Installation,
    runs: &BTreeSet<String>,
    report: &mut Report,
) -> anyhow::Result<()> {
    let folder = installation.folder.join("export");
    progress("   exporting the journal");
    let mut export = installation.command(&["audit", "export", "--to"]);
    export.arg(&folder);
    process::succeed(export, COMMAND).await?;
    let files = files_below(&folder)?;
    let began = Instant::now();
    let verified = verify(installation, &folder).await?;
    report.figure("audit verify of all of it", milliseconds(began.elapsed()), "ms", None);
    report.count("exit code of audit verify", exit_code(&verified), 0);
    if verified.code != Some(0) {
        report.note(format!("audit verify: {}", verified.said()));
        return Ok(());
    }
    let named = runs_named(&folder, &files)?;
    let count = |set: &BTreeSet<String>| u64::try_from(set.len()).unwrap_or(u64::MAX);
    report.count("runs that leaves of the export name", count(&(&named & runs)), count(runs));
    by_go(workshop, installation, &folder, report).await?;
    break_bytes(cli, installation, &folder, &files, report).await
}

async fn verify(installation: &Installation, folder: &Path) -> anyhow::Result<Finished> {
    let mut verify = installation.command(&["audit", "verify"]);
    verify.arg(folder).arg("--key").arg(installation.log_key());
    process::finish(verify, COMMAND).await
}

/// The exit code; an impossible one for a signal.
fn exit_code(finished: &Finished) -> u64 {
    finished.code.and_then(|code| u64::try_from(code).ok()).unwrap_or(999)
}

/// All files below a folder, in order.
fn files_below(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry.context("a folder's entry")?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    Ok(files)
}

/// The runs that leaves name: `"run":"ID"` in the entries.
fn runs_named(folder: &Path, files: &[PathBuf]) -> anyhow::Result<BTreeSet<String>> {
    let entries = folder.join("tile/entries");
    let mut named = BTreeSet::new();
    for file in files.iter().filter(|file| file.starts_with(&entries)) {
        let bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
        let text = String::from_utf8_lossy(&bytes);
        named.extend(
            text.split("\"run\":\"").skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned),
        );
    }
    Ok(named)
}

/// Has Go's own packages verify the export, where there is Go.
async fn by_go(
    workshop: &Workshop,
    installation: &Installation,
    folder: &Path,
    report: &mut Report,
) -> anyhow::Result<()> {
    let program = workshop.root.join("sandbox-tests/verifiers/sumdb/main.go");
    if !program.is_file() {
        report.note(format!("SKIPPED Go's sumdb packages: there is no {}", program.display()));
        return Ok(());
    }
    if !process::exists("go", "version").await {
        report.note("SKIPPED Go's sumdb packages: no Go (apt install golang-go golang-golang-x-mod-dev)");
        return Ok(());
    }
    let mut go = process::command("go");
    go.arg("run").arg(&program).arg("export").arg(folder).arg(installation.log_key());
    // Debian's packages lie in a GOPATH; nothing is fetched.
    go.env("GO111MODULE", "off").env("GOPATH", "/usr/share/gocode").env("GOFLAGS", "");
    go.env("GOCACHE", workshop.folder().join("go-cache"));
    let finished = process::finish(go, COMMAND).await?;
    report.count("exit code of Go's sumdb packages", exit_code(&finished), 0);
    if finished.code != Some(0) {
        report.note(format!("Go: {}", finished.said()));
    }
    Ok(())
}

/// Changes one byte at a time, over all files in turn, and has each change found.
async fn break_bytes(
    cli: &Cli,
    installation: &Installation,
    folder: &Path,
    files: &[PathBuf],
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut chance = Chance::new(cli.seed);
    let groups = groups(folder, files);
    let wanted = cli.many(200, 20);
    progress(&format!(
        "   {wanted} single-byte changes over {} files of {} kinds",
        files.len(),
        groups.len()
    ));
    let began = Instant::now();
    let (mut tried, mut found) = (0, 0);
    for turn in 0..wanted {
        if began.elapsed() > CHANGES {
            report.note(format!("stopped after {tried} of {wanted} changes: {CHANGES:?} are over"));
            break;
        }
        if tried > 0 && tried % 50 == 0 {
            progress(&format!("   {tried} changes tried, {found} found"));
        }
        let group = usize::try_from(turn).unwrap_or_default() % groups.len().max(1);
        let Some(group) = groups.get(group) else { break };
        let Some(file) = group.get(chance.below(group.len())) else { continue };
        let whole = std::fs::read(file).with_context(|| file.display().to_string())?;
        let mut broken = whole.clone();
        let place = chance.change(&mut broken, 0..whole.len());
        std::fs::write(file, &broken).with_context(|| file.display().to_string())?;
        let finished = verify(installation, folder).await?;
        std::fs::write(file, &whole).with_context(|| file.display().to_string())?;
        tried += 1;
        if finished.code == Some(1) {
            found += 1;
        } else {
            let name = file.strip_prefix(folder).unwrap_or(file).display();
            let code = exit_code(&finished);
            report.note(format!("not found: byte {place} of {name} (exit {code}): {}", finished.said()));
        }
    }
    report.count("single-byte changes of the export that are found", found, tried);
    report.count(
        "exit code of audit verify, all put back",
        exit_code(&verify(installation, folder).await?),
        0,
    );
    Ok(())
}

/// The files that are not empty, by kind: the first two parts of their path.
fn groups(folder: &Path, files: &[PathBuf]) -> Vec<Vec<PathBuf>> {
    let mut groups: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
    for file in files {
        if std::fs::metadata(file).is_ok_and(|meta| meta.len() > 0) {
            let kind = file.strip_prefix(folder).unwrap_or(file).components().take(2).collect();
            groups.entry(kind).or_default().push(file.clone());
        }
    }
    // A folder with a file a payload is one kind, not thousands.
    let mut few: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
    for (kind, files) in groups {
        let above = kind.parent().map(Path::to_owned).unwrap_or_default();
        let kind = if files.len() == 1 && above != Path::new("") { above } else { kind };
        few.entry(kind).or_default().extend(files);
    }
    few.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_file_has_its_turn() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "checkpoint",
            "log.vkey",
            "tile/0/000",
            "tile/0/001",
            "tile/entries/000",
            "payloads/a",
            "payloads/b",
        ] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        let files = files_below(folder.path()).unwrap();
        assert_eq!(files.len(), 7);
        let sizes: BTreeSet<usize> = groups(folder.path(), &files).iter().map(Vec::len).collect();
        assert_eq!(groups(folder.path(), &files).len(), 5);
        assert_eq!(sizes, BTreeSet::from([1, 2]));
    }
}
