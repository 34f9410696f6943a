//! The names of formats, available and known.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A format of alerts that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Alertmanager's webhook, version 4 (and the older 3).
    Alertmanager,
    /// Alertmanager's own API, `POST /api/v2/alerts`, as Prometheus calls it.
    Prometheus,
    /// Any JSON, by a mapping; without one, alerts in the normalised shape.
    Generic,
}

/// Formats that belong to the product's surface and cannot be read yet.
const NOT_YET: [&str; 22] = [
    "grafana",
    "pagerduty",
    "opsgenie",
    "datadog",
    "newrelic",
    "dynatrace",
    "sentry",
    "splunk",
    "elastic",
    "zabbix",
    "icinga2",
    "nagios",
    "sns",
    "azure-monitor",
    "gcp-monitoring",
    "falco",
    "kubernetes-events",
    "github",
    "pingdom",
    "cloudevents",
    "otlp",
    "standard-webhooks",
];

impl Format {
    /// Every format that can be read.
    pub const AVAILABLE: [Self; 3] = [Self::Alertmanager, Self::Prometheus, Self::Generic];

    /// The name in configuration, on the command line and in alerts read offline.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alertmanager => "alertmanager",
            Self::Prometheus => "prometheus",
            Self::Generic => "generic",
        }
    }

    /// The format of this name.
    ///
    /// # Errors
    /// When no format has the name, or when one has that cannot be read yet; both list the ones
    /// that can.
    pub fn parse_name(name: &str) -> Result<Self, FormatError> {
        if let Some(format) = Self::AVAILABLE.into_iter().find(|format| format.as_str() == name) {
            return Ok(format);
        }
        match NOT_YET.into_iter().find(|known| *known == name) {
            Some(name) => Err(FormatError::NotAvailable { name }),
            None => Err(FormatError::Unknown { name: name.chars().take(80).collect() }),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Format {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::parse_name(&name).map_err(serde::de::Error::custom)
    }
}

/// A name that stands for no format that can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// No format has this name.
    #[error("{name:?} is no format; available: {}", available())]
    Unknown {
        /// The name, at most 80 characters of it.
        name: String,
    },
    /// The format is known and cannot be read yet.
    #[error("format {name} is not available in this version; available: {}", available())]
    NotAvailable {
        /// The format.
        name: &'static str,
    },
}

fn available() -> String {
    Format::AVAILABLE.map(Format::as_str).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_unknown_formats_from_those_not_available_yet() {
        for format in Format::AVAILABLE {
            assert_eq!(Format::parse_name(format.as_str()), Ok(format));
        }
        let error = |name| Format::parse_name(name).unwrap_err().to_string();
        assert_eq!(
            error("grafana"),
            "format grafana is not available in this version; available: alertmanager, prometheus, generic"
        );
        assert_eq!(
            error("Alertmanager"),
            "\"Alertmanager\" is no format; available: alertmanager, prometheus, generic"
        );
    }
}
