//! Frees space: rotates, truncates and deletes in the given order, and stops when enough is free.

mod input;
mod look;
mod quantity;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::Serialize;
use staunch_plugin::file::{Deletion, Filesystem, Freed};
use staunch_plugin::{Error, Host, Outcome, Remediation, Verdict, Verification};

use crate::input::{Action, Enough, Input};
use crate::look::Estimate;
use crate::quantity::human;

/// Into how many steps `enough_free` is divided to round what a deletion may free.
const STEPS: u64 = 16;

/// The remediation.
#[derive(Debug)]
struct DiskCleanup;

impl Remediation for DiskCleanup {
    type Input = Input;

    fn remediate(input: Input, host: &Host) -> Result<Outcome, Error> {
        input.check()?;
        let before = host.file().space(&input.path)?;
        let enough = input.enough_free.bytes(before.total);
        if before.available >= enough {
            let free = human(before.available);
            return Ok(Outcome::unchanged(format!("{free} are free on {}, enough", input.path)));
        }
        let mut cleanup = Cleanup::new(host, &input, before, enough);
        for action in &input.actions {
            if cleanup.is_done() {
                break;
            }
            cleanup.act(action)?;
        }
        cleanup.outcome()
    }
}

impl Verification for DiskCleanup {
    fn verify(input: Input, host: &Host) -> Result<Verdict, Error> {
        let space = host.file().space(&input.path)?;
        let enough = input.enough_free.bytes(space.total);
        Ok(if space.available >= enough { Verdict::Passed } else { Verdict::Failed })
    }
}

/// One cleanup on its way.
struct Cleanup<'a> {
    host: &'a Host,
    path: &'a str,
    enough_free: &'a Enough,
    /// How many there are to choose from.
    actions: usize,
    /// In bytes.
    enough: u64,
    before: Filesystem,
    now: Filesystem,
    /// When the run began, since 1970.
    began: Duration,
    done: Vec<Step<'a>>,
}

/// What one action gave back.
#[derive(Serialize)]
struct Step<'a> {
    action: &'a Action,
    freed: Freed,
}

impl<'a> Cleanup<'a> {
    fn new(host: &'a Host, input: &'a Input, before: Filesystem, enough: u64) -> Self {
        Self {
            host,
            path: &input.path,
            enough_free: &input.enough_free,
            actions: input.actions.len(),
            enough,
            before,
            now: before,
            began: host.clock().now(),
            done: Vec::new(),
        }
    }

    fn is_done(&self) -> bool {
        self.now.available >= self.enough
    }

    /// Does the action, if there is anything for it to do, and looks at the space again. In a plan that look
    /// still shows the space of before, so every action that may be needed is in the plan, and those that turn
    /// out not to be needed are left out when acting.
    fn act(&mut self, action: &'a Action) -> Result<(), Error> {
        let estimate = match self.estimate(action) {
            Ok(Some(estimate)) => estimate,
            Ok(None) => return Ok(()),
            Err(error) if error.is_not_found() => return self.pass_over(action, &error),
            Err(error) => return Err(error),
        };
        match self.perform(action, estimate) {
            Ok(freed) => self.done.push(Step { action, freed }),
            Err(error) if error.is_not_found() => return self.pass_over(action, &error),
            Err(error) => return Err(error),
        }
        self.now = self.host.file().space(self.path)?;
        Ok(())
    }

    fn pass_over(&self, action: &Action, error: &Error) -> Result<(), Error> {
        self.host.log().warn(format!("{action} is passed over: {error}"));
        Ok(())
    }

    fn estimate(&self, action: &Action) -> Result<Option<Estimate>, Error> {
        match action {
            Action::Rotate(rotate) => look::rotation(self.host, rotate),
            Action::Truncate(truncate) => look::truncation(self.host, truncate),
            Action::Delete(delete) => {
                let estimate = look::deletion(self.host, delete, delete.before(self.began), self.stop_at())?;
                // What a planned rotation leaves there can't be seen yet: the deletion belongs into the plan.
                Ok(estimate.or_else(|| self.has_rotated_in(&delete.directory).then(Estimate::default)))
            }
        }
    }

    fn has_rotated_in(&self, directory: &str) -> bool {
        self.done.iter().any(|step| match step.action {
            Action::Rotate(rotate) => rotate.parent() == directory.trim_end_matches('/'),
            Action::Truncate(_) | Action::Delete(_) => false,
        })
    }

    fn perform(&self, action: &Action, estimate: Estimate) -> Result<Freed, Error> {
        let file = self.host.file();
        let reason = self.reason(action, estimate);
        let assumed = Freed { files: estimate.files, bytes: estimate.bytes };
        match action {
            Action::Rotate(a) => file.rotate(&a.path, a.keep).because(reason).assume(&assumed).perform(),
            Action::Truncate(a) => {
                file.truncate(&a.path, a.size.0).because(reason).assume(&assumed).perform()
            }
            Action::Delete(a) => {
                let deletion = Deletion {
                    directory: &a.directory,
                    name: &a.name,
                    before: a.before(self.began),
                    keep: a.keep,
                    stop_at: Some(self.stop_at()),
                };
                file.delete_older_than(deletion).because(reason).assume(&assumed).perform()
            }
        }
    }

    fn reason(&self, action: &Action, estimate: Estimate) -> String {
        let frees = match estimate.bytes {
            0 => "frees nothing by itself".to_owned(),
            bytes => format!("frees about {}", human(bytes)),
        };
        let condition = if self.done.is_empty() { "" } else { ", only if it is still needed then" };
        let missing = human(self.enough.saturating_sub(self.before.available));
        format!("{action}: {frees}{condition}; {missing} are missing on {}", self.path)
    }

    /// How much a deletion may free: what is missing at the start, rounded up to a sixteenth of what is to be
    /// free. Rounded, because it is an argument that must be the same in plan and act, while the free space
    /// itself changes all the time.
    fn stop_at(&self) -> u64 {
        let missing = self.enough.saturating_sub(self.before.available);
        missing.next_multiple_of((self.enough / STEPS).max(1)).min(self.enough)
    }

    fn outcome(self) -> Result<Outcome, Error> {
        if self.done.is_empty() {
            let missing = human(self.enough - self.before.available);
            let message =
                format!("{missing} are missing on {}, and no action has anything to free", self.path);
            return Err(Error::new("nothing-to-free", message));
        }
        let freed: u64 = self.done.iter().map(|step| step.freed.bytes).sum();
        let reached = if self.is_done() { "" } else { "still " };
        let summary = format!(
            "freed {} in {} of {} actions; {reached}{} free on {}, wanted {}",
            human(freed),
            self.done.len(),
            self.actions,
            human(self.now.available),
            self.path,
            self.enough_free,
        );
        Outcome::changed(summary).with_details(&Details {
            freed_bytes: freed,
            available_before: self.before.available,
            available_after: self.now.available,
            enough: self.enough,
            steps: &self.done,
        })
    }
}

/// The outcome's details.
#[derive(Serialize)]
struct Details<'a> {
    freed_bytes: u64,
    available_before: u64,
    available_after: u64,
    enough: u64,
    steps: &'a [Step<'a>],
}

staunch_plugin::export!(DiskCleanup with verification);
