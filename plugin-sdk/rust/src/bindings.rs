//! What `wit-bindgen` makes of the contract in `wit/`: one module for the imports, one for each export.

/// Everything that a plugin can import. A component imports only what it uses of it.
pub mod capabilities {
    wit_bindgen::generate!({
        path: "wit",
        world: "staunch:plugin/capabilities",
        generate_all,
    });
}

/// The world of a plugin kind: it includes the world `capabilities`, whose module has its imports already.
macro_rules! kind {
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
                pub_export_macro: true,
                default_bindings_module: $path,
            });
        }
    };
}

/// A world that is added to a kind's: it imports the types alone.
macro_rules! addition {
    ($(#[$doc:meta])* $module:ident, $world:literal, $path:literal) => {
        $(#[$doc])*
        pub mod $module {
            wit_bindgen::generate!({
                path: "wit",
                world: $world,
                with: {
                    "staunch:types/types@1.0.0": crate::bindings::capabilities::staunch::types::types,
                },
                pub_export_macro: true,
                default_bindings_module: $path,
            });
        }
    };
}

kind!(
    /// A remediation.
    remediator, "staunch:plugin/remediator", "::staunch_plugin::bindings::remediator"
);
kind!(
    /// A connector.
    notifier, "staunch:plugin/notifier", "::staunch_plugin::bindings::notifier"
);
kind!(
    /// A check.
    checker, "staunch:plugin/checker", "::staunch_plugin::bindings::checker"
);
addition!(
    /// A remediation's verification.
    verifier, "staunch:plugin/verifier", "::staunch_plugin::bindings::verifier"
);
addition!(
    /// A remediation's undo.
    undoer, "staunch:plugin/undoer", "::staunch_plugin::bindings::undoer"
);
