//! Alertmanager's own API, `POST /api/v2/alerts`, as Prometheus calls it.
//!
//! Source: prometheus/alertmanager `api/v2/openapi.yaml` (`postableAlerts`) and `api/v2/api.go`.
//! The rules of that API hold: labels with empty values are dropped, an alert needs at least one
//! label, an alert whose `endsAt` lies in the future fires. The fingerprint is the one that
//! Alertmanager itself would give (prometheus/common `model.LabelSet.Fingerprint`), so that an
//! alert is the same whether it comes through an Alertmanager or directly. Silences do not apply:
//! they live in an Alertmanager.

use std::collections::BTreeMap;

use staunch_core::alert::Alert;

use super::Context;
use super::alertmanager::{generator_link, time_member};
use super::error::IntakeError;
use super::json::Node;
use super::normal::{Draft, status_by_end};
use super::read::{Pairs, Path, Values, entries, object, pairs, wrong};

pub(super) fn read(tree: &Node<'_>, context: &Context<'_>) -> Result<Vec<Alert>, IntakeError> {
    entries(tree, &Path::Body, context.limits())?
        .iter()
        .enumerate()
        .map(|(index, entry)| alert(entry, &Path::Index(&Path::Body, index), context))
        .collect()
}

fn alert(entry: &Node<'_>, path: &Path<'_>, context: &Context<'_>) -> Result<Alert, IntakeError> {
    let object = object(entry, path)?;
    let limits = context.limits();
    let starts_at = time_member(object, path, "startsAt")?;
    let ends_at = time_member(object, path, "endsAt")?;
    if let (Some(start), Some(end)) = (starts_at, ends_at)
        && end < start
    {
        return Err(wrong(&Path::Name(path, "endsAt"), "lies before startsAt"));
    }
    let mut draft = Draft::new(status_by_end(ends_at, context.now));
    let labels = Path::Name(path, "labels");
    let node =
        object.get("labels").ok_or_else(|| wrong(&labels, "is missing: expected an object of strings"))?;
    draft.labels = pairs(node, &labels, Pairs::Labels, Values::Strings, limits)?;
    draft.labels.retain(|_, value| !value.is_empty());
    if draft.labels.is_empty() {
        return Err(wrong(&labels, "is empty: expected at least one label with a value"));
    }
    if let Some(node) = object.get("annotations") {
        let path = Path::Name(path, "annotations");
        draft.annotations = pairs(node, &path, Pairs::Annotations, Values::Strings, limits)?;
    }
    draft.fingerprint = Some(label_hash(&draft.labels));
    draft.links = generator_link(object, path, limits.body)?;
    draft.starts_at = starts_at;
    draft.ends_at = ends_at;
    draft.finish(context, path)
}

/// Alertmanager's fingerprint of labels: FNV-1a of 64 bits over `name ff value ff`, sorted by name.
pub(super) fn label_hash(labels: &BTreeMap<String, String>) -> String {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    const SEPARATOR: u8 = 0xff;
    let bytes = labels
        .iter()
        .flat_map(|(name, value)| [name, value])
        .flat_map(|text| text.bytes().chain(std::iter::once(SEPARATOR)));
    let hash = bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    format!("{hash:016x}")
}
