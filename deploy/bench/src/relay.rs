//! The bare relay: takes the same alert, makes one POST of it, and answers. No authentication, no policy, no
//! sandbox, no journal: what the machine and hyper alone cost. It runs in a process of its own, on as many threads
//! as the daemon.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::Deserialize;
use tokio::net::TcpListener;

use crate::daemon::RELAY_GREETING;
use crate::options::RelayArgs;
use crate::report;

/// What it reads of an alert.
#[derive(Debug, Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    alerts: Vec<Entry<'a>>,
}

#[derive(Debug, Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    labels: Labels<'a>,
}

#[derive(Debug, Deserialize)]
struct Labels<'a> {
    #[serde(borrow)]
    instance: Cow<'a, str>,
}

type Outgoing = Client<HttpConnector, Full<Bytes>>;

/// Serves until it is ended.
pub(crate) fn serve(args: &RelayArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime")?;
    runtime.block_on(async {
        let listener =
            TcpListener::bind(args.listen).await.with_context(|| format!("listen on {}", args.listen))?;
        let address = listener.local_addr().context("the relay's address")?;
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client: Outgoing = Client::builder(TokioExecutor::new()).build(connector);
        let target = args.target;
        report::line(&format!("{RELAY_GREETING}{address}"))?;
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            drop(stream.set_nodelay(true));
            let client = client.clone();
            tokio::spawn(async move {
                let service = service_fn(|request| relay(&client, target, request));
                drop(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await,
                );
            });
        }
    })
}

async fn relay(
    client: &Outgoing,
    target: SocketAddr,
    request: Request<Incoming>,
) -> anyhow::Result<Response<Full<Bytes>>> {
    let body = request.into_body().collect().await.context("the alert")?.to_bytes();
    let message: Message<'_> = serde_json::from_slice(&body).context("the alert")?;
    for alert in &message.alerts {
        let instance = &alert.labels.instance;
        let outgoing = Request::post(format!("http://{target}/act/{instance}"))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(format!(r#"{{"instance":"{instance}"}}"#))))
            .context("the request")?;
        let answer = client.request(outgoing).await.context("the target")?;
        drop(answer.into_body().collect().await);
    }
    let mut answer = Response::new(Full::new(Bytes::from_static(b"{}")));
    *answer.status_mut() = StatusCode::ACCEPTED;
    Ok(answer)
}
