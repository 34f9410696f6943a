//! What a plugin may do: the intersection of what its manifest requests and what the operator grants.
//!
//! Patterns are compiled once, at load, where a wrong one is an error that names the valid choices. A call is
//! allowed when a requested *and* a granted pattern match it. Clauses (private networks, `idempotent`, digests,
//! secrets) count only in the operator's patterns.

mod argv;
mod glob;
mod http;
mod secret;

pub(super) use self::argv::ArgvLeave;
pub(super) use self::glob::Glob;
pub(super) use self::http::HttpLeave;
pub(super) use self::secret::{Slot, secret_names};

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use staunch_core::effect::{CallError, Repeat};
use url::Url;

use self::argv::ArgvPattern;
use self::http::HttpPattern;
use self::secret::SecretBinding;
use super::cap::http::refuse_hidden;
use super::capability::{self, CAPABILITIES};

/// Capability, function, patterns: the shape of a manifest's `[capabilities]` and of an operator's grant.
pub type PatternMap = BTreeMap<String, BTreeMap<String, Vec<String>>>;

/// The name under which a grant binds secrets.
const SECRETS: &str = "secrets";

/// A request or grant that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// No such capability.
    #[error("no capability is called `{name}`; there are {}, and `secrets` in grants", capability_names())]
    UnknownCapability {
        /// What was written.
        name: String,
    },
    /// No such function.
    #[error("`{capability}` has no function `{name}`; it has {}", function_names(capability))]
    UnknownFunction {
        /// The capability.
        capability: String,
        /// What was written.
        name: String,
    },
    /// A pattern that says nothing.
    #[error(
        "{capability}.{function}: {pattern:?} is no pattern: {problem}; a pattern is {}",
        pattern_form(capability)
    )]
    BadPattern {
        /// The capability.
        capability: String,
        /// The function.
        function: String,
        /// What was written.
        pattern: String,
        /// What is wrong.
        problem: String,
    },
    /// A secret's binding that says nothing.
    #[error(
        "secrets.{name}: {binding:?} is no binding: {problem}; a binding is `header NAME @ https://HOST` or `body @ https://HOST`"
    )]
    BadBinding {
        /// The secret.
        name: String,
        /// What was written.
        binding: String,
        /// What is wrong.
        problem: String,
    },
}

fn capability_names() -> String {
    let names: Vec<_> = CAPABILITIES.iter().map(|capability| format!("`{}`", capability.name)).collect();
    names.join(", ")
}

fn function_names(name: &str) -> String {
    let Some(capability) = capability::find(name) else { return String::new() };
    let names: Vec<_> = capability.functions.iter().map(|function| format!("`{}`", function.name)).collect();
    names.join(", ")
}

fn pattern_form(name: &str) -> &'static str {
    capability::find(name)
        .and_then(|capability| capability.pattern)
        .unwrap_or("`*`: the capability needs no grant")
}

/// Patterns of one kind, by function.
struct Rules<P> {
    requested: BTreeMap<&'static str, Vec<P>>,
    granted: BTreeMap<&'static str, Vec<P>>,
}

impl<P> Default for Rules<P> {
    fn default() -> Self {
        Self { requested: BTreeMap::new(), granted: BTreeMap::new() }
    }
}

impl<P> Rules<P> {
    fn side(&mut self, side: Side) -> &mut BTreeMap<&'static str, Vec<P>> {
        match side {
            Side::Request => &mut self.requested,
            Side::Grant => &mut self.granted,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Request,
    Grant,
}

/// The compiled, effective grants of one plugin.
#[derive(Default)]
pub struct Grants {
    plugin: String,
    http: Rules<HttpPattern>,
    file: Rules<Glob>,
    process: Rules<ArgvPattern>,
    service: Rules<Glob>,
    secrets: BTreeMap<String, Vec<SecretBinding>>,
    /// Effects that are sent at most once, although they could be repeated.
    once: Vec<&'static capability::Function>,
    /// Only a scripted world is in reach: no value is filled in, so that every secret may stand anywhere.
    scripted: bool,
}

impl fmt::Debug for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grants").field("plugin", &self.plugin).finish_non_exhaustive()
    }
}

impl Grants {
    /// Compiles what `plugin` requests and what it is granted.
    ///
    /// # Errors
    /// At the first unknown name or wrong pattern.
    pub fn compile(plugin: &str, requested: &PatternMap, granted: &PatternMap) -> Result<Self, GrantError> {
        let mut grants = Self { plugin: plugin.to_owned(), ..Self::default() };
        grants.add(Side::Request, requested)?;
        grants.add(Side::Grant, granted)?;
        Ok(grants)
    }

    /// Grants that nobody requests: the operator's own, for probes. `owner` is named in refusals.
    ///
    /// # Errors
    /// At the first unknown name or wrong pattern.
    pub fn own(owner: &str, granted: &PatternMap) -> Result<Self, GrantError> {
        Self::compile(owner, granted, granted)
    }

    /// For a scripted world: all that `plugin` requests is granted, and any secret may be named.
    ///
    /// # Errors
    /// At the first unknown name or wrong pattern.
    pub fn rehearsal(plugin: &str, requested: &PatternMap) -> Result<Self, GrantError> {
        let mut grants = Self { plugin: plugin.to_owned(), scripted: true, ..Self::default() };
        grants.add(Side::Request, requested)?;
        grants.add(Side::Grant, requested)?;
        Ok(grants)
    }

    /// The same grants, with these functions (by capability) sent at most once: a manifest may tighten what may be
    /// done about an effect in doubt, and never loosen it.
    #[must_use]
    pub fn sent_once(mut self, functions: &BTreeMap<String, BTreeSet<String>>) -> Self {
        for (name, functions) in functions {
            let known = capability::find(name).map(|capability| capability.functions).unwrap_or_default();
            self.once.extend(known.iter().filter(|function| functions.contains(function.name)));
        }
        self
    }

    /// What may be done about an effect of this class in doubt.
    pub(super) fn repeat(&self, function: &capability::Function, class: Repeat) -> Repeat {
        if self.once.contains(&function) { Repeat::Once } else { class }
    }

    /// The names of all secrets that are bound.
    pub fn secret_names(&self) -> impl Iterator<Item = &str> {
        self.secrets.keys().map(String::as_str)
    }

    fn add(&mut self, side: Side, map: &PatternMap) -> Result<(), GrantError> {
        for (capability_name, functions) in map {
            if capability_name == SECRETS {
                if side == Side::Grant {
                    self.bind_secrets(functions)?;
                }
                continue;
            }
            let Some(capability) = capability::find(capability_name) else {
                return Err(GrantError::UnknownCapability { name: capability_name.clone() });
            };
            for (function_name, patterns) in functions {
                let Some(function) = capability.function(function_name) else {
                    let (capability, name) = (capability_name.clone(), function_name.clone());
                    return Err(GrantError::UnknownFunction { capability, name });
                };
                self.add_patterns(side, function, patterns)?;
            }
        }
        Ok(())
    }

    fn add_patterns(
        &mut self,
        side: Side,
        function: &'static capability::Function,
        patterns: &[String],
    ) -> Result<(), GrantError> {
        for pattern in patterns {
            let bad = |problem: String| GrantError::BadPattern {
                capability: function.capability.to_owned(),
                function: function.name.to_owned(),
                pattern: pattern.clone(),
                problem,
            };
            match function.capability {
                "http" => {
                    let compiled = HttpPattern::parse(pattern).map_err(bad)?;
                    self.http.side(side).entry(function.name).or_default().push(compiled);
                }
                "file" => {
                    let compiled = Glob::path(pattern).map_err(bad)?;
                    self.file.side(side).entry(function.name).or_default().push(compiled);
                }
                "process" => {
                    let compiled = ArgvPattern::parse(pattern).map_err(bad)?;
                    if side == Side::Grant && !self.scripted && !compiled.names_its_program() {
                        return Err(bad("a grant names its program without wildcards".to_owned()));
                    }
                    self.process.side(side).entry(function.name).or_default().push(compiled);
                }
                "service" => {
                    let compiled = Glob::unit(pattern).map_err(bad)?;
                    self.service.side(side).entry(function.name).or_default().push(compiled);
                }
                _ if pattern == "*" => {}
                _ => return Err(bad("it needs no grant".to_owned())),
            }
        }
        Ok(())
    }

    fn bind_secrets(&mut self, secrets: &BTreeMap<String, Vec<String>>) -> Result<(), GrantError> {
        for (name, bindings) in secrets {
            for binding in bindings {
                let compiled = SecretBinding::parse(binding).map_err(|problem| GrantError::BadBinding {
                    name: name.clone(),
                    binding: binding.clone(),
                    problem,
                })?;
                self.secrets.entry(name.clone()).or_default().push(compiled);
            }
        }
        Ok(())
    }

    /// Whether a request may be made, and within which networks.
    pub(super) fn http(
        &self,
        function: &'static str,
        method: &str,
        url: &Url,
    ) -> Result<HttpLeave, CallError> {
        let path = http::match_path(url).map_err(CallError::denied)?;
        let matches = |pattern: &&HttpPattern| pattern.matches(method, url, &path);
        let by_name = function != "send" && !http::is_safe(method);
        let matches = |pattern: &&HttpPattern| matches(pattern) && !(by_name && pattern.any_method());
        let wanted = || {
            let mut plain = url.clone();
            plain.set_query(None);
            plain.set_fragment(None);
            format!("{method} {plain}")
        };
        let leave = self
            .check("http", function, &self.http, matches, wanted)
            .map(|granted| granted.iter().filter(matches).fold(HttpLeave::default(), HttpLeave::and))?;
        // What a name resolves to is asked when it is connected to; an address says it at once, also in a plan.
        if !self.scripted {
            refuse_hidden(url, &leave.networks)?;
        }
        Ok(leave)
    }

    /// Whether a path may be used; `path` is absolute and plain.
    pub(super) fn file(&self, function: &'static str, path: &str) -> Result<(), CallError> {
        self.check("file", function, &self.file, |pattern| pattern.matches(path), || path.to_owned())
            .map(drop)
    }

    /// Whether a unit may be used.
    pub(super) fn service(&self, function: &'static str, unit: &str) -> Result<(), CallError> {
        self.check("service", function, &self.service, |pattern| pattern.matches(unit), || unit.to_owned())
            .map(drop)
    }

    /// Whether a program may be run with these arguments, and which bytes it must be made of.
    pub(super) fn process(&self, program: &str, arguments: &[String]) -> Result<ArgvLeave, CallError> {
        let wanted = || {
            let mut line = program.to_owned();
            for argument in arguments {
                line.push(' ');
                line.push_str(if argument.contains(char::is_whitespace) { "*" } else { argument });
            }
            line
        };
        let matches = |pattern: &&ArgvPattern| pattern.matches(program, arguments);
        let mut granted =
            self.check("process", "run", &self.process, matches, wanted)?.iter().filter(matches);
        Ok(granted.next().map(ArgvPattern::leave).unwrap_or_default())
    }

    /// Whether a secret may stand in this slot of a request to this place.
    pub(super) fn secret(&self, name: &str, slot: &Slot<'_>, url: &Url) -> Result<(), CallError> {
        let bindings = self.secrets.get(name).map(Vec::as_slice).unwrap_or_default();
        if self.scripted || bindings.iter().any(|binding| binding.allows(slot, url)) {
            return Ok(());
        }
        Err(CallError::denied(format!(
            "secret `{name}` is not bound to {slot} at {origin}; to allow it: grants: {{ {plugin}: {{ secrets: {{ {name}: \
             ['{slot} @ {origin}'] }} }} }}",
            origin = url.origin().ascii_serialization(),
            plugin = self.plugin,
        )))
    }

    /// The granted patterns of a function, if the call is requested and granted.
    fn check<'a, P>(
        &'a self,
        capability: &str,
        function: &'static str,
        rules: &'a Rules<P>,
        matches: impl Fn(&&P) -> bool,
        wanted: impl FnOnce() -> String,
    ) -> Result<&'a [P], CallError> {
        let requested = rules.requested.get(function).map(Vec::as_slice).unwrap_or_default();
        let granted = rules.granted.get(function).map(Vec::as_slice).unwrap_or_default();
        let plugin = &self.plugin;
        if !requested.iter().any(|pattern| matches(&pattern)) {
            return Err(CallError::denied(format!(
                "plugin `{plugin}` does not request this {capability}.{function}; its manifest would have to say: \
                 [capabilities.{capability}] {function} = [{:?}]",
                wanted()
            )));
        }
        if !granted.iter().any(|pattern| matches(&pattern)) {
            return Err(CallError::denied(format!(
                "no grant allows this {capability}.{function}; to allow it: grants: {{ {plugin}: {{ {capability}: {{ \
                 {function}: ['{}'] }} }} }}",
                wanted()
            )));
        }
        Ok(granted)
    }
}

#[cfg(test)]
mod tests;
