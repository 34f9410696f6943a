//! From the plugin's traits to the exports of a component.

/// Exports a plugin from its component. Once in a crate, at its top.
///
/// | form | the type implements |
/// |---|---|
/// | `export!(Plugin)` | [`Remediation`](crate::Remediation) |
/// | `export!(Plugin with verification)` | and [`Verification`](crate::Verification) |
/// | `export!(Plugin with undo)` | and [`Undo`](crate::Undo) |
/// | `export!(Plugin with verification, undo)` | all three |
/// | `export!(Plugin as connector)` | [`Connector`](crate::Connector) |
/// | `export!(Plugin as check)` | [`Check`](crate::Check) |
///
/// On other targets than `wasm32` it only checks that the traits are there.
#[macro_export]
macro_rules! export {
    ($plugin:ident) => {
        $crate::__export!($plugin, remediator, Remediation);
    };
    ($plugin:ident with verification) => {
        $crate::__export!($plugin, remediator, Remediation);
        $crate::__export!($plugin, verifier, Verification);
    };
    ($plugin:ident with undo) => {
        $crate::__export!($plugin, remediator, Remediation);
        $crate::__export!($plugin, undoer, Undo);
    };
    ($plugin:ident with verification, undo) => {
        $crate::__export!($plugin, remediator, Remediation);
        $crate::__export!($plugin, verifier, Verification);
        $crate::__export!($plugin, undoer, Undo);
    };
    ($plugin:ident as connector) => {
        $crate::__export!($plugin, notifier, Connector);
    };
    ($plugin:ident as check) => {
        $crate::__export!($plugin, checker, Check);
    };
}

/// One export: of the component, or on other targets a proof that the trait is there.
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($plugin:ident, $world:ident, $trait:ident) => {
        const _: () = {
            type Exported = $crate::export::Exported<$plugin>;
    $crate::bindings::$world::export!(Exported with_types_in $crate::bindings::$world);
        };
    };
}

/// One export: of the component, or on other targets a proof that the trait is there.
#[cfg(not(target_arch = "wasm32"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($plugin:ident, $world:ident, $trait:ident) => {
        const _: () = {
            const fn implements<P: $crate::$trait>() {}
            implements::<$plugin>()
        };
    };
}

#[cfg(target_arch = "wasm32")]
pub use component::Exported;

#[cfg(target_arch = "wasm32")]
mod component {
    use serde::de::DeserializeOwned;

    use crate::backend::Backend;
    use crate::bindings::capabilities::staunch::log::log;
    use crate::bindings::capabilities::staunch::types::types::Error as Failure;
    use crate::bindings::{checker, notifier, remediator, undoer, verifier};
    use crate::{Check, Connector, Error, Host, Remediation, Undo, Verdict, Verification};

    use checker::exports::staunch::plugin::check;
    use notifier::exports::staunch::plugin::connector;
    use remediator::exports::staunch::plugin::remediation;
    use undoer::exports::staunch::plugin::undo;
    use verifier::exports::staunch::plugin::verification;

    /// Carries a plugin's traits to the generated ones.
    #[derive(Debug)]
    pub struct Exported<P>(std::marker::PhantomData<P>);

    impl<P: Remediation> remediation::Guest for Exported<P> {
        fn remediate(input: String) -> Result<remediation::Outcome, Failure> {
            let outcome =
                start(&input).and_then(|(input, host)| P::remediate(input, &host)).map_err(failure)?;
            let crate::Outcome { summary, changed, details } = outcome;
            Ok(remediation::Outcome { summary, changed, details })
        }
    }

    impl<P: Verification> verification::Guest for Exported<P> {
        fn verify(input: String) -> Result<verification::Verdict, Failure> {
            match start(&input).and_then(|(input, host)| P::verify(input, &host)).map_err(failure)? {
                Verdict::Passed => Ok(verification::Verdict::Passed),
                Verdict::Failed => Ok(verification::Verdict::Failed),
                Verdict::NoAnswer => Ok(verification::Verdict::NoAnswer),
            }
        }
    }

    impl<P: Undo> undo::Guest for Exported<P> {
        fn undo(input: String, outcome: Option<String>) -> Result<String, Failure> {
            let (input, host) = start(&input).map_err(failure)?;
            let details = outcome.as_deref().map(parse).transpose().map_err(failure)?;
            P::undo(input, details, &host).map_err(failure)
        }
    }

    impl<P: Connector> connector::Guest for Exported<P> {
        fn deliver(input: String) -> Result<Option<String>, Failure> {
            start(&input).and_then(|(input, host)| P::deliver(input, &host)).map_err(failure)
        }
    }

    impl<P: Check> check::Guest for Exported<P> {
        fn inspect(input: String) -> Result<Vec<check::Finding>, Failure> {
            let findings =
                start(&input).and_then(|(input, host)| P::inspect(input, &host)).map_err(failure)?;
            let findings = findings.into_iter().map(|crate::Finding { subject, satisfied, evidence }| {
                check::Finding { subject, satisfied, evidence }
            });
            Ok(findings.collect())
        }
    }

    /// A panic is a trap, whose text would be lost: log it first.
    fn start<T: DeserializeOwned>(input: &str) -> Result<(T, Host), Error> {
        std::panic::set_hook(Box::new(|panic| log::write(log::Level::Error, &panic.to_string())));
        Ok((parse(input)?, Host::new(Backend)))
    }

    fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
        serde_json::from_str(text).map_err(|e| Error::invalid_input(e.to_string()))
    }

    fn failure(error: Error) -> Failure {
        let (code, message, retryable) = error.into_parts();
        Failure { code, message, retryable }
    }
}
