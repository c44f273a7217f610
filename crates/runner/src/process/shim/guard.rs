//! Keeps the limits of memory and processes: by control groups where there are any, and by looking at the tree where
//! there are none. Without a limit nobody ever looks, so that an idle shim costs no processor time.
//!
//! Why no rlimit: `RLIMIT_NPROC` counts all processes of the user, those of other runs and of the server included,
//! and `RLIMIT_AS` counts address space, of which JavaScript and Go reserve far more than they use.

use std::time::{Duration, Instant};

use rustix::process::setpriority_process;

use super::super::cgroup::Cgroups;
use super::super::launch::{Launch, ProcessLimits};
use super::super::record::Limit;
use super::super::tree;

/// How often the limit of memory is looked at.
const MEMORY_LOOK_EVERY: Duration = Duration::from_millis(500);
/// And that of processes where nobody else keeps it: a tree may double within milliseconds.
const PIDS_LOOK_EVERY: Duration = Duration::from_millis(100);

/// The limits of a launch and what keeps them.
pub struct Guard {
    limits: ProcessLimits,
    groups: Cgroups,
    every: Duration,
    /// `None` if there is nothing to look at.
    pub look_at: Option<Instant>,
}

impl Guard {
    /// Makes the control groups of the launch.
    pub fn create(launch: &Launch) -> Guard {
        let groups = Cgroups::create(&launch.run, launch.number, launch.limits);
        Guard { limits: launch.limits, groups, every: MEMORY_LOOK_EVERY, look_at: None }
    }

    /// Starts the agent inside the groups and begins to look; without an agent they are removed.
    pub fn around<A, E>(&mut self, now: Instant, start: impl FnOnce() -> Result<A, E>) -> Result<A, E> {
        self.groups.enter();
        let started = start();
        self.groups.leave();
        if started.is_err() {
            self.groups.remove();
        }
        let samples_pids = self.limits.pids_max.is_some() && !self.groups.limits_pids;
        self.every = if samples_pids { PIDS_LOOK_EVERY } else { MEMORY_LOOK_EVERY };
        if samples_pids && started.is_ok() {
            // As far as we may. A tree that grows quickly leaves others no time to look at it.
            setpriority_process(None, -20).ok();
        }
        self.look_at = (self.limits != ProcessLimits::default()).then(|| now + self.every);
        started
    }

    /// The limit that is exceeded, if it is time to look.
    pub fn due(&mut self, now: Instant) -> Option<Limit> {
        self.look_at.filter(|at| *at <= now)?;
        self.look_at = Some(now + self.every);
        self.groups.hit().or_else(|| self.sampled())
    }

    /// What the tree takes that no group limits. More shared memory than fits is counted anew, shared out.
    fn sampled(&self) -> Option<Limit> {
        let memory_bytes_max = self.limits.memory_bytes_max.filter(|_| !self.groups.limits_memory);
        let pids_max = self.limits.pids_max.filter(|_| !self.groups.limits_pids);
        if memory_bytes_max.is_none() && pids_max.is_none() {
            return None;
        }
        let members = tree::sample(pids_max.unwrap_or(u64::MAX));
        let threads: u64 = members.iter().map(|member| member.threads).sum();
        if pids_max.is_some_and(|max| threads > max) {
            return Some(Limit::Pids);
        }
        let max = memory_bytes_max?;
        let resident: u64 = members.iter().map(tree::resident_bytes).sum();
        let is_over = resident > max && members.iter().map(tree::proportional_bytes).sum::<u64>() > max;
        is_over.then_some(Limit::Memory)
    }

    /// The limit that the kernel has kept, asked once the tree is gone: it may have ended between two looks.
    pub fn last_look(&self) -> Option<Limit> {
        self.look_at.and_then(|_| self.groups.hit())
    }

    /// KILL to the whole tree at once, where that is possible.
    pub fn kill(&self) {
        self.groups.kill();
    }

    /// Removes the groups.
    pub fn remove(&self) {
        self.groups.remove();
    }
}
