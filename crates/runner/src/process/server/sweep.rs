//! Ends what a dead shim left behind. A process belongs to a run if `WAKEFUL_RUN=<id>` is in the
//! environment it was started with, or if it is in a control group that carries the run's name; each is
//! signalled through a handle that means only it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, pidfd_send_signal};

use super::super::cgroup;
use super::super::identity::{Stat, every_pid, stat};

/// Rounds of find and kill; a tree that forks faster than it is killed ends within a few.
const ROUNDS_MAX: u32 = 100;
/// How long a round waits for one killed process: only the kernel can delay it.
const DEATH_WAIT: Duration = Duration::from_millis(100);

/// What a sweep ended. Nothing of the run was left when it returned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    pub pids: Vec<i32>,
}

/// Why it is not proven that nothing is left.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    #[error("cannot look through /proc for the processes of run {run}")]
    Unreadable { run: String, source: io::Error },
    #[error("the processes {left:?} of run {run} outlive KILL")]
    Left { run: String, left: Vec<i32> },
}

/// Kills every process of the run until none is left. Only for a run whose shim is dead.
pub async fn sweep(run: &str) -> Result<Swept, SweepError> {
    let owned = run.to_owned();
    match tokio::task::spawn_blocking(move || sweep_blocking(&owned)).await {
        Ok(result) => result,
        Err(error) => Err(SweepError::Unreadable { run: run.to_owned(), source: io::Error::other(error) }),
    }
}

fn sweep_blocking(run: &str) -> Result<Swept, SweepError> {
    let unreadable = |source| SweepError::Unreadable { run: run.to_owned(), source };
    let mut swept = BTreeSet::new();
    let mut left = Vec::new();
    for _ in 0..ROUNDS_MAX {
        left = members(run).map_err(unreadable)?;
        if left.is_empty() {
            cgroup::remove_of(run).map_err(unreadable)?;
            return Ok(Swept { pids: swept.into_iter().collect() });
        }
        cgroup::thaw_of(run).map_err(unreadable)?;
        // First signal all, then wait: what is dead cannot start others.
        let mut dying = Vec::new();
        for member in &left {
            // One that refuses is still there in the next round, and in the end is reported.
            if let Ok(Some(handle)) = kill(member, run) {
                swept.insert(member.pid);
                dying.push(handle);
            }
        }
        wait_for_deaths(&dying).map_err(unreadable)?;
    }
    Err(SweepError::Left { run: run.to_owned(), left: left.iter().map(|member| member.pid).collect() })
}

/// The live processes of the run, ourselves never.
fn members(run: &str) -> io::Result<Vec<Stat>> {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let marked = every_pid()?.filter(|pid| *pid != own && belongs_to(*pid, run));
    Ok(marked.filter_map(stat).filter(Stat::is_running).collect())
}

/// Whether the process was started with the run in its environment, or is in its group. The former is not shown by
/// zombies, by other users' and by those that cleared it.
fn belongs_to(pid: i32, run: &str) -> bool {
    let mark = format!("WAKEFUL_RUN={run}");
    let is_marked = fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes()));
    is_marked || cgroup::is_member(pid, run)
}

fn kill(member: &Stat, run: &str) -> io::Result<Option<OwnedFd>> {
    let Some(handle) = member.open()? else { return Ok(None) };
    if !belongs_to(member.pid, run) {
        return Ok(None);
    }
    match pidfd_send_signal(&handle, Signal::KILL) {
        Ok(()) => Ok(Some(handle)),
        Err(rustix::io::Errno::SRCH) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Waits until all are dead, or one takes too long: the round is then over for all.
fn wait_for_deaths(dying: &[OwnedFd]) -> io::Result<()> {
    let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(DEATH_WAIT.subsec_nanos()) };
    for handle in dying {
        match poll(&mut [PollFd::new(handle, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return Ok(()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
