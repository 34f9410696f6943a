//! What capabilities there are: the one table of functions, what each does to the world, and what may be done
//! about one in doubt.

use staunch_core::effect::{Access, Call, Repeat};

/// A function of a capability.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// The capability's name: `http`.
    pub capability: &'static str,
    /// The function's name, as in WIT: `await-status`.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Whether an operator must grant it; what is the run's own needs no grant.
    pub granted: bool,
}

/// What a function does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It touches nothing outside the run (its log, its clock, its seed) and is not journaled.
    Own,
    /// It looks at the world.
    Reading,
    /// It looks until something has come about; assumed in a plan once an effect is planned.
    Await,
    /// It changes the world.
    Effect(Repeat),
}

impl Kind {
    /// Reading or effect; `None` for what is the run's own.
    #[must_use]
    pub fn access(self) -> Option<Access> {
        match self {
            Self::Own => None,
            Self::Reading | Self::Await => Some(Access::Reading),
            Self::Effect(_) => Some(Access::Effect),
        }
    }
}

/// A capability: one WIT interface.
#[derive(Debug, PartialEq, Eq)]
pub struct Capability {
    /// Its name in manifests and grants.
    pub name: &'static str,
    /// The interface that guests import.
    pub interface: &'static str,
    /// Its functions.
    pub functions: &'static [Function],
    /// How a pattern looks, for error messages; `None` where nothing is granted.
    pub pattern: Option<&'static str>,
}

impl Capability {
    /// The function with this name.
    #[must_use]
    pub fn function(&self, name: &str) -> Option<&'static Function> {
        self.functions.iter().find(|function| function.name == name)
    }
}

/// The capability with this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Capability> {
    CAPABILITIES.iter().find(|capability| capability.name == name)
}

/// Whether a call, as the journal holds it, looked at the world or changed it. A function that this version does
/// not know is taken for an effect.
#[must_use]
pub fn access_of(call: &Call) -> Access {
    let function = find(&call.capability).and_then(|capability| capability.function(&call.function));
    function.and_then(|function| function.kind.access()).unwrap_or(Access::Effect)
}

/// The function that the code names, at compile time: a wrong name does not build.
pub(super) const fn constant(capability: &str, function: &str) -> &'static Function {
    let mut at = 0;
    while at < CAPABILITIES.len() {
        let functions = CAPABILITIES[at].functions;
        let mut place = 0;
        while place < functions.len() {
            if same(functions[place].capability, capability) && same(functions[place].name, function) {
                return &functions[place];
            }
            place += 1;
        }
        at += 1;
    }
    panic!("no such function")
}

const fn same(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    if left.len() != right.len() {
        return false;
    }
    let mut at = 0;
    while at < left.len() {
        if left[at] != right[at] {
            return false;
        }
        at += 1;
    }
    true
}

macro_rules! functions {
    ($capability:literal: $($name:literal $kind:expr, $granted:literal;)*) => {
        &[$(Function { capability: $capability, name: $name, kind: $kind, granted: $granted }),*]
    };
}

const ONCE: Kind = Kind::Effect(Repeat::Once);
const REPEATABLE: Kind = Kind::Effect(Repeat::Repeatable);

/// All capabilities, in the order in which help and errors list them.
pub const CAPABILITIES: &[Capability] = &[
    Capability {
        name: "http",
        interface: "staunch:http/http@1.0.0",
        functions: functions! { "http":
            "read" Kind::Reading, true;
            "send" ONCE, true;
            "await-status" Kind::Await, true;
        },
        pattern: Some("METHOD SCHEME://HOST[:PORT]/PATH [@CIDR ...] [idempotent]"),
    },
    Capability {
        name: "file",
        interface: "staunch:file/file@1.0.0",
        functions: functions! { "file":
            "stat" Kind::Reading, true;
            "list" Kind::Reading, true;
            "read" Kind::Reading, true;
            "space" Kind::Reading, true;
            "truncate" REPEATABLE, true;
            "rotate" ONCE, true;
            "delete-older-than" REPEATABLE, true;
            "write" REPEATABLE, true;
        },
        pattern: Some("an absolute path, `*` inside a segment, `**` across segments: /var/log/app/**"),
    },
    Capability {
        name: "process",
        interface: "staunch:process/process@1.0.0",
        functions: functions! { "process":
            "run" ONCE, true;
        },
        pattern: Some("/absolute/program ARGUMENT ... (`*` one argument, `**` the rest) [sha256:DIGEST]"),
    },
    Capability {
        name: "service",
        interface: "staunch:service/service@1.0.0",
        functions: functions! { "service":
            "status" Kind::Reading, true;
            "await-active" Kind::Await, true;
            "start" REPEATABLE, true;
            "stop" REPEATABLE, true;
            "restart" ONCE, true;
            "reset-failed" REPEATABLE, true;
        },
        pattern: Some("a unit name with `*`: web-*.service"),
    },
    Capability {
        name: "log",
        interface: "staunch:log/log@1.0.0",
        functions: functions! { "log": "write" Kind::Own, false; },
        pattern: None,
    },
    Capability {
        name: "clock",
        interface: "staunch:clock/clock@1.0.0",
        functions: functions! { "clock":
            "now" Kind::Own, false;
            "wall" Kind::Reading, false;
            "sleep" Kind::Own, false;
        },
        pattern: None,
    },
    Capability {
        name: "random",
        interface: "staunch:random/random@1.0.0",
        functions: functions! { "random": "bytes" Kind::Own, false; },
        pattern: None,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_what_the_contract_says() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../wit");
        let mut resolve = wit_parser::Resolve::default();
        let (package, _) = resolve.push_dir(root).unwrap();
        let world = resolve.packages[package].worlds["capabilities"];
        let mut interfaces = 0;
        for key in resolve.worlds[world].imports.keys() {
            let name = resolve.name_world_key(key);
            let Some(capability) = CAPABILITIES.iter().find(|capability| capability.interface == name) else {
                assert_eq!(name, "staunch:types/types@1.0.0");
                continue;
            };
            interfaces += 1;
            let wit_parser::WorldKey::Interface(id) = key else { panic!("{name} is no interface") };
            let wanted: Vec<&str> = resolve.interfaces[*id].functions.keys().map(String::as_str).collect();
            let have: Vec<&str> = capability.functions.iter().map(|function| function.name).collect();
            assert_eq!(have, wanted, "{name}");
            for (name, function) in &resolve.interfaces[*id].functions {
                let states_intent = function.params.iter().any(|param| param.name == "intent");
                let is_effect = matches!(capability.function(name).unwrap().kind, Kind::Effect(_));
                assert_eq!(is_effect, states_intent, "{name}");
            }
        }
        assert_eq!(interfaces, CAPABILITIES.len());
    }
}
