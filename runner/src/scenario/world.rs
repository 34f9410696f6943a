//! The scripted world of one pass: answers calls as the file says, and holds effects to the plan.

use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use serde_json::Value;
use staunch_core::effect::{Access, Answer, Call, CallError};
use staunch_core::plan::Cover;

use super::compare::{fits, shown};
use super::format::{Entry, Pass, name_of};
use crate::sandbox::{Backend, Intent, Ledger, LedgerError, Outcome, Reading, Verdict, capability};

/// The world of one pass. It begins whole.
#[derive(Debug)]
pub(super) struct World {
    pass: Pass,
    /// The true time, in milliseconds since 1970: the run's own.
    wall: u64,
    entries: Arc<[Entry]>,
    told: Mutex<Told>,
}

/// What was asked so far.
#[derive(Debug)]
pub(super) struct Told {
    /// How many calls each entry answered.
    pub(super) used: Vec<u32>,
    /// What the script or the plan did not provide for.
    pub(super) failures: Vec<String>,
    cover: Option<Cover>,
}

impl World {
    /// A world for one pass; effects must be covered by `cover`, if there is one.
    pub(super) fn new(pass: Pass, wall: u64, entries: Arc<[Entry]>, cover: Option<Cover>) -> Self {
        let told = Told { used: vec![0; entries.len()], failures: Vec::new(), cover };
        Self { pass, wall, entries, told: Mutex::new(told) }
    }

    /// What was asked of it.
    pub(super) fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reply(&self, call: &Call) -> Answer {
        if call.capability == "clock" {
            return Answer::Ok(Value::from(self.wall).into());
        }
        let told = &mut *self.told();
        let mut place = None;
        if let (Some(cover), true) = (&mut told.cover, is_effect(call)) {
            place = cover.admit(call);
            if place.is_none() {
                let message = format!("{} is not covered by the plan: it would park the run", line(call));
                told.failures.push(message.clone());
                return Answer::Err(CallError::denied(message));
            }
        }
        let Some(answer) = self.find(call, &mut told.used) else {
            let message = self.unanswered(call, &told.used);
            told.failures.push(message.clone());
            return Answer::Err(CallError { code: "not-scripted".to_owned(), message, retryable: false });
        };
        if let (Some(cover), Some(place)) = (&mut told.cover, place) {
            cover.answered(place, &answer);
        }
        answer
    }

    fn find(&self, call: &Call, used: &mut [u32]) -> Option<Answer> {
        let fits = |(entry, used): &(&Entry, &mut u32)| {
            is_for(entry, call)
                && entry.within.is_none_or(|pass| pass == self.pass)
                && entry.times.is_none_or(|times| **used < times)
                && fits(&entry.arguments, &call.arguments)
        };
        let (entry, used) = self.entries.iter().zip(used).find(fits)?;
        *used += 1;
        Some(entry.answer.clone())
    }

    /// Why no entry answered, with the entries that could have been meant.
    fn unanswered(&self, call: &Call, used: &[u32]) -> String {
        let near = self.entries.iter().zip(used).filter(|(entry, _)| is_for(entry, call));
        let near: Vec<String> = near.map(|(entry, used)| self.why_not(entry, *used)).collect();
        let doing = match self.pass {
            Pass::Plan => "planning",
            Pass::Act => "acting",
        };
        let why = if near.is_empty() { "there is none for it".to_owned() } else { near.join(", ") };
        format!("no entry of `world` answers {} when {doing}: {why}", line(call))
    }

    fn why_not(&self, entry: &Entry, used: u32) -> String {
        let line = entry.line;
        match entry.within {
            Some(Pass::Plan) if self.pass == Pass::Act => format!("that of line {line} is for planning"),
            Some(Pass::Act) if self.pass == Pass::Plan => format!("that of line {line} is for acting"),
            _ if entry.times.is_some_and(|times| used >= times) => format!("that of line {line} is used up"),
            _ => format!("that of line {line} is for other arguments"),
        }
    }
}

fn is_for(entry: &Entry, call: &Call) -> bool {
    *entry.function.capability == *call.capability && *entry.function.name == *call.function
}

pub(super) fn is_effect(call: &Call) -> bool {
    let function = capability::find(&call.capability).and_then(|found| found.function(&call.function));
    function.and_then(|function| function.kind.access()) == Some(Access::Effect)
}

/// A call as failures name it.
pub(super) fn line(call: &Call) -> String {
    format!("{}.{} {}", call.capability, call.function, shown(&call.arguments))
}

/// What an entry is called in failures.
pub(super) fn entry_line(entry: &Entry) -> String {
    match &entry.arguments {
        Value::Null => name_of(entry.function),
        arguments => format!("{} {}", name_of(entry.function), shown(arguments)),
    }
}

impl Backend for World {
    fn planning(&self) -> bool {
        self.pass == Pass::Plan
    }

    fn answer<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Answer> {
        Box::pin(ready(self.reply(call)))
    }
}

/// The ledger of a rehearsal: nothing halts it and everything is allowed. What it is told stands in the
/// sandbox's own report as well, and outlives the rehearsal nowhere.
#[derive(Debug)]
pub(super) struct NoJournal;

impl Ledger for NoJournal {
    fn halted(&self) -> Option<String> {
        None
    }

    fn judge(&self, _call: &Call, _unplanned: bool) -> Verdict {
        Verdict::Allow
    }

    fn intend<'a>(&'a self, _intent: Intent<'a>) -> BoxFuture<'a, Result<(), LedgerError>> {
        Box::pin(ready(Ok(())))
    }

    fn settle<'a>(&'a self, _outcome: Outcome<'a>) -> BoxFuture<'a, Result<(), LedgerError>> {
        Box::pin(ready(Ok(())))
    }

    fn reading<'a>(&'a self, _reading: Reading<'a>) -> BoxFuture<'a, Result<(), LedgerError>> {
        Box::pin(ready(Ok(())))
    }

    fn denied<'a>(
        &'a self,
        _call: &'a Call,
        _answer: &'a Answer,
        _fuel: u64,
    ) -> BoxFuture<'a, Result<(), LedgerError>> {
        Box::pin(ready(Ok(())))
    }
}
