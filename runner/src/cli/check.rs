//! `check`: everything that `serve` reads, without serving.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ed25519_dalek::VerifyingKey;
use serde_json::json;
use staunch_core::id::Digest;
use staunch_core::limit::check_groups;
use staunch_core::policy::template::Input;
use staunch_core::policy::{Policies, Position, Problem};

use super::output::Output;
use super::{Done, Failure, local};
use crate::causes::chain;
use crate::clock::Clock;
use crate::config::{Config, read_policy_files};
use crate::intake::Source;
use crate::keys;
use crate::people::Tokens;
use crate::people::oidc::{Oidc, OidcSettings, check_address};
use crate::pipeline::retired::{installed_standings, out_of_service};
use crate::pipeline::scribe::Scribe;
use crate::pipeline::{Listing, Rules, impossible_gates, list_tokens};
use crate::plugin::manifest::InputSchema;
use crate::plugin::registry::{Opened, RegistryError};
use crate::plugin::{Registry, TrustPolicy, TrustedKey};
use crate::sandbox::{Grants, ProbeGrants, Root, read_roots};

/// All that a configuration leads to, checked and compiled.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) rules: Rules,
    pub(super) sources: BTreeMap<String, Arc<Source>>,
    pub(super) trust: TrustPolicy,
    pub(super) roots: Vec<Root>,
    pub(super) identity: Option<Arc<Oidc>>,
    pub(super) warnings: Vec<Problem>,
}

/// When the schemas of installed plugins' inputs are compiled. They were right when the plugins were installed, which a
/// later version of this program may see otherwise.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Schemas {
    /// Now.
    Now,
    /// With the first input.
    WhenNeeded,
}

/// Reads and checks everything that a start needs; all problems at once.
pub(super) fn load(path: &Path) -> Result<Checked, Vec<Problem>> {
    read(path, Schemas::WhenNeeded)
}

fn read(path: &Path, schemas: Schemas) -> Result<Checked, Vec<Problem>> {
    let config = Config::load(path).map_err(|problems| with_policies(path, problems))?;
    let mut problems = Vec::new();
    let mut warnings = config.warnings.clone();
    let mut note = |found: Vec<Problem>| {
        let (errors, rest): (Vec<_>, Vec<_>) = found.into_iter().partition(Problem::is_error);
        problems.extend(errors);
        warnings.extend(rest);
    };
    let sources = config.compile_sources().unwrap_or_else(|found| {
        note(found);
        BTreeMap::new()
    });
    let trust = trust(&config).unwrap_or_else(|found| {
        note(found);
        TrustPolicy { keys: Vec::new(), threshold: 1 }
    });
    let (roots, identity) = match roots(&config).and_then(|roots| Ok((identity(&config, &roots)?, roots))) {
        Ok((identity, roots)) => (roots, identity),
        Err(found) => {
            note(found);
            (Vec::new(), None)
        }
    };
    let (read, opened) = policies_and_plugins(&config, &trust);
    let (policies, digest) = match read {
        Ok((policies, digest)) => (Some(policies), digest),
        Err(found) => {
            note(found);
            (None, Digest::of(b""))
        }
    };
    if let Some(policies) = &policies {
        note(of_policies(policies));
        note(plugins(&config, policies, &opened, schemas));
        note(check_groups(policies.routing().runbooks(), &config.groups));
    }
    let people_keys = people_keys(&config).unwrap_or_else(|found| {
        note(found);
        BTreeMap::new()
    });
    let probes = ProbeGrants::compile(&config.probes).unwrap_or_else(|error| {
        note(vec![config.problem(Position::START, format!("probes: {error}"))]);
        ProbeGrants::default()
    });
    if let Err(error) = keys::load_private(&local::beside(&config, local::JOURNAL_KEY)) {
        note(vec![config.problem(Position::START, chain(&error))]);
    }
    let config_digest = Digest::of(&std::fs::read(&config.file).unwrap_or_default());
    match policies {
        Some(policies) if problems.is_empty() => {
            let stale_after =
                sources.iter().map(|(name, source)| (name.clone(), source.stale_after())).collect();
            let rules = Rules {
                stale_after,
                policies: Arc::new(policies),
                people_keys,
                probes,
                config_digest,
                policies_digest: digest,
                config,
            };
            let sources = sources.into_iter().map(|(name, source)| (name, Arc::new(source))).collect();
            Ok(Checked { rules, sources, trust, roots, identity, warnings })
        }
        _ => Err(in_order(problems, warnings)),
    }
}

/// Errors and warnings by their place, each once.
fn in_order(mut problems: Vec<Problem>, warnings: Vec<Problem>) -> Vec<Problem> {
    problems.extend(warnings);
    problems.sort();
    problems.dedup();
    problems
}

/// What policies that could be read are warned of, and which of their cases do not come as expected.
fn of_policies(policies: &Policies) -> Vec<Problem> {
    let cases = policies.run_cases().into_iter().filter_map(|result| result.problem);
    policies.warnings().iter().cloned().chain(cases).collect()
}

/// What is wrong with the policies beside a configuration that is wrong: one look finds both.
fn with_policies(path: &Path, mut problems: Vec<Problem>) -> Vec<Problem> {
    if let Some(folder) = Config::policies_beside(path) {
        match policies(&folder) {
            Ok((policies, _)) => problems.extend(of_policies(&policies)),
            Err(found) => problems.extend(found),
        }
    }
    problems.sort();
    problems.dedup();
    problems
}

pub(super) fn policies(folder: &Path) -> Result<(Policies, Digest), Vec<Problem>> {
    let files = read_policy_files(folder)?;
    let parts: Vec<&[u8]> =
        files.iter().flat_map(|(name, text)| [name.as_bytes(), text.as_bytes()]).collect();
    let digest = Digest::of_parts(&parts);
    Ok((Policies::load(&files)?, digest))
}

/// Who vouches for people beside the tokens.
fn identity(config: &Config, roots: &[Root]) -> Result<Option<Arc<Oidc>>, Vec<Problem>> {
    let Some(oidc) = &config.oidc else { return Ok(None) };
    let wrong = |message: String| vec![config.problem(oidc.at, format!("identity.oidc: {message}"))];
    check_address(&oidc.issuer).map_err(|message| wrong(format!("issuer: {message}")))?;
    let settings = OidcSettings {
        issuer: oidc.issuer.clone(),
        audience: oidc.audience.clone(),
        name_claim: oidc.name_claim.clone(),
        groups_claim: oidc.groups_claim.clone(),
        roles: oidc.roles.clone(),
    };
    Oidc::new(settings, roots).map(|oidc| Some(Arc::new(oidc))).map_err(wrong)
}

/// Who may vouch for https targets, beside the system's authorities.
fn roots(config: &Config) -> Result<Vec<Root>, Vec<Problem>> {
    let mut roots = Vec::new();
    let mut problems = Vec::new();
    for file in &config.tls_ca {
        match read_roots(file) {
            Ok(found) => roots.extend(found),
            Err(error) => {
                problems.push(config.problem(Position::START, format!("tls.ca: {}", chain(&error))))
            }
        }
    }
    if problems.is_empty() { Ok(roots) } else { Err(problems) }
}

/// The keys with which people sign their approvals.
fn people_keys(config: &Config) -> Result<BTreeMap<String, Vec<VerifyingKey>>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut people: BTreeMap<String, Vec<VerifyingKey>> = BTreeMap::new();
    for (name, files) in &config.people {
        for file in files {
            match keys::load_public(file) {
                Ok(key) => people.entry(name.clone()).or_default().push(key),
                Err(error) => {
                    let message = format!("people.{name}: {}", chain(&error));
                    problems.push(config.problem(Position::START, message));
                }
            }
        }
    }
    if problems.is_empty() { Ok(people) } else { Err(problems) }
}

/// Whose signatures count.
pub(super) fn trust(config: &Config) -> Result<TrustPolicy, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut trusted = Vec::new();
    for key in &config.trust.keys {
        match keys::load_public(&key.file) {
            Ok(public) => trusted.push(TrustedKey {
                key: public,
                prefixes: key.prefixes.clone(),
                not_after: key.expires,
                person: key.person.clone(),
            }),
            Err(error) => {
                problems.push(config.problem(Position::START, format!("trust.keys: {}", chain(&error))))
            }
        }
    }
    let threshold = usize::try_from(config.trust.threshold).unwrap_or(usize::MAX);
    if problems.is_empty() { Ok(TrustPolicy { keys: trusted, threshold }) } else { Err(problems) }
}

/// Reads the policies, while another thread opens and verifies the installed plugins.
fn policies_and_plugins(config: &Config, trust: &TrustPolicy) -> (PoliciesRead, PluginsOpened) {
    let registry = Registry::at(config.plugins.clone());
    let opening = match registry.opening(trust, Clock::machine().now()) {
        Ok(opening) => opening,
        Err(error) => return (policies(&config.policies), Err(error)),
    };
    let read = std::thread::scope(|scope| {
        scope.spawn(|| opening.go_on());
        let read = policies(&config.policies);
        opening.go_on();
        read
    });
    (read, Ok(opening.finish()))
}

type PoliciesRead = Result<(Policies, Digest), Vec<Problem>>;
type PluginsOpened = Result<Vec<(String, Opened)>, RegistryError>;

/// What is wrong with installed plugins, their grants, and runbooks that name others.
fn plugins(config: &Config, policies: &Policies, opened: &PluginsOpened, schemas: Schemas) -> Vec<Problem> {
    let opened = match opened {
        Ok(opened) => opened,
        Err(error) => return vec![config.problem(Position::START, format!("plugins: {}", chain(error)))],
    };
    let mut problems = Vec::new();
    let mut installed = BTreeSet::new();
    let mut without_undo = BTreeSet::new();
    for (name, opened) in opened {
        let name = name.as_str();
        installed.insert(name.to_owned());
        let place: PathBuf = config.plugins.join(name);
        match opened {
            // While the daemon runs, only its own runs are refused; at the start it is told like any other problem
            // (decision 0004).
            Err(error) => {
                problems.push(Problem::error(&place.display().to_string(), Position::START, chain(error)))
            }
            Ok(verified) => {
                let requested = &verified.manifest().capabilities;
                if let Some(grant) = config.grants.get(name)
                    && let Err(error) = Grants::compile(name, requested, &grant.as_map())
                {
                    problems.push(config.problem(grant.at, format!("grants.{name}: {error}")));
                }
                let input = &verified.manifest().input;
                if let (Schemas::Now, Some(wrong)) = (schemas, input.problem()) {
                    let place = place.display().to_string();
                    problems.push(Problem::error(&place, Position::START, format!("input schema: {wrong}")));
                }
                problems.extend(inputs(policies, name, input));
                if !verified.interface().exports_plugin("undo") {
                    without_undo.insert(name.to_owned());
                }
            }
        }
    }
    problems.extend(policies.missing_plugins(&installed));
    problems.extend(policies.missing_undo(&without_undo));
    problems
}

/// Inputs without templates that the installed plugin does not take: such a step would be refused whenever it runs.
fn inputs(policies: &Policies, plugin: &str, schema: &InputSchema) -> Vec<Problem> {
    let steps = policies.routing().runbooks().iter().flat_map(|runbook| {
        runbook.steps.iter().filter(|step| step.plugin == plugin).map(move |step| (runbook, step))
    });
    let refused = steps.filter_map(|(runbook, step)| {
        let Input::Literal(input) = &step.input else { return None };
        let error = schema.check(input).err()?;
        Some(Problem::error(&runbook.file, step.at, format!("step of plugin {plugin:?}: {error}")))
    });
    refused.collect()
}

/// Errors are the data; warnings go beside it and leave the exit code alone.
fn print(problems: &[Problem], output: &Output) {
    if output.is_json() {
        let items: Vec<_> = problems
            .iter()
            .map(|problem| {
                json!({
                    "file": problem.file, "line": problem.at.line, "column": problem.at.column,
                    "error": problem.is_error(), "message": problem.message,
                })
            })
            .collect();
        output.json(&json!(items));
        return;
    }
    for problem in problems {
        if problem.is_error() {
            output.data(&problem.to_string());
        } else {
            output.note(&problem.to_string());
        }
    }
}

/// What the journal has against the rules: gates, measured by the people who have access tokens, and steps whose plugin
/// is out of service. Only where no daemon has the data: it warns of the same itself, and both may change while it
/// runs.
async fn by_journal(rules: &Rules, trust: &TrustPolicy) -> Result<Vec<Problem>, Failure> {
    if !rules.config.data.join("journal.db").exists() {
        return Ok(Vec::new());
    }
    let Some(scribe) = local::scribe(&rules.config).await? else { return Ok(Vec::new()) };
    let found = told_by_journal(rules, trust, &scribe).await;
    scribe.journal().shutdown().await;
    found
}

async fn told_by_journal(
    rules: &Rules,
    trust: &TrustPolicy,
    scribe: &Scribe,
) -> Result<Vec<Problem>, Failure> {
    let tokens = Tokens::default();
    let mut after = None;
    loop {
        let listing = Listing { state: Some("good".to_owned()), after, limit: 500, ..Listing::default() };
        let listed = list_tokens(scribe.journal(), listing).await;
        let listed = listed.map_err(|error| Failure::Usage(chain(&error)))?;
        listed.items.into_iter().for_each(|record| tokens.put(record));
        after = listed.next;
        if after.is_none() {
            break;
        }
    }
    // Whom a provider may vouch for is not known here.
    let mut problems = match &rules.config.oidc {
        Some(_) => Vec::new(),
        None => impossible_gates(&rules.policies, tokens.everybody(scribe.clock().now())),
    };
    let registry = Registry::at(rules.config.plugins.clone());
    let now = scribe.clock().now();
    let said = |name: &str| registry.open(name, trust, now).ok()?.manifest().replaced_by.clone();
    let standings = installed_standings(scribe.journal()).await;
    let standings = standings.map_err(|error| Failure::Usage(chain(&error)))?;
    problems.extend(out_of_service(&rules.policies, &standings, &rules.config.replacements, said));
    Ok(problems)
}

pub(super) async fn run(path: &Path, output: &Output) -> Done {
    local::must_exist(path)?;
    let (problems, failed) = match read(path, Schemas::Now) {
        Ok(checked) => {
            let found = by_journal(&checked.rules, &checked.trust).await.unwrap_or_else(|failure| {
                output.note(&format!("gates and plugins are not measured by the journal: {failure}"));
                Vec::new()
            });
            let failed = found.iter().any(Problem::is_error);
            (found.into_iter().chain(checked.warnings).collect(), failed)
        }
        Err(problems) => (problems, true),
    };
    print(&problems, output);
    if failed {
        let errors = problems.iter().filter(|problem| problem.is_error()).count();
        return Err(Failure::Refused(format!(
            "{errors} {}",
            if errors == 1 { "problem" } else { "problems" }
        )));
    }
    output.note(&match problems.len() {
        0 => format!("{}: everything is in order", path.display()),
        1 => format!("{}: in order, with 1 warning", path.display()),
        count => format!("{}: in order, with {count} warnings", path.display()),
    });
    Ok(())
}
