//! The texts of a new installation: a configuration and policies that are complete, commented and work.
//!
//! Never here: writing them, and the keys and tokens that they name.

use std::net::SocketAddr;

const CONFIGURATION: &str = include_str!("init/staunch.yaml");

/// The policy files of a new installation, by their paths in the policy folder.
pub const POLICIES: [(&str, &str); 7] = [
    ("schema.cedarschema", include_str!("../../../policies/schema.cedarschema")),
    ("guardrails.cedar", include_str!("../../../policies/guardrails.cedar")),
    ("people.cedar", include_str!("../../../policies/people.cedar")),
    (
        "runbooks/restart-unhealthy-service.yaml",
        include_str!("../../../policies/runbooks/restart-unhealthy-service.yaml"),
    ),
    ("runbooks/clean-full-disk.yaml", include_str!("../../../policies/runbooks/clean-full-disk.yaml")),
    ("runbooks/call-webhook.yaml", include_str!("../../../policies/runbooks/call-webhook.yaml")),
    ("cases/samples.yaml", include_str!("../../../policies/cases/samples.yaml")),
];

/// The trusted public key that the configuration names.
pub const AUTHOR_PUBLIC_KEY: &str = "keys/author.pub";

/// The tokens of alert sources that the configuration names, each in a file of its own: at least 8 bytes of
/// random text, mode 0600.
pub const SOURCE_TOKENS: [&str; 2] = ["keys/alertmanager.token", "keys/prometheus.token"];

/// The text of `staunch.yaml` for a machine of this name.
///
/// Characters of `host` that no host name has are left out; an empty rest stands as `localhost`.
#[must_use]
pub fn configuration(listen: SocketAddr, host: &str) -> String {
    let host = plain_host(host);
    CONFIGURATION
        .replace("@LISTEN@", &listen.to_string())
        .replace("@ORIGIN@", &origin(&host))
        .replace("@HOST@", &host)
}

/// The host's name without what no host name has; `localhost` where nothing is left.
fn plain_host(host: &str) -> String {
    let host: String =
        host.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.')).take(253).collect();
    if host.is_empty() { "localhost".to_owned() } else { host }
}

/// The name of the log of an installation on this host.
#[must_use]
pub fn origin(host: &str) -> String {
    format!("{}/staunch", plain_host(host))
}
