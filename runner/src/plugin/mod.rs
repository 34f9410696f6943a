//! What a plugin is, and whether it is genuine.
//!
//! For the first reader, in the order in which an author and then a host meet them:
//!
//! - [`manifest`]: `plugin.toml`, what a plugin is and asks for.
//! - [`component`]: the manifest inside the component, and its imports and exports, read without compiling.
//! - [`statement`] in [`dsse`]: what the signers vouch for, and their signatures.
//! - [`trust`]: the one decision. It alone makes a [`trust::VerifiedPlugin`].
//! - [`registry`]: installed plugins in a directory, verified again at every load.
//! - [`compile`]: native code for verified plugins, made by a helper process and kept in an authenticated cache.
//! - [`scaffold`], [`builder`], [`tools`]: what authors do with their files.
//!
//! This room never runs a plugin, never decides what one may do (that is a grant), and never compiles bytes
//! that are not a `VerifiedPlugin`, except for an author's own build that meets scripted worlds only.

pub mod builder;
pub mod compile;
pub mod component;
pub mod dsse;
pub mod manifest;
pub mod registry;
pub mod scaffold;
pub mod statement;
#[cfg(test)]
pub(crate) mod testing;
pub mod tools;
pub mod trust;

pub use compile::{CompileError, Compiler, UnverifiedBuild};
pub use manifest::Manifest;
pub use registry::{Installation, Installed, Registry};
pub use tools::{Inspection, ToolError, inspect, sign};
pub use trust::{Signer, TrustPolicy, TrustedKey, VerifiedPlugin};

/// `a, b and c`: how refusals name the valid choices.
fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    match names.split_last() {
        None => "none".to_owned(),
        Some((only, [])) => (*only).to_owned(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}
