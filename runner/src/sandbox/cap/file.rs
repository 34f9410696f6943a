//! `file`: files in trees that the grants name, on the run's host. Links are never followed.

mod deeds;
mod deletion;
mod readings;
mod tree;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use staunch_core::effect::CallError;
use wasmtime::component::{ComponentType, Linker, Lower};

use self::deeds::{Rotate, Truncate, Write};
use self::deletion::DeleteOlderThan;
use self::readings::{List, Read, Space, Stat};
use super::types::Intent;
use crate::sandbox::broker::{self, Failure, Function, Site};
use crate::sandbox::capability;
use crate::sandbox::grants::Grants;
use crate::sandbox::run::Run;
use crate::sandbox::scrub::{Scrub, Scrubber};

const MAX_PATH: usize = 4_096;

/// `file.metadata`
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lower, Serialize, Deserialize)]
#[component(record)]
pub(in crate::sandbox) struct Metadata {
    path: String,
    kind: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    modified: u64,
    #[serde(default)]
    allocated: u64,
}

/// `file.filesystem`
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lower, Serialize, Deserialize)]
#[component(record)]
pub(in crate::sandbox) struct Filesystem {
    total: u64,
    available: u64,
}

/// `file.freed`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ComponentType, Lower, Serialize, Deserialize)]
#[component(record)]
pub(in crate::sandbox) struct Freed {
    #[serde(default)]
    files: u32,
    #[serde(default)]
    bytes: u64,
}

impl Scrub for Metadata {
    fn scrub(&mut self, scrubber: &Scrubber) {
        scrubber.text(&mut self.path);
    }
}

impl Scrub for Filesystem {
    fn scrub(&mut self, _scrubber: &Scrubber) {}
}

impl Scrub for Freed {
    fn scrub(&mut self, _scrubber: &Scrubber) {}
}

/// One function over a path: what differs between them.
trait Deed: Send + Sync + 'static {
    const FUNCTION: &'static capability::Function;
    type Output: Serialize + serde::de::DeserializeOwned + Scrub + Send + 'static;

    /// The path that it acts on.
    fn path(&self) -> &str;

    /// The path that the grants are asked about.
    fn covered(&self) -> String {
        self.path().to_owned()
    }

    fn arguments(&self) -> Value;

    fn assume(&self) -> Self::Output;

    /// Does it; blocking.
    fn run(&self) -> Result<Self::Output, Failure>;
}

/// A deed as the broker sees it.
struct OnFile<D>(Arc<D>);

impl<D: Deed> OnFile<D> {
    fn new(deed: Result<D, CallError>) -> Result<Self, CallError> {
        let deed = deed?;
        check_path(deed.path())?;
        Ok(Self(Arc::new(deed)))
    }
}

impl<D: Deed> Function for OnFile<D> {
    const FUNCTION: &'static capability::Function = D::FUNCTION;
    type Output = D::Output;
    type Leave = ();

    fn target(&self, host: Option<&str>) -> String {
        format!("{}/file:{}", host.unwrap_or("unknown"), self.0.path())
    }

    fn host_bound(&self) -> bool {
        true
    }

    fn arguments(&self) -> Value {
        self.0.arguments()
    }

    fn authorise(&self, grants: &Grants) -> Result<(), CallError> {
        grants.file(Self::FUNCTION.name, &self.0.covered())
    }

    fn assume(&self) -> D::Output {
        self.0.assume()
    }

    async fn perform(&self, site: Site<'_, ()>) -> Result<D::Output, Failure> {
        let deed = self.0.clone();
        let task = tokio::task::spawn_blocking(move || deed.run());
        match tokio::time::timeout_at(site.deadline, task).await {
            Ok(Ok(output)) => output,
            Ok(Err(_)) => Err(Failure::in_doubt("io", "the host failed in the middle of it")),
            Err(_) => Err(Failure::in_doubt("timeout", "the file system did not answer in time")),
        }
    }
}

fn invalid(message: impl Into<String>) -> CallError {
    CallError { code: "invalid-argument".to_owned(), message: message.into(), retryable: false }
}

/// Only plain absolute paths: what the pattern was matched with is what the kernel walks.
fn check_path(path: &str) -> Result<(), CallError> {
    let plain = path.strip_prefix('/').is_some_and(|rest| {
        rest.is_empty() || rest.split('/').all(|segment| !matches!(segment, "" | "." | ".."))
    });
    if !plain || path.len() > MAX_PATH || path.contains('\0') {
        let mut shown = path.to_owned();
        crate::sandbox::log_text::cut(&mut shown, 200);
        return Err(invalid(format!(
            "{shown:?} is not a plain absolute path: no `.`, no `..`, no empty segment"
        )));
    }
    Ok(())
}

pub(super) fn link(linker: &mut Linker<Run>) -> wasmtime::Result<()> {
    let mut interface = linker.instance("staunch:file/file@1.0.0")?;
    interface.func_wrap_async("stat", |store, (path,): (String,)| {
        Box::new(async move { Ok((broker::reading(store, OnFile::new(Ok(Stat { path }))).await?,)) })
    })?;
    interface.func_wrap_async("list", |store, (path,): (String,)| {
        Box::new(async move { Ok((broker::reading(store, OnFile::new(Ok(List { path }))).await?,)) })
    })?;
    interface.func_wrap_async("read", |store, (path, offset, length): (String, u64, u32)| {
        let deed = OnFile::new(Ok(Read { path, offset, length }));
        Box::new(async move { Ok((broker::reading(store, deed).await?.map(|content| content.0),)) })
    })?;
    interface.func_wrap_async("space", |store, (path,): (String,)| {
        Box::new(async move { Ok((broker::reading(store, OnFile::new(Ok(Space { path }))).await?,)) })
    })?;
    interface.func_wrap_async("truncate", |store, (path, size, intent): (String, u64, Intent)| {
        let deed = OnFile::new(Ok(Truncate { path, size }));
        Box::new(async move { Ok((broker::effect(store, deed, intent).await?,)) })
    })?;
    interface.func_wrap_async("rotate", |store, (path, keep, intent): (String, u32, Intent)| {
        let deed = OnFile::new(Rotate::new(path, keep));
        Box::new(async move { Ok((broker::effect(store, deed, intent).await?,)) })
    })?;
    type Deletion = (String, String, u64, u32, Option<u64>, Intent);
    interface.func_wrap_async(
        "delete-older-than",
        |store, (directory, name, before, keep, stop_at, intent): Deletion| {
            let deed = OnFile::new(DeleteOlderThan::new(directory, name, before, keep, stop_at));
            Box::new(async move { Ok((broker::effect(store, deed, intent).await?,)) })
        },
    )?;
    interface.func_wrap_async("write", |store, (path, content, intent): (String, Vec<u8>, Intent)| {
        let deed = OnFile::new(Write::new(path, content));
        Box::new(async move { Ok((broker::effect(store, deed, intent).await?,)) })
    })
}

#[cfg(test)]
mod tests;
