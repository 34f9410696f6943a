//! One entry below `sources:` in `staunch.yaml`.

use secrecy::SecretString;
use serde::Deserialize;

use super::format::Format;
use super::mapping::MappingConfig;
use super::units::{ByteSize, Period};

/// A source as the operator wrote it, its `${env:…}` and `${file:…}` already replaced.
///
/// ```yaml
/// sources:
///   alertmanager: { format: alertmanager, bearer: '${file:keys/alertmanager.token}' }
///   prometheus:   { format: prometheus, basic: { username: prom, password: '${env:PROM}' } }
///   shop:
///     format: generic
///     hmac: { secret: '${env:SHOP}', header: X-Signature-256, prefix: 'sha256=' }
///     mapping: { fingerprint: /id, title: '{{ check }} on {{ host }}' }
/// ```
///
/// `bearer`, `basic` and `token` are credentials: a message needs one that is right and none that
/// is wrong. `hmac` is a signature: where it is configured, every message needs one, beside a
/// credential if there is one too.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// What the sender speaks.
    pub format: Format,
    /// Token expected as `Authorization: Bearer TOKEN`.
    pub bearer: Option<SecretString>,
    /// User and password expected as `Authorization: Basic …`.
    pub basic: Option<BasicConfig>,
    /// Signature expected over the body.
    pub hmac: Option<HmacConfig>,
    /// Token expected as the last part of the path, for senders that can set no header.
    pub token: Option<SecretString>,
    /// `none` says that anybody who can reach the listener may send.
    pub authenticate: Option<Authenticate>,
    /// How to read the body; only for `generic`.
    pub mapping: Option<MappingConfig>,
    /// Labels that identify an alert of a sender without fingerprints; all of them unless given.
    pub identity: Option<Vec<String>>,
    /// After this long without a word about it an alert is `stale`; 12 h unless given.
    pub stale_after: Option<Period>,
    /// Largest body; 4 MiB unless given, at most 64 MiB.
    pub max_body: Option<ByteSize>,
}

/// The only word for "nothing authenticates".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Authenticate {
    /// Anybody may send.
    None,
}

/// HTTP basic authentication.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BasicConfig {
    /// The user; may hold no colon.
    pub username: String,
    /// The password.
    pub password: SecretString,
}

/// HMAC-SHA256 over the raw body.
///
/// | sender | `header` | `prefix` | `timestamp_header` | `signed` |
/// |---|---|---|---|---|
/// | GitHub | `X-Hub-Signature-256` | `sha256=` | | |
/// | Grafana | `X-Grafana-Alerting-Signature` | | as configured there | |
/// | PagerDuty | `X-PagerDuty-Signature` | `v1=` | | |
/// | Slack | `X-Slack-Signature` | `v0=` | `X-Slack-Request-Timestamp` | `v0:{timestamp}:{body}` |
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HmacConfig {
    /// The key, its bytes as they are.
    pub secret: SecretString,
    /// The header that carries one signature or several with commas between, of which one must match.
    pub header: String,
    /// What stands before each signature.
    #[serde(default)]
    pub prefix: String,
    /// How a signature is written.
    #[serde(default)]
    pub encoding: Encoding,
    /// The header that carries the time of signing in seconds since 1970; at most 300 s off.
    pub timestamp_header: Option<String>,
    /// What is signed: `{body}` and, with a timestamp header, `{timestamp}`. Unless given, `{body}`
    /// or `{timestamp}:{body}`.
    pub signed: Option<String>,
}

/// How the bytes of a signature are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Hexadecimal digits, in either case.
    #[default]
    Hex,
    /// Base64 with padding.
    Base64,
}
