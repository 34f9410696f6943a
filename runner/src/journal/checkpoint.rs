//! Checkpoints: signed after the commit, on the disk before they are served.
//!
//! The file beside the database is what tells, at the next start, whether the database is still the one that
//! was signed: a backup put back would not hold what the file's checkpoint covers.

use std::sync::{PoisonError, Weak};
use std::time::Duration;

use staunch_core::tlog::{Checkpoint, Frontier};
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::error::JournalError;
use super::health::Health;
use super::open::MakeHeartbeat;
use super::writer::Command;
use super::{CHECKPOINT_FILE, Inner, Journal, Shared, SignedCheckpoint};

/// The least time between two checkpoints.
const INTERVAL: Duration = Duration::from_secs(1);

impl Shared {
    pub(super) fn checkpoint(&self) -> SignedCheckpoint {
        self.checkpoint.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn serve(&self, checkpoint: SignedCheckpoint) {
        *self.checkpoint.lock().unwrap_or_else(PoisonError::into_inner) = checkpoint;
    }
}

impl Journal {
    /// The checkpoint that covers everything that is on the disk now; waits for the next signature when
    /// there is none yet, about a second.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`], [`JournalError::Closed`].
    pub async fn checkpoint_covering_all(&self) -> Result<SignedCheckpoint, JournalError> {
        let size = self.size();
        let mut ticks = interval(INTERVAL / 10);
        while self.inner.shared.checkpoint().size < size {
            if !self.writable() {
                return Err(self.inner.shared.health.unavailable());
            }
            if self.inner.queue.is_closed() {
                return Err(JournalError::Closed);
            }
            ticks.tick().await;
        }
        Ok(self.checkpoint())
    }
}

impl Inner {
    /// Signs the tree as it is, unless that is done already.
    pub(super) async fn sign_checkpoint(&self) -> Result<(), JournalError> {
        let _turn = self.signing.lock().await;
        let head = self.shared.head();
        let served = self.shared.checkpoint();
        if head.size() == served.size && !served.note.is_empty() {
            return Ok(());
        }
        let (size, note) = (head.size(), self.sign(&head)?);
        let stored = note.clone();
        self.ask(|reply| Command::Checkpoint { size, note: stored, reply }).await?;
        self.write_file(note.clone()).await?;
        self.shared.serve(SignedCheckpoint { size, note: note.into() });
        Ok(())
    }

    fn sign(&self, head: &Frontier) -> Result<String, JournalError> {
        let origin = self.signer.public().name().to_owned();
        let checkpoint = Checkpoint { origin, size: head.size(), root: head.root() };
        self.signer.sign(&checkpoint).map_err(JournalError::Note)
    }

    async fn write_file(&self, note: String) -> Result<(), JournalError> {
        let dir = self.dir.upgrade().ok_or(JournalError::Closed)?;
        let path = dir.file(CHECKPOINT_FILE);
        // The lock on the data goes along, so that no later daemon's file is overwritten by this one.
        let written = tokio::task::spawn_blocking(move || dir.replace(CHECKPOINT_FILE, note.as_bytes()));
        let written = written.await.map_err(|_| JournalError::Closed)?;
        written.map_err(|error| {
            if error.kind() != std::io::ErrorKind::StorageFull {
                self.shared.health.set(Health::Failed, &format!("{}: {error}", path.display()));
            }
            JournalError::io("write", &path)(error)
        })
    }

    async fn append_heartbeat(&self, make: &MakeHeartbeat) -> Result<(), JournalError> {
        let (reply, answer) = oneshot::channel();
        let _nobody = self.append(vec![make(self.shared.head().size())], Some(reply), None).await?;
        answer.await.map_err(|_| JournalError::Closed)?.map(drop)
    }
}

/// Signs while the journal is open: new entries at most once a second, and at least every `heartbeat`.
pub(super) async fn keep_signing(inner: Weak<Inner>, heartbeat: Duration, make: Option<MakeHeartbeat>) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut signed = Instant::now();
    loop {
        ticks.tick().await;
        let Some(inner) = inner.upgrade().filter(|inner| !inner.queue.is_closed()) else { return };
        let before = inner.shared.checkpoint().size;
        if before == inner.shared.head().size() && signed.elapsed() < heartbeat {
            continue;
        }
        match sign(&inner, before, make.as_ref()).await {
            Ok(()) => signed = Instant::now(),
            Err(JournalError::Closed) => return,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "no checkpoint was signed");
            }
        }
    }
}

async fn sign(inner: &Inner, before: u64, make: Option<&MakeHeartbeat>) -> Result<(), JournalError> {
    if let Some(make) = make
        && before == inner.shared.head().size()
    {
        inner.append_heartbeat(make).await?;
    }
    inner.sign_checkpoint().await
}
