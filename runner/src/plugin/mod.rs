//! What a plugin is, and whether it is genuine.
//!
//! For the first reader, in the order in which an author and then a host meet them:
//!
//! - [`manifest`]: `plugin.toml`, what a plugin is and asks for, against the table in [`capabilities`].
//! - [`component`]: the manifest inside the component, and its imports and exports, read without compiling.
//! - [`statement`] in [`dsse`]: what the signers vouch for, and their signatures.
//! - [`trust`]: the one decision. It alone makes a [`trust::VerifiedPlugin`].
//! - [`registry`]: installed plugins in a directory, verified again at every load.
//!
//! This room never runs a plugin, never decides what one may do (that is a grant), and never compiles bytes
//! that are not a `VerifiedPlugin`, except for an author's own build that meets scripted worlds only.

pub mod capabilities;
pub mod component;
pub mod dsse;
pub mod manifest;
pub mod registry;
pub mod statement;
#[cfg(test)]
pub(crate) mod testing;
pub mod trust;
