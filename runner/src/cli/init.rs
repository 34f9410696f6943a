//! `init`: a complete, commented, working installation.

use std::io::{IsTerminal as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::args::InitArgs;
use super::local::{ADMINISTRATOR_TOKEN, JOURNAL_KEY};
use super::output::Output;
use super::{Done, Failure, local};
use crate::causes::chain;
use crate::clock::random;
use crate::config::{Config, init};
use crate::keys;
use crate::pipeline::token_line;

/// The author's private key, beside the configuration.
const AUTHOR_KEY: &str = "keys/author.key";

/// What an installation consists of: none of it may be there already.
const OWNED: [&str; 5] = ["staunch.yaml", "keys", "policies", "plugins", "data"];

pub(super) async fn run(args: &InitArgs, output: &Output) -> Done {
    let root = &std::path::absolute(&args.directory)
        .map_err(|error| Failure::Usage(format!("{}: {error}", args.directory.display())))?;
    if let Some(there) = OWNED.iter().map(|name| root.join(name)).find(|path| path.exists()) {
        let message = format!("{} is there already, and init overwrites nothing", there.display());
        return Err(Failure::Refused(message));
    }
    if !args.yes && std::io::stdin().is_terminal() && !confirmed(root) {
        return Err(Failure::Refused("nothing was written".to_owned()));
    }
    let made = write(root, args).map_err(Failure::Refused)?;
    let config = Config::load(&root.join("staunch.yaml"))
        .map_err(|problems| Failure::Usage(local::lines(&problems)))?;
    let Some(scribe) = local::scribe(&config).await? else {
        return Err(Failure::Refused(format!("{} is in use by a daemon", config.data.display())));
    };
    let (line, _, token) =
        token_line(&scribe, "administrator", vec!["administrator".to_owned()], None, "init");
    scribe.commit(vec![line]).await.map_err(|error| Failure::Unreachable(chain(&error)))?;
    let vkey = scribe.journal().verifier_key().to_string();
    scribe.journal().shutdown().await;
    secret(&root.join(ADMINISTRATOR_TOKEN), &token).map_err(Failure::Refused)?;
    plain(&root.join("keys/log.vkey"), &format!("{vkey}\n")).map_err(Failure::Refused)?;
    let url = format!("http://{}", args.listen);
    if output.is_json() {
        output.json(&json!({
            "config": root.join("staunch.yaml"),
            "url": url,
            "token": token,
            "author_key": root.join(AUTHOR_KEY),
            "author_public_key": made.public,
            "log_vkey": vkey,
        }));
        return Ok(());
    }
    output.data(&format!(
        "wrote an installation to {}\n\n  configuration  {}\n  policies       {}\n  author's key   {} (signs plugins; trusted)\n  log key        {vkey}\n  token          {token} (administrator; also in {})\n",
        root.display(),
        root.join("staunch.yaml").display(),
        root.join("policies").display(),
        root.join(AUTHOR_KEY).display(),
        root.join(ADMINISTRATOR_TOKEN).display(),
    ));
    output.note(&format!("Next: cd {}; staunch check; staunch serve", root.display()));
    Ok(())
}

fn confirmed(root: &Path) -> bool {
    let mut stderr = std::io::stderr().lock();
    drop(write!(stderr, "Write a new installation to {}? [y/N] ", root.display()));
    drop(stderr.flush());
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

/// Writes everything but the journal.
fn write(root: &Path, args: &InitArgs) -> Result<keys::KeyPair, String> {
    std::fs::create_dir_all(root).map_err(|error| format!("{}: {error}", root.display()))?;
    directory(&root.join("keys"), 0o700)?;
    for name in ["policies", "policies/runbooks", "policies/cases", "plugins"] {
        directory(&root.join(name), 0o755)?;
    }
    directory(&root.join("data"), 0o700)?;
    keys::generate(&root.join(JOURNAL_KEY)).map_err(|error| chain(&error))?;
    let author = keys::generate(&root.join(AUTHOR_KEY)).map_err(|error| chain(&error))?;
    let named = root.join(init::AUTHOR_PUBLIC_KEY);
    if author.public != named {
        std::fs::copy(&author.public, &named).map_err(|error| format!("{}: {error}", named.display()))?;
    }
    for name in init::SOURCE_TOKENS {
        let mut bits = [0; 24];
        random(&mut bits);
        secret(&root.join(name), &URL_SAFE_NO_PAD.encode(bits))?;
    }
    for (name, text) in init::POLICIES {
        plain(&root.join("policies").join(name), text)?;
    }
    plain(&root.join("staunch.yaml"), &init::configuration(args.listen, &local::host_name()))?;
    Ok(author)
}

fn directory(path: &Path, mode: u32) -> Result<(), String> {
    std::fs::DirBuilder::new()
        .mode(mode)
        .create(path)
        .map_err(|error| format!("{}: {error}", path.display()))?;
    // The umask may have taken bits away; what must be private is private either way.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .map_err(|error| format!("{}: {error}", path.display()))
}

fn secret(path: &Path, text: &str) -> Result<(), String> {
    file(path, &format!("{text}\n"), 0o600)
}

fn plain(path: &Path, text: &str) -> Result<(), String> {
    file(path, text, 0o644)
}

fn file(path: &Path, text: &str, mode: u32) -> Result<(), String> {
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|error| format!("{}: {error}", path.display()))
}
