//! The one seam through which time and randomness enter.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Utc};

/// Wall-clock time, the machine's or a test's.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    Machine,
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn machine() -> Self {
        Self(Source::Machine)
    }

    /// A clock that stands still until [`Clock::set`] moves it.
    #[must_use]
    pub fn manual(start: DateTime<Utc>) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(start.timestamp_micros()))))
    }

    /// The time, in whole microseconds: what the journal can hold.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the seam")]
    pub fn now(&self) -> DateTime<Utc> {
        let micros = match &self.0 {
            Source::Machine => Utc::now().timestamp_micros(),
            Source::Manual(micros) => micros.load(Ordering::Relaxed),
        };
        DateTime::from_timestamp_micros(micros).unwrap_or_default()
    }

    /// Moves a manual clock; the machine's clock stays as it is.
    pub fn set(&self, now: DateTime<Utc>) {
        if let Source::Manual(micros) = &self.0 {
            micros.store(now.timestamp_micros(), Ordering::Relaxed);
        }
    }

    /// 128 bits for an id that sorts by time (`UUIDv7`).
    #[must_use]
    pub fn id_bits(&self) -> u128 {
        let now = self.now();
        let seconds = u64::try_from(now.timestamp()).unwrap_or_default();
        let stamp = uuid::Timestamp::from_unix(uuid::NoContext, seconds, now.timestamp_subsec_nanos());
        uuid::Uuid::new_v7(stamp).as_u128()
    }
}

/// Fills `bytes` from the operating system's generator.
///
/// # Panics
/// When the operating system has no randomness to give: nothing that Staunch does would be safe then.
pub fn random(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the operating system must provide randomness");
}
