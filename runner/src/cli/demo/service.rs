//! The service that breaks: it logs every request, its log tree has a quota, and without room for its log it
//! refuses to work.

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;

use super::super::Failure;

/// What the log tree may hold, in bytes.
const QUOTA: u64 = 4 << 20;

/// A running service; it ends with the process.
#[derive(Debug)]
pub(super) struct Service {
    url: String,
    logs: PathBuf,
}

impl Service {
    /// Starts it on loopback, with a log tree that a busy week has filled.
    pub(super) async fn start(logs: &Path) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::Unreachable(format!("the demo's service: {error}"));
        std::fs::create_dir_all(logs).map_err(failed)?;
        fill(logs).map_err(failed)?;
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let url = format!("http://{}", listener.local_addr().map_err(failed)?);
        let app = Router::new().route("/healthz", get(healthz)).with_state(logs.to_owned());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(Self { url, logs: logs.to_owned() })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn logs(&self) -> &Path {
        &self.logs
    }

    /// What its health check answers.
    #[expect(clippy::disallowed_methods, reason = "the demo looks at its own service from outside")]
    pub(super) async fn health(&self) -> Result<(u16, String), Failure> {
        let failed = |error: reqwest::Error| Failure::Unreachable(format!("the demo's service: {error}"));
        let client =
            reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().map_err(failed)?;
        let response = client.get(format!("{}/healthz", self.url)).send().await.map_err(failed)?;
        let status = response.status().as_u16();
        Ok((status, response.text().await.map_err(failed)?))
    }
}

/// A week of logs: one current, the others rotated, and no room left.
fn fill(logs: &Path) -> std::io::Result<()> {
    let line = b"GET /cart 200 12ms customer=4711 a line like thousands of others\n";
    let each = usize::try_from(QUOTA / 4).unwrap_or(usize::MAX);
    let content: Vec<u8> = line.iter().copied().cycle().take(each).collect();
    std::fs::write(logs.join("shop.log"), &content)?;
    for day in 1..=3_u64 {
        let path = logs.join(format!("shop.log.{day}"));
        std::fs::write(&path, &content)?;
        let modified = std::fs::metadata(&path)?.modified()? - Duration::from_secs(day * 86_400);
        std::fs::File::options().write(true).open(&path)?.set_modified(modified)?;
    }
    Ok(())
}

fn used(logs: &Path) -> std::io::Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(logs)? {
        sum += entry?.metadata()?.len();
    }
    Ok(sum)
}

async fn healthz(State(logs): State<PathBuf>) -> (StatusCode, String) {
    let line = b"GET /healthz 200\n";
    let work = || -> std::io::Result<Option<u64>> {
        let used = used(&logs)?;
        if used + line.len() as u64 > QUOTA {
            return Ok(None);
        }
        let mut log = std::fs::File::options().append(true).create(true).open(logs.join("shop.log"))?;
        std::io::Write::write_all(&mut log, line)?;
        Ok(Some(used))
    };
    match work() {
        Ok(Some(used)) => (StatusCode::OK, format!("ok: {used} of {QUOTA} bytes of logs")),
        Ok(None) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("no room for a log line: the quota of {QUOTA} bytes is full"),
        ),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}
