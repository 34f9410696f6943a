//! A run in the hands of people: taken over and given back, and rules passed by breaking the glass.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{REMOVED, Run, State};
use crate::decision::{Code, Reason};
use crate::event::Fact;
use crate::id::Digest;

/// The most times that the glass of one run can be broken.
const MOST_GLASS: usize = 16;

/// Who has a run in hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Who.
    pub by: String,
    /// Since when.
    pub at: DateTime<Utc>,
    /// Why the run was as it was before.
    pub before: Option<Reason>,
}

/// What a broken glass lets a run pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Passes {
    /// Change freezes. Maintenance windows, halts and limits hold.
    Freeze,
    /// The approvals that are missing, for the plan that was shown.
    Quorum,
}

/// One time that somebody broke the glass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Glass {
    /// What it passes.
    pub passes: Passes,
    /// The plan that was shown.
    pub plan: Option<Digest>,
    /// Who.
    pub by: String,
    /// When.
    pub at: DateTime<Utc>,
    /// Why.
    pub reason: String,
    /// What a second person found. None: the justification is owed.
    pub review: Option<Review>,
}

/// What a second person found about a broken glass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// Who.
    pub by: String,
    /// When.
    pub at: DateTime<Utc>,
    /// Whether it was justified.
    pub justified: bool,
    /// What they said.
    pub comment: Option<String>,
}

/// Whether an event would let a run act, or brings it nearer: none may happen while a person has it in hand.
/// What was under way is still written down.
pub(super) fn acts(fact: &Fact) -> bool {
    matches!(
        fact,
        Fact::RunApproved(..) | Fact::RunPermitted(..) | Fact::RunResumed(..) | Fact::EffectIntended(..)
    )
}

impl Run {
    pub(super) fn legal_by_hand(&self, fact: &Fact) -> bool {
        let over = self.state == State::Ended;
        match fact {
            Fact::RunTakenOver(..) => !over && self.held.is_none(),
            // A plugin that still runs comes to its end, or is parked, first.
            Fact::RunGivenBack(..) => !over && self.held.is_some() && self.state != State::Running,
            Fact::GlassBroken(leaf, _) => {
                let shown = match leaf.passes {
                    Passes::Freeze => true,
                    Passes::Quorum => leaf.plan.is_some() && leaf.plan == self.plan && self.ask.is_some(),
                };
                !over && self.held.is_none() && self.glass.len() < MOST_GLASS && shown
            }
            Fact::JustificationReviewed(leaf, outside) => {
                self.glass.get(leaf.glass as usize).is_some_and(|glass| {
                    glass.review.is_none() && outside.get().is_none_or(|review| review.by != glass.by)
                })
            }
            // It stays as it ended: what changes is how it counts.
            Fact::RunIntervened(..) => over,
            _ => false,
        }
    }

    pub(super) fn by_hand(&mut self, at: DateTime<Utc>, fact: &Fact) {
        let removed = || REMOVED.to_owned();
        match fact {
            Fact::RunTakenOver(_, outside) => {
                let by = outside.get().map_or_else(removed, |o| o.by.clone());
                let comment = outside.get().and_then(|o| o.comment.as_deref());
                let comment = comment.map_or_else(String::new, |comment| format!(": {comment}"));
                let reason = Reason::new(Code::TakenOver, format!("{by} took it over{comment}"));
                let before = self.reason.replace(reason);
                self.held = Some(Held { by, at, before });
            }
            Fact::RunGivenBack(..) => {
                // Whoever had it in hand changed the world: the plan is made, shown and approved anew.
                self.reason = self.held.take().and_then(|held| held.before);
                self.approvals.clear();
                self.planned_at = None;
                self.told = 0;
            }
            Fact::GlassBroken(leaf, outside) => self.glass.push(Glass {
                passes: leaf.passes,
                plan: leaf.plan,
                by: outside.get().map_or_else(removed, |o| o.by.clone()),
                at,
                reason: outside.get().map_or_else(removed, |o| o.reason.clone()),
                review: None,
            }),
            Fact::JustificationReviewed(leaf, outside) => {
                if let Some(glass) = self.glass.get_mut(leaf.glass as usize) {
                    glass.review = Some(Review {
                        by: outside.get().map_or_else(removed, |o| o.by.clone()),
                        at,
                        justified: leaf.justified,
                        comment: outside.get().and_then(|o| o.comment.clone()),
                    });
                }
            }
            _ => {}
        }
    }

    /// Who passes change freezes with this run, if anybody does.
    #[must_use]
    pub fn passes_freezes(&self) -> Option<&str> {
        let glass = self.glass.iter().find(|glass| glass.passes == Passes::Freeze);
        glass.map(|glass| glass.by.as_str())
    }

    /// Who passed the missing approvals for the plan as it is now, if anybody did.
    #[must_use]
    pub fn passes_quorum(&self) -> Option<&str> {
        let passes = |glass: &&Glass| glass.passes == Passes::Quorum && glass.plan == self.plan;
        self.glass.iter().find(passes).map(|glass| glass.by.as_str())
    }

    /// The broken glasses that no second person looked at yet, by their number.
    pub fn justifications_owed(&self) -> impl Iterator<Item = (u32, &Glass)> {
        (0u32..).zip(&self.glass).filter(|(_, glass)| glass.review.is_none())
    }
}

#[cfg(test)]
mod tests;
