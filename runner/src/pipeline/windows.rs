//! Windows and silences as they are now: what they say about a run, and when that changes.
//!
//! The calendar is computed once for the time until any window opens or closes, and again when that has passed or
//! the rules changed. Never here: what a window means, which `staunch_core::window` knows.

use std::sync::{Arc, PoisonError, RwLock};

use chrono::{DateTime, Utc};
use staunch_core::policy::Policies;
use staunch_core::run::Run;
use staunch_core::window::{self, Outlook, Ruling, Subject};
use tokio::sync::Notify;

use super::shared::Shared;

/// What is known of the openings of all windows.
#[derive(Debug, Default)]
pub(super) struct Outlooks {
    seen: RwLock<Option<Arc<Seen>>>,
    changed: Notify,
}

/// The openings, by the policies that they were computed from.
#[derive(Debug)]
struct Seen {
    policies: Arc<Policies>,
    outlook: Outlook,
}

impl Outlooks {
    fn seen(&self, policies: &Arc<Policies>, now: DateTime<Utc>) -> Arc<Seen> {
        let good = |seen: &&Arc<Seen>| Arc::ptr_eq(&seen.policies, policies) && seen.outlook.reaches(now);
        if let Some(seen) = self.seen.read().unwrap_or_else(PoisonError::into_inner).as_ref().filter(good) {
            return Arc::clone(seen);
        }
        let outlook = policies.windows().outlook(now);
        let seen = Arc::new(Seen { policies: Arc::clone(policies), outlook });
        *self.seen.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&seen));
        seen
    }

    /// Says that windows or silences changed, so that what they kept quiet is looked at again.
    pub(super) fn changed(&self) {
        self.changed.notify_one();
    }

    /// Waits until they changed otherwise than by time.
    pub(super) async fn change(&self) {
        self.changed.notified().await;
    }
}

impl Shared {
    /// What windows say about a run now, or about one that is about to be; and silences, which are about alerts and
    /// not about what a person starts. `broken_glass` is who passes freezes.
    pub(super) fn windows_over(
        &self,
        subject: &Subject<'_>,
        of_alert: bool,
        broken_glass: Option<&str>,
    ) -> Ruling {
        let now = self.now();
        let policies = Arc::clone(&self.rules().policies);
        let seen = self.windows.seen(&policies, now);
        let in_force = policies.windows().in_force(&seen.outlook, now, subject);
        let mut ruling = window::rule(now, subject.runbook, &in_force, broken_glass);
        if let Some(silence) = self.silences.covering(now, subject.labels).filter(|_| of_alert) {
            silence.cover(now, subject.runbook, &mut ruling);
        }
        ruling
    }

    /// As [`Shared::windows_over`], for a run that there is.
    pub(super) fn windows_over_run(&self, run: &Run) -> Ruling {
        self.windows_over_run_for(run, run.passes_freezes())
    }

    /// As [`Shared::windows_over_run`], if this person broke the glass.
    pub(super) fn windows_over_run_for(&self, run: &Run, broken_glass: Option<&str>) -> Ruling {
        let plugins: Vec<&str> = run.steps.iter().map(|step| step.plugin.as_str()).collect();
        let subject = Subject {
            labels: &run.labels,
            target: run.target.as_deref(),
            runbook: &run.runbook,
            plugins: &plugins,
            safe: self.runbook(&run.runbook).is_some_and(|runbook| runbook.safe),
        };
        self.windows_over(&subject, run.alert.is_some() || run.drill.is_some(), broken_glass)
    }

    /// When a window opens or closes next, or a silence begins or ends, if any ever does.
    pub(super) fn next_quiet_change(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let policies = Arc::clone(&self.rules().policies);
        let seen = self.windows.seen(&policies, now);
        let window = policies.windows().next_change(&seen.outlook, now);
        window.into_iter().chain(self.silences.next_change(now)).min()
    }
}
