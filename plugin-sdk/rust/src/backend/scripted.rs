//! The backend of unit tests: every call becomes a name and JSON arguments, answered by the fake's world.

use std::cell::RefCell;
use std::rc::Rc;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::fake::World;
use crate::file::{Deletion, Filesystem, Freed, Metadata};
use crate::http::{Parts, Response};
use crate::log::Level;
use crate::process::Output;
use crate::service::UnitStatus;
use crate::{Awaited, Error, Intent, json as bytes};

/// A shared, scripted world.
#[derive(Debug, Clone, Default)]
pub(crate) struct Backend {
    pub(crate) world: Rc<RefCell<World>>,
}

impl Backend {
    fn reading<T: DeserializeOwned>(&self, call: &str, arguments: Value) -> Result<T, Error> {
        let answer = self.world.borrow_mut().reading(call, arguments)?;
        Ok(typed(call, answer))
    }

    fn effect<T: DeserializeOwned>(&self, call: &str, arguments: Value, intent: Intent) -> Result<T, Error> {
        let answer = self.world.borrow_mut().effect(call, arguments, intent)?;
        Ok(typed(call, answer))
    }

    pub(crate) fn http_read(&self, request: Parts) -> Result<Response, Error> {
        self.reading("http.read", arguments_of(request))
    }

    pub(crate) fn http_send(&self, request: Parts, intent: Intent) -> Result<Response, Error> {
        self.effect("http.send", arguments_of(request), intent)
    }

    pub(crate) fn http_await_status(
        &self,
        request: Parts,
        status: u16,
        timeout_ms: u32,
    ) -> Result<Awaited, Error> {
        // The wait's own limit is what counts; a request's own timeout has the same name in the flat form.
        let mut arguments = arguments_of(request);
        arguments["status"] = json!(status);
        arguments["timeout_ms"] = json!(timeout_ms);
        self.reading("http.await-status", arguments)
    }

    pub(crate) fn file_stat(&self, path: &str) -> Result<Metadata, Error> {
        self.reading("file.stat", json!({ "path": path }))
    }

    pub(crate) fn file_list(&self, path: &str) -> Result<Vec<Metadata>, Error> {
        self.reading("file.list", json!({ "path": path }))
    }

    pub(crate) fn file_read(&self, path: &str, offset: u64, length: u32) -> Result<Vec<u8>, Error> {
        let arguments = json!({ "path": path, "offset": offset, "length": length });
        self.reading::<Bytes>("file.read", arguments).map(|bytes| bytes.0)
    }

    pub(crate) fn file_space(&self, path: &str) -> Result<Filesystem, Error> {
        self.reading("file.space", json!({ "path": path }))
    }

    pub(crate) fn file_truncate(&self, path: &str, size: u64, intent: Intent) -> Result<Freed, Error> {
        self.effect("file.truncate", json!({ "path": path, "size": size }), intent)
    }

    pub(crate) fn file_rotate(&self, path: &str, keep: u32, intent: Intent) -> Result<Freed, Error> {
        self.effect("file.rotate", json!({ "path": path, "keep": keep }), intent)
    }

    pub(crate) fn file_delete_older_than(
        &self,
        deletion: Deletion<'_>,
        intent: Intent,
    ) -> Result<Freed, Error> {
        let arguments = json!({
            "directory": deletion.directory,
            "name": deletion.name,
            "before": deletion.before.as_secs(),
            "keep": deletion.keep,
            "stop_at": deletion.stop_at,
        });
        self.effect("file.delete-older-than", arguments, intent)
    }

    pub(crate) fn file_write(&self, path: &str, content: &[u8], intent: Intent) -> Result<(), Error> {
        let arguments = json!({ "path": path, "content": Bytes(content.to_vec()) });
        self.effect("file.write", arguments, intent)
    }

    pub(crate) fn process_run(
        &self,
        program: &str,
        arguments: &[String],
        timeout_ms: Option<u32>,
        intent: Intent,
    ) -> Result<Output, Error> {
        let arguments = json!({ "program": program, "arguments": arguments, "timeout_ms": timeout_ms });
        self.effect("process.run", arguments, intent)
    }

    pub(crate) fn service_status(&self, unit: &str) -> Result<UnitStatus, Error> {
        self.reading("service.status", json!({ "unit": unit }))
    }

    pub(crate) fn service_await_active(&self, unit: &str, timeout_ms: u32) -> Result<Awaited, Error> {
        self.reading("service.await-active", json!({ "unit": unit, "timeout_ms": timeout_ms }))
    }

    pub(crate) fn service_start(&self, unit: &str, intent: Intent) -> Result<UnitStatus, Error> {
        self.effect("service.start", json!({ "unit": unit }), intent)
    }

    pub(crate) fn service_stop(&self, unit: &str, intent: Intent) -> Result<UnitStatus, Error> {
        self.effect("service.stop", json!({ "unit": unit }), intent)
    }

    pub(crate) fn service_restart(&self, unit: &str, intent: Intent) -> Result<UnitStatus, Error> {
        self.effect("service.restart", json!({ "unit": unit }), intent)
    }

    pub(crate) fn service_reset_failed(&self, unit: &str, intent: Intent) -> Result<UnitStatus, Error> {
        self.effect("service.reset-failed", json!({ "unit": unit }), intent)
    }

    pub(crate) fn log_write(&self, level: Level, message: &str) {
        self.world.borrow_mut().log(level, message);
    }

    pub(crate) fn clock_now(&self) -> u64 {
        self.world.borrow().began_ms
    }

    pub(crate) fn clock_wall(&self) -> u64 {
        self.world.borrow().wall_ms
    }

    pub(crate) fn clock_sleep(&self, milliseconds: u32) {
        self.world.borrow_mut().sleep(milliseconds);
    }

    pub(crate) fn random_bytes(&self, length: u32) -> Vec<u8> {
        self.world.borrow_mut().random(length)
    }
}

/// Bytes in their JSON form.
#[derive(serde::Serialize, serde::Deserialize)]
struct Bytes(#[serde(with = "bytes")] Vec<u8>);

/// The flat form of a request record, as the host's records have it.
fn arguments_of(request: Parts) -> Value {
    json!({
        "method": request.method,
        "url": request.url,
        "headers": request.headers,
        "body": request.body.map(Bytes),
        "timeout_ms": request.timeout_ms,
    })
}

fn typed<T: DeserializeOwned>(call: &str, answer: Value) -> T {
    match serde_json::from_value(answer) {
        Ok(answer) => answer,
        Err(error) => panic!("the script's answer to {call} does not have the shape of its result: {error}"),
    }
}
