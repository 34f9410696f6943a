//! What a program prints: kept up to a bound, read on beyond it so that the program is not blocked.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Child;
use tokio::task::JoinHandle;

const MAX_STREAM: usize = 64 << 10;

/// Both streams of a running program.
pub(super) struct Captured {
    stdout: Stream,
    stderr: Stream,
}

struct Stream {
    kept: Arc<Mutex<Kept>>,
    task: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    truncated: bool,
}

impl Captured {
    pub(super) fn start(child: &mut Child) -> Self {
        Self { stdout: Stream::start(child.stdout.take()), stderr: Stream::start(child.stderr.take()) }
    }

    /// What was printed; a stream that somebody else holds open is cut off after `drain`.
    pub(super) async fn finish(self, drain: Duration) -> (String, String, bool) {
        let end = tokio::time::Instant::now() + drain;
        let (stdout, cut_stdout) = self.stdout.finish(end).await;
        let (stderr, cut_stderr) = self.stderr.finish(end).await;
        (stdout, stderr, cut_stdout || cut_stderr)
    }
}

impl Stream {
    fn start(pipe: Option<impl AsyncRead + Unpin + Send + 'static>) -> Self {
        let kept = Arc::new(Mutex::new(Kept::default()));
        let shared = kept.clone();
        Self { kept, task: pipe.map(|pipe| tokio::spawn(read(pipe, shared))) }
    }

    async fn finish(mut self, end: tokio::time::Instant) -> (String, bool) {
        let ended = match &mut self.task {
            Some(task) => tokio::time::timeout_at(end, task).await.is_ok(),
            None => true,
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&std::mem::take(&mut kept.bytes)).into_owned();
        (text, kept.truncated || !ended)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn read(mut pipe: impl AsyncRead + Unpin, kept: Arc<Mutex<Kept>>) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MAX_STREAM - kept.bytes.len();
        kept.truncated |= count > room;
        kept.bytes.extend_from_slice(&buffer[..count.min(room)]);
    }
}
