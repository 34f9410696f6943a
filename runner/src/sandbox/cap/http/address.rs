//! Which addresses may be reached.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::future::BoxFuture;
use ipnet::IpNet;
use staunch_core::effect::CallError;
use url::{Host, Url};

/// Turns a host name into addresses. A seam: tests answer as a hostile name server would.
pub trait Resolve: Send + Sync {
    /// All addresses of `host`.
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;
}

/// The machine's own resolver.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect())
        })
    }
}

/// Refuses a request to an address that is not public and that the grant does not name, as far as the request
/// itself says where it goes: by an address, or by a name that stands for this machine everywhere (RFC 6761).
pub(in crate::sandbox) fn refuse_hidden(url: &Url, networks: &[IpNet]) -> Result<(), CallError> {
    const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let addresses: &[IpAddr] = match url.host() {
        Some(Host::Ipv4(address)) => &[IpAddr::V4(address)],
        Some(Host::Ipv6(address)) => &[IpAddr::V6(address)],
        Some(Host::Domain(name)) if is_this_machine(name) => &LOOPBACK,
        Some(Host::Domain(_)) | None => return Ok(()),
    };
    if addresses.iter().any(|address| may_reach(*address, networks)) {
        return Ok(());
    }
    let address = addresses.first().map(IpAddr::to_canonical).unwrap_or(LOOPBACK[0]);
    Err(CallError::denied(hidden(url.host_str().unwrap_or_default(), address)))
}

fn is_this_machine(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost")
}

/// Why a host is not reached, and what would let it be.
pub(super) fn hidden(host: &str, address: IpAddr) -> String {
    let length = if address.is_ipv4() { 32 } else { 128 };
    let place = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(_) => format!("{host} is"),
        Err(_) => format!("{host} is at {address}, which is"),
    };
    format!(
        "{place} not public; a grant reaches it only by naming its network: add \
         ` @{address}/{length}` to the pattern"
    )
}

/// Whether an address may be reached: a public one, or one in a network that the grant names.
pub(super) fn may_reach(address: IpAddr, networks: &[IpNet]) -> bool {
    let address = address.to_canonical();
    is_public(address) || networks.iter().any(|network| network.contains(&address))
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// Ranges of the IANA special-purpose registry, and what clouds put into public space.
fn is_public_v4(address: Ipv4Addr) -> bool {
    /// The network's first address and its prefix length.
    const SPECIAL: [([u8; 4], u32); 16] = [
        ([0, 0, 0, 0], 8),
        ([10, 0, 0, 0], 8),
        ([100, 64, 0, 0], 10),
        ([127, 0, 0, 0], 8),
        ([168, 63, 129, 16], 32), // Azure's metadata and DNS
        ([169, 254, 0, 0], 16),
        ([172, 16, 0, 0], 12),
        ([192, 0, 0, 0], 24),
        ([192, 0, 2, 0], 24),
        ([192, 88, 99, 0], 24), // 6to4 relays
        ([192, 168, 0, 0], 16),
        ([198, 18, 0, 0], 15),
        ([198, 51, 100, 0], 24),
        ([203, 0, 113, 0], 24),
        ([224, 0, 0, 0], 4),
        ([240, 0, 0, 0], 4),
    ];
    let bits = address.to_bits();
    SPECIAL.iter().all(|(network, length)| (bits ^ u32::from_be_bytes(*network)) >> (32 - length) != 0)
}

/// Global unicast is `2000::/3`; everything else (loopback, ULA, link-local, mapped, NAT64, multicast) is not,
/// and neither are the special ranges inside it.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let [first, second, ..] = segments;
    let global = first & 0xe000 == 0x2000;
    let protocol_assignments = first == 0x2001 && second < 0x0200; // Teredo, ORCHID, benchmarking
    let documentation = (first == 0x2001 && second == 0x0db8) || (first == 0x3fff && second < 0x1000);
    let six_to_four = first == 0x2002;
    global && !protocol_assignments && !documentation && !six_to_four
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_names_a_hidden_address_is_refused_before_it_is_made() {
        let check = |address: &str, network: &[&str]| {
            let networks: Vec<IpNet> = network.iter().map(|network| network.parse().unwrap()).collect();
            refuse_hidden(&Url::parse(address).unwrap(), &networks)
        };
        for (address, network) in [
            ("http://127.1/", "127.0.0.0/8"),
            ("http://127.0.0.1./", "127.0.0.1/32"),
            ("http://10.0.0.1/", "10.0.0.0/8"),
            ("http://169.254.169.254/", "169.254.169.254/32"),
            ("http://[::1]/", "::1/128"),
            ("http://[::ffff:127.0.0.1]/", "127.0.0.1/32"),
            ("http://[::ffff:10.0.0.1]/", "10.0.0.1/32"),
            ("http://localhost/", "127.0.0.0/8"),
            ("http://LOCALHOST./", "::1/128"),
            ("http://web.localhost/", "127.0.0.1/32"),
        ] {
            let refusal = check(address, &["192.168.0.0/16"]).unwrap_err();
            assert!(refusal.is_denial() && refusal.message.contains("not public"), "{address}: {refusal:?}");
            assert_eq!(check(address, &[network]), Ok(()), "{address}");
        }
        for address in [
            "http://1.1.1.1/",
            "http://[2606:4700::1111]/",
            "http://db.internal/",
            "http://localhost.example/",
        ] {
            assert_eq!(check(address, &[]), Ok(()), "{address}");
        }
    }

    #[test]
    fn addresses_that_are_not_public_need_a_name_in_the_grant() {
        let hidden = [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.1.1.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "3fff::1",
            "fd00:ec2::254",
            "fc00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "100::1",
        ];
        for address in hidden {
            let address: IpAddr = address.parse().unwrap();
            assert!(!may_reach(address, &[]), "{address}");
            assert!(may_reach(address, &[IpNet::from(address.to_canonical())]), "{address}");
        }
        for address in
            ["1.1.1.1", "172.32.0.1", "100.128.0.1", "198.20.0.1", "2606:4700::1111", "::ffff:1.1.1.1"]
        {
            assert!(may_reach(address.parse().unwrap(), &[]), "{address}");
        }
    }
}
