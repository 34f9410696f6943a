//! What `wit-bindgen` makes of the contract in `wit/`: one module for the imports, one for each export.

#![expect(
    missing_docs,
    unsafe_code,
    unreachable_pub,
    elided_lifetimes_in_paths,
    missing_debug_implementations,
    reason = "generated: the canonical ABI is raw pointers, and the interfaces' own text is their documentation"
)]
#![allow(clippy::all, clippy::pedantic, clippy::restriction, reason = "generated")]

/// Everything that a plugin can import. A component imports only what it uses of it.
pub mod capabilities {
    wit_bindgen::generate!({
        path: "wit",
        world: "staunch:plugin/capabilities",
        generate_all,
    });
}

macro_rules! exports {
    ($(#[$doc:meta])* $module:ident, $world:literal, $path:literal) => {
        $(#[$doc])*
        pub mod $module {
            wit_bindgen::generate!({
                path: "wit",
                world: $world,
                with: {
                    "staunch:types/types@1.0.0": crate::bindings::capabilities::staunch::types::types,
                    "staunch:http/http@1.0.0": crate::bindings::capabilities::staunch::http::http,
                    "staunch:file/file@1.0.0": crate::bindings::capabilities::staunch::file::file,
                    "staunch:process/process@1.0.0": crate::bindings::capabilities::staunch::process::process,
                    "staunch:service/service@1.0.0": crate::bindings::capabilities::staunch::service::service,
                    "staunch:log/log@1.0.0": crate::bindings::capabilities::staunch::log::log,
                    "staunch:clock/clock@1.0.0": crate::bindings::capabilities::staunch::clock::clock,
                    "staunch:random/random@1.0.0": crate::bindings::capabilities::staunch::random::random,
                },
                generate_all,
                pub_export_macro: true,
                default_bindings_module: $path,
            });
        }
    };
}

exports!(
    /// A remediation.
    remediator, "staunch:plugin/remediator", "::staunch_plugin::bindings::remediator"
);
exports!(
    /// A connector.
    notifier, "staunch:plugin/notifier", "::staunch_plugin::bindings::notifier"
);
exports!(
    /// A check.
    checker, "staunch:plugin/checker", "::staunch_plugin::bindings::checker"
);
exports!(
    /// A remediation's verification.
    verifier, "staunch:plugin/verifier", "::staunch_plugin::bindings::verifier"
);
exports!(
    /// A remediation's undo.
    undoer, "staunch:plugin/undoer", "::staunch_plugin::bindings::undoer"
);
