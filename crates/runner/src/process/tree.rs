//! The process tree of a shim: everything whose chain of parents leads to it. As it is the
//! sub-reaper, that includes what forked twice, left the group or began its own session.
//! A walk is a snapshot, a sample not even that; the proof of emptiness is not here but `ECHILD` from `wait`.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use rustix::param::page_size;
use rustix::process::{Pid, Signal, getpid, kill_process_group};

use super::identity::{Stat, every_pid, stat};

/// The live descendants of this process at the moment, parents before their children.
pub(super) fn descendants() -> io::Result<Vec<Stat>> {
    descendants_of(getpid().as_raw_pid())
}

/// Those of any process.
pub(super) fn descendants_of(root: i32) -> io::Result<Vec<Stat>> {
    let mut others: Vec<Stat> = every_pid()?.filter_map(stat).collect();
    let mut known = BTreeSet::from([root]);
    let mut found = Vec::new();
    loop {
        let (children, rest): (Vec<_>, Vec<_>) = others.into_iter().partition(|stat| known.contains(&stat.parent));
        if children.is_empty() {
            found.retain(Stat::is_running);
            return Ok(found);
        }
        known.extend(children.iter().map(|stat| stat.pid));
        found.extend(children);
        others = rest;
    }
}

/// Signals every descendant: the group of `leader` at once, the others one by one.
/// Stopped ones are continued, or they would not take the signal. One that refuses the signal, as a
/// program of another user may, keeps nobody else from it; the walk shows that it is still there.
///
/// `leader` is `None` once it was waited for, because its number may then mean another group.
pub(super) fn signal_all(leader: Option<Pid>, signal: Signal) -> io::Result<Vec<Stat>> {
    if let Some(leader) = leader {
        // Its group may be gone or never have been; whoever lives is found by the walk.
        kill_process_group(leader, signal).ok();
    }
    let members = descendants()?;
    let group = leader.map(Pid::as_raw_pid);
    for member in &members {
        if group != Some(member.group) || signal == Signal::KILL {
            member.signal(signal).ok();
        }
        if matches!(member.state, b'T' | b't') && signal != Signal::KILL {
            member.signal(Signal::CONT).ok();
        }
    }
    Ok(members)
}

/// The live descendants of this process, roughly: it costs as much as the tree is large, not as the machine is. Some
/// that come and go may be missed. Stops beyond `threads_max`.
pub(super) fn sample(threads_max: u64) -> Vec<Stat> {
    let own = getpid().as_raw_pid();
    let mut parents = vec![own];
    let mut found: Vec<Stat> = Vec::new();
    let mut threads = 0;
    while let Some(parent) = parents.pop() {
        let Some(children) = children_of(parent) else {
            // The kernel was built without such lists, or the process is gone.
            if parent == own {
                return descendants().unwrap_or_default();
            }
            continue;
        };
        for child in children.into_iter().filter_map(stat).filter(Stat::is_running) {
            parents.push(child.pid);
            threads += child.threads;
            found.push(child);
            if threads > threads_max {
                return found;
            }
        }
    }
    found
}

/// The children of all threads of a process; `None` if it has no such lists.
fn children_of(pid: i32) -> Option<Vec<i32>> {
    let mut children = Vec::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        let list = match fs::read_to_string(thread.path().join("children")) {
            Ok(list) => list,
            // This thread has ended.
            Err(_) if thread.path().exists() => return None,
            Err(_) => continue,
        };
        children.extend(list.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
    }
    Some(children)
}

/// What is in memory of a process, what it shares with others included.
pub(super) fn resident_bytes(member: &Stat) -> u64 {
    member.resident_pages.saturating_mul(page_size() as u64)
}

/// What is in memory of a process, of what it shares only its part; all of it where that cannot be told.
pub(super) fn proportional_bytes(member: &Stat) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", member.pid)).unwrap_or_default();
    let kilobytes = text.lines().find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix(" kB")?.parse().ok());
    // It may have ended since, and then takes nothing.
    let now = || stat(member.pid).filter(Stat::is_running).map_or(0, |now| resident_bytes(&now));
    kilobytes.map_or_else(now, |kilobytes: u64| kilobytes * 1024)
}
