//! The backend of components: every call is an import. What a plugin does not use is not imported.

use crate::bindings::capabilities::staunch::{clock, file, http, log, process, random, service, types};
use crate::file::{Deletion, Filesystem, Freed, Metadata};
use crate::http::{Parts, Response};
use crate::log::Level;
use crate::process::Output;
use crate::service::UnitStatus;
use crate::{Awaited, Error, Intent};

use file::file as files;
use http::http as requests;
use process::process as processes;
use service::service as units;

/// The host's imports.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backend;

impl Backend {
    pub(crate) fn http_read(&self, request: Parts) -> Result<Response, Error> {
        requests::read(&request.into()).map(Into::into).map_err(Into::into)
    }

    pub(crate) fn http_send(&self, request: Parts, intent: Intent) -> Result<Response, Error> {
        requests::send(&request.into(), &intent.into()).map(Into::into).map_err(Into::into)
    }

    pub(crate) fn http_await_status(
        &self,
        request: Parts,
        status: u16,
        timeout_ms: u32,
    ) -> Result<Awaited, Error> {
        requests::await_status(&request.into(), status, timeout_ms).map(Into::into).map_err(Into::into)
    }

    pub(crate) fn file_stat(&self, path: &str) -> Result<Metadata, Error> {
        files::stat(path).map(Into::into).map_err(Into::into)
    }

    pub(crate) fn file_list(&self, path: &str) -> Result<Vec<Metadata>, Error> {
        let entries = files::list(path)?;
        Ok(entries.into_iter().map(Into::into).collect())
    }

    pub(crate) fn file_read(&self, path: &str, offset: u64, length: u32) -> Result<Vec<u8>, Error> {
        files::read(path, offset, length).map_err(Into::into)
    }

    pub(crate) fn file_space(&self, path: &str) -> Result<Filesystem, Error> {
        let files::Filesystem { total, available } = files::space(path)?;
        Ok(Filesystem { total, available })
    }

    pub(crate) fn file_truncate(&self, path: &str, size: u64, intent: Intent) -> Result<Freed, Error> {
        files::truncate(path, size, &intent.into()).map(Into::into).map_err(Into::into)
    }

    pub(crate) fn file_rotate(&self, path: &str, keep: u32, intent: Intent) -> Result<Freed, Error> {
        files::rotate(path, keep, &intent.into()).map(Into::into).map_err(Into::into)
    }

    pub(crate) fn file_delete_older_than(
        &self,
        deletion: Deletion<'_>,
        intent: Intent,
    ) -> Result<Freed, Error> {
        let Deletion { directory, name, before, keep, stop_at } = deletion;
        files::delete_older_than(directory, name, before.as_secs(), keep, stop_at, &intent.into())
            .map(Into::into)
            .map_err(Into::into)
    }

    pub(crate) fn file_write(&self, path: &str, content: &[u8], intent: Intent) -> Result<(), Error> {
        files::write(path, content, &intent.into()).map_err(Into::into)
    }

    pub(crate) fn process_run(
        &self,
        program: &str,
        arguments: &[String],
        timeout_ms: Option<u32>,
        intent: Intent,
    ) -> Result<Output, Error> {
        let output = processes::run(program, arguments, timeout_ms, &intent.into())?;
        let processes::Output { code, stdout, stderr, truncated } = output;
        Ok(Output { code, stdout, stderr, truncated })
    }

    pub(crate) fn service_status(&self, unit: &str) -> Result<UnitStatus, Error> {
        units::status(unit).map(Into::into).map_err(Into::into)
    }

    pub(crate) fn service_await_active(&self, unit: &str, timeout_ms: u32) -> Result<Awaited, Error> {
        units::await_active(unit, timeout_ms).map(Into::into).map_err(Into::into)
    }

    pub(crate) fn service_start(&self, unit: &str, intent: Intent) -> Result<UnitStatus, Error> {
        units::start(unit, &intent.into()).map(Into::into).map_err(Into::into)
    }

    pub(crate) fn service_stop(&self, unit: &str, intent: Intent) -> Result<UnitStatus, Error> {
        units::stop(unit, &intent.into()).map(Into::into).map_err(Into::into)
    }

    pub(crate) fn service_restart(&self, unit: &str, intent: Intent) -> Result<UnitStatus, Error> {
        units::restart(unit, &intent.into()).map(Into::into).map_err(Into::into)
    }

    pub(crate) fn service_reset_failed(&self, unit: &str, intent: Intent) -> Result<UnitStatus, Error> {
        units::reset_failed(unit, &intent.into()).map(Into::into).map_err(Into::into)
    }

    pub(crate) fn log_write(&self, level: Level, message: &str) {
        let level = match level {
            Level::Debug => log::log::Level::Debug,
            Level::Info => log::log::Level::Info,
            Level::Warn => log::log::Level::Warn,
            Level::Error => log::log::Level::Error,
        };
        log::log::write(level, message);
    }

    pub(crate) fn clock_now(&self) -> u64 {
        clock::clock::now()
    }

    pub(crate) fn clock_wall(&self) -> u64 {
        clock::clock::wall()
    }

    pub(crate) fn clock_sleep(&self, milliseconds: u32) {
        clock::clock::sleep(milliseconds);
    }

    pub(crate) fn random_bytes(&self, length: u32) -> Vec<u8> {
        random::random::bytes(length)
    }
}

impl From<types::types::Error> for Error {
    fn from(error: types::types::Error) -> Self {
        let made = Self::new(error.code, error.message);
        if error.retryable { made.retryable() } else { made }
    }
}

impl From<Intent> for types::types::Intent {
    fn from(Intent { reason, idempotency_key, assume }: Intent) -> Self {
        Self { reason, idempotency_key, assume }
    }
}

impl From<types::types::Awaited> for Awaited {
    fn from(awaited: types::types::Awaited) -> Self {
        let types::types::Awaited { met, assumed, last, polls } = awaited;
        Self { met, assumed, last, polls }
    }
}

impl From<Parts> for requests::Request {
    fn from(Parts { method, url, headers, body, timeout_ms }: Parts) -> Self {
        Self { method, url, headers, body, timeout_ms }
    }
}

impl From<requests::Response> for Response {
    fn from(requests::Response { status, headers, body }: requests::Response) -> Self {
        Self { status, headers, body }
    }
}

impl From<files::Metadata> for Metadata {
    fn from(metadata: files::Metadata) -> Self {
        let files::Metadata { path, kind, size, modified, allocated } = metadata;
        Self { path, kind, size, modified, allocated }
    }
}

impl From<files::Freed> for Freed {
    fn from(files::Freed { files, bytes }: files::Freed) -> Self {
        Self { files, bytes }
    }
}

impl From<units::UnitStatus> for UnitStatus {
    fn from(status: units::UnitStatus) -> Self {
        let units::UnitStatus { load, active, sub, invocation } = status;
        Self { load, active, sub, invocation }
    }
}
