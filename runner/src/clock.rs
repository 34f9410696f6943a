//! The one seam through which time and randomness enter.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU16, Ordering};

use chrono::{DateTime, Utc};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

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

    /// 128 bits for an id that sorts by time: a `UUIDv7` (RFC 9562) whose bits behind the milliseconds are their
    /// fraction (method 3 of its section 6.2) and a counter, so that what is made in order lists in order.
    #[must_use]
    pub fn id_bits(&self) -> u128 {
        let now = self.now();
        let seconds = u64::try_from(now.timestamp()).unwrap_or_default();
        let millis = seconds * 1_000 + u64::from(now.timestamp_subsec_millis());
        let mut bits = [0; 10];
        quick_random(&mut bits);
        let fraction = (now.timestamp_subsec_micros() % 1_000) * 4_096 / 1_000;
        let [.., high, low] = fraction.to_be_bytes();
        let [upper, lower] = MADE.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        (bits[0], bits[1], bits[2], bits[3]) = (high, low, upper, lower);
        uuid::Builder::from_unix_timestamp_millis(millis, &bits).into_uuid().as_u128()
    }
}

/// Ids made so far, as far as the bits for it go: it comes round after 16,384.
static MADE: AtomicU16 = AtomicU16::new(0);

/// Fills `bytes` from the operating system's generator.
///
/// # Panics
/// When the operating system has no randomness to give: nothing that Staunch does would be safe then.
pub fn random(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the operating system must provide randomness");
}

/// Bytes that one generator of a thread gives before it takes a new seed from the operating system.
const BYTES_A_SEED: usize = 1 << 20;

/// A thread's own generator, and what it still gives under its seed.
struct Generator {
    stream: ChaCha20Rng,
    left: usize,
}

thread_local! {
    static GENERATOR: RefCell<Option<Generator>> = const { RefCell::new(None) };
}

/// Fills `bytes` from a generator of the thread that the operating system seeds: unpredictable as [`random`], without
/// a call of the system each time. For salts and ids, of which every run needs many; keys and tokens come from
/// [`random`].
///
/// # Panics
/// As [`random`].
pub fn quick_random(bytes: &mut [u8]) {
    GENERATOR.with_borrow_mut(|slot| {
        let spent = slot.as_ref().is_none_or(|generator| generator.left < bytes.len());
        if spent {
            let mut seed = [0; 32];
            random(&mut seed);
            *slot = Some(Generator { stream: ChaCha20Rng::from_seed(seed), left: BYTES_A_SEED });
        }
        let generator = slot.as_mut().expect("it was put there just now");
        generator.left = generator.left.saturating_sub(bytes.len());
        generator.stream.fill_bytes(bytes);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_in_the_order_in_which_they_were_made() {
        let clock = Clock::manual(DateTime::from_timestamp_micros(1_700_000_000_000_999).unwrap());
        let first = clock.id_bits();
        assert!(first < clock.id_bits());
        clock.set(DateTime::from_timestamp_micros(1_700_000_000_001_000).unwrap());
        assert!(first < clock.id_bits());
        assert_eq!(uuid::Uuid::from_u128(first).get_version_num(), 7);
    }

    #[test]
    fn quick_randomness_does_not_repeat_itself() {
        let mut seen = std::collections::HashSet::new();
        for _ in 0..10_000 {
            let mut bytes = [0; 16];
            quick_random(&mut bytes);
            assert!(seen.insert(bytes));
        }
    }
}
