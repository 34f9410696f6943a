//! The capabilities, one file each, all of the same shape: the records of its interface, its functions with
//! target, arguments, grant, assumption and deed, and `link`, which lets guests call them through the broker.

pub(super) mod clock;
pub(super) mod file;
pub(super) mod http;
pub(super) mod log;
pub(super) mod process;
pub(super) mod random;
pub(super) mod service;
pub(super) mod types;

use wasmtime::component::Linker;

use super::run::Run;

/// Defines all capabilities.
pub(super) fn link(linker: &mut Linker<Run>) -> wasmtime::Result<()> {
    http::link(linker)?;
    file::link(linker)?;
    process::link(linker)?;
    service::link(linker)?;
    log::link(linker)?;
    clock::link(linker)?;
    random::link(linker)
}

/// The function of the table that a type stands for.
macro_rules! table {
    ($capability:literal, $function:literal) => {{
        const FOUND: &crate::sandbox::capability::Function =
            crate::sandbox::capability::constant($capability, $function);
        FOUND
    }};
}
pub(super) use table;
