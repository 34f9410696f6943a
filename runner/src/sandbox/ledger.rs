//! What the broker writes down and asks. The pipeline implements it over the journal and the policies.

use futures_util::future::BoxFuture;
use staunch_core::effect::{Answer, Call, EffectStatus, Repeat};

/// Why nothing was written. Nothing acts then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// It cannot be written.
    #[error("{0}")]
    Unavailable(String),
    /// The run is halted, so that no intent is written.
    #[error("halted: {0}")]
    Halted(String),
}

/// What policy says about an effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Do it.
    Allow,
    /// Refuse it; the plugin is told why.
    Deny(String),
    /// Park the run and ask.
    Park(String),
}

/// An effect that is about to be performed.
#[derive(Debug, Clone, Copy)]
pub struct Intent<'a> {
    /// Its place among the step's effects.
    pub index: u32,
    /// What will be done.
    pub call: &'a Call,
    /// Why, in the plugin's words.
    pub reason: &'a str,
    /// The idempotency key.
    pub key: &'a str,
    /// What may be done about it when it is in doubt.
    pub repeat: Repeat,
    /// Whether it is outside the plan.
    pub unplanned: bool,
    /// The fuel that was left at the call.
    pub fuel: u64,
    /// How that which it acts on is now, where that tells later whether it happened.
    pub before: Option<&'a serde_json::Value>,
}

/// How an intended effect ended.
#[derive(Debug, Clone, Copy)]
pub struct Outcome<'a> {
    /// Its place among the step's effects.
    pub index: u32,
    /// What was intended.
    pub call: &'a Call,
    /// What came back.
    pub answer: &'a Answer,
    /// What is known.
    pub status: EffectStatus,
    /// The fuel that was left at the call.
    pub fuel: u64,
}

/// A reading that was made.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// What was read.
    pub call: &'a Call,
    /// What it answered.
    pub answer: &'a Answer,
    /// Whether the answer was assumed, because it waits for a planned effect.
    pub assumed: bool,
    /// How often the host looked.
    pub polls: u32,
    /// The fuel that was left at the call.
    pub fuel: u64,
}

/// The broker's journal, and its judge.
pub trait Ledger: Send + Sync {
    /// Why nothing may be done now, if so. Asked before each effect and once more after its intent is durable.
    fn halted(&self) -> Option<String>;

    /// Judges an effect. Pure and fast: it is asked on the run's own thread.
    fn judge(&self, call: &Call, unplanned: bool) -> Verdict;

    /// Writes down an intent; durable when it resolves. Asks once more whether the run is halted, in such a way
    /// that no halt is acknowledged between that question and the intent.
    fn intend<'a>(&'a self, intent: Intent<'a>) -> BoxFuture<'a, Result<(), LedgerError>>;

    /// Writes down an outcome; it rides in the next commit.
    fn settle<'a>(&'a self, outcome: Outcome<'a>) -> BoxFuture<'a, Result<(), LedgerError>>;

    /// Writes down a reading; it rides in the next commit.
    fn reading<'a>(&'a self, reading: Reading<'a>) -> BoxFuture<'a, Result<(), LedgerError>>;

    /// Writes down a refusal, with the answer that the plugin got; it rides in the next commit.
    fn denied<'a>(
        &'a self,
        call: &'a Call,
        answer: &'a Answer,
        fuel: u64,
    ) -> BoxFuture<'a, Result<(), LedgerError>>;
}

/// A scripted world for rehearsals.
pub trait Backend: Send + Sync {
    /// Whether this pass only plans: readings are answered here, effects are recorded and answered as the
    /// plugin assumes.
    fn planning(&self) -> bool {
        false
    }

    /// What the scripted world answers.
    fn answer<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Answer>;
}
