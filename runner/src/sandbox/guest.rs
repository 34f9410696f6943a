//! A plugin made ready to run, and the calls of its exports.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::{Value, json};
use staunch_core::effect::CallError;
use staunch_core::id::Digest;
use wasmtime::Store;
use wasmtime::component::{
    Component, ComponentExportIndex, ComponentNamedList, ComponentType, InstancePre, Lift, Lower,
};

use super::cap::types;
use super::job::{Ending, Export};
use super::limits::MAX_RESULT_BYTES;
use super::run::Run;
use super::stop::Stop;

impl Export {
    const ALL: [Self; 5] = [Self::Remediate, Self::Deliver, Self::Inspect, Self::Verify, Self::Undo];

    /// The function's name in WIT.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Remediate => "remediate",
            Self::Deliver => "deliver",
            Self::Inspect => "inspect",
            Self::Verify => "verify",
            Self::Undo => "undo",
        }
    }

    /// The interface that holds it.
    #[must_use]
    pub fn interface(self) -> &'static str {
        match self {
            Self::Remediate => "staunch:plugin/remediation@1.0.0",
            Self::Deliver => "staunch:plugin/connector@1.0.0",
            Self::Inspect => "staunch:plugin/check@1.0.0",
            Self::Verify => "staunch:plugin/verification@1.0.0",
            Self::Undo => "staunch:plugin/undo@1.0.0",
        }
    }
}

/// A plugin whose imports are resolved: instances of it cost microseconds.
pub struct Prepared {
    digest: Digest,
    pre: InstancePre<Run>,
    exports: BTreeMap<&'static str, ComponentExportIndex>,
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared").field("digest", &self.digest).finish_non_exhaustive()
    }
}

impl Prepared {
    pub(super) fn new(digest: Digest, component: &Component, pre: InstancePre<Run>) -> Self {
        let mut exports = BTreeMap::new();
        for export in Export::ALL {
            let index = component
                .get_export_index(None, export.interface())
                .and_then(|interface| component.get_export_index(Some(&interface), export.name()));
            if let Some(index) = index {
                exports.insert(export.name(), index);
            }
        }
        Self { digest, pre, exports }
    }

    /// The digest of the component.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Whether the plugin has this export.
    #[must_use]
    pub fn exports(&self, export: Export) -> bool {
        self.exports.contains_key(export.name())
    }
}

#[derive(ComponentType, Lift, Serialize)]
#[component(record)]
struct Outcome {
    summary: String,
    changed: bool,
    details: Option<String>,
}

#[derive(ComponentType, Lift, Serialize)]
#[component(record)]
struct Finding {
    subject: String,
    satisfied: bool,
    evidence: String,
}

#[expect(dead_code, reason = "made by lifting guests' values")]
#[derive(ComponentType, Lift, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
enum Verdict {
    #[component(name = "passed")]
    Passed,
    #[component(name = "failed")]
    Failed,
    #[component(name = "no-answer")]
    NoAnswer,
}

/// Instantiates the plugin in its fresh store and calls the export.
pub(super) async fn call(store: &mut Store<Run>) -> wasmtime::Result<Ending> {
    let run = store.data();
    let prepared = run.job.prepared.clone();
    let export = run.job.export;
    let input = run.job.input.clone();
    let outcome = run.job.outcome.clone();
    let Some(index) = prepared.exports.get(export.name()) else {
        let message = format!("the plugin does not export {}", export.interface());
        return Err(Stop::limit("export", message).into());
    };
    let instance = prepared.pre.instantiate_async(&mut *store).await?;
    store.data_mut().instantiated = true;
    let guest = Guest { store, instance, index: *index };
    let ending = match export {
        Export::Remediate => guest.call::<_, Outcome>((input,)).await?.map(remediated),
        Export::Deliver => guest.call::<_, Option<String>>((input,)).await?.map(|id| Ok(json!({ "id": id }))),
        Export::Inspect => {
            guest.call::<_, Vec<Finding>>((input,)).await?.map(|found| Ok(json!({ "findings": found })))
        }
        Export::Verify => {
            guest.call::<_, Verdict>((input,)).await?.map(|verdict| Ok(json!({ "verdict": verdict.word() })))
        }
        Export::Undo => {
            guest.call::<_, String>((input, outcome)).await?.map(|summary| Ok(json!({ "summary": summary })))
        }
    };
    Ok(match ending {
        Ok(value) => Ending::Returned(bounded(value?)?),
        Err(error) => Ending::Failed(cut(error.into())),
    })
}

struct Guest<'a> {
    store: &'a mut Store<Run>,
    instance: wasmtime::component::Instance,
    index: ComponentExportIndex,
}

impl Guest<'_> {
    async fn call<P, R>(self, parameters: P) -> wasmtime::Result<Result<R, types::Error>>
    where
        P: ComponentNamedList + Lower + Send + Sync + 'static,
        R: ComponentType + Lift + Send + Sync + 'static,
    {
        let function =
            self.instance.get_typed_func::<P, (Result<R, types::Error>,)>(&mut *self.store, self.index)?;
        let (result,) = function.call_async(&mut *self.store, parameters).await?;
        Ok(result)
    }
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::NoAnswer => "no-answer",
        }
    }
}

fn remediated(outcome: Outcome) -> Result<Value, Stop> {
    let Outcome { summary, changed, details } = outcome;
    let details: Value = match details {
        None => Value::Null,
        Some(text) => serde_json::from_str(&text).map_err(|error| {
            Stop::limit("result", format!("the details that it returned are no JSON: {error}"))
        })?,
    };
    Ok(json!({ "summary": summary, "changed": changed, "details": details }))
}

fn bounded(value: Value) -> Result<Value, Stop> {
    let bytes = super::broker::weight_of(&value);
    if bytes > MAX_RESULT_BYTES {
        return Err(Stop::limit(
            "result",
            format!("it returned about {bytes} bytes, more than {MAX_RESULT_BYTES}"),
        ));
    }
    Ok(value)
}

/// A plugin's own error, cut to what people read.
fn cut(mut error: CallError) -> CallError {
    super::log_text::cut(&mut error.code, 64);
    super::log_text::cut(&mut error.message, 4 << 10);
    error
}
