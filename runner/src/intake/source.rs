//! A source made ready: checked once, with nothing left to compile when a message comes.

use std::time::Duration;

use super::authenticity::Authenticator;
use super::config::SourceConfig;
use super::error::SourceError;
use super::format::Format;
use super::limits::Limits;
use super::mapping::{Mapping, MappingConfig};

/// Twelve hours: what `stale_after` is unless given.
const STALE_AFTER: Duration = Duration::from_secs(12 * 3_600);

/// A configured source of alerts.
#[derive(Debug)]
pub struct Source {
    name: String,
    format: Format,
    authenticator: Authenticator,
    mapping: Option<Mapping>,
    identity: Option<Vec<String>>,
    stale_after: Duration,
    limits: Limits,
}

impl Source {
    /// Checks a source's configuration and makes it ready.
    ///
    /// # Errors
    /// When nothing authenticates and `authenticate: none` is not written out, when a secret is
    /// empty, or when a member does not fit the format or does not compile.
    pub fn compile(name: &str, config: &SourceConfig) -> Result<Self, SourceError> {
        let refuse = |member: &'static str, problem: String| SourceError::Member {
            source_name: name.to_owned(),
            member,
            problem,
        };
        let mut limits = Limits::default();
        if let Some(size) = config.max_body {
            if size.0 == 0 || size.0 > Limits::BODY_CEILING {
                return Err(refuse("max_body", "must be from 1 byte to 64 MiB".to_owned()));
            }
            limits.body = size.0;
        }
        if config.mapping.is_some() && config.format != Format::Generic {
            let problem = format!("belongs to format generic; this source's format is {}", config.format);
            return Err(refuse("mapping", problem));
        }
        if let Some(identity) = &config.identity {
            if config.format == Format::Prometheus {
                let problem = "has no effect: the fingerprint is Alertmanager's hash of all labels";
                return Err(refuse("identity", problem.to_owned()));
            }
            if identity.is_empty() || identity.iter().any(String::is_empty) {
                return Err(refuse("identity", "must name at least one label".to_owned()));
            }
        }
        let mapping =
            config.mapping.as_ref().map(|mapping| Mapping::compile(name, mapping, &limits)).transpose()?;
        Ok(Self {
            name: name.to_owned(),
            format: config.format,
            authenticator: Authenticator::compile(name, config)?,
            mapping,
            identity: config.identity.clone(),
            stale_after: config.stale_after.map_or(STALE_AFTER, |period| period.0),
            limits,
        })
    }

    /// The stand-in for a source of the format `generic` where a body is read without a daemon; it authenticates
    /// nobody.
    ///
    /// # Errors
    /// When the mapping does not compile.
    pub fn offline_mapped(mapping: &MappingConfig) -> Result<Self, SourceError> {
        let source = Self::offline(Format::Generic);
        let mapping = Mapping::compile(&source.name, mapping, &source.limits)?;
        Ok(Self { mapping: Some(mapping), ..source })
    }

    /// The stand-in for a source where a body is read without a daemon; it authenticates nobody.
    #[must_use]
    pub fn offline(format: Format) -> Self {
        Self {
            name: format.as_str().to_owned(),
            format,
            authenticator: Authenticator::refusing(),
            mapping: None,
            identity: None,
            stale_after: STALE_AFTER,
            limits: Limits::default(),
        }
    }

    /// The name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the sender speaks.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// The bounds on one message; `limits().body` is what a server should read at most.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How long an alert may go without a word about it before it is `stale`.
    #[must_use]
    pub fn stale_after(&self) -> Duration {
        self.stale_after
    }

    pub(super) fn authenticator(&self) -> &Authenticator {
        &self.authenticator
    }

    pub(super) fn mapping(&self) -> Option<&Mapping> {
        self.mapping.as_ref()
    }

    pub(super) fn identity(&self) -> Option<&[String]> {
        self.identity.as_deref()
    }
}
