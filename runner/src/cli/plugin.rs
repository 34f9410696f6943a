//! `plugin`

use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde_json::{Value, json};
use staunch_core::policy::{PluginKind, Standing};

use super::args::{Connection, PluginArgs, PluginCommand};
use super::client::Client;
use super::output::Output;
use super::record::{self, Recording};
use super::standing::{self, Asked};
use super::{Done, Failure, alerts, local, runs};
use crate::causes::chain;
use crate::clock::Clock;
use crate::install::{InstallError, InstallRequest, claimed_name, store};
use crate::keys;
use crate::pipeline::scribe::Scribe;
use crate::pipeline::standings::Hand;
use crate::pipeline::views::{self, PluginRecord};
use crate::plugin::builder::{self, BuildError, Built, Environment};
use crate::plugin::manifest::Language;
use crate::plugin::scaffold::ScaffoldError;
use crate::plugin::{
    Compiler, Registry, TrustPolicy, TrustedKey, UnverifiedBuild, inspect, scaffold, sign, trust,
};
use crate::scenario::{self, Progress};

pub(super) async fn run(args: PluginArgs, connection: &Connection, output: &Output) -> Done {
    match args.command {
        PluginCommand::Inspect { file } => {
            let report = inspect(&name(&file), &read(&file)?, read(&envelope_of(&file)).ok().as_deref());
            output.json(&json!(report.map_err(|error| Failure::Refused(chain(&error)))?));
            Ok(())
        }
        PluginCommand::Sign { file, key } => sign_file(&file, &key, output),
        PluginCommand::Verify { file, key } => verify(&file, key.as_deref(), connection, output),
        PluginCommand::Install { file, standing, reason, allow_downgrade } => {
            let request = InstallRequest {
                file: name(&file),
                component: read(&file)?,
                envelope: read_envelope(&file)?,
                standing: standing.as_deref().and_then(standing_of),
                reason,
                allow_downgrade,
                by: "host".to_owned(),
                request: None,
            };
            install(request, connection, output).await
        }
        PluginCommand::List => {
            let page = Client::new(connection)?.get("/v1/plugins").await?;
            let columns = [
                ("NAME", "/name"),
                ("VERSION", "/version"),
                ("KIND", "/kind"),
                ("EFFECTS", "/effects"),
                ("STANDING", "/standing"),
                ("GENUINE", "/genuine"),
                ("DIGEST", "/digest"),
            ];
            output.listing(&alerts::items(&page), &columns);
            Ok(())
        }
        PluginCommand::Show { name } => {
            output.json(&Client::new(connection)?.get(&format!("/v1/plugins/{name}")).await?);
            Ok(())
        }
        PluginCommand::Standing { name } => standing::run(&name, Asked::Show, connection, output).await,
        PluginCommand::Reinstate { name, reason, canary } => {
            standing::run(&name, Asked::Move(Hand::Reinstate(canary), &reason), connection, output).await
        }
        PluginCommand::Revoke { name, reason } => {
            standing::run(&name, Asked::Move(Hand::Revoke, &reason), connection, output).await
        }
        PluginCommand::Run { file, input, act, target, reason } => {
            let input = runs::parse_json("--input", &input)?;
            run_file(&file, &input, act, target, &reason, connection, output).await
        }
        PluginCommand::New { name, language, kind } => new(&name, &language, &kind, output),
        PluginCommand::Build { directory } => {
            let built = build(&directory, output)?;
            if output.is_json() {
                output.json(&json!(built));
            } else {
                output.data(&format!("built {}", built.file.display()));
            }
            Ok(())
        }
        PluginCommand::Test { directory, record: true, act, target, reason, .. } => {
            let recording = Recording { act, target: target.as_deref(), reason: &reason };
            record::run(&directory, &recording, connection, output).await
        }
        PluginCommand::Test { directory, bless, .. } => test(&directory, bless, output).await,
    }
}

/// A word of a closed list, which clap has checked already.
fn word<T: Copy>(words: &[(&str, T)], text: &str) -> Result<T, Failure> {
    let found = words.iter().find(|(known, _)| *known == text).map(|(_, value)| *value);
    found.ok_or_else(|| Failure::Usage(format!("{text:?} is not available in this version")))
}

fn new(name: &str, language: &str, kind: &str, output: &Output) -> Done {
    let (language, kind) = (word(&Language::WORDS, language)?, word(&PluginKind::WORDS, kind)?);
    let created = scaffold::create(Path::new("."), name, language, kind).map_err(|error| match error {
        ScaffoldError::Name(_) => Failure::Usage(chain(&error)),
        _ => Failure::Refused(chain(&error)),
    })?;
    if output.is_json() {
        output.json(&json!({ "directory": created.directory, "files": created.files }));
        return Ok(());
    }
    for file in &created.files {
        output.data(&file.display().to_string());
    }
    output.note(&format!("Next: cd {name}; staunch plugin build; staunch plugin test"));
    Ok(())
}

fn build(directory: &Path, output: &Output) -> Result<Built, Failure> {
    builder::build(directory, &Environment::of_this_process(), &mut |line| output.note(line)).map_err(
        |error| {
            let message = chain(&error);
            match error {
                BuildError::Toolchain(_) | BuildError::Start { .. } => Failure::Unreachable(message),
                BuildError::Manifest(_) | BuildError::NoProject(_) => Failure::Usage(message),
                _ => Failure::Refused(message),
            }
        },
    )
}

/// Runs the scenarios with the build that is there; builds first when there is none, or the source is newer.
async fn test(directory: &Path, bless: bool, output: &Output) -> Done {
    let built = build(directory, output)?;
    let bytes = read(&built.file)?;
    let unverified = UnverifiedBuild::for_scripted_world(&name(&built.file), bytes.to_vec())
        .map_err(|error| Failure::Refused(chain(&error)))?;
    let report =
        scenario::run(directory, &unverified, &Compiler::uncached(), &mut |progress| match progress {
            Progress::Compiling => output.note("compiling"),
            Progress::Ended { done, total, report } => {
                let word = if report.passed { "ok    " } else { "FAILED" };
                output.note(&format!("[{done}/{total}] {word} {}: {}", report.file, report.name));
                for failure in &report.failures {
                    output.note(&format!("         {failure}"));
                }
            }
        })
        .await
        .map_err(|error| Failure::Refused(chain(&error)))?;
    if output.is_json() {
        output.json(&json!(report));
    }
    if bless {
        let changed = scenario::bless(directory, &report).map_err(|error| Failure::Refused(chain(&error)))?;
        output.note(&format!("blessed {} of {} scenarios", changed.len(), report.scenarios.len()));
        return Ok(());
    }
    let failed = report.scenarios.iter().filter(|scenario| !scenario.passed).count();
    if failed > 0 {
        return Err(Failure::Refused(format!("{failed} of {} scenarios failed", report.scenarios.len())));
    }
    output.note(&format!("{} scenarios passed", report.scenarios.len()));
    Ok(())
}

fn standing_of(word: &str) -> Option<Standing> {
    Standing::WORDS.iter().find(|(known, _)| *known == word).map(|(_, standing)| *standing)
}

pub(super) fn name(file: &Path) -> String {
    file.display().to_string()
}

/// Where the envelope of a component is.
fn envelope_of(file: &Path) -> PathBuf {
    PathBuf::from(format!("{}.dsse.json", file.display()))
}

pub(super) fn read(file: &Path) -> Result<Bytes, Failure> {
    std::fs::read(file)
        .map(Bytes::from)
        .map_err(|error| Failure::Refused(format!("{}: {error}", file.display())))
}

/// The envelope of a component, which must have been signed.
pub(super) fn read_envelope(file: &Path) -> Result<Bytes, Failure> {
    let envelope = envelope_of(file);
    if !envelope.exists() {
        let (envelope, file) = (envelope.display(), file.display());
        let message = format!("{envelope} is missing: `staunch plugin sign {file} --key KEY` writes it");
        return Err(Failure::Refused(message));
    }
    read(&envelope)
}

fn sign_file(file: &Path, key: &Path, output: &Output) -> Done {
    let key = keys::load_private(key).map_err(|error| Failure::Usage(chain(&error)))?;
    let envelope = envelope_of(file);
    let earlier = std::fs::read(&envelope).ok();
    let signed = sign(&name(file), &read(file)?, earlier.as_deref(), &key, Clock::machine().now())
        .map_err(|error| Failure::Refused(chain(&error)))?;
    std::fs::write(&envelope, signed)
        .map_err(|error| Failure::Refused(format!("{}: {error}", envelope.display())))?;
    output.note(&format!("wrote {}", envelope.display()));
    Ok(())
}

/// The trust of one key, or of the configuration.
fn trust_policy(key: Option<&Path>, connection: &Connection) -> Result<TrustPolicy, Failure> {
    match key {
        Some(path) => {
            let key = keys::load_public(path).map_err(|error| Failure::Usage(chain(&error)))?;
            Ok(TrustPolicy { keys: vec![TrustedKey::new(key)], threshold: 1 })
        }
        None => {
            let config = local::config(&connection.config)?;
            super::check::trust(&config).map_err(|problems| Failure::Usage(local::lines(&problems)))
        }
    }
}

fn verify(file: &Path, key: Option<&Path>, connection: &Connection, output: &Output) -> Done {
    let policy = trust_policy(key, connection)?;
    let (component, envelope) = (read(file)?, read_envelope(file)?);
    let shown = name(file);
    let candidate = trust::Candidate { file: &shown, component: &component, envelope: &envelope };
    let verified = trust::verify(&candidate, &policy, None, Clock::machine().now())
        .map_err(|error| Failure::Refused(chain(&error)))?;
    let manifest = verified.manifest();
    let report = json!({
        "name": manifest.name,
        "version": manifest.version.to_string(),
        "release": manifest.release,
        "digest": verified.digest(),
        "signers": verified.signers(),
        "signed_by": policy.holders(verified.signers()),
    });
    if output.is_json() {
        output.json(&report);
    } else {
        let signers = policy.holders(verified.signers()).into_iter().map(|signer| match signer.person {
            Some(person) => format!("{} ({person})", signer.key),
            None => signer.key,
        });
        let signers = signers.collect::<Vec<_>>().join(", ");
        output.data(&format!(
            "{} {} is genuine: {}, signed by {signers}",
            manifest.name,
            manifest.version,
            verified.digest()
        ));
    }
    Ok(())
}

/// Into the registry and the journal: by the daemon when one holds the journal, else right here.
async fn install(request: InstallRequest, connection: &Connection, output: &Output) -> Done {
    let report = if connection.url.is_none() {
        let config = local::config(&connection.config)?;
        match local::scribe(&config).await? {
            Some(scribe) => {
                let policy = super::check::trust(&config)
                    .map_err(|problems| Failure::Usage(local::lines(&problems)))?;
                let registry = Registry::at(config.plugins.clone());
                let predecessor = predecessor(&scribe, &request).await?;
                let initial = config.initial_standing;
                let stored = store(&registry, &policy, &scribe, initial, predecessor.as_ref(), &request);
                let done = match stored {
                    Ok((line, record, installed)) => {
                        let committed = scribe.commit(vec![line]).await;
                        committed.map_err(|error| Failure::Unreachable(chain(&error))).map(|()| {
                            let mut report = json!(installed);
                            report["standing"] = json!(record.standing.as_str());
                            if !config.grants.contains_key(&record.name) {
                                output.note(&ungranted(&record.name, &config.file));
                            }
                            report
                        })
                    }
                    Err(error) => Err(refusal(&error)),
                };
                scribe.journal().shutdown().await;
                Some(done?)
            }
            None => None,
        }
    } else {
        None
    };
    let report = match report {
        Some(report) => report,
        None => Client::new(connection)?.post_form("/v1/plugins", &parts(&request)).await?,
    };
    if output.is_json() {
        output.json(&report);
    } else {
        let text = |name: &str| report.get(name).and_then(Value::as_str).unwrap_or("-").to_owned();
        output.data(&format!(
            "installed {} {} with standing {}: {}",
            text("name"),
            text("version"),
            text("standing"),
            text("digest")
        ));
        if let Some(problem) = report.pointer("/problem/message").and_then(Value::as_str) {
            output.note(&format!("it cannot run yet: {problem}"));
        }
    }
    Ok(())
}

/// The hint for a plugin that can do nothing yet.
fn ungranted(name: &str, config: &Path) -> String {
    format!("nothing is granted to {name} yet: `grants:` in {} says what it may do", config.display())
}

/// What the journal says of the plugin's earlier version.
async fn predecessor(scribe: &Scribe, request: &InstallRequest) -> Result<Option<PluginRecord>, Failure> {
    let Some(name) = claimed_name(request) else { return Ok(None) };
    let row = scribe.journal().view(views::PLUGIN, &name).await;
    let row = row.map_err(|error| Failure::Unreachable(chain(&error)))?;
    row.map(|row| views::read(&row.doc)).transpose().map_err(|error| Failure::Unreachable(chain(&error)))
}

fn refusal(error: &InstallError) -> Failure {
    match error {
        InstallError::Refused { code, message } => Failure::Refused(format!("{message} [{code}]")),
        InstallError::Pipeline(error) => Failure::Unreachable(chain(error)),
    }
}

fn parts(request: &InstallRequest) -> Vec<(&'static str, Vec<u8>)> {
    let mut parts = vec![("component", request.component.to_vec()), ("envelope", request.envelope.to_vec())];
    if let Some(standing) = request.standing {
        parts.push(("standing", standing.as_str().as_bytes().to_vec()));
    }
    if let Some(reason) = &request.reason {
        parts.push(("reason", reason.as_bytes().to_vec()));
    }
    if request.allow_downgrade {
        parts.push(("allow_downgrade", b"true".to_vec()));
    }
    parts
}

/// One run of a file from the shell, through every gate of the daemon. The file must be the installed plugin:
/// nothing that the registry does not hold meets the world.
async fn run_file(
    file: &Path,
    input: &Value,
    act: bool,
    target: Option<String>,
    reason: &str,
    connection: &Connection,
    output: &Output,
) -> Done {
    let component = read(file)?;
    let envelope = read_envelope(file)?;
    let parts = [("component", component.to_vec()), ("envelope", envelope.to_vec())];
    let request = json!({ "input": input, "target": target, "reason": reason, "mode": if act { "act" } else { "plan" } });
    let mut parts = parts.to_vec();
    parts.push(("request", request.to_string().into_bytes()));
    let client = Client::new(connection)?;
    let started = client.post_form("/v1/plugins/run", &parts).await?;
    let id = started.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    let run = runs::settled(&client, &id).await?;
    runs::show(&run, output);
    Ok(())
}
