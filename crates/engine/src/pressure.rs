//! Whether the host has room for one more agent: memory that the kernel says is available, and room
//! on the disk that runs write to. Looked at when something is about to start, at most once a second.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::clock;

/// Between two looks; a look costs a read of a small file and a question to the file system.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// While the host is under pressure the dispatcher looks again after this.
pub const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Once something was short, starting goes on only with this much more of it, so that a host at the
/// mark does not start and stop by turns.
const HYSTERESIS: f64 = 1.1;

/// What must be left of the host for anything to start; 0 for no such limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reserve {
    pub memory_bytes: u64,
    pub disk_bytes: u64,
}

/// The pressure on the host, as seen last.
#[derive(Debug)]
pub struct Pressure {
    reserve: Mutex<Reserve>,
    /// On the disk in question.
    dir: PathBuf,
    last: Mutex<Option<(Instant, Option<&'static str>)>>,
}

impl Pressure {
    /// Pressure is felt while less than the reserve is left; of disk on the one that holds `dir`.
    pub fn new(reserve: Reserve, dir: &Path) -> Self {
        Self { reserve: Mutex::new(reserve), dir: dir.to_owned(), last: Mutex::new(None) }
    }

    /// Pressure is felt by this reserve from the next look on.
    pub fn set_reserve(&self, reserve: Reserve) {
        *self.reserve.lock().unwrap_or_else(PoisonError::into_inner) = reserve;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What the host is short of, in words.
    pub fn felt(&self) -> Option<&'static str> {
        let now = clock::monotonic();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, felt) = match *last {
            Some((at, felt)) if now.duration_since(at) < LOOK_EVERY => (at, felt),
            before => (now, self.look(before.and_then(|(_, felt)| felt))),
        };
        *last = Some((at, felt));
        felt
    }

    fn look(&self, before: Option<&'static str>) -> Option<&'static str> {
        let reserve = *self.reserve.lock().unwrap_or_else(PoisonError::into_inner);
        // A system that does not say is not held back.
        let lacks = |what: &'static str, kept: u64, free: &dyn Fn() -> Option<u64>| {
            let wanted = if before == Some(what) { scaled(kept) } else { kept };
            (kept > 0 && free().is_some_and(|free| free < wanted)).then_some(what)
        };
        lacks("short of memory", reserve.memory_bytes, &|| meminfo("MemAvailable"))
            .or_else(|| lacks("short of disk space", reserve.disk_bytes, &|| disk_free(&self.dir)))
    }
}

fn scaled(bytes: u64) -> u64 {
    Duration::from_nanos(bytes).mul_f64(HYSTERESIS).as_nanos().try_into().unwrap_or(u64::MAX)
}

/// Bytes that we may still write where `dir` is.
pub fn disk_free(dir: &Path) -> Option<u64> {
    let existing = dir.ancestors().find(|ancestor| ancestor.exists())?;
    let space = rustix::fs::statvfs(existing).ok()?;
    Some(space.f_bavail.saturating_mul(space.f_frsize))
}

/// Bytes under this name in `/proc/meminfo`.
pub fn meminfo(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short_is_named_and_what_has_no_limit_is_not_asked() {
        let felt = |memory_bytes, disk_bytes| {
            Pressure::new(Reserve { memory_bytes, disk_bytes }, Path::new("/proc/self/nowhere/yet")).felt()
        };
        assert_eq!(felt(0, 0), None);
        assert_eq!(felt(u64::MAX, 0), Some("short of memory"));
        assert_eq!(
            Pressure::new(Reserve { memory_bytes: 0, disk_bytes: u64::MAX }, Path::new("/")).felt(),
            Some("short of disk space")
        );
    }

    #[test]
    fn starting_goes_on_with_a_little_more_than_the_reserve() {
        assert_eq!(scaled(1_000), 1_100);
        let free = disk_free(Path::new("/")).unwrap();
        let pressure = Pressure::new(Reserve { memory_bytes: 0, disk_bytes: free - free / 50 }, Path::new("/"));
        assert_eq!(pressure.look(None), None);
        assert_eq!(pressure.look(Some("short of disk space")), Some("short of disk space"));
    }
}
