//! Turns the tree of `staunch.yaml` into a [`Config`], noting every problem on the way.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use staunch_core::breaker;
use staunch_core::drill::MOST_TARGETS;
use staunch_core::limit::{self, Group, Members};
use staunch_core::policy::people::is_person_name;
use staunch_core::policy::problem::Problem;
use staunch_core::policy::reader::{Fields, Reader, is_name, not_a_name};
use staunch_core::policy::yaml::{self, Node, Tree};
use staunch_core::standing;

use super::files::read_members;
use super::resolve::{Environment, Resolver};
use super::servers;
use super::{Config, Grant, Grants, Host, Hosts, OidcConfig, Public, RawSource, Trust, TrustedKey};

const KEYS: [&str; 24] = [
    "listen",
    "store",
    "data",
    "policies",
    "plugins",
    "trust",
    "standing",
    "hosts",
    "sources",
    "grants",
    "probes",
    "secrets",
    "tls",
    "log",
    "queue",
    "workers",
    "public",
    "limits",
    "groups",
    "breaker",
    "people",
    "drill",
    "identity",
    "replacements",
];
const LATER: [&str; 3] = ["connectors", "routes", "retention"];

/// Shorter ones could not be scrubbed from answers without hitting ordinary text.
const SHORTEST_SECRET: usize = 8;

const OIDC_KEYS: [&str; 5] = ["issuer", "audience", "name_claim", "groups_claim", "roles"];

const DEFAULT_POLICIES: &str = "policies";
const DEFAULT_PORT: u16 = 7878;
const DEFAULT_QUEUE: i64 = 10_000;
const DEFAULT_WORKERS: i64 = 64;

/// The most keys of one person.
const MOST_KEYS: usize = 16;

/// The most patterns of one function, so that authorising a call is bounded.
const MOST_PATTERNS: usize = 1_000;

pub(super) fn read(
    path: &Path,
    name: &str,
    text: &str,
    environment: &Environment,
) -> Result<Config, Vec<Problem>> {
    let root = yaml::parse(name, text).map_err(|problem| vec![problem])?;
    let folder = path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
    let mut reading = Reading { reader: Reader::new(name), resolver: Resolver { folder, environment } };
    let mut config = reading.config(path, &root);
    let failed = reading.reader.failed();
    let mut problems = reading.reader.finish();
    problems.sort();
    if failed {
        return Err(problems);
    }
    config.warnings = problems;
    Ok(config)
}

/// The folder of the policies, whatever else is wrong with the file.
pub(super) fn policies_folder(path: &Path, text: &str) -> Option<PathBuf> {
    let root = yaml::parse("", text).ok()?;
    let mut reader = Reader::new("");
    let named = reader.entries(&root, "").get("policies").map(|node| &node.tree);
    let folder = path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
    match named {
        Some(Tree::Text(text)) => Some(folder.join(text)),
        Some(_) => None,
        None => Some(folder.join(DEFAULT_POLICIES)),
    }
}

struct Reading<'a> {
    reader: Reader<'a>,
    resolver: Resolver<'a>,
}

impl Reading<'_> {
    fn config(&mut self, path: &Path, root: &Node) -> Config {
        let fields = self.reader.fields_of_version(root, "the configuration", &KEYS, &LATER);
        self.store(fields);
        let standing = fields.get("standing").map(|node| standing::read(&mut self.reader, node));
        let standing = standing.unwrap_or_default();
        Config {
            file: path.to_owned(),
            listen: self.listen(fields),
            data: self.path(fields, "data", "data"),
            policies: self.path(fields, "policies", DEFAULT_POLICIES),
            plugins: self.path(fields, "plugins", "plugins"),
            trust: self.trust(fields),
            initial_standing: standing.initial,
            replacements: self.replacements(fields),
            standing,
            people: self.people(fields),
            oidc: self.oidc(fields),
            hosts: self.hosts(fields),
            sources: self.sources(fields),
            grants: self.grants(fields),
            probes: fields
                .get("probes")
                .map(|node| self.capabilities(node, "probes", &[]))
                .unwrap_or_default(),
            secrets: self.secrets(fields),
            tls_ca: self.tls_ca(fields),
            log_origin: self.log_origin(fields),
            breaker: fields
                .get("breaker")
                .map(|node| breaker::read(&mut self.reader, node))
                .unwrap_or_default(),
            limits: fields
                .get("limits")
                .map(|node| limit::global(&mut self.reader, node))
                .unwrap_or_default(),
            drill_targets: self.drill_targets(fields),
            groups: self.groups(fields),
            queue: self.number(fields, "queue", DEFAULT_QUEUE, 1, 1_000_000),
            workers: self.number(fields, "workers", DEFAULT_WORKERS, 1, 1_024),
            public: self.public(fields),
            warnings: Vec::new(),
        }
    }

    fn replacements(&mut self, fields: Fields<'_>) -> BTreeMap<String, String> {
        let Some(node) = fields.get("replacements") else { return BTreeMap::new() };
        let mut replacements = BTreeMap::new();
        for entry in self.reader.entries(node, "replacements").entries() {
            let what = format!("replacements.{}", entry.key);
            let Some(successor) = self.reader.text(&entry.node, &what) else { continue };
            if !is_name(successor) || successor == entry.key {
                let message = format!("{what} must be the name of another plugin, but is {successor:?}");
                self.reader.error(entry.node.at, message);
                continue;
            }
            replacements.insert(entry.key.clone(), successor.to_owned());
        }
        replacements
    }

    fn store(&mut self, fields: Fields<'_>) {
        let Some(node) = fields.get("store") else { return };
        match self.reader.text(node, "store") {
            None | Some("embedded") => {}
            Some(text) if text.starts_with("postgres") => {
                self.reader.error(node.at, "a \"store\" in PostgreSQL is not available in this version");
            }
            Some(_) => self.reader.error(node.at, "store can only be \"embedded\" in this version"),
        }
    }

    fn listen(&mut self, fields: Fields<'_>) -> SocketAddr {
        let default = SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT));
        let Some(node) = fields.get("listen") else { return default };
        let Some(text) = self.reader.text(node, "listen") else { return default };
        let text = text.replacen("localhost:", "127.0.0.1:", 1);
        let address = text.parse::<SocketAddr>();
        if address.is_err() {
            let message = format!("listen must be an address and port as in 127.0.0.1:7878, but is {text:?}");
            self.reader.error(node.at, message);
        }
        address.unwrap_or(default)
    }

    fn path(&mut self, fields: Fields<'_>, key: &str, default: &str) -> PathBuf {
        let text = fields.get(key).and_then(|node| self.reader.text(node, key));
        self.resolver.path(text.unwrap_or(default))
    }

    fn number(&mut self, fields: Fields<'_>, key: &str, default: i64, least: i64, most: i64) -> usize {
        let given = fields.get(key).and_then(|node| self.reader.integer(node, key, least, most));
        usize::try_from(given.unwrap_or(default)).unwrap_or_default()
    }

    fn trust(&mut self, fields: Fields<'_>) -> Trust {
        let Some(node) = fields.get("trust") else { return Trust { keys: Vec::new(), threshold: 1 } };
        let fields = self.reader.fields(node, "trust", &["keys", "threshold"]);
        let items = fields.get("keys").and_then(|node| self.reader.list(node, "trust.keys"));
        let keys: Vec<TrustedKey> =
            items.unwrap_or_default().iter().filter_map(|item| self.trusted_key(item)).collect();
        let threshold =
            fields.get("threshold").and_then(|node| self.reader.integer(node, "trust.threshold", 1, 16));
        let threshold = threshold.and_then(|number| u32::try_from(number).ok()).unwrap_or(1);
        if let Some(items) = items.filter(|items| items.len() < threshold as usize) {
            let message =
                format!("trust.threshold is {threshold}, more than the keys there are: {}", items.len());
            self.reader.error(node.at, message);
        }
        Trust { keys, threshold }
    }

    fn trusted_key(&mut self, node: &Node) -> Option<TrustedKey> {
        if matches!(node.tree, Tree::Text(_)) {
            let file = self.key_file(node)?;
            return Some(TrustedKey { file, prefixes: Vec::new(), expires: None, person: None });
        }
        let what = "each of trust.keys";
        let fields = self.reader.fields(node, what, &["file", "prefixes", "expires", "person"]);
        let file = self.reader.required(fields, "file", what).and_then(|node| self.key_file(node));
        let prefixes = fields.get("prefixes").and_then(|node| self.reader.texts(node, "prefixes"));
        let expires = fields.get("expires").and_then(|node| self.time(node, "expires"));
        let person = fields.get("person").and_then(|node| self.person(node));
        Some(TrustedKey { file: file?, prefixes: prefixes.unwrap_or_default(), expires, person })
    }

    /// The name of a person, as an access token could have it: any other name would never bite.
    fn person(&mut self, node: &Node) -> Option<String> {
        let name = self.reader.text(node, "person")?;
        if !is_person_name(name) {
            self.reader
                .error(node.at, format!("person must be the name of a token, but {name:?} cannot be one"));
        }
        Some(name.to_owned())
    }

    fn key_file(&mut self, node: &Node) -> Option<PathBuf> {
        let path = self.resolver.path(self.reader.text(node, "a trusted key")?);
        if !path.is_file() {
            self.reader.error(node.at, format!("the public key {} is not there", path.display()));
            return None;
        }
        Some(path)
    }

    /// The files of the keys with which people sign their approvals.
    fn people(&mut self, fields: Fields<'_>) -> BTreeMap<String, Vec<PathBuf>> {
        let Some(node) = fields.get("people") else { return BTreeMap::new() };
        let mut people = BTreeMap::new();
        for entry in self.reader.entries(node, "people").entries() {
            if !is_person_name(&entry.key) {
                let message = format!("people must be names of tokens, but {:?} cannot be one", entry.key);
                self.reader.error(entry.at, message);
                continue;
            }
            let what = format!("people.{}", entry.key);
            let fields = self.reader.fields(&entry.node, &what, &["keys"]);
            let items = self.reader.required(fields, "keys", &what);
            let items = items.and_then(|node| self.reader.list(node, &format!("{what}.keys")));
            let items = items.unwrap_or_default();
            if items.len() > MOST_KEYS {
                self.reader.error(entry.at, format!("{what}.keys may have at most {MOST_KEYS} entries"));
            }
            let keys = items.iter().filter_map(|item| self.key_file(item)).collect();
            people.insert(entry.key.clone(), keys);
        }
        people
    }

    /// `identity: { oidc: { issuer, audience, name_claim, groups_claim, roles: { GROUP: [ROLE] } } }`.
    fn oidc(&mut self, fields: Fields<'_>) -> Option<OidcConfig> {
        let fields = self.reader.fields(fields.get("identity")?, "identity", &["oidc"]);
        let node = self.reader.required(fields, "oidc", "identity")?;
        let what = "identity.oidc";
        let fields = self.reader.fields(node, what, &OIDC_KEYS);
        let mut needed = |key: &str| {
            let node = self.reader.required(fields, key, what)?;
            self.reader.text(node, &format!("{what}.{key}")).map(str::to_owned)
        };
        let (issuer, audience) = (needed("issuer"), needed("audience"));
        let mut claim = |key: &str, default: &str| {
            let given = fields.get(key).and_then(|node| self.reader.text(node, &format!("{what}.{key}")));
            given.unwrap_or(default).to_owned()
        };
        let (name_claim, groups_claim) = (claim("name_claim", "sub"), claim("groups_claim", "groups"));
        let mut roles = BTreeMap::new();
        if let Some(node) = fields.get("roles") {
            for entry in self.reader.entries(node, "identity.oidc.roles").entries() {
                let given = self.reader.texts(&entry.node, &format!("{what}.roles.{}", entry.key));
                roles.insert(entry.key.clone(), given.unwrap_or_default());
            }
        }
        if roles.is_empty() {
            self.reader.warning(
                node.at,
                "identity.oidc gives no group a role, so nobody from there may do anything",
            );
        }
        Some(OidcConfig {
            issuer: issuer?,
            audience: audience?,
            name_claim,
            groups_claim,
            roles,
            at: node.at,
        })
    }

    fn time(&mut self, node: &Node, what: &str) -> Option<DateTime<Utc>> {
        let text = self.reader.text(node, what)?;
        let whole = DateTime::parse_from_rfc3339(text)
            .or_else(|_| DateTime::parse_from_rfc3339(&format!("{text}T00:00:00Z")));
        if whole.is_err() {
            let message = format!("{what} must be a time as in 2027-01-31T00:00:00Z, but is {text:?}");
            self.reader.error(node.at, message);
        }
        whole.ok().map(|time| time.with_timezone(&Utc))
    }

    fn hosts(&mut self, fields: Fields<'_>) -> Hosts {
        let Some(node) = fields.get("hosts") else { return Hosts::default() };
        let mut hosts = Vec::new();
        for entry in self.reader.entries(node, "hosts").entries() {
            if entry.key != "local" {
                let message =
                    format!("host {:?} is not available in this version; the only host is local", entry.key);
                self.reader.error(entry.at, message);
                continue;
            }
            let fields = self.reader.fields(&entry.node, "hosts.local", &["names"]);
            let names = fields.get("names").and_then(|node| self.reader.texts(node, "hosts.local.names"));
            hosts.push(Host { key: entry.key.clone(), names: names.unwrap_or_default() });
        }
        Hosts { hosts }
    }

    /// `drill: { targets: [NAME, ...] }`.
    fn drill_targets(&mut self, fields: Fields<'_>) -> Vec<String> {
        let Some(node) = fields.get("drill") else { return Vec::new() };
        let fields = self.reader.fields(node, "drill", &["targets"]);
        let Some(node) = self.reader.required(fields, "targets", "drill") else { return Vec::new() };
        let names = self.reader.texts(node, "drill.targets").unwrap_or_default();
        if names.len() > MOST_TARGETS {
            self.reader.error(node.at, format!("drill.targets has more than {MOST_TARGETS} names"));
        }
        names
    }

    /// The entries of a mapping from the operator's names.
    fn named<'n>(&mut self, fields: Fields<'n>, key: &str) -> Vec<&'n yaml::Entry> {
        let Some(node) = fields.get(key) else { return Vec::new() };
        let mut named = Vec::new();
        for entry in self.reader.entries(node, key).entries() {
            if is_name(&entry.key) {
                named.push(entry);
            } else {
                self.reader.error(entry.at, not_a_name(&format!("a key of {key}"), &entry.key));
            }
        }
        named
    }

    fn sources(&mut self, fields: Fields<'_>) -> BTreeMap<String, RawSource> {
        let mut sources = BTreeMap::new();
        for entry in self.named(fields, "sources") {
            let what = format!("sources.{}", entry.key);
            if !matches!(entry.node.tree, Tree::Map(_)) {
                self.reader
                    .error(entry.node.at, format!("{what} must be a mapping with at least \"format\""));
            } else if let Some(value) = self.resolver.json(&mut self.reader, &entry.node, &what) {
                sources.insert(entry.key.clone(), RawSource { value, at: entry.at });
            }
        }
        sources
    }

    fn grants(&mut self, fields: Fields<'_>) -> BTreeMap<String, Grant> {
        let mut grants = BTreeMap::new();
        for entry in self.named(fields, "grants") {
            let what = format!("grants.{}", entry.key);
            let capabilities = self.capabilities(&entry.node, &what, &["secrets"]);
            let own = self.reader.entries(&entry.node, &what);
            let secrets = own.get("secrets").map(|node| self.patterns(node, &format!("{what}.secrets")));
            let grant = Grant { capabilities, secrets: secrets.unwrap_or_default(), at: entry.at };
            grants.insert(entry.key.clone(), grant);
        }
        for (plugin, grant) in &grants {
            self.known_secrets(fields, plugin, grant);
        }
        grants
    }

    /// A grant of a secret that does not exist is a slip that would show only when the plugin needs it.
    fn known_secrets(&mut self, fields: Fields<'_>, plugin: &str, grant: &Grant) {
        let known: Vec<&str> = match fields.get("secrets").map(|node| &node.tree) {
            Some(Tree::Map(entries)) => entries.iter().map(|entry| entry.key.as_str()).collect(),
            _ => Vec::new(),
        };
        for name in grant.secrets.keys().filter(|name| !known.contains(&name.as_str())) {
            let message = format!(
                "grants.{plugin}.secrets names {name:?}, which is no secret; there are: {}",
                if known.is_empty() { "none".to_owned() } else { known.join(", ") }
            );
            self.reader.error(grant.at, message);
        }
    }

    fn capabilities(&mut self, node: &Node, what: &str, except: &[&str]) -> Grants {
        let mut capabilities = Grants::new();
        for entry in self.reader.entries(node, what).entries() {
            if !except.contains(&entry.key.as_str()) {
                let patterns = self.patterns(&entry.node, &format!("{what}.{}", entry.key));
                capabilities.insert(entry.key.clone(), patterns);
            }
        }
        capabilities
    }

    fn patterns(&mut self, node: &Node, what: &str) -> BTreeMap<String, Vec<String>> {
        let mut patterns = BTreeMap::new();
        for entry in self.reader.entries(node, what).entries() {
            let what = format!("{what}.{}", entry.key);
            let texts = self.reader.texts(&entry.node, &what).unwrap_or_default();
            if texts.len() > MOST_PATTERNS {
                self.reader.error(entry.at, format!("{what} has more than {MOST_PATTERNS} patterns"));
            }
            patterns.insert(entry.key.clone(), texts);
        }
        patterns
    }

    fn groups(&mut self, fields: Fields<'_>) -> BTreeMap<String, Group> {
        let Some(node) = fields.get("groups") else { return BTreeMap::new() };
        let mut groups = limit::groups(&mut self.reader, node);
        for group in groups.values_mut() {
            match &mut group.members {
                Members::List(_) => {}
                Members::File(path) => {
                    let resolved = self.resolver.path(path);
                    if let Err(why) = read_members(&resolved).and_then(|text| Members::of_text(&text)) {
                        let message = format!("groups.{}.members: {} {why}", group.name, resolved.display());
                        self.reader.error(group.at, message);
                    }
                    *path = resolved.display().to_string();
                }
                Members::Prometheus(query) => {
                    if let Err(why) = servers::check(query, &self.resolver) {
                        let what = format!("groups.{}.members.prometheus", group.name);
                        self.reader.error(group.at, format!("{what}.{why}"));
                    }
                }
            }
        }
        groups
    }

    fn secrets(&mut self, fields: Fields<'_>) -> BTreeMap<String, SecretString> {
        let mut secrets = BTreeMap::new();
        for entry in self.named(fields, "secrets") {
            let what = format!("secrets.{}", entry.key);
            let Some(value) = self.resolver.text(&mut self.reader, &entry.node, &what) else { continue };
            if value.len() < SHORTEST_SECRET {
                let message = format!(
                    "{what} is shorter than {SHORTEST_SECRET} bytes and could not be kept out of logs"
                );
                self.reader.error(entry.node.at, message);
                continue;
            }
            secrets.insert(entry.key.clone(), SecretString::from(value));
        }
        secrets
    }

    /// `tls: { ca: FILE }`, or a list of files.
    fn tls_ca(&mut self, fields: Fields<'_>) -> Vec<PathBuf> {
        let Some(node) = fields.get("tls") else { return Vec::new() };
        let fields = self.reader.fields(node, "tls", &["ca"]);
        let Some(node) = fields.get("ca") else { return Vec::new() };
        let texts = match &node.tree {
            Tree::Text(text) => vec![text.clone()],
            _ => self.reader.texts(node, "tls.ca").unwrap_or_default(),
        };
        let files: Vec<PathBuf> = texts.iter().map(|text| self.resolver.path(text)).collect();
        for file in files.iter().filter(|file| !file.is_file()) {
            self.reader.error(node.at, format!("tls.ca: the file {} is not there", file.display()));
        }
        files
    }

    fn log_origin(&mut self, fields: Fields<'_>) -> Option<String> {
        let fields = self.reader.fields(fields.get("log")?, "log", &["origin"]);
        let node = fields.get("origin")?;
        let origin = self.reader.text(node, "log.origin")?;
        if origin.len() > 255 || origin.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+') {
            let message =
                "log.origin must have no spaces and no plus, and at most 255 bytes: host.example/journal";
            self.reader.error(node.at, message);
        }
        Some(origin.to_owned())
    }

    fn public(&mut self, fields: Fields<'_>) -> Public {
        let mut public = Public::default();
        let items = fields.get("public").and_then(|node| self.reader.list(node, "public"));
        for item in items.unwrap_or_default() {
            match self.reader.word(item, "each of public", &[("metrics", true), ("log", false)]) {
                Some(true) => public.metrics = true,
                Some(false) => public.log = true,
                None => {}
            }
        }
        public
    }
}
