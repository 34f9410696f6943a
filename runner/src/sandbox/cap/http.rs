//! `http`: requests to hosts that the grants name.
//!
//! The way of a request: the address is parsed and normalised, matched with the grants, resolved by us, *all*
//! its addresses are checked, the connection goes to one that was checked, and the answer is bounded in time,
//! size, headers and decompression. Redirects and proxies are never followed.

mod address;
mod answer;
mod client;
mod connect;
mod pool;
mod request;

pub(in crate::sandbox) use self::address::refuse_hidden;
pub use self::address::{Resolve, SystemResolver};
pub(in crate::sandbox) use self::client::Client;
pub(in crate::sandbox) use self::request::{
    Request, RequestRecord, Response, body_value, deserialize_body, serialize_body,
};

use std::time::Duration;

use serde_json::Value;
use staunch_core::effect::{CallError, Repeat};
use tokio::time::Instant;
use wasmtime::component::Linker;

use super::table;
use super::types::{Awaited, Intent};
use crate::sandbox::broker::{self, Failure, Function, Site};
use crate::sandbox::capability;
use crate::sandbox::grants::{Grants, HttpLeave};
use crate::sandbox::run::Run;

/// Between two looks of `await-status`.
const POLL: Duration = Duration::from_millis(500);
/// One look of `await-status`.
const LOOK: Duration = Duration::from_secs(5);

/// `http.read`
pub(in crate::sandbox) struct Read(pub(in crate::sandbox) Request);

/// Headers that are another with every answer.
const OF_THE_MOMENT: [&str; 8] =
    ["date", "age", "expires", "connection", "keep-alive", "server-timing", "x-request-id", "via"];

/// Whether two answers tell the same.
fn same_answer(before: &Value, now: &Value) -> bool {
    let headers = |answer: &Value| -> Vec<Value> {
        let headers = answer.get("headers").and_then(Value::as_array).cloned().unwrap_or_default();
        let name = |header: &Value| header.get(0).and_then(Value::as_str).unwrap_or_default().to_owned();
        headers.into_iter().filter(|header| !OF_THE_MOMENT.contains(&name(header).as_str())).collect()
    };
    ["status", "body"].iter().all(|member| before.get(member) == now.get(member))
        && headers(before) == headers(now)
}

impl Function for Read {
    const FUNCTION: &'static capability::Function = table!("http", "read");
    type Output = Response;
    type Leave = HttpLeave;

    fn target(&self, _host: Option<&str>) -> String {
        self.0.target()
    }

    fn host_bound(&self) -> bool {
        false
    }

    fn arguments(&self) -> Value {
        self.0.arguments()
    }

    fn authorise(&self, grants: &Grants) -> Result<HttpLeave, CallError> {
        self.0.authorise(grants, Self::FUNCTION.name)
    }

    fn same(before: &Value, now: &Value) -> bool {
        same_answer(before, now)
    }

    fn assume(&self) -> Response {
        Response::empty()
    }

    async fn perform(&self, site: Site<'_, HttpLeave>) -> Result<Response, Failure> {
        let deadline = self.0.deadline(site.deadline);
        site.world.http.exchange(&self.0, &site, deadline).await
    }
}

/// `http.send`
struct Send(Request);

impl Function for Send {
    const FUNCTION: &'static capability::Function = table!("http", "send");
    type Output = Response;
    type Leave = HttpLeave;

    fn target(&self, _host: Option<&str>) -> String {
        self.0.target()
    }

    fn host_bound(&self) -> bool {
        false
    }

    fn arguments(&self) -> Value {
        self.0.arguments()
    }

    fn authorise(&self, grants: &Grants) -> Result<HttpLeave, CallError> {
        self.0.authorise(grants, Self::FUNCTION.name)
    }

    fn repeat(&self, leave: &HttpLeave) -> Repeat {
        if leave.idempotent { Repeat::Repeatable } else { Repeat::Once }
    }

    fn assume(&self) -> Response {
        Response::empty()
    }

    async fn perform(&self, site: Site<'_, HttpLeave>) -> Result<Response, Failure> {
        let deadline = self.0.deadline(site.deadline);
        site.world.http.exchange(&self.0, &site, deadline).await
    }
}

/// `http.await-status`
struct AwaitStatus {
    request: Request,
    status: u16,
    timeout: Duration,
    /// Looks once, however long it might wait.
    once: bool,
}

impl Function for AwaitStatus {
    const FUNCTION: &'static capability::Function = table!("http", "await-status");
    type Output = Awaited;
    type Leave = HttpLeave;

    fn target(&self, _host: Option<&str>) -> String {
        self.request.target()
    }

    fn host_bound(&self) -> bool {
        false
    }

    fn arguments(&self) -> Value {
        let mut arguments = self.request.arguments();
        if let Value::Object(members) = &mut arguments {
            members.insert("status".to_owned(), self.status.into());
            members.insert(
                "timeout_ms".to_owned(),
                u64::try_from(self.timeout.as_millis()).unwrap_or_default().into(),
            );
        }
        arguments
    }

    fn authorise(&self, grants: &Grants) -> Result<HttpLeave, CallError> {
        self.request.authorise(grants, Self::FUNCTION.name)
    }

    fn assume(&self) -> Awaited {
        Awaited::assumed(&self.status.to_string())
    }

    fn hurry(&mut self) {
        self.once = true;
    }

    fn same(before: &Value, now: &Value) -> bool {
        Awaited::same(before, now)
    }

    fn polls(awaited: &Awaited) -> u32 {
        awaited.polls
    }

    async fn perform(&self, site: Site<'_, HttpLeave>) -> Result<Awaited, Failure> {
        let patience = if self.once { LOOK } else { self.timeout };
        let end = site.deadline.min(Instant::now() + patience);
        let mut awaited = Awaited { met: false, assumed: false, last: String::new(), polls: 0 };
        loop {
            let look = end.min(Instant::now() + LOOK);
            awaited.polls += 1;
            match site.world.http.exchange(&self.request, &site, look).await {
                Ok(answer) => {
                    awaited.last = answer.status.to_string();
                    awaited.met = answer.status == self.status;
                }
                Err(failure) if failure.error.is_denial() => return Err(failure),
                Err(failure) => awaited.last = failure.error.message,
            }
            if awaited.met || self.once || Instant::now() + POLL >= end {
                return Ok(awaited);
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

pub(super) fn link(linker: &mut Linker<Run>) -> wasmtime::Result<()> {
    let mut interface = linker.instance("staunch:http/http@1.0.0")?;
    interface.func_wrap_async("read", |store, (request,): (RequestRecord,)| {
        Box::new(async move { Ok((broker::reading(store, Request::new(request).map(Read)).await?,)) })
    })?;
    interface.func_wrap_async("send", |store, (request, intent): (RequestRecord, Intent)| {
        Box::new(async move { Ok((broker::effect(store, Request::new(request).map(Send), intent).await?,)) })
    })?;
    interface.func_wrap_async(
        "await-status",
        |store, (request, status, timeout): (RequestRecord, u16, u32)| {
            let timeout = Duration::from_millis(u64::from(timeout));
            let function =
                Request::new(request).map(|request| AwaitStatus { request, status, timeout, once: false });
            Box::new(async move { Ok((broker::reading(store, function).await?,)) })
        },
    )
}
