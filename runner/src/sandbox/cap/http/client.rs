//! One exchange, and what is known of the world when it fails.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Uri};
use http_body_util::Full;
use rustls::pki_types::CertificateDer;
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::address::Resolve;
use super::answer;
use super::connect::Connector;
use super::pool::{Connection, Place, Pool};
use super::request::{Request, Response};
use crate::causes::chain;
use crate::sandbox::broker::{Failure, Site};
use crate::sandbox::grants::HttpLeave;

const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("staunch/", env!("CARGO_PKG_VERSION")));
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const ANYTHING: HeaderValue = HeaderValue::from_static("*/*");

/// All outgoing requests of all runs.
pub(in crate::sandbox) struct Client {
    connector: Connector,
    pool: Pool,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("pool", &self.pool).finish_non_exhaustive()
    }
}

impl Client {
    pub(in crate::sandbox) fn new(
        resolver: Arc<dyn Resolve>,
        extra_roots: Vec<CertificateDer<'static>>,
    ) -> Self {
        Self { connector: Connector::new(resolver, extra_roots), pool: Pool::default() }
    }

    /// Trusts these roots beside the system's from now on. What was connected to under others is not used again.
    pub(in crate::sandbox) fn replace_roots(&self, extra_roots: Vec<CertificateDer<'static>>) {
        if self.connector.replace_roots(extra_roots) {
            self.pool.renew();
        }
    }

    /// Sends a request and reads the whole answer, until the deadline. A failure is in doubt exactly when some
    /// of the request may have left and no whole answer came.
    pub(super) async fn exchange(
        &self,
        request: &Request,
        site: &Site<'_, HttpLeave>,
        deadline: Instant,
    ) -> Result<Response, Failure> {
        let place = place_of(&request.url);
        let message = self.message(request, site, &place)?;
        let (mut connection, sent) = self.send(request, &place, site.leave, deadline, message).await?;
        let answer = match timeout_at(deadline, answer::read(sent)).await {
            Ok(answer) => answer?,
            Err(_) => {
                return Err(Failure::in_doubt(
                    "timeout",
                    format!("no whole answer from {} in time", request.target()),
                ));
            }
        };
        // The connection's own task has still to see the end of the body.
        if !connection.sender.is_ready() {
            let settled = std::future::poll_fn(|context| connection.sender.poll_ready(context));
            if !matches!(
                tokio::time::timeout(std::time::Duration::from_millis(50), settled).await,
                Ok(Ok(()))
            ) {
                return Ok(answer);
            }
        }
        self.pool.put(place, connection);
        Ok(answer)
    }

    /// Hands the request to a connection and waits for the answer's head. A connection that went away before
    /// anything was written is replaced.
    async fn send(
        &self,
        request: &Request,
        place: &Place,
        leave: &HttpLeave,
        deadline: Instant,
        mut message: http::Request<Full<Bytes>>,
    ) -> Result<(Connection, http::Response<hyper::body::Incoming>), Failure> {
        loop {
            let (mut connection, pooled) = match self.pool.take(place, &leave.networks) {
                Some(connection) => (connection, true),
                None => {
                    let generation = self.pool.generation();
                    let connecting =
                        self.connector.connect(&request.url, place, &leave.networks, generation, deadline);
                    (connecting.await?, false)
                }
            };
            match timeout_at(deadline, connection.sender.try_send_request(message)).await {
                Ok(Ok(answer)) => return Ok((connection, answer)),
                Ok(Err(mut error)) => {
                    let text = chain(error.error());
                    match error.take_message() {
                        Some(unsent) if pooled => message = unsent,
                        Some(_) => {
                            return Err(Failure::known(
                                "unreachable",
                                format!("nothing could be sent: {text}"),
                                true,
                            ));
                        }
                        None => {
                            let text = format!("no answer from {}: {text}", request.target());
                            return Err(Failure::in_doubt("connection-lost", text));
                        }
                    }
                }
                Err(_) => {
                    return Err(Failure::in_doubt(
                        "timeout",
                        format!("no answer from {} in time", request.target()),
                    ));
                }
            }
        }
    }

    fn message(
        &self,
        request: &Request,
        site: &Site<'_, HttpLeave>,
        place: &Place,
    ) -> Result<http::Request<Full<Bytes>>, Failure> {
        let known = |error| Failure { error, in_doubt: false };
        let secrets = site.world.secrets();
        let mut headers = request.header_map(&secrets).map_err(known)?;
        let body = request.filled_body(&secrets).map_err(known)?;
        own_headers(&mut headers, place, site.key)
            .map_err(|error| Failure::known("invalid-argument", error, false))?;
        let query = request.url.query().map(|query| format!("?{query}")).unwrap_or_default();
        let uri: Uri = format!("{}{query}", request.url.path()).parse().map_err(|error| {
            Failure::known("invalid-argument", format!("the address cannot be sent: {error}"), false)
        })?;
        let mut message = http::Request::new(Full::new(body));
        *message.method_mut() = request.method.clone();
        *message.uri_mut() = uri;
        *message.headers_mut() = headers;
        Ok(message)
    }
}

fn own_headers(headers: &mut HeaderMap, place: &Place, key: Option<&str>) -> Result<(), String> {
    let default = if place.tls { 443 } else { 80 };
    let host = match place.port == default {
        true => HeaderValue::from_str(&place.host),
        false => HeaderValue::from_str(&format!("{}:{}", place.host, place.port)),
    };
    headers.insert(header::HOST, host.map_err(|error| error.to_string())?);
    headers.entry(header::USER_AGENT).or_insert(USER_AGENT);
    headers.entry(header::ACCEPT).or_insert(ANYTHING);
    if let Some(key) = key {
        headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_str(key).map_err(|error| error.to_string())?);
    }
    Ok(())
}

fn place_of(url: &Url) -> Place {
    Place {
        tls: url.scheme() == "https",
        host: url.host_str().unwrap_or_default().to_owned(),
        port: url.port_or_known_default().unwrap_or_default(),
    }
}
