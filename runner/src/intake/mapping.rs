//! The mapping of a generic source: JSON pointers and templates from any body to alerts.
//!
//! ```yaml
//! mapping:
//!   alerts: /items                 # pointer to the array (or the one object) of alerts; without it
//!                                  # the body is one alert, or an array of them
//!   status: { from: /state, firing: [open, flapping], resolved: [closed] }
//!   fingerprint: /id
//!   severity: { from: /priority, map: { P1: critical, P2: error } }
//!   title: '{{ check }} on {{ host }}'
//!   description: /text
//!   service: /service
//!   target: /host
//!   labels: { host: /host, env: '{{ root.environment }}', team: payments }
//!   annotations: /details          # a pointer to an object takes all its members
//!   starts_at: /opened             # RFC 3339, or seconds or milliseconds since 1970
//!   ends_at: /closed
//!   links: [/url]
//! ```
//!
//! A value that begins with `/` is a JSON pointer (RFC 6901) into the alert's own entry, one that
//! holds `{{` or `{%` is a template, anything else stands for itself. A template sees the entry's
//! members by name, the entry as `item`, the body as `root` and the request's headers, in lower
//! case and without credentials, as `headers`. A pointer to nothing is "not known"; a template that
//! uses something undefined is refused (`default` helps), and a null in it is empty text.
//!
//! `status` and `severity` may be a value alone. Of `firing` and `resolved`, a list left out takes
//! what the other does not name; without both, the words are `firing` and `resolved`. Without a
//! `status`, an alert is over when its `ends_at` has passed. Words are compared in any case.
//! Templates are compiled once, bounded by fuel and output, and reach no files.

mod compiled;
mod config;

pub(super) use compiled::Mapping;
pub use config::{Expression, LabelsMapping, MappingConfig, SeverityMapping, StatusMapping};
