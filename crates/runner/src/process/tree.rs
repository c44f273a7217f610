//! The process tree of a shim: everything whose chain of parents leads to it. As it is the
//! sub-reaper, that includes what forked twice, left the group or began its own session.
//! A walk is a snapshot; the proof of emptiness is not here but `ECHILD` from `wait`.

use std::collections::BTreeSet;
use std::io;

use rustix::process::{Pid, Signal, getpid, kill_process_group};

use super::identity::{Stat, every_pid, stat};

/// The live descendants of this process at the moment, parents before their children.
pub(super) fn descendants() -> io::Result<Vec<Stat>> {
    let mut others: Vec<Stat> = every_pid()?.filter_map(stat).collect();
    let mut known = BTreeSet::from([getpid().as_raw_pid()]);
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
