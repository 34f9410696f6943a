//! What all parts need: the program, the plugin, the target, and a folder on the disk that is measured.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::options::Cli;
use crate::process;
use crate::report::progress;
use crate::target::Target;

/// How long building the plugin may take when it has not been built.
const BUILD: Duration = Duration::from_secs(900);

/// What all parts need.
#[derive(Debug)]
pub(crate) struct Workshop {
    /// The program that is measured.
    pub(crate) staunch: PathBuf,
    /// This program, for the relay.
    pub(crate) own: PathBuf,
    /// The source tree.
    pub(crate) root: PathBuf,
    /// The target of all actions.
    pub(crate) target: Target,
    /// The plugin `http-request`.
    pub(crate) component: Vec<u8>,
    folder: PathBuf,
}

impl Workshop {
    pub(crate) async fn open(cli: &Cli, target: Target) -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("the path of this program")?;
        let beside = own.parent().context("the folder of this program")?.to_owned();
        let staunch = cli.staunch.clone().unwrap_or_else(|| beside.join("staunch"));
        if !staunch.is_file() {
            bail!("there is no {}: build it, or name it with --staunch", staunch.display());
        }
        let staunch = std::path::absolute(&staunch).context("the path of the program")?;
        let root = std::fs::canonicalize(&cli.root).with_context(|| cli.root.display().to_string())?;
        let built = built_plugin(&staunch, &root, &beside).await?;
        let component = std::fs::read(&built).with_context(|| built.display().to_string())?;
        let above = cli.dir.clone().unwrap_or(beside);
        std::fs::create_dir_all(&above).with_context(|| above.display().to_string())?;
        let above = std::path::absolute(&above).context("--dir")?;
        let folder = tempfile::Builder::new()
            .prefix("staunch-bench-")
            .tempdir_in(&above)
            .with_context(|| above.display().to_string())?
            .keep();
        progress(&format!("measuring {} in {}", staunch.display(), folder.display()));
        Ok(Self { staunch, own, root, target, component, folder })
    }

    /// The throw-away folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes the folder away, or says where it is.
    pub(crate) fn close(self, keep: bool) -> anyhow::Result<()> {
        if keep {
            progress(&format!("everything that was made stays in {}", self.folder.display()));
            return Ok(());
        }
        std::fs::remove_dir_all(&self.folder).with_context(|| self.folder.display().to_string())
    }
}

/// The component of `http-request`, built now if it has not been.
async fn built_plugin(staunch: &Path, root: &Path, beside: &Path) -> anyhow::Result<PathBuf> {
    let project = root.join("plugins/http-request");
    let dist = project.join("dist");
    if let Some(found) = newest_component(&dist) {
        return Ok(found);
    }
    progress("building plugins/http-request");
    let mut build = process::command(staunch);
    build.args(["plugin", "build"]).arg(&project);
    // The folder that building all plugins uses as well.
    build.env("CARGO_TARGET_DIR", beside.parent().unwrap_or(beside).join("guests"));
    process::succeed(build, BUILD).await?;
    newest_component(&dist).with_context(|| format!("plugin build left no component in {}", dist.display()))
}

fn newest_component(dist: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(dist).ok()?;
    let components = entries.filter_map(Result::ok).map(|entry| entry.path());
    components
        .filter(|path| path.extension().is_some_and(|extension| extension == "wasm"))
        .max_by_key(|path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok())
}
