//! Entries from which others follow before they are on the disk.
//!
//! They are held for a moment, so that one commit does for them and for the first of what follows that somebody waits
//! for: a delivery goes along with the first intent of its run. Never here: what the entries say.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::writer::{Append, Reply};
use super::{Inner, JournalError};

/// How long entries are held at most for those that follow from them: longer than a plan takes that reads nothing, and
/// no longer than anybody would notice.
const COMPANY_DELAY: Duration = Duration::from_millis(2);

/// Entries that others follow from, until they are known to be on the disk.
#[derive(Clone, Debug, Default)]
pub struct Beginning(Arc<BeginningState>);

#[derive(Debug, Default)]
struct BeginningState {
    refused: AtomicBool,
    /// The entries, while they are held for what follows at once.
    held: Mutex<Option<Held>>,
}

#[derive(Debug)]
struct Held {
    entries: Append,
    /// See [`Shared::holds`].
    hold: Arc<()>,
}

impl Beginning {
    /// Whether they were refused: then nothing that follows from them is in the journal either.
    #[must_use]
    pub fn refused(&self) -> bool {
        self.0.refused.load(Ordering::Acquire)
    }

    pub(super) fn refuse(&self) {
        self.0.refused.store(true, Ordering::Release);
    }

    pub(super) fn hold(&self, entries: Append, holds: &Arc<()>) {
        *self.held() = Some(Held { entries, hold: Arc::clone(holds) });
    }

    /// Sends the entries if they are held: by themselves, or with what follows from them, which goes by itself when
    /// they are not. What follows and is waited for by nobody is held too. Nobody else sends meanwhile, so that
    /// everything comes in order. Who waits for entries that go along is told by who waits for what follows.
    pub(super) fn send(&self, follows: Option<Append>, send: impl FnOnce(Append)) -> Along {
        let mut held = self.held();
        let Some(Held { mut entries, hold }) = held.take() else {
            if let Some(follows) = follows {
                send(follows);
            }
            return Along::default();
        };
        let Some(follows) = follows else {
            send(entries);
            return Along::default();
        };
        if !follows.is_waited_for() {
            entries.join(follows);
            *held = Some(Held { entries, hold });
            return Along::default();
        }
        drop(hold);
        let along = Along { waiting: entries.take_waiting(), before: entries.len() };
        entries.join(follows);
        send(entries);
        along
    }

    pub(super) fn is_held(&self) -> bool {
        self.held().is_some()
    }

    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who waits for entries that went along with others. They are told by whoever waits for those: woken both at once,
/// who has something to do at the disk's word would be handed to another thread first.
#[derive(Debug, Default)]
#[must_use]
pub(super) struct Along {
    waiting: Vec<(Reply<u64>, usize)>,
    /// Entries that stand before those others.
    before: usize,
}

impl Along {
    pub(super) fn tell(self, answer: &Result<u64, JournalError>) {
        for (reply, place) in self.waiting {
            // Who went away does not want to know.
            drop(reply.send(match answer {
                Ok(first) => Ok(first - self.before as u64 + place as u64),
                Err(JournalError::Unavailable(why)) => Err(JournalError::Unavailable(why.clone())),
                Err(error) => Err(JournalError::Unavailable(error.to_string())),
            }));
        }
    }
}

/// Entries that are on their way to the disk.
#[derive(Debug)]
pub struct Begun {
    beginning: Beginning,
    answer: oneshot::Receiver<Result<u64, JournalError>>,
    inner: Arc<Inner>,
}

impl Begun {
    pub(super) fn new(
        beginning: Beginning,
        answer: oneshot::Receiver<Result<u64, JournalError>>,
        inner: Arc<Inner>,
    ) -> Self {
        Self { beginning, answer, inner }
    }

    /// To be named with what follows from them.
    #[must_use]
    pub fn beginning(&self) -> Beginning {
        self.beginning.clone()
    }

    /// Waits until they are on the disk; the index of the first.
    ///
    /// # Errors
    /// When they are not, and nothing that follows from them will be.
    pub async fn durable(mut self) -> Result<u64, JournalError> {
        // What follows at once comes first, and mostly goes along: then no clock is needed.
        yield_now().await;
        if self.beginning.is_held() {
            if let Ok(answer) = timeout(COMPANY_DELAY, &mut self.answer).await {
                return answer.map_err(|_| JournalError::Closed)?;
            }
            self.inner.let_go(&self.beginning).await?;
        }
        self.answer.await.map_err(|_| JournalError::Closed)?
    }
}
