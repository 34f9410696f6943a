//! The kinds of contact with the world that a plugin may ask for, and the functions of each.
//!
//! A copy in Rust of what `wit/deps/` says; `sandbox-tests` compare the two. It holds names and classes only:
//! what a function does, and which patterns bound it, is the sandbox's business.

use staunch_core::effect::{Access, Repeat};

/// One capability: one WIT interface `staunch:NAME/NAME@VERSION`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapabilitySpec {
    /// Its name in manifests, grants and calls.
    pub name: &'static str,
    /// The newest version of its interface that this host answers.
    pub version: (u64, u64, u64),
    /// Its functions, in the order of the interface.
    pub functions: &'static [FunctionSpec],
}

/// One function of a capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FunctionSpec {
    /// Its name in manifests, grants and calls.
    pub name: &'static str,
    /// Whether it changes the world.
    pub access: Access,
    /// What may be done when nobody knows whether it happened; meaningless for readings, which repeat freely.
    pub repeat: Repeat,
}

impl CapabilitySpec {
    /// Its function of that name.
    #[must_use]
    pub fn function(&self, name: &str) -> Option<&'static FunctionSpec> {
        self.functions.iter().find(|function| function.name == name)
    }
}

const fn reading(name: &'static str) -> FunctionSpec {
    FunctionSpec { name, access: Access::Reading, repeat: Repeat::Repeatable }
}

const fn repeatable(name: &'static str) -> FunctionSpec {
    FunctionSpec { name, access: Access::Effect, repeat: Repeat::Repeatable }
}

const fn once(name: &'static str) -> FunctionSpec {
    FunctionSpec { name, access: Access::Effect, repeat: Repeat::Once }
}

/// Every capability that needs a request and a grant.
pub const CAPABILITIES: &[CapabilitySpec] = &[
    CapabilitySpec {
        name: "http",
        version: (1, 0, 0),
        functions: &[reading("read"), once("send"), reading("await-status")],
    },
    CapabilitySpec {
        name: "file",
        version: (1, 0, 0),
        functions: &[
            reading("stat"),
            reading("list"),
            reading("read"),
            reading("space"),
            repeatable("truncate"),
            once("rotate"),
            repeatable("delete-older-than"),
            repeatable("write"),
        ],
    },
    CapabilitySpec { name: "process", version: (1, 0, 0), functions: &[once("run")] },
    CapabilitySpec {
        name: "service",
        version: (1, 0, 0),
        functions: &[
            reading("status"),
            reading("await-active"),
            repeatable("start"),
            repeatable("stop"),
            once("restart"),
            repeatable("reset-failed"),
        ],
    },
];

/// Interfaces that every plugin may use without asking: they reach nothing but the run itself.
pub const FREE: &[&str] = &["log", "clock", "random"];

/// The capability of that name.
#[must_use]
pub fn capability<'a>(table: &'a [CapabilitySpec], name: &str) -> Option<&'a CapabilitySpec> {
    table.iter().find(|capability| capability.name == name)
}

/// `a, b and c`: how refusals name the valid choices.
pub(crate) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    match names.split_last() {
        None => "none".to_owned(),
        Some((only, [])) => (*only).to_owned(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}
