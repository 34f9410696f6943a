//! The plugins that runs can use: verified, compiled, bound to their grants, and looked at again before each use.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use chrono::{DateTime, Utc};
use serde_json::Value;
use staunch_core::decision::{Code, Reason};
use staunch_core::id::Digest;
use staunch_core::policy::{PluginFacts, PluginKind, Standing};

use super::views::{self, PluginRecord};
use crate::causes::chain;
use crate::clock::Clock;
use crate::config::Grant;
use crate::plugin::{Compiler, Manifest, Registry, Signer, TrustPolicy, VerifiedPlugin};
use crate::sandbox::{Grants, Limits, Prepared, Sandbox};

mod files;

use files::{Files, Look};

/// What plugins are made ready from.
#[derive(Debug)]
pub struct PluginSet {
    /// Where they are installed.
    pub registry: Registry,
    /// Whose signatures count.
    pub trust: TrustPolicy,
    /// What makes native code of them.
    pub compiler: Compiler,
    /// What runs them.
    pub sandbox: Arc<Sandbox>,
    /// What each may do, by name.
    pub grants: BTreeMap<String, Grant>,
    /// The time, for expiry.
    pub clock: Clock,
}

/// A plugin that is ready to run.
pub struct Loaded {
    verified: VerifiedPlugin,
    prepared: Arc<Prepared>,
    grants: Arc<Grants>,
    limits: Limits,
    capabilities: BTreeSet<String>,
    files: Files,
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("name", &self.name())
            .field("digest", &self.digest())
            .finish_non_exhaustive()
    }
}

impl Loaded {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.verified.manifest().name
    }

    /// Its exact bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.verified.digest()
    }

    /// What was verified.
    #[must_use]
    pub fn verified(&self) -> &VerifiedPlugin {
        &self.verified
    }

    /// Key ids of the signatures that counted.
    #[must_use]
    pub fn signers(&self) -> &[String] {
        self.verified.signers()
    }

    pub(super) fn kind(&self) -> PluginKind {
        self.verified.manifest().kind
    }

    pub(super) fn prepared(&self) -> Arc<Prepared> {
        Arc::clone(&self.prepared)
    }

    pub(super) fn grants(&self) -> Arc<Grants> {
        Arc::clone(&self.grants)
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// Checks an input against the plugin's schema.
    ///
    /// # Errors
    /// The first violation, with its place.
    pub(super) fn check_input(&self, input: &Value) -> Result<(), Reason> {
        self.verified
            .manifest()
            .input
            .check(input)
            .map_err(|error| Reason::new(Code::Input, format!("input of {}: {error}", self.name())))
    }

    /// Whether the installed files are still the ones that were verified, and the release has not expired.
    fn good(&self, now: DateTime<Utc>, look: Look) -> bool {
        self.verified.manifest().expires.is_none_or(|expires| now < expires) && self.files.untouched(look)
    }
}

/// All plugins that runs can use.
#[derive(Debug)]
pub struct Plugins {
    set: RwLock<PluginSet>,
    table: RwLock<Table>,
}

#[derive(Debug, Default)]
struct Table {
    records: HashMap<String, PluginRecord>,
    /// Those that only one run from the shell uses, by name.
    lent: HashMap<String, PluginRecord>,
    /// By name and digest: runs are bound to the bytes that they were made with.
    loaded: HashMap<(String, Digest), Arc<Loaded>>,
}

impl Plugins {
    pub(super) fn new(set: PluginSet) -> Self {
        Self { set: RwLock::new(set), table: RwLock::default() }
    }

    /// Takes note of an installation that the journal holds.
    pub(super) fn installed(&self, record: PluginRecord) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        table.records.insert(record.name.clone(), record);
    }

    /// All installations that the journal holds, by name.
    #[must_use]
    pub fn records(&self) -> Vec<PluginRecord> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let mut records: Vec<PluginRecord> = table.records.values().cloned().collect();
        records.sort_by(|a, b| a.name.cmp(&b.name));
        records
    }

    /// Works with all installations, with nobody in between.
    pub(super) fn with_records<T>(&self, work: impl FnOnce(&mut HashMap<String, PluginRecord>) -> T) -> T {
        work(&mut self.table.write().unwrap_or_else(PoisonError::into_inner).records)
    }

    /// What the journal says about one plugin.
    #[must_use]
    pub fn record(&self, name: &str) -> Option<PluginRecord> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).records.get(name).cloned()
    }

    /// Puts other grants and trust in force; everything is verified and bound anew at its next use.
    pub fn reload(&self, change: impl FnOnce(&mut PluginSet)) {
        change(&mut self.set.write().unwrap_or_else(PoisonError::into_inner));
        self.table.write().unwrap_or_else(PoisonError::into_inner).loaded.clear();
    }

    /// Works with the set that plugins are made ready from.
    pub fn with_set<T>(&self, work: impl FnOnce(&PluginSet) -> T) -> T {
        work(&self.set.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Who holds the keys with these ids, by the trust that is in force now.
    #[must_use]
    pub fn holders(&self, key_ids: &[String]) -> Vec<Signer> {
        self.with_set(|set| set.trust.holders(key_ids))
    }

    /// The version of a plugin that new runs use.
    ///
    /// # Errors
    /// When it is not installed, or does not satisfy the trust policy any more.
    pub fn current(&self, name: &str) -> Result<Arc<Loaded>, Reason> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let digest = table.records.get(name).map(|record| record.digest);
        drop(table);
        let digest = digest.ok_or_else(|| {
            Reason::new(
                Code::PluginUnknown,
                format!("plugin {name} is not installed: `staunch plugin install FILE`"),
            )
        })?;
        self.anew(name, digest)
    }

    /// A plugin with exactly these bytes, for a run that begins. The files are looked at: when anybody touched them
    /// since they were verified, they are verified again.
    ///
    /// # Errors
    /// When its files are missing, changed, or no longer trusted.
    pub(super) fn anew(&self, name: &str, digest: Digest) -> Result<Arc<Loaded>, Reason> {
        self.find(name, digest, Look::Now)
    }

    /// As [`Plugins::anew`], for a run on its way: the look with which it began, or that of another run, holds for a
    /// moment ([`Glance`]).
    ///
    /// # Errors
    /// As [`Plugins::anew`].
    pub fn exactly(&self, name: &str, digest: Digest) -> Result<Arc<Loaded>, Reason> {
        self.find(name, digest, Look::Lately)
    }

    fn find(&self, name: &str, digest: Digest, look: Look) -> Result<Arc<Loaded>, Reason> {
        let key = (name.to_owned(), digest);
        let known = self.table.read().unwrap_or_else(PoisonError::into_inner).loaded.get(&key).cloned();
        if let Some(loaded) = known.filter(|loaded| loaded.good(self.with_set(|set| set.clock.now()), look)) {
            return Ok(loaded);
        }
        let fresh = self.with_set(|set| load(set, name, digest));
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        match fresh {
            Ok(loaded) => {
                let loaded = Arc::new(loaded);
                table.loaded.insert(key, Arc::clone(&loaded));
                Ok(loaded)
            }
            Err(reason) => {
                table.loaded.remove(&key);
                tracing::error!(plugin.name = name, reason = %reason, "plugin {name} is refused");
                Err(reason)
            }
        }
    }

    /// Makes a verified plugin usable that is not installed: for one run from the shell. An installed version of
    /// the same bytes stays as it is.
    ///
    /// # Errors
    /// When it cannot be compiled or its grants are wrong.
    pub(super) fn lend(
        &self,
        verified: VerifiedPlugin,
        initial: Standing,
        now: chrono::DateTime<chrono::Utc>,
    ) -> Result<(), Reason> {
        let (name, digest) = (verified.manifest().name.clone(), verified.digest());
        if self.record(&name).is_some_and(|record| record.digest == digest) {
            return Ok(());
        }
        let record = PluginRecord {
            version: verified.manifest().version.to_string(),
            release: verified.manifest().release,
            signers: verified.signers().to_vec(),
            standing: initial,
            record: views::first_record(initial, now, &name, digest, None),
            installed_at: now,
            name: name.clone(),
            digest,
        };
        let loaded = Arc::new(self.with_set(|set| bind(set, verified, Files::default()))?);
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        table.loaded.insert((name.clone(), digest), loaded);
        table.lent.insert(name, record);
        Ok(())
    }

    /// What decisions know about a plugin.
    #[must_use]
    pub fn facts(&self, plugin: &Loaded) -> PluginFacts {
        let manifest = plugin.verified.manifest();
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        // Standing belongs to the exact bytes: an older version that a run is still bound to has lost its own.
        let known = [table.records.get(&manifest.name), table.lent.get(&manifest.name)];
        let standing = known
            .into_iter()
            .flatten()
            .find(|record| record.digest == plugin.digest())
            .map(|record| record.record.in_force());
        drop(table);
        PluginFacts {
            name: manifest.name.clone(),
            version: manifest.version.to_string(),
            kind: plugin.kind(),
            effects: manifest.effects,
            // Absence denies: what nothing is known of may plan and no more.
            standing: standing.unwrap_or(Standing::Observe),
            capabilities: plugin.capabilities.clone(),
        }
    }

    /// Those of the named plugins that do not run, with their standing and what replaces them. `replacements`: what
    /// operators say of that; else the manifest may.
    pub(super) fn out_of_service<'a>(
        &self,
        names: impl Iterator<Item = &'a str>,
        replacements: &BTreeMap<String, String>,
    ) -> Vec<(String, String)> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        names
            .filter_map(|name| {
                let record = table.records.get(name)?;
                let standing = record.record.in_force();
                if standing.autonomy().is_some() {
                    return None;
                }
                let loaded = table.loaded.get(&(name.to_owned(), record.digest));
                let said = loaded.and_then(|loaded| loaded.verified.manifest().replaced_by.as_deref());
                let successor = replacements.get(name).map(String::as_str).or(said);
                let standing = standing.as_str();
                let words = successor.map_or_else(
                    || standing.to_owned(),
                    |successor| format!("{standing}, replaced by {successor},"),
                );
                Some((name.to_owned(), words))
            })
            .collect()
    }
}

/// Verifies, compiles and binds one plugin.
fn load(set: &PluginSet, name: &str, digest: Digest) -> Result<Loaded, Reason> {
    let refused = |error: &dyn std::error::Error| Reason::new(Code::Signature, chain(error));
    // The stamps are taken first: a change between them and the reading is seen at the next use.
    let files = set.registry.files(name, digest).map_err(|error| refused(&error))?;
    let files = Files::stamped(files).map_err(|error| {
        Reason::new(Code::PluginChanged, format!("a file of plugin {name} cannot be read: {error}"))
    })?;
    let now = set.clock.now();
    let verified =
        set.registry.open_digest(name, digest, &set.trust, now).map_err(|error| refused(&error))?;
    bind(set, verified, files)
}

fn bind(set: &PluginSet, verified: VerifiedPlugin, files: Files) -> Result<Loaded, Reason> {
    let failed = |error: &dyn std::error::Error| Reason::new(Code::Internal, chain(error));
    let component = set.compiler.load(set.sandbox.engine(), &verified).map_err(|error| failed(&error))?;
    let manifest = verified.manifest();
    let limits = limits_of(manifest);
    let prepared = set.sandbox.prepare(verified.digest(), &component).map_err(|error| failed(&error))?;
    // Without a grant nothing is granted.
    let granted = set.grants.get(&manifest.name).map(Grant::as_map).unwrap_or_default();
    let grants = Grants::compile(&manifest.name, &manifest.capabilities, &granted)
        .map_err(|error| Reason::new(Code::Grant, format!("grants.{}: {error}", manifest.name)))?
        .sent_once(&manifest.once);
    let capabilities =
        manifest.capabilities.keys().filter(|name| granted.contains_key(*name)).cloned().collect();
    Ok(Loaded { prepared, grants: Arc::new(grants), limits, capabilities, files, verified })
}

/// What one execution may use, as the manifest says.
fn limits_of(manifest: &Manifest) -> Limits {
    let limits = &manifest.limits;
    Limits { fuel: limits.fuel, memory: limits.memory, deadline: limits.deadline }
}
