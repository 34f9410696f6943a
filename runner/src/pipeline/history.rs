//! What a step of a run did so far, as the journal tells: what a replay answers from, and what must not be done
//! again.

use chrono::{DateTime, Utc};
use serde_json::Value;
use staunch_core::effect::{Access, Answer, Call, Repeat};
use staunch_core::event::{Event, Fact, Outside};
use staunch_core::gate;
use staunch_core::plan::Recorded;
use staunch_core::run::{EffectRecord, Run, Step};

use crate::sandbox::{Again, Resume, access_of};

/// What an execution of a step is fed with.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// The calls to be replayed, in order.
    pub(super) replay: Vec<Recorded>,
    /// What is known besides.
    pub(super) resume: Resume,
}

/// An effect in doubt that may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Resend {
    /// The step.
    pub(super) step: u32,
    /// Its place among the step's effects.
    pub(super) effect: u32,
    /// Whether the world says that it did not happen.
    pub(super) undone: bool,
}

/// What is known of an effect in doubt.
#[derive(Debug)]
pub(super) struct Doubt {
    /// The effect.
    pub(super) call: Call,
    /// How that which it acts on was before.
    pub(super) before: Option<Value>,
    /// What may be done about it.
    pub(super) repeat: Repeat,
    /// How often it was sent.
    pub(super) sends: u32,
}

/// A call of the step.
#[derive(Debug)]
struct Entry {
    recorded: Recorded,
    at: DateTime<Utc>,
    /// For effects: what the last intent said.
    intent: Option<Intent>,
}

#[derive(Debug)]
struct Intent {
    key: String,
    before: Option<Value>,
    repeat: Repeat,
    sends: u32,
}

impl Entry {
    /// Whether it is an effect that was done.
    fn is_done(&self) -> bool {
        self.intent.is_some() && self.recorded.answer.as_ref().is_some_and(Answer::is_ok)
    }

    fn has_key(&self, key: Option<&str>) -> bool {
        self.intent.as_ref().is_some_and(|intent| Some(intent.key.as_str()) == key)
    }
}

/// The calls of one step, as the journal tells.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The calls that a replay is fed with. A call whose payload was removed ends the list, because nothing behind
    /// it can be replayed.
    calls: Vec<Entry>,
    /// Calls behind a reading that has changed since.
    set_aside: Vec<Entry>,
    /// How often the run was planned anew since it began to act.
    epoch: u32,
}

impl History {
    /// Reads the events of `run` from its beginning; `run` is what they made of it.
    pub(super) fn of(events: &[Event], run: &Run, step: u32) -> Self {
        let mut history = Self::default();
        // The run as it was at each event: an effect's place changes with its plan, and its key does not.
        let mut then: Option<Run> = None;
        for event in events {
            match &mut then {
                None => then = Run::begin(event),
                // What the journal holds was legal when it was written.
                Some(then) => drop(then.apply(event)),
            }
            let Some(then) = &then else { continue };
            if !history.take(event, step, then) {
                break;
            }
        }
        history.number(run.step(step));
        history
    }

    /// Takes in one event; false when nothing behind it can be told.
    fn take(&mut self, event: &Event, step: u32, then: &Run) -> bool {
        match &event.fact {
            Fact::RunPlanned(..) if then.started_at.is_some() => self.epoch += 1,
            Fact::ReadingMade(leaf, outside) if leaf.step == step => {
                let Some(outside) = outside.get() else { return false };
                self.call(event.at, &outside.call, &outside.answer, Access::Reading, leaf.fuel);
            }
            Fact::CallDenied(leaf, outside) if leaf.step == step => {
                let Some(outside) = outside.get() else { return false };
                self.call(event.at, &outside.call, &outside.answer, access_of(&outside.call), leaf.fuel);
            }
            Fact::EffectIntended(leaf, outside) if leaf.step == step => {
                let Some(outside) = outside.get() else { return false };
                let intent = Intent {
                    key: leaf.key.clone(),
                    before: outside.before.clone(),
                    repeat: leaf.repeat,
                    sends: 1,
                };
                self.intended(event.at, &outside.call, leaf.fuel, intent);
            }
            Fact::EffectSettled(leaf, Outside::Kept(outside)) if leaf.step == step => {
                let effects = then.step(step).map(|step| step.effects.as_slice());
                let record = effects.unwrap_or_default().get(leaf.effect as usize);
                let key = record.and_then(|record| record.key.as_deref());
                if let Some(entry) = self.entry(key) {
                    entry.recorded.answer.clone_from(&outside.answer);
                }
            }
            Fact::ReadingChanged(leaf, _) if leaf.step == step => {
                let from = self.calls.len().min(leaf.calls as usize);
                self.set_aside.extend(self.calls.drain(from..));
            }
            Fact::StepRetried(leaf, _) if leaf.step == step => self.retried(),
            _ => {}
        }
        true
    }

    /// The plugin is asked anew from its beginning. What it did is not done again, but for the last effect: what came
    /// of that made it fail.
    fn retried(&mut self) {
        if let Some(last) = self.calls.iter().rposition(|entry| entry.intent.is_some()) {
            self.calls.remove(last);
        }
        self.set_aside.append(&mut self.calls);
        self.set_aside.retain(Entry::is_done);
    }

    fn call(&mut self, at: DateTime<Utc>, call: &Call, answer: &Answer, access: Access, fuel: u64) {
        let recorded =
            Recorded { call: call.clone(), answer: Some(answer.clone()), access, fuel, index: None };
        self.calls.push(Entry { recorded, at, intent: None });
    }

    fn intended(&mut self, at: DateTime<Utc>, call: &Call, fuel: u64, intent: Intent) {
        // A retry of the same effect is the same call of the guest.
        if let Some(entry) = self.entry(Some(&intent.key)) {
            entry.recorded.answer = None;
            let sends = entry.intent.as_ref().map_or(0, |before| before.sends);
            entry.intent = Some(Intent { sends: sends + 1, ..intent });
            return;
        }
        let recorded =
            Recorded { call: call.clone(), answer: None, access: Access::Effect, fuel, index: Some(0) };
        self.calls.push(Entry { recorded, at, intent: Some(intent) });
    }

    fn entry(&mut self, key: Option<&str>) -> Option<&mut Entry> {
        self.calls.iter_mut().chain(&mut self.set_aside).find(|entry| entry.has_key(key))
    }

    /// Gives every effect the place that it has now.
    fn number(&mut self, step: Option<&Step>) {
        let effects = step.map(|step| step.effects.as_slice()).unwrap_or_default();
        for entry in self.calls.iter_mut().chain(&mut self.set_aside) {
            let Some(intent) = &entry.intent else { continue };
            let place = effects.iter().position(|effect| effect.key.as_deref() == Some(&intent.key));
            entry.recorded.index = u32::try_from(place.unwrap_or(effects.len())).ok();
        }
    }

    /// What the effects of the step were answered, by their places.
    pub(super) fn answers(&self) -> impl Iterator<Item = (u32, &Answer)> {
        let all = self.calls.iter().chain(&self.set_aside).map(|entry| &entry.recorded);
        all.filter_map(|recorded| Some((recorded.index?, recorded.answer.as_ref()?)))
    }

    /// What is known of the effect in doubt at this place.
    pub(super) fn doubt(&self, effect: u32) -> Option<Doubt> {
        let entry = self.calls.iter().find(|entry| entry.recorded.index == Some(effect))?;
        let intent = entry.intent.as_ref().filter(|_| entry.recorded.answer.is_none())?;
        Some(Doubt {
            call: entry.recorded.call.clone(),
            before: intent.before.clone(),
            repeat: intent.repeat,
            sends: intent.sends,
        })
    }

    /// The effects outside the plan that are sent again because the step is tried again: they keep their numbers, and
    /// so their keys.
    fn sent_again(&self, step: &Step) -> Vec<(u32, Call)> {
        let known = |effect: &EffectRecord| {
            let mut all = self.calls.iter().chain(&self.set_aside);
            all.any(|entry| entry.has_key(effect.key.as_deref()))
        };
        let again = |effect: &EffectRecord| {
            step.retries > 0 && effect.assumed.is_none() && effect.key.is_some() && !known(effect)
        };
        let again = (0u32..).zip(&step.effects).filter(|(_, effect)| again(effect));
        again.filter_map(|(index, effect)| Some((index, effect.call.clone()?))).collect()
    }

    /// What an execution of the step is fed with at `now`; an effect in doubt among `resends` is left to be sent
    /// again.
    pub(super) fn past(mut self, step: &Step, now: DateTime<Utc>, resends: &[Resend]) -> Past {
        let mut again = None;
        for resend in resends {
            let waits = |entry: &Entry| {
                entry.recorded.index == Some(resend.effect) && entry.recorded.answer.is_none()
            };
            let Some(place) = self.calls.iter().position(waits) else { continue };
            if let Some(Entry { recorded, intent: Some(intent), .. }) = self.calls.drain(place..).next() {
                let (index, sends) = (resend.effect, intent.sends);
                again = Some(Again { index, call: recorded.call, sends, undone: resend.undone });
            }
        }
        let sent_again = self.sent_again(step);
        let old = |entry: &&Entry| now - entry.at > gate::READING_GOOD_FOR;
        let done = self.set_aside.into_iter().map(|entry| entry.recorded);
        let done =
            done.filter(|call| call.index.is_some() && call.answer.as_ref().is_some_and(Answer::is_ok));
        let outside = step.effects.iter().filter(|effect| effect.assumed.is_none()).count();
        let resume = Resume {
            old: self.calls.iter().take_while(old).count(),
            done: done.collect(),
            again,
            outside: u32::try_from(outside).unwrap_or(u32::MAX),
            sent_again,
            epoch: self.epoch,
        };
        Past { replay: self.calls.into_iter().map(|entry| entry.recorded).collect(), resume }
    }
}

/// What every step of a run is fed with at `now`.
pub(super) fn past_of(events: &[Event], run: &Run, now: DateTime<Utc>) -> Vec<Past> {
    let steps = (0u32..).zip(&run.steps);
    steps.map(|(number, step)| History::of(events, run, number).past(step, now, &[])).collect()
}

#[cfg(test)]
mod tests;
