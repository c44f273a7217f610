//! Whether the host has room for one more agent: the memory that the kernel says is available.
//! Looked at when something is about to start, at most once a second.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::clock;

/// Between two looks; a look costs a read of a small file.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// While the host is under pressure the dispatcher looks again after this.
pub const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The pressure on the host, as seen last.
#[derive(Debug)]
pub struct Pressure {
    /// Nothing starts while fewer bytes than this are available.
    bytes_free_min: u64,
    last: Mutex<Option<(Instant, bool)>>,
}

impl Pressure {
    /// Pressure is felt while less than `bytes_free_min` is available; never if that is 0.
    pub fn new(bytes_free_min: u64) -> Self {
        Self { bytes_free_min, last: Mutex::new(None) }
    }

    /// What the host is short of, in words.
    pub fn felt(&self) -> Option<&'static str> {
        if self.bytes_free_min == 0 {
            return None;
        }
        let now = clock::monotonic();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_short = match *last {
            Some((at, is_short)) if now.duration_since(at) < LOOK_EVERY => is_short,
            Some(_) | None => {
                // A system that does not say is not held back.
                let is_short = meminfo("MemAvailable").is_some_and(|free| free < self.bytes_free_min);
                *last = Some((now, is_short));
                is_short
            }
        };
        is_short.then_some("short of memory")
    }
}

/// Bytes under this name in `/proc/meminfo`.
pub fn meminfo(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}
