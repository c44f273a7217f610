//! Which process is meant: boot id, pid and start time, because a pid alone is used again.
//! Signals go through a pidfd that was opened first and compared afterwards, so that nothing else
//! is ever hit.

use std::fs;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// A process of this or of an earlier boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub pid: i32,
    /// Clock ticks since boot: field 22 of `/proc/<pid>/stat`.
    pub start_time: u64,
    pub boot_id: String,
}

/// The fields of `/proc/<pid>/stat` that we use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    pub pid: i32,
    pub state: u8,
    pub parent: i32,
    pub group: i32,
    pub start_time: u64,
    /// At least one.
    pub threads: u64,
    /// Spent in it, by itself and in the kernel, in clock ticks.
    pub cpu_ticks: u64,
    pub resident_pages: u64,
}

/// The id of the present boot.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// What `/proc` says about a process; `None` if there is none.
pub fn stat(pid: i32) -> Option<Stat> {
    // The line is shorter than this, and /proc gives it in one read.
    let mut line = [0; 1024];
    let count = fs::File::open(format!("/proc/{pid}/stat")).ok()?.read(&mut line).ok()?;
    parse_stat(pid, &line[..count])
}

fn parse_stat(pid: i32, bytes: &[u8]) -> Option<Stat> {
    // The name stands in parentheses and may itself hold spaces and parentheses.
    let after_name = bytes.iter().rposition(|byte| *byte == b')')? + 1;
    let text = std::str::from_utf8(&bytes[after_name..]).ok()?;
    let mut fields = text.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    // Now at field 6; negative numbers stand only where we do not look.
    let mut number = |skipped: usize| fields.nth(skipped)?.parse::<u64>().ok();
    let cpu_ticks = number(8)? + number(0)?;
    let threads = number(4)?;
    let start_time = number(1)?;
    let resident_pages = number(1)?;
    Some(Stat { pid, state, parent, group, start_time, threads, cpu_ticks, resident_pages })
}

/// Every process that `/proc` lists at the moment.
pub fn every_pid() -> io::Result<impl Iterator<Item = i32>> {
    Ok(fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()))
}

impl Stat {
    /// Whether it still runs: a zombie has ended and only waits to be collected.
    pub fn is_running(&self) -> bool {
        !matches!(self.state, b'Z' | b'X' | b'x')
    }

    /// A handle on exactly this process; `None` if it is gone.
    pub fn open(&self) -> io::Result<Option<OwnedFd>> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(None) };
        let handle = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // Compared after opening: from here on the handle can mean nothing else.
        let is_same = stat(self.pid).is_some_and(|now| now.start_time == self.start_time);
        Ok(is_same.then_some(handle))
    }

    /// Signals exactly this process; a process that is gone is no error.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let Some(handle) = self.open()? else { return Ok(()) };
        match pidfd_send_signal(&handle, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Identity {
    /// The identity of a process of this boot; `None` if there is none.
    pub fn of(pid: i32, boot_id: &str) -> Option<Identity> {
        stat(pid).map(|stat| Identity { pid, start_time: stat.start_time, boot_id: boot_id.to_owned() })
    }

    /// Signals exactly this process; one that is gone is no error.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match stat(self.pid).filter(|stat| stat.start_time == self.start_time) {
            Some(stat) if boot_id()? == self.boot_id => stat.signal(signal),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether exactly this process still runs.
    pub fn is_alive(&self, boot_id: &str) -> bool {
        self.boot_id == boot_id
            && stat(self.pid).is_some_and(|stat| stat.start_time == self.start_time && stat.is_running())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let line = b"42 (a) b (c) S 7 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 3 0 98765 1 2\n";
        let (threads, cpu_ticks, resident_pages) = (3, 11, 2);
        let expected =
            Stat { pid: 42, state: b'S', parent: 7, group: 42, start_time: 98_765, threads, cpu_ticks, resident_pages };
        assert_eq!(parse_stat(42, line), Some(expected));
    }

    #[test]
    fn this_process_is_alive_and_another_boot_is_not() {
        let boot = boot_id().unwrap();
        let own = Identity::of(i32::try_from(std::process::id()).unwrap(), &boot).unwrap();
        assert!(own.is_alive(&boot));
        assert!(!own.is_alive("another boot"));
    }

    #[test]
    fn a_pid_that_means_another_process_by_now_is_not_signalled() {
        let mut stranger = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let now = stat(i32::try_from(stranger.id()).unwrap()).unwrap();
        let earlier = Stat { start_time: now.start_time - 1, ..now };
        earlier.signal(Signal::KILL).unwrap();
        assert!(earlier.open().unwrap().is_none());
        assert!(stranger.try_wait().unwrap().is_none());
        now.signal(Signal::KILL).unwrap();
        stranger.wait().unwrap();
    }
}
