//! How long the disk takes for the log, and what the servers are told of it. Nobody but the agent waits for the disk,
//! and it only once its pipe is full.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use super::super::clock;
use super::super::protocol::Report;
use super::servers::Servers;
use super::watch::timespec;

/// A disk that is busy with one write or sync for this long is slow: a healthy one takes milliseconds for what is
/// written at once, a busy one tenths of a second.
const SLOW_AFTER: Duration = Duration::from_secs(2);

/// Whether the disk is slow, and whether that was said.
#[derive(Debug, Default)]
pub struct Patience {
    /// Since when it is, once it was said.
    told: Option<Instant>,
}

impl Patience {
    /// What there is to say, given since when the disk is busy with one thing.
    pub fn look(&mut self, busy_since: Option<Instant>, now: Instant) -> Option<Report> {
        match (self.told, busy_since) {
            (Some(told), busy_since) if busy_since != Some(told) => {
                self.told = None;
                Some(Report::LogCaughtUp { after_ms: ms_between(told, now) })
            }
            (None, Some(since)) if now >= since + SLOW_AFTER => {
                self.told = busy_since;
                self.present(now)
            }
            (Some(_) | None, _) => None,
        }
    }

    /// When to look again.
    pub fn due_at(&self, busy_since: Option<Instant>) -> Option<Instant> {
        busy_since.filter(|_| self.told.is_none()).map(|since| since + SLOW_AFTER)
    }

    /// What whoever comes now must know.
    pub fn present(&self, now: Instant) -> Option<Report> {
        self.told.map(|since| Report::LogSlow { for_ms: ms_between(since, now) })
    }
}

fn ms_between(since: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(since).as_millis()).unwrap_or(u64::MAX)
}

/// Does what may wait for the disk on a thread of its own, and meanwhile answers the servers, to whom `present` is the
/// state of things. Only once the tree is gone: there is nothing to be ordered any more.
pub fn beside<T: Send>(
    servers: &mut Servers,
    patience: &mut Patience,
    present: &[Report],
    work: impl FnOnce() -> T + Send,
) -> T {
    let since = patience.told.unwrap_or_else(clock::monotonic);
    let Ok(bell) = eventfd(0, EventfdFlags::CLOEXEC) else { return work() };
    let work = Mutex::new(Some(work));
    let take = || work.lock().unwrap_or_else(PoisonError::into_inner).take();
    let done = thread::scope(|scope| {
        let started = thread::Builder::new().name("disk".into()).spawn_scoped(scope, || {
            let done = take().map(|work| work());
            rustix::io::write(&bell, &1_u64.to_ne_bytes()).ok();
            done
        });
        // A machine without room for a thread has us wait ourselves.
        let Ok(working) = started else { return Ok(take().map(|work| work())) };
        loop {
            let now = clock::monotonic();
            patience.look(Some(since), now).iter().for_each(|report| servers.send(report));
            let timeout = patience.due_at(Some(since)).map(|at| timespec(at.saturating_duration_since(now)));
            let mut waited = [PollFd::new(&bell, PollFlags::IN), PollFd::new(&servers.listener, PollFlags::IN)];
            // Whatever it was, it is looked after.
            poll(&mut waited, timeout.as_ref()).ok();
            let [is_done, has_newcomers] = waited.map(|waited| !waited.revents().is_empty());
            if has_newcomers {
                let present: Vec<Report> = present.iter().cloned().chain(patience.present(now)).collect();
                servers.accept(&present);
            }
            if is_done || working.is_finished() {
                return working.join();
            }
        }
    });
    // It was slow until now, or it is slow for the next thing as well, which then says so again.
    patience.look(None, clock::monotonic()).iter().for_each(|report| servers.send(report));
    match done {
        Ok(Some(done)) => done,
        Ok(None) => unreachable!("whoever takes the work does it"),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_disk_is_told_once_and_that_it_came_back_once() {
        let mut patience = Patience::default();
        let start = clock::monotonic();
        let at = |ms: u64| start + Duration::from_millis(ms);
        assert_eq!((patience.look(None, at(0)), patience.due_at(None)), (None, None));
        assert_eq!(patience.look(Some(at(10)), at(2_009)), None);
        assert_eq!(patience.due_at(Some(at(10))), Some(at(2_010)));
        assert_eq!(patience.look(Some(at(10)), at(2_010)), Some(Report::LogSlow { for_ms: 2_000 }));
        assert_eq!((patience.look(Some(at(10)), at(9_000)), patience.due_at(Some(at(10)))), (None, None));
        assert_eq!(patience.present(at(5_010)), Some(Report::LogSlow { for_ms: 5_000 }));
        // The next batch has begun.
        assert_eq!(patience.look(Some(at(9_010)), at(9_010)), Some(Report::LogCaughtUp { after_ms: 9_000 }));
        assert_eq!((patience.look(Some(at(9_010)), at(9_020)), patience.present(at(9_020))), (None, None));
    }
}
