//! Reads probes from YAML, and makes them ready: for runbooks, and for the health of groups.

use super::{Probe, ReadyProbe};
use crate::policy::reader::{Fields, Reader};
use crate::policy::template::{Template, TemplateError, Templates, Values};
use crate::policy::yaml::Node;

const UNIT_STATES: [&str; 6] = ["active", "reloading", "inactive", "failed", "activating", "deactivating"];

/// Reads one probe: a mapping with exactly one key, of those that are valid here. `key` is its name in messages.
pub(crate) fn read(
    reader: &mut Reader<'_>,
    templates: &mut Templates,
    key: &str,
    node: &Node,
    valid: &[&str],
) -> Option<Probe> {
    let fields = reader.fields(node, key, valid);
    let [entry] = fields.entries() else {
        reader.error(node.at, format!("{key} must have exactly one key of {}", valid.join(", ")));
        return None;
    };
    // An unknown key was noted already.
    let word = valid.iter().find(|word| **word == entry.key)?;
    let mut reading = Reading { reader, templates };
    let what = format!("{key}.{}", entry.key);
    match *word {
        "http" => reading.http(&what, &entry.node),
        "sequence" => reading.sequence(&what, &entry.node).map(|requests| Probe::Sequence { requests }),
        "tcp" => {
            let fields = reading.reader.fields(&entry.node, &what, &["address"]);
            Some(Probe::Tcp { address: reading.required(fields, "address", &what)? })
        }
        "service" => reading.service(&what, &entry.node),
        "alert_resolved" => {
            reading.reader.fields(&entry.node, &what, &[]);
            Some(Probe::AlertResolved)
        }
        "plugin" => {
            reading.reader.fields(&entry.node, &what, &[]);
            Some(Probe::Plugin)
        }
        _ => None,
    }
}

pub(super) struct Reading<'a, 'f> {
    pub(super) reader: &'a mut Reader<'f>,
    pub(super) templates: &'a mut Templates,
}

impl Reading<'_, '_> {
    pub(super) fn template(&mut self, node: &Node, key: &str) -> Option<Template> {
        let text = self.reader.text(node, key)?;
        let compiled = self.templates.compile(key, text);
        let message = |error: TemplateError| format!("template {:?}: {}", error.key, error.message);
        compiled.map_err(|error| self.reader.error(node.at, message(error))).ok()
    }

    fn required(&mut self, fields: Fields<'_>, key: &str, what: &str) -> Option<Template> {
        let node = self.reader.required(fields, key, what)?;
        self.template(node, &format!("{what}.{key}"))
    }

    fn http(&mut self, what: &str, node: &Node) -> Option<Probe> {
        let fields = self.reader.fields(node, what, &["url", "method", "status", "body_contains"]);
        let url = self.required(fields, "url", what);
        let (method, status) = self.method_and_status(fields);
        let body_contains = fields
            .get("body_contains")
            .and_then(|node| self.template(node, &format!("{what}.body_contains")));
        Some(Probe::Http { url: url?, method, status, body_contains })
    }

    pub(super) fn method_and_status(&mut self, fields: Fields<'_>) -> (String, Option<u16>) {
        let words = [("GET", "GET"), ("HEAD", "HEAD")];
        let method = fields.get("method").and_then(|node| self.reader.word(node, "method", &words));
        let status = fields
            .get("status")
            .and_then(|node| self.reader.integer(node, "status", 100, 599))
            .and_then(|status| u16::try_from(status).ok());
        (method.unwrap_or("GET").to_owned(), status)
    }

    fn service(&mut self, what: &str, node: &Node) -> Option<Probe> {
        let fields = self.reader.fields(node, what, &["unit", "state"]);
        let unit = self.required(fields, "unit", what);
        let words = UNIT_STATES.map(|state| (state, state));
        let state = fields.get("state").and_then(|node| self.reader.word(node, "state", &words));
        Some(Probe::Service { unit: unit?, state: state.unwrap_or("active").to_owned() })
    }
}

impl Probe {
    /// The probe with its templates rendered.
    ///
    /// # Errors
    /// When a template in it cannot be rendered.
    pub(crate) fn ready(&self, templates: &Templates, values: &Values) -> Result<ReadyProbe, TemplateError> {
        let render = |template: &Template| templates.render(template, values);
        Ok(match self {
            Self::Http { url, method, status, body_contains } => ReadyProbe::Http {
                url: render(url)?,
                method: method.clone(),
                status: *status,
                body_contains: body_contains.as_ref().map(render).transpose()?,
            },
            Self::Tcp { address } => ReadyProbe::Tcp { address: render(address)? },
            Self::AlertResolved => ReadyProbe::AlertResolved {},
            Self::Service { unit, state } => {
                ReadyProbe::Service { unit: render(unit)?, state: state.clone() }
            }
            Self::Sequence { requests } => ReadyProbe::Sequence {
                requests: requests.iter().map(|request| request.ready(render)).collect::<Result<_, _>>()?,
            },
            Self::Plugin => ReadyProbe::Plugin {},
        })
    }
}
