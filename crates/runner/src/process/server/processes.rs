//! What of a live run is running now, for people who look. A snapshot: nothing is decided by it.

use std::fs;
use std::io;
use std::path::Path;

use rustix::param::clock_ticks_per_second;
use wakeful_domain::time::Timestamp;

use super::super::identity::{Stat, boot_id};
use super::super::record::{ShimRecord, shim_file};
use super::super::tree;

/// Longer commands are cut.
const COMMAND_CHARS_MAX: usize = 4_096;
/// More processes than this are not listed.
const PROCESSES_MAX: usize = 1_000;

/// A process of a live run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeProcess {
    pub pid: i32,
    /// The shim's for the agent's main process and for what was left to the shim.
    pub parent: i32,
    /// Program and arguments, cut at 4,096 characters.
    pub command: String,
    /// As `/proc` has it: `R` runs, `S` sleeps, `D` waits for a device, `T` is stopped, `Z` has ended.
    pub state: char,
    /// What is in memory of it, what it shares with others included.
    pub rss_bytes: u64,
    /// Time of processors spent in it.
    pub cpu_ms: u64,
    pub started_at: Timestamp,
}

/// The processes below the shim of launch `number` of the run in `dir`, parents before their children; none if it has
/// ended. Blocks for a walk over `/proc`.
pub fn process_tree(dir: &Path, number: u32) -> io::Result<Vec<TreeProcess>> {
    let text = match fs::read(dir.join(shim_file(number))) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Ok(ShimRecord::Shim { identity, .. }) = serde_json::from_slice(first) else { return Ok(Vec::new()) };
    let boot = boot_id()?;
    if !identity.is_alive(&boot) {
        return Ok(Vec::new());
    }
    let members = tree::descendants_of(identity.pid)?;
    // Asked again: its number may have come to mean another process during the walk.
    if !identity.is_alive(&boot) {
        return Ok(Vec::new());
    }
    let booted_at = booted_at_seconds()?;
    Ok(members.iter().take(PROCESSES_MAX).map(|member| described(member, booted_at)).collect())
}

fn described(member: &Stat, booted_at_seconds: u64) -> TreeProcess {
    let ms_of = |ticks: u64| ticks.saturating_mul(1_000) / clock_ticks_per_second().max(1);
    let started_ms = booted_at_seconds.saturating_mul(1_000).saturating_add(ms_of(member.start_time));
    TreeProcess {
        pid: member.pid,
        parent: member.parent,
        command: command_of(member.pid),
        state: char::from(member.state),
        rss_bytes: tree::resident_bytes(member),
        cpu_ms: ms_of(member.cpu_ticks),
        started_at: Timestamp::from_millis(i64::try_from(started_ms).unwrap_or(i64::MAX)),
    }
}

/// The arguments, or the name where there are none.
fn command_of(pid: i32) -> String {
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let joined = String::from_utf8_lossy(&arguments).trim_end_matches('\0').replace('\0', " ");
    let command = if joined.is_empty() {
        fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned()
    } else {
        joined
    };
    command.chars().take(COMMAND_CHARS_MAX).collect()
}

fn booted_at_seconds() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/stat")?;
    let value = text.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok());
    value.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/stat says nothing of the boot"))
}
