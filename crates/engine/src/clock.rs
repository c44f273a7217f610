//! The only place that reads the clock and asks the system for chance.
#![expect(clippy::disallowed_methods, reason = "this is where the time is taken from")]

use std::time::Instant;

use wakeful_domain::time::Timestamp;

/// The wall clock.
pub fn now() -> Timestamp {
    jiff::Timestamp::now().into()
}

/// The monotonic clock, for measuring durations.
pub fn monotonic() -> Instant {
    Instant::now()
}

/// A seed that nobody can guess.
pub fn seed() -> u64 {
    let mut bytes = [0; 8];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u64::from_le_bytes(bytes),
        // Without a source of randomness ids are still unique by time; tokens refuse to be made.
        Err(_) => now().as_micros().unsigned_abs(),
    }
}
