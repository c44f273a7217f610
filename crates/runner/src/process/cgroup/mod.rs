//! The control groups of one launch: made where we may make one, never required. They let the whole tree be killed
//! at once, whatever it does to escape, and limit what it takes. What no group limits is sampled by the shim.
//!
//! The shim enters them itself, starts the agent, which is born in them, and leaves. A helper between fork and exec
//! would cost another exec, and a clone into a group exists for version 2 alone.
//!
//! Invariant: a group's name carries the run, so that nothing else is ever killed through it or removed.

mod place;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, Timespec, poll};
use rustix::process::Signal;

use super::identity::stat;
use super::launch::ProcessLimits;
use super::record::Limit;
use place::{Hierarchy, Place, places};

/// Groups below a run's own, which the agent may have made, are followed this far.
const DEPTH_MAX: u32 = 16;
/// A group that cannot be removed yet is tried again so often, 10 ms apart.
const REMOVALS_MAX: u32 = 50;
const BETWEEN_REMOVALS: Duration = Duration::from_millis(10);
/// How often a freezer is asked whether all are frozen; those that are not yet are caught by the next KILL.
const FREEZES_MAX: u32 = 20;

/// The groups of one launch; empty where none may be made.
#[derive(Debug, Default)]
pub(super) struct Cgroups {
    groups: Vec<Group>,
    wanted: ProcessLimits,
    /// Whether the kernel keeps the limit.
    pub limits_memory: bool,
    pub limits_pids: bool,
    /// The shim could not leave: nothing may be killed through the groups.
    is_shared: bool,
}

#[derive(Debug)]
struct Group {
    hierarchy: Hierarchy,
    dir: PathBuf,
    /// Where the shim came from and goes back to.
    home: PathBuf,
}

/// How the groups of a run begin; the number of the launch follows.
pub(super) fn prefix(run: &str) -> String {
    format!("wakeful-{run}-")
}

impl Cgroups {
    /// Makes what may be made and is of use.
    pub fn create(run: &str, number: u32, limits: ProcessLimits) -> Cgroups {
        let mut made = Cgroups { wanted: limits, ..Cgroups::default() };
        if run.is_empty() || run.contains('/') {
            return made;
        }
        let name = format!("{}{number}", prefix(run));
        let mut places = places().unwrap_or_default();
        // The newer one first: what it does, the older ones need not do.
        places.sort_by_key(|place| place.hierarchy != Hierarchy::Unified);
        for place in &places {
            let is_wanted = match place.hierarchy {
                Hierarchy::Unified => true,
                Hierarchy::Freezer => !made.can_kill(),
                Hierarchy::Memory => limits.memory_bytes_max.is_some() && !made.limits_memory,
                Hierarchy::Pids => limits.pids_max.is_some() && !made.limits_pids,
            };
            if is_wanted {
                made.add(place, &name, limits);
            }
        }
        made
    }

    fn add(&mut self, place: &Place, name: &str, limits: ProcessLimits) {
        let dir = place.own.join(name);
        if place.hierarchy == Hierarchy::Unified && limits != ProcessLimits::default() {
            // Refused where processes are in our own group, unless it is the root.
            for controller in ["+memory", "+pids"] {
                fs::write(place.own.join("cgroup.subtree_control"), controller).ok();
            }
        }
        if fs::create_dir(&dir).is_err() {
            return;
        }
        let can = |file: &str| dir.join(file).exists();
        match place.hierarchy {
            Hierarchy::Unified => {
                self.limits_memory = limits.memory_bytes_max.is_some() && can("memory.max");
                self.limits_pids = limits.pids_max.is_some() && can("pids.max");
            }
            Hierarchy::Memory => self.limits_memory = can("memory.limit_in_bytes"),
            Hierarchy::Pids => self.limits_pids = can("pids.max"),
            Hierarchy::Freezer => {}
        }
        self.groups.push(Group { hierarchy: place.hierarchy, dir, home: place.own.clone() });
    }

    /// Whether all members can be killed at once.
    fn can_kill(&self) -> bool {
        self.groups.iter().any(|group| match group.hierarchy {
            Hierarchy::Unified => group.dir.join("cgroup.kill").exists(),
            Hierarchy::Freezer => true,
            Hierarchy::Memory | Hierarchy::Pids => false,
        })
    }

    /// Takes this process in, so that whatever it starts is born inside. Groups that do not take it are given up.
    pub fn enter(&mut self) {
        let (entered, refused) = std::mem::take(&mut self.groups)
            .into_iter()
            .partition(|group| move_here(group.hierarchy, &group.dir).is_ok());
        self.groups = entered;
        for group in &refused {
            remove(&group.dir, false);
        }
        let has = |hierarchy| self.groups.iter().any(|group| group.hierarchy == hierarchy);
        self.limits_memory &= has(Hierarchy::Unified) || has(Hierarchy::Memory);
        self.limits_pids &= has(Hierarchy::Unified) || has(Hierarchy::Pids);
    }

    /// Takes this process out again.
    pub fn leave(&mut self) {
        for group in &self.groups {
            self.is_shared |= move_here(group.hierarchy, &group.home).is_err();
        }
        if !self.is_shared {
            self.limit();
        }
    }

    /// Sets the limits, now that the shim itself is outside and they are the tree's alone.
    fn limit(&mut self) {
        let (mut memory, mut pids) = (false, false);
        for group in &self.groups {
            let set = |file: &str, value: u64| fs::write(group.dir.join(file), value.to_string()).is_ok();
            let set_memory = |file: &str| self.wanted.memory_bytes_max.is_some_and(|bytes| set(file, bytes));
            match group.hierarchy {
                Hierarchy::Unified => {
                    pids |= self.wanted.pids_max.is_some_and(|count| set("pids.max", count));
                    if set_memory("memory.max") {
                        memory = true;
                        // There may be no swap to limit. Killed are all or none: half a tree is no agent.
                        set("memory.swap.max", 0);
                        set("memory.oom.group", 1);
                    }
                }
                Hierarchy::Memory => {
                    memory |= set_memory("memory.limit_in_bytes");
                    // It counts swap as well, where swap is counted.
                    set_memory("memory.memsw.limit_in_bytes");
                }
                Hierarchy::Pids => pids |= self.wanted.pids_max.is_some_and(|count| set("pids.max", count)),
                Hierarchy::Freezer => {}
            }
        }
        self.limits_memory &= memory;
        self.limits_pids &= pids;
    }

    /// Kills all members at once, those included that are being born.
    pub fn kill(&self) {
        if self.is_shared {
            return;
        }
        for group in &self.groups {
            match group.hierarchy {
                Hierarchy::Unified if fs::write(group.dir.join("cgroup.kill"), "1").is_ok() => return,
                Hierarchy::Freezer => return kill_frozen(&group.dir),
                // Whom it does not reach, the walk over the tree does.
                Hierarchy::Unified | Hierarchy::Memory | Hierarchy::Pids => {}
            }
        }
    }

    /// The limit that the kernel has kept, if it had to.
    pub fn hit(&self) -> Option<Limit> {
        let hit = |group: &Group, file: &str, name: &str| count_in(&group.dir.join(file), name) > 0;
        self.groups.iter().find_map(|group| {
            let (memory, pids) = match group.hierarchy {
                Hierarchy::Unified => (Some("memory.events"), Some("pids.events")),
                Hierarchy::Memory => (Some("memory.oom_control"), None),
                Hierarchy::Pids => (None, Some("pids.events")),
                Hierarchy::Freezer => (None, None),
            };
            let out_of_memory = self.limits_memory && memory.is_some_and(|file| hit(group, file, "oom_kill"));
            let out_of_pids = self.limits_pids && pids.is_some_and(|file| hit(group, file, "max"));
            out_of_memory.then_some(Limit::Memory).or(out_of_pids.then_some(Limit::Pids))
        })
    }

    /// Removes the groups, once the tree is gone. Whoever was put into them by somebody else stays, and so do they.
    pub fn remove(&self) {
        for group in &self.groups {
            // Whoever is inside now is none of ours: the tree is proven gone.
            remove(&group.dir, false);
        }
    }
}

/// What control groups do for runs on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControlGroups {
    /// A whole tree can be killed at once.
    pub kill: bool,
    pub memory: bool,
    pub pids: bool,
}

/// Finds out by making groups, and removes them.
pub fn control_groups() -> ControlGroups {
    let limits = ProcessLimits { memory_bytes_max: Some(1 << 30), pids_max: Some(1_000) };
    let made = Cgroups::create("probe", std::process::id(), limits);
    let found = ControlGroups { kill: made.can_kill(), memory: made.limits_memory, pids: made.limits_pids };
    made.remove();
    found
}

/// Removes the groups that a dead shim left behind, wherever they are. Only for a run of which nothing is left.
pub(super) fn remove_of(run: &str) -> io::Result<()> {
    groups_of(run)?.iter().for_each(|(_, dir)| remove(dir, true));
    Ok(())
}

/// Thaws what a shim that died had frozen, because what is frozen does not die of KILL.
pub(super) fn thaw_of(run: &str) -> io::Result<()> {
    for (_, dir) in groups_of(run)?.iter().filter(|(hierarchy, _)| *hierarchy == Hierarchy::Freezer) {
        // It fails only if the group is gone.
        fs::write(dir.join("freezer.state"), "THAWED").ok();
    }
    Ok(())
}

fn groups_of(run: &str) -> io::Result<Vec<(Hierarchy, PathBuf)>> {
    let prefix = prefix(run);
    let is_named = |dir: &PathBuf| dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix));
    let found = places()?.into_iter().flat_map(|place| {
        let dirs = below(&place.mount).into_iter();
        dirs.map(move |dir| (place.hierarchy, dir))
    });
    Ok(found.filter(|(_, dir)| is_named(dir)).collect())
}

/// Whether the process is in a group of the run: what its environment no longer says, this does.
pub(super) fn is_member(pid: i32, run: &str) -> bool {
    let mark = format!("/{}", prefix(run));
    fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|groups| groups.contains(&mark))
}

/// In version 1 a process may be moved as a thread, which takes no lock of the whole system; we have one thread.
fn move_here(hierarchy: Hierarchy, dir: &Path) -> io::Result<()> {
    let file = if hierarchy == Hierarchy::Unified { "cgroup.procs" } else { "tasks" };
    fs::write(dir.join(file), "0")
}

/// What is frozen starts nobody, so that all are found and killed; the signal takes effect as they thaw.
fn kill_frozen(dir: &Path) {
    let state = dir.join("freezer.state");
    for _ in 0..FREEZES_MAX {
        if fs::write(&state, "FROZEN").is_err()
            || fs::read_to_string(&state).is_ok_and(|state| state.trim() == "FROZEN")
        {
            break;
        }
        pause(Duration::from_millis(1));
    }
    for group in below(dir).iter().map(PathBuf::as_path).chain([dir]) {
        for member in members(group) {
            if let Some(member) = stat(member) {
                // Whoever refuses is found by the walk over the tree.
                member.signal(Signal::KILL).ok();
            }
        }
    }
    // It fails only if the group is gone, and then nobody is frozen.
    fs::write(&state, "THAWED").ok();
}

fn members(dir: &Path) -> Vec<i32> {
    let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// The value that follows a name in a file of such lines; none is nothing.
fn count_in(file: &Path, name: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok());
    value.unwrap_or(0)
}

/// Removes a group and those below it. One that is not empty yet is tried again for a while.
fn remove(dir: &Path, kills: bool) {
    for _ in 0..REMOVALS_MAX {
        for inner in below(dir).iter().rev() {
            fs::remove_dir(inner).ok();
        }
        match fs::remove_dir(dir) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
            Ok(()) | Err(_) => return,
        }
        if kills {
            fs::write(dir.join("cgroup.kill"), "1").ok();
        }
        pause(BETWEEN_REMOVALS);
    }
}

/// All groups below one, parents before their children.
fn below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut level = vec![dir.to_owned()];
    for _ in 0..DEPTH_MAX {
        let entries = level.iter().filter_map(|dir| fs::read_dir(dir).ok()).flatten().flatten();
        let dirs = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        level = dirs.map(|entry| entry.path()).collect();
        if level.is_empty() {
            break;
        }
        found.extend(level.iter().cloned());
    }
    found
}

/// Nothing announces what is waited for here.
fn pause(duration: Duration) {
    let nothing: &mut [PollFd<'_>] = &mut [];
    let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(duration.subsec_nanos()) };
    poll(nothing, Some(&timeout)).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_read_by_its_whole_name() {
        let dir = tempfile::tempdir().unwrap();
        let check = |text: &str, name: &str, expected: u64| {
            fs::write(dir.path().join("events"), text).unwrap();
            assert_eq!(count_in(&dir.path().join("events"), name), expected, "{text:?} {name}");
        };
        check("low 0\nmax 12\noom 1\noom_kill 3\n", "oom_kill", 3);
        check("low 0\nmax 12\noom 1\noom_kill 3\n", "oom", 1);
        check("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n", "oom_kill", 7);
        check("max 12\n", "oom_kill", 0);
        assert_eq!(count_in(&dir.path().join("missing"), "max"), 0);
    }
}
