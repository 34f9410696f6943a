//! From a host to a connection: resolve, check every address, connect to one that was checked.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use super::address::{self, Resolve, may_reach};
use super::pool::{Connection, Place};
use crate::sandbox::broker::Failure;

/// One hop: resolving, connecting, the TLS handshake.
const HOP: Duration = Duration::from_secs(5);
/// Addresses that are tried, of those that a name has.
const MAX_TRIES: usize = 4;
/// Bytes of an answer's head.
const MAX_HEAD: usize = 64 << 10;

/// Opens connections.
pub(super) struct Connector {
    resolver: Arc<dyn Resolve>,
    trust: RwLock<Arc<Trust>>,
}

/// Whom an https target may be vouched for by.
struct Trust {
    extra_roots: Vec<CertificateDer<'static>>,
    tls: OnceLock<Result<TlsConnector, String>>,
}

impl Trust {
    fn new(extra_roots: Vec<CertificateDer<'static>>) -> Arc<Self> {
        Arc::new(Self { extra_roots, tls: OnceLock::new() })
    }

    /// The system's roots cost some milliseconds: they are read at the first https request.
    fn tls(&self) -> Result<&TlsConnector, String> {
        self.tls.get_or_init(|| tls_connector(&self.extra_roots)).as_ref().map_err(Clone::clone)
    }
}

impl Connector {
    pub(super) fn new(resolver: Arc<dyn Resolve>, extra_roots: Vec<CertificateDer<'static>>) -> Self {
        Self { resolver, trust: RwLock::new(Trust::new(extra_roots)) }
    }

    /// Trusts these roots beside the system's from now on; false when they are the ones that it trusts already.
    pub(super) fn replace_roots(&self, extra_roots: Vec<CertificateDer<'static>>) -> bool {
        let mut trust = self.trust.write().unwrap_or_else(PoisonError::into_inner);
        if trust.extra_roots == extra_roots {
            return false;
        }
        *trust = Trust::new(extra_roots);
        true
    }

    /// Nothing has been sent when this fails.
    pub(super) async fn connect(
        &self,
        url: &Url,
        place: &Place,
        networks: &[IpNet],
        generation: u64,
        deadline: Instant,
    ) -> Result<Connection, Failure> {
        let addresses = self.addresses(url, networks, deadline).await?;
        let mut problem = None;
        for address in addresses.into_iter().take(MAX_TRIES) {
            let end = deadline.min(Instant::now() + HOP);
            match timeout_at(end, self.open(address, url, place)).await {
                Ok(Ok(sender)) => {
                    return Ok(Connection { sender, peer: address, opened: Instant::now(), generation });
                }
                Ok(Err(error)) => problem = Some(format!("{address}: {error}")),
                Err(_) => problem = Some(format!("{address}: no connection in time")),
            }
        }
        let problem = problem.unwrap_or_default();
        Err(Failure::known(
            "unreachable",
            format!("cannot connect to {}:{}: {problem}", place.host, place.port),
            true,
        ))
    }

    async fn addresses(
        &self,
        url: &Url,
        networks: &[IpNet],
        deadline: Instant,
    ) -> Result<Vec<IpAddr>, Failure> {
        let (host, addresses) = match url.host() {
            Some(Host::Ipv4(address)) => (address.to_string(), vec![IpAddr::V4(address)]),
            Some(Host::Ipv6(address)) => (address.to_string(), vec![IpAddr::V6(address).to_canonical()]),
            Some(Host::Domain(host)) => (host.to_owned(), self.resolve(host, deadline).await?),
            None => return Err(Failure::known("invalid-argument", "the address names no host", false)),
        };
        if addresses.is_empty() {
            return Err(Failure::known("unreachable", format!("{host} has no address"), true));
        }
        if let Some(hidden) = addresses.iter().find(|address| !may_reach(**address, networks)) {
            return Err(Failure::known("access-denied", address::hidden(&host, *hidden), false));
        }
        Ok(addresses)
    }

    async fn resolve(&self, host: &str, deadline: Instant) -> Result<Vec<IpAddr>, Failure> {
        let end = deadline.min(Instant::now() + HOP);
        match timeout_at(end, self.resolver.resolve(host)).await {
            Ok(Ok(addresses)) => Ok(addresses.into_iter().map(|address| address.to_canonical()).collect()),
            Ok(Err(error)) => {
                Err(Failure::known("unreachable", format!("cannot resolve {host}: {error}"), true))
            }
            Err(_) => Err(Failure::known("unreachable", format!("cannot resolve {host} in time"), true)),
        }
    }

    async fn open(
        &self,
        address: IpAddr,
        url: &Url,
        place: &Place,
    ) -> Result<SendRequest<Full<Bytes>>, String> {
        let stream = TcpStream::connect(SocketAddr::new(address, place.port))
            .await
            .map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        if !place.tls {
            return handshake(stream).await;
        }
        let host =
            url.host_str().unwrap_or_default().trim_matches(['[', ']']).trim_end_matches('.').to_owned();
        let name = ServerName::try_from(host).map_err(|error| error.to_string())?;
        let trust = Arc::clone(&self.trust.read().unwrap_or_else(PoisonError::into_inner));
        let stream = trust.tls()?.connect(name, stream).await.map_err(|error| error.to_string())?;
        handshake(stream).await
    }
}

fn tls_connector(extra_roots: &[CertificateDer<'static>]) -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::warn!(error = %error, "a certificate of the system cannot be read");
    }
    roots.add_parsable_certificates(native.certs);
    roots.add_parsable_certificates(extra_roots.iter().cloned());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn handshake<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    tokio::spawn(async move {
        // Whoever waits for an answer on it learns of its end; nobody else has to.
        if let Err(error) = connection.await {
            tracing::trace!(%error, "an http connection ended");
        }
    });
    Ok(sender)
}
