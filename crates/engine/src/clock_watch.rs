//! Notices when the wall clock is set, and when the machine has slept: sleeping counts no time of the
//! monotonic clock, on which the dispatcher waits. The kernel tells; nothing polls.
//!
//! What follows is small, since slots are kept by their nominal times: the dispatcher looks again, catches up
//! as each schedule says, and after a clock that was set back schedules go on from now.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::{Errno, read};
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use wakeful_store::ops::schedules;

use crate::clock;
use crate::engine::Engine;
use crate::meters::Meter;

/// Smaller steps are corrections, as time servers make them.
const STEP_MIN: Duration = Duration::from_secs(2);
/// Far enough for a timer that is only there to be cancelled.
const NEVER_S: i64 = i64::MAX / 2_000_000_000;

/// The three clocks at one moment, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Readings {
    wall: i128,
    /// Counts while the machine sleeps, too.
    boot: i128,
    monotonic: i128,
}

/// What has happened between two readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Jump {
    /// By how much the wall clock was set, in nanoseconds; negative if back.
    step_ns: i128,
    slept: Duration,
}

impl Readings {
    fn take() -> Readings {
        let ns = |clock| {
            let Timespec { tv_sec, tv_nsec } = clock_gettime(clock);
            i128::from(tv_sec) * 1_000_000_000 + i128::from(tv_nsec)
        };
        Readings { wall: ns(ClockId::Realtime), boot: ns(ClockId::Boottime), monotonic: ns(ClockId::Monotonic) }
    }

    fn until(self, later: Readings) -> Jump {
        let passed = later.boot - self.boot;
        let slept = u64::try_from(passed - (later.monotonic - self.monotonic)).unwrap_or(0);
        Jump { step_ns: later.wall - self.wall - passed, slept: Duration::from_nanos(slept) }
    }
}

impl Jump {
    fn is_step(self) -> bool {
        self.step_ns.unsigned_abs() >= STEP_MIN.as_nanos()
    }

    fn is_sleep(self) -> bool {
        self.slept >= STEP_MIN
    }
}

/// Watches until the engine stops.
pub(crate) async fn run(engine: &Engine) {
    // The clock may have been set back while no server was there.
    go_on_from_now(engine).await;
    let watch = match watch() {
        Ok(watch) => watch,
        Err(error) => {
            tracing::warn!(
                "this system does not tell when its clock is set ({error}); the sweep notices within minutes"
            );
            return;
        }
    };
    let mut before = Readings::take();
    loop {
        let cancelled = tokio::select! {
            () = engine.stopping() => return,
            cancelled = cancelled(&watch) => cancelled,
        };
        if let Err(error) = cancelled.and_then(|()| arm(watch.get_ref())) {
            tracing::error!("the clock is not watched any more: {error}");
            return;
        }
        let now = Readings::take();
        let jump = before.until(now);
        before = now;
        follow(engine, jump).await;
    }
}

async fn follow(engine: &Engine, jump: Jump) {
    tracing::debug!(?jump, "the kernel says that the clock was set or the machine woke up");
    if jump.is_sleep() {
        engine.inner.meters.count(Meter::Suspends);
        tracing::warn!(slept_s = jump.slept.as_secs(), "the machine has slept for {} s", jump.slept.as_secs());
    }
    if jump.is_step() {
        engine.inner.meters.count(Meter::ClockSteps);
        let step_s = jump.step_ns / 1_000_000_000;
        tracing::warn!(step_s = step_s as i64, "the clock was set by {step_s} s");
        if jump.step_ns < 0 {
            go_on_from_now(engine).await;
        }
    }
    engine.inner.nudge.changed();
    engine.inner.nudge.asked();
}

async fn go_on_from_now(engine: &Engine) {
    let rewound = engine.write("schedules.rewind", clock::now(), |tx, now| Box::pin(schedules::rewind(tx, *now))).await;
    match rewound {
        Ok(0) => {}
        Ok(count) => tracing::warn!(schedules = count, "the clock was set back; {count} schedules go on from now"),
        Err(refusal) => tracing::error!("schedules could not be brought back to the clock: {refusal}"),
    }
}

/// A timer that the kernel cancels when the clock is set or the machine wakes up.
fn watch() -> std::io::Result<AsyncFd<OwnedFd>> {
    let timer = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
    arm(&timer)?;
    #[expect(
        deprecated,
        reason = "an `OwnedFd` is always the same open file, which is what the newer name wants sworn"
    )]
    AsyncFd::new(timer)
}

fn arm(timer: &OwnedFd) -> std::io::Result<()> {
    let never = Timespec { tv_sec: NEVER_S, tv_nsec: 0 };
    let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: never };
    timerfd_settime(timer, TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET, &once)?;
    Ok(())
}

/// Resolves when the timer is cancelled.
async fn cancelled(watch: &AsyncFd<OwnedFd>) -> std::io::Result<()> {
    loop {
        let mut ready = watch.readable().await?;
        match read(watch.get_ref(), &mut [0; 8]) {
            Err(Errno::CANCELED) | Ok(_) => return Ok(()),
            Err(Errno::AGAIN) => ready.clear_ready(),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i128 = 1_000_000_000;

    #[test]
    fn sleep_is_told_from_a_clock_that_was_set() {
        let start = Readings { wall: 1_000 * SECOND, boot: 500 * SECOND, monotonic: 400 * SECOND };
        let check = |wall: i128, boot: i128, monotonic: i128, step_s: i128, slept_s: u64| {
            let later = Readings {
                wall: start.wall + wall * SECOND,
                boot: start.boot + boot * SECOND,
                monotonic: start.monotonic + monotonic * SECOND,
            };
            let jump = start.until(later);
            assert_eq!(jump, Jump { step_ns: step_s * SECOND, slept: Duration::from_secs(slept_s) });
            assert_eq!((jump.is_step(), jump.is_sleep()), (step_s.abs() >= 2, slept_s >= 2));
        };
        check(10, 10, 10, 0, 0);
        check(28_810, 28_810, 10, 0, 28_800);
        check(3_610, 10, 10, 3_600, 0);
        check(-3_590, 10, 10, -3_600, 0);
        check(11, 10, 10, 1, 0);
        check(0, 3_600, 0, -3_600, 3_600);
    }

    #[tokio::test]
    async fn the_watch_is_quiet_while_nothing_happens() {
        let watch = watch().unwrap();
        let waited = tokio::time::timeout(Duration::from_millis(50), cancelled(&watch)).await;
        assert!(waited.is_err(), "nothing was set");
    }
}
