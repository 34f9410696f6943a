//! The servers that are asked who the members of a group are.

use staunch_core::limit::{Bearer, MemberQuery};
use url::{Host, Url};

use super::resolve::Resolver;

/// Longest address, in bytes.
const MOST_ADDRESS_BYTES: usize = 1_024;

/// Fills in the secret of a query, and says what is wrong with it: the key and the sentence about it.
pub(super) fn check(query: &mut MemberQuery, resolver: &Resolver<'_>) -> Result<(), String> {
    if let Some(bearer) = &query.bearer {
        let filled = resolver.fill(bearer.reveal()).map_err(|why| format!("bearer: {why}"))?;
        let sendable = |byte: u8| byte.is_ascii_graphic();
        if filled.is_empty() || !filled.bytes().all(sendable) {
            return Err("bearer must be a token of ASCII letters, digits and signs".to_owned());
        }
        query.bearer = Some(Bearer::new(filled));
    }
    address(&query.url, query.bearer.is_some()).map_err(|why| format!("url {why}"))
}

fn address(text: &str, with_token: bool) -> Result<(), String> {
    if text.len() > MOST_ADDRESS_BYTES {
        return Err(format!("must have at most {MOST_ADDRESS_BYTES} bytes"));
    }
    let url = Url::parse(text).map_err(|error| format!("{text:?} is no address: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("{text:?} must be http or https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must hold no credentials: there is the key \"bearer\"".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("{text:?} must be the server's address, without `?` and `#`"));
    }
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return Err(format!("{text:?} has no host")),
    };
    if with_token && url.scheme() == "http" && !loopback {
        return Err(format!("{text:?} must be https where a token is shown; http is for loopback only"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_an_address_and_nothing_else() {
        for (text, with_token, valid) in [
            ("http://prometheus.internal:9090", false, true),
            ("http://prometheus.internal:9090", true, false),
            ("https://prometheus.internal/prom/", true, true),
            ("http://localhost:9090", true, true),
            ("http://127.0.0.1:9090", true, true),
            ("ftp://a", false, false),
            ("prometheus:9090", false, false),
            ("http://me:secret@a", false, false),
            ("http://a?x=y", false, false),
            ("http://a#x", false, false),
            ("", false, false),
        ] {
            assert_eq!(address(text, with_token).is_ok(), valid, "{text} {with_token}");
        }
    }
}
