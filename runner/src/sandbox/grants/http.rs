//! Patterns over requests: `METHOD SCHEME://HOST[:PORT]/PATH [@CIDR ...] [idempotent]`.
//!
//! The host is exact, `*.example.com` (one label), `**.example.com` (any depth) or `**` (any). Without a port,
//! the scheme's own; `:*` is any. The path is a glob, matched after decoding; a pattern with `?` also matches
//! the query, one without leaves it free. `**` alone is any address.
//!
//! Addresses that are not public are reached only when the operator's pattern names them: by an IP literal, by
//! `localhost`, or by a network (`@10.0.0.0/8`) into which the host's name must resolve.

use std::net::IpAddr;

use ipnet::IpNet;
use url::{Host, Url};

use super::glob::Glob;

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HttpPattern {
    /// `None` is any.
    method: Option<String>,
    scheme: Option<String>,
    host: HostPattern,
    port: PortPattern,
    path: Glob,
    query: Option<Glob>,
    networks: Vec<IpNet>,
    idempotent: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum HostPattern {
    Any,
    Exact(String),
    /// `.example.com`, below which one label or any depth is meant.
    Below {
        suffix: String,
        deep: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PortPattern {
    Any,
    Default,
    Exact(u16),
}

/// What the grants say about one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::sandbox) struct HttpLeave {
    /// Networks that are reachable although they are not public.
    pub(in crate::sandbox) networks: Vec<IpNet>,
    /// Whether the target honours `Idempotency-Key`.
    pub(in crate::sandbox) idempotent: bool,
}

impl HttpLeave {
    pub(super) fn and(mut self, pattern: &HttpPattern) -> Self {
        self.networks.extend_from_slice(&pattern.networks);
        self.idempotent |= pattern.idempotent;
        self
    }
}

/// Whether a method only looks, by its definition (RFC 9110).
pub(super) fn is_safe(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS")
}

/// The decoded path that patterns are matched with.
///
/// Servers differ in whether `%2F` is a slash and `%2E` a dot, so they count as such here, and a path that
/// climbs then is refused.
pub(super) fn match_path(url: &Url) -> Result<String, String> {
    let path = decode(url.path());
    let climbs = path.split(['/', '\\']).any(|segment| matches!(segment, "." | ".."));
    if climbs
        || path.contains(|c: char| c.is_control() || c == '\\')
        || path.contains("%2e")
        || path.contains("%2E")
    {
        return Err(format!("the path of {url} climbs or hides characters"));
    }
    Ok(path)
}

fn decode(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while let Some(&byte) = bytes.get(index) {
        let digit = |at: usize| bytes.get(at).and_then(|&digit| char::from(digit).to_digit(16));
        match (byte, digit(index + 1), digit(index + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).unwrap_or(b'%'));
                index += 3;
            }
            _ => {
                decoded.push(byte);
                index += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

impl HttpPattern {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut words = text.split_ascii_whitespace();
        let (Some(method), Some(address)) = (words.next(), words.next()) else {
            return Err("it needs a method and an address".to_owned());
        };
        let method = parse_method(method)?;
        let mut pattern = parse_address(address)?;
        pattern.method = method;
        for clause in words {
            if clause == "idempotent" {
                pattern.idempotent = true;
            } else if let Some(network) = clause.strip_prefix('@') {
                pattern
                    .networks
                    .push(network.parse().map_err(|_| format!("{network:?} is no network like 10.0.0.0/8"))?);
            } else {
                return Err(format!("{clause:?} is neither `@NETWORK` nor `idempotent`"));
            }
        }
        Ok(pattern)
    }

    pub(super) fn any_method(&self) -> bool {
        self.method.is_none()
    }

    /// `path` is [`match_path`] of the address.
    pub(super) fn matches(&self, method: &str, url: &Url, path: &str) -> bool {
        let query = || self.query.as_ref().is_none_or(|glob| glob.matches(url.query().unwrap_or_default()));
        self.method.as_deref().is_none_or(|wanted| wanted == method)
            && self.scheme.as_deref().is_none_or(|wanted| wanted == url.scheme())
            && self.host.matches(url.host_str().unwrap_or_default())
            && match self.port {
                PortPattern::Any => true,
                PortPattern::Default => url.port().is_none(),
                PortPattern::Exact(port) => url.port_or_known_default() == Some(port),
            }
            && self.path.matches(path)
            && query()
    }
}

impl HostPattern {
    fn matches(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(wanted) => wanted == host,
            Self::Below { suffix, deep } => host
                .strip_suffix(suffix.as_str())
                .is_some_and(|label| !label.is_empty() && (*deep || !label.contains('.'))),
        }
    }
}

fn parse_method(text: &str) -> Result<Option<String>, String> {
    match text {
        "*" => Ok(None),
        "CONNECT" | "TRACE" => Err(format!("{text} is never sent")),
        _ if text.bytes().all(|byte| byte.is_ascii_uppercase()) => Ok(Some(text.to_owned())),
        _ => Err(format!("{text:?} is no method: upper-case letters, or `*` for any")),
    }
}

fn parse_address(text: &str) -> Result<HttpPattern, String> {
    let any = HttpPattern {
        method: None,
        scheme: None,
        host: HostPattern::Any,
        port: PortPattern::Any,
        path: Glob::new("**"),
        query: None,
        networks: Vec::new(),
        idempotent: false,
    };
    if text == "**" {
        return Ok(any);
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err("an address begins with http:// or https://".to_owned());
    };
    let scheme = match scheme {
        "*" => None,
        "http" | "https" => Some(scheme.to_owned()),
        _ => return Err(format!("{scheme:?} is neither http nor https")),
    };
    if rest == "**" {
        return Ok(HttpPattern { scheme, ..any });
    }
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, "/"),
    };
    let (host, port) = split_port(authority)?;
    let (host, networks) = parse_host(host)?;
    let (path, query) = match path.split_once('?') {
        Some((path, query)) => (path, Some(Glob::new(query))),
        None => (path, None),
    };
    let path = Glob::path(path)?;
    // A port that is the scheme's own is normalised away in addresses.
    let port = match (&host, port) {
        (HostPattern::Any, None) => PortPattern::Any,
        (_, None) => PortPattern::Default,
        (_, Some("*")) => PortPattern::Any,
        (_, Some(port)) => PortPattern::Exact(port.parse().map_err(|_| format!("{port:?} is no port"))?),
    };
    Ok(HttpPattern { scheme, host, port, path, query, networks, ..any })
}

fn split_port(authority: &str) -> Result<(&str, Option<&str>), String> {
    if authority.contains('@') {
        return Err("an address holds no user name".to_owned());
    }
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => Ok((host, Some(port))),
        _ => Ok((authority, None)),
    }
}

/// The host, and the networks that naming it opens.
fn parse_host(text: &str) -> Result<(HostPattern, Vec<IpNet>), String> {
    if text == "**" || text == "*" {
        return Ok((HostPattern::Any, Vec::new()));
    }
    for (prefix, deep) in [("**.", true), ("*.", false)] {
        if let Some(below) = text.strip_prefix(prefix) {
            let host = exact_host(below)?;
            return Ok((HostPattern::Below { suffix: format!(".{host}"), deep }, Vec::new()));
        }
    }
    if text.contains('*') {
        return Err("a wildcard in a host is `*.` or `**.` at its beginning, or `**` alone".to_owned());
    }
    let host = exact_host(text)?;
    let networks = match host.to_string().trim_matches(['[', ']']) {
        "localhost" => {
            vec![IpNet::V4(loopback_v4()), IpNet::from(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1_u16]))]
        }
        literal => {
            literal.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical())).into_iter().collect()
        }
    };
    Ok((HostPattern::Exact(host.to_string()), networks))
}

fn loopback_v4() -> ipnet::Ipv4Net {
    ipnet::Ipv4Net::new_assert(std::net::Ipv4Addr::new(127, 0, 0, 0), 8)
}

fn exact_host(text: &str) -> Result<Host, String> {
    // As the parser of special schemes does it, so that both sides are normalised alike.
    Host::parse(text).map_err(|error| format!("{text:?} is no host: {error}"))
}
