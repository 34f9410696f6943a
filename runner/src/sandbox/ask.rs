//! Asks a server of the operator's own configuration: as a probe looks, with the same bounds and the same authorities,
//! and nobody but the host asks. The address is its own grant.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use url::Url;

use super::Sandbox;
use super::broker::{Function as _, Site};
use super::cap::http::{Read, Request, RequestRecord};
use super::grants::Grants;

/// What asks, in refusals.
const OWNER: &str = "groups";

impl Sandbox {
    /// Gets one answer: its status and its body. Redirects are not followed; the body is bounded as any answer is.
    ///
    /// # Errors
    /// Why there is none, in a sentence without the address's query and without the token.
    pub async fn ask_server(
        &self,
        url: &Url,
        bearer: Option<&str>,
        within: Duration,
    ) -> Result<(u16, Vec<u8>), String> {
        let deadline = Instant::now() + within;
        let authorization = bearer.map(|token| ("authorization".to_owned(), format!("Bearer {token}")));
        let record = RequestRecord {
            method: "GET".to_owned(),
            url: url.to_string(),
            headers: authorization.into_iter().collect(),
            body: None,
            timeout_ms: None,
        };
        let read = Request::new(record).map(Read).map_err(|error| error.message)?;
        let grants = own_grant(url)?;
        let leave = read.authorise(&grants).map_err(|error| error.message)?;
        let site = Site { world: &self.world, leave: &leave, deadline, key: None };
        match timeout_at(deadline, read.perform(site)).await {
            Ok(Ok(response)) => Ok((response.status, response.body)),
            Ok(Err(failure)) => Err(failure.error.message),
            Err(_) => Err("no answer in time".to_owned()),
        }
    }
}

/// The grant for exactly this server, wherever its name leads: the operator wrote it.
fn own_grant(url: &Url) -> Result<Grants, String> {
    let origin = url.origin().ascii_serialization();
    let (v4, v6) = (Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED);
    let pattern = format!("GET {origin}/** @{v4}/0 @{v6}/0");
    let map = BTreeMap::from([("http".to_owned(), BTreeMap::from([("read".to_owned(), vec![pattern])]))]);
    Grants::own(OWNER, &map).map_err(|error| error.to_string())
}
