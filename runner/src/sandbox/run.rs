//! The state of one run inside its store.

use std::fmt;
use std::sync::Arc;
use std::vec;

use rand_chacha::ChaCha20Rng;
use staunch_core::effect::{Access, Answer, Call};
use staunch_core::plan::Recorded;
use tokio::time::Instant;

use super::job::{Denial, EffectRecord, Job, LogLine, Mode, ReadingRecord};
use super::limits::{Limiter, MAX_CALLS, MAX_JOURNAL_BYTES};
use super::stop::Stop;
use super::world::World;

/// What a store holds: the job, the clock that ends it, and all that it did.
pub(super) struct Run {
    pub(super) job: Job,
    pub(super) world: Arc<World>,
    pub(super) limiter: Limiter,
    pub(super) deadline: Instant,
    /// Whether people approved the plan: nothing outside it is done then.
    pub(super) approved: bool,
    /// Nanoseconds of the clock that WASI guests see.
    pub(super) monotonic: u64,
    /// From here on, what goes wrong is the guest's doing.
    pub(super) instantiated: bool,
    pub(super) random: Option<ChaCha20Rng>,
    pub(super) replay: vec::IntoIter<Recorded>,
    pub(super) effects: Vec<EffectRecord>,
    pub(super) readings: Vec<ReadingRecord>,
    pub(super) denials: Vec<Denial>,
    pub(super) log: Vec<LogLine>,
    pub(super) log_bytes: usize,
    pub(super) log_dropped: u32,
    /// How many calls were replayed.
    replayed: usize,
    calls: u32,
    journal_bytes: usize,
    unplanned: u32,
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("job", &self.job).finish_non_exhaustive()
    }
}

impl Run {
    pub(super) fn new(mut job: Job, world: Arc<World>, approved: bool) -> Self {
        Self {
            world,
            limiter: Limiter::new(&job.limits),
            deadline: Instant::now() + job.limits.deadline,
            approved,
            monotonic: 0,
            instantiated: false,
            random: None,
            replay: std::mem::take(&mut job.replay).into_iter(),
            effects: Vec::new(),
            readings: Vec::new(),
            denials: Vec::new(),
            log: Vec::new(),
            log_bytes: 0,
            log_dropped: 0,
            replayed: 0,
            calls: 0,
            journal_bytes: 0,
            unplanned: job.resume.outside,
            job,
        }
    }

    /// Counts a call, and ends the run at the bounds that hold for every call.
    pub(super) fn count_call(&mut self) -> Result<(), Stop> {
        self.calls += 1;
        if self.calls > MAX_CALLS {
            return Err(Stop::limit("calls", format!("more than {MAX_CALLS} calls in one run")));
        }
        if Instant::now() >= self.deadline {
            return Err(self.past_deadline());
        }
        Ok(())
    }

    pub(super) fn past_deadline(&self) -> Stop {
        Stop::limit("deadline", format!("it ran longer than its deadline of {:?}", self.job.limits.deadline))
    }

    /// Counts bytes that the journal will hold.
    pub(super) fn count_bytes(&mut self, bytes: usize) -> Result<(), Stop> {
        self.journal_bytes = self.journal_bytes.saturating_add(bytes);
        if self.journal_bytes > MAX_JOURNAL_BYTES {
            let message = format!("more than {MAX_JOURNAL_BYTES} bytes of arguments and answers in one run");
            return Err(Stop::limit("journal", message));
        }
        Ok(())
    }

    /// The number of the next effect that is not in the plan; the one that it has, if it is sent again.
    pub(super) fn unplanned_index(&mut self, call: &Call) -> u32 {
        if let Some(again) = self.job.resume.again.as_ref().filter(|again| again.call == *call) {
            return again.index;
        }
        if let Some(place) = self.job.resume.sent_again.iter().position(|(_, again)| again == call) {
            return self.job.resume.sent_again.remove(place).0;
        }
        let planned = match self.job.mode {
            Mode::Act { planned, .. } => planned,
            Mode::Plan | Mode::Rehearse(_) | Mode::Replay => 0,
        };
        let index = planned + self.unplanned;
        self.unplanned += 1;
        index
    }

    /// The journaled answer to this call, if the run is still replaying, or if it is an effect that was done before
    /// the run was planned anew.
    pub(super) fn replayed(
        &mut self,
        call: &Call,
        access: Access,
        fuel: u64,
    ) -> Result<Option<Recorded>, Stop> {
        let fits = |recorded: &Recorded| {
            recorded.call == *call && recorded.fuel == fuel && recorded.access == access
        };
        let next = self.replay.as_slice().first();
        if next.is_some_and(fits) {
            self.replayed += 1;
            return Ok(self.replay.next());
        }
        let over = next.is_none();
        if access == Access::Effect
            && let Some(place) = self.job.resume.done.iter().position(|done| done.call == *call)
        {
            return Ok(Some(self.job.resume.done.remove(place)));
        }
        if over && !matches!(self.job.mode, Mode::Replay) {
            return Ok(None);
        }
        Err(Stop::Diverged { expected: self.replay.next().map(Box::new), call: Box::new(call.clone()), fuel })
    }

    /// How many calls were replayed before the last one, if that one is old.
    pub(super) fn old_call(&self) -> Option<u32> {
        let before = self.replayed.checked_sub(1).filter(|before| *before < self.job.resume.old)?;
        u32::try_from(before).ok()
    }

    /// Takes the effects that a replayed call used up out of the plan.
    pub(super) fn cover_replayed(&mut self, recorded: &Recorded, answer: &Answer) {
        let Some(index) = recorded.index else { return };
        if let Mode::Act { cover, planned } = &mut self.job.mode {
            match cover.admit(&recorded.call) {
                Some(place) => cover.answered(place, answer),
                None => self.unplanned = self.unplanned.max((index + 1).saturating_sub(*planned)),
            }
        }
    }
}
