//! The one way to wait: look again until it is so, for a bounded time.

use std::time::{Duration, Instant};

/// How long between two looks.
const INTERVAL: Duration = Duration::from_millis(10);

/// What most things may take; generous, since the machine may be busy.
pub const SOON: Duration = Duration::from_secs(20);

/// Looks until there is an answer.
///
/// # Panics
/// When there is none in time; `what` says what was waited for.
pub fn until<T>(what: &str, within: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    match within_time(within, &mut look) {
        Some(found) => found,
        None => panic!("not within {within:?}: {what}"),
    }
}

/// Looks until there is an answer or the time is over.
pub fn within_time<T>(within: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if began.elapsed() > within {
            return None;
        }
        std::thread::sleep(INTERVAL);
    }
}
