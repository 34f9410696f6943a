//! Installs a plugin: verified, stored, compiled, and written into the journal. One way for HTTP and the shell.

use bytes::Bytes;
use serde::Serialize;
use staunch_core::decision::Reason;
use staunch_core::event::{self, Fact, Outside, payload};
use staunch_core::id::Digest;
use staunch_core::policy::Standing;

use crate::causes::chain;
use crate::pipeline::scribe::{Line, Scribe};
use crate::pipeline::{Pipeline, Refusal, views};
use crate::plugin::{Installation, Installed, Registry, TrustPolicy};

/// A plugin to be installed.
#[derive(Debug, Default)]
pub struct InstallRequest {
    /// How messages name it.
    pub file: String,
    /// The component.
    pub component: Bytes,
    /// The signature envelope.
    pub envelope: Bytes,
    /// Another standing than the initial one.
    pub standing: Option<Standing>,
    /// Why.
    pub reason: Option<String>,
    /// Whether an older release may take the place of a newer one.
    pub allow_downgrade: bool,
    /// Who.
    pub by: String,
    /// For a run from the shell: what is asked for, as JSON.
    pub request: Option<String>,
}

/// Why a plugin is not installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// It is not genuine, or the request is incomplete.
    #[error("{message}")]
    Refused {
        /// For programs.
        code: &'static str,
        /// For people.
        message: String,
    },
    /// The journal did not take it.
    #[error(transparent)]
    Pipeline(#[from] Refusal),
}

/// What an installation did.
#[derive(Debug, Serialize)]
pub struct InstallReport {
    /// What the registry says.
    #[serde(flatten)]
    pub installed: Installed,
    /// Its place on the trust ladder.
    pub standing: &'static str,
    /// Why it cannot run yet, if so: a missing grant, for example.
    pub problem: Option<Reason>,
}

/// Verifies a plugin, stores it, and makes the journal's line for it.
///
/// # Errors
/// When it is refused.
pub fn store(
    registry: &Registry,
    trust: &TrustPolicy,
    scribe: &Scribe,
    initial: Standing,
    predecessor: Option<&views::PluginRecord>,
    request: &InstallRequest,
) -> Result<(Line, views::PluginRecord, Installed), InstallError> {
    let refuse = |code: &'static str, message: String| InstallError::Refused { code, message };
    let needs_reason = request.standing.is_some() || request.allow_downgrade;
    if needs_reason && request.reason.as_deref().is_none_or(|reason| reason.trim().is_empty()) {
        return Err(refuse("reason", "another standing, or an older release, needs a reason".to_owned()));
    }
    let installation = Installation {
        file: if request.file.is_empty() { "component" } else { &request.file },
        component: &request.component,
        envelope: &request.envelope,
        allow_downgrade: request.reason.as_deref().filter(|_| request.allow_downgrade),
    };
    let now = scribe.clock().now();
    let (_, installed) =
        registry.install(&installation, trust, now).map_err(|error| refuse(error.code(), chain(&error)))?;
    let standing = request.standing.unwrap_or_else(|| match predecessor {
        // The same bytes keep what they have earned or lost.
        Some(known) if known.digest == installed.digest => known.standing,
        Some(known) => lower(known.standing, initial),
        None => initial,
    });
    let leaf = event::PluginInstalled {
        name: installed.name.clone(),
        version: installed.version.clone(),
        release: installed.release,
        digest: installed.digest,
        signers: installed.signers.clone(),
        standing: standing.as_str().to_owned(),
    };
    let outside = payload::PluginInstalled { by: request.by.clone(), comment: request.reason.clone() };
    let event = scribe.event(None, None, Fact::PluginInstalled(leaf, Outside::Kept(outside)));
    let record = views::installed(&event)
        .ok_or_else(|| refuse("internal", "the installation has no record".to_owned()))?;
    let line = Line { event: std::sync::Arc::new(event), views: vec![views::plugin(&record)] };
    Ok((line, record, installed))
}

/// The lower of two places on the ladder. What is out of the ladder is below its lowest step.
fn lower(predecessor: Standing, initial: Standing) -> Standing {
    match (predecessor.autonomy(), initial.autonomy()) {
        (Some(before), Some(start)) if before >= start => initial,
        (Some(_), Some(_)) => predecessor,
        _ => Standing::Observe,
    }
}

/// The plugin's name in its manifest, before anything about it is verified: only to look up what the journal
/// says of its predecessor.
#[must_use]
pub fn claimed_name(request: &InstallRequest) -> Option<String> {
    crate::plugin::inspect(&request.file, &request.component, None).ok().map(|inspection| inspection.name)
}

/// Writes down that a plugin was refused.
async fn note_refusal(pipeline: &Pipeline, request: &InstallRequest, error: &InstallError) {
    let InstallError::Refused { code, message } = error else { return };
    let leaf = event::PluginRefused { code: (*code).to_owned() };
    let name = if request.file.is_empty() {
        Digest::of(&request.component).to_string()
    } else {
        request.file.clone()
    };
    let outside = payload::PluginRefused { name, message: message.clone() };
    let event = pipeline.scribe().event(None, None, Fact::PluginRefused(leaf, Outside::Kept(outside)));
    let line = Line { event: std::sync::Arc::new(event), views: Vec::new() };
    if let Err(error) = pipeline.scribe().submit(vec![line]).await {
        tracing::warn!(error = %error, "a refused plugin is not in the journal");
    }
}

/// Installs a plugin into a running daemon.
///
/// # Errors
/// When it is refused, or the journal does not take it.
pub async fn install(pipeline: &Pipeline, request: InstallRequest) -> Result<InstallReport, InstallError> {
    let initial = pipeline.rules().config.initial_standing;
    let scribe = pipeline.scribe();
    let predecessor = claimed_name(&request).and_then(|name| pipeline.plugins().record(&name));
    let stored = pipeline
        .plugins()
        .with_set(|set| store(&set.registry, &set.trust, scribe, initial, predecessor.as_ref(), &request));
    let (line, record, installed) = match stored {
        Ok(stored) => stored,
        Err(error) => {
            note_refusal(pipeline, &request, &error).await;
            return Err(error);
        }
    };
    let standing = record.standing.as_str();
    let (name, digest) = (record.name.clone(), record.digest);
    pipeline.plugin_installed(line, record).await?;
    // Compiled now, so that the first run does not wait for it.
    let plugins = pipeline.clone();
    let ready = tokio::task::spawn_blocking(move || plugins.plugins().exactly(&name, digest).map(drop));
    let problem = match ready.await {
        Ok(result) => result.err(),
        Err(error) => Some(Reason::new(staunch_core::decision::Code::Internal, error.to_string())),
    };
    Ok(InstallReport { installed, standing, problem })
}
