//! How this host stands, and how much may run on it: what the dispatcher asks before it starts anything.

use std::sync::atomic::Ordering;

use wakeful_domain::waiting::Host;

use crate::Engine;
use crate::pressure::Reserve;

impl Engine {
    /// How this host stands.
    pub fn host(&self) -> Host {
        let (live_runs, has_slow_disk) = {
            let live = self.live();
            (live.len(), live.values().any(|live| live.has_slow_disk))
        };
        let full = self.inner.room.is_short().then_some("short of disk space");
        let slow = has_slow_disk.then_some("waiting for a slow disk");
        Host {
            live_runs,
            live_runs_max: self.inner.live_runs_max.load(Ordering::Acquire),
            is_draining: self.inner.is_draining.load(Ordering::Acquire),
            is_in_safe_mode: self.inner.config.is_in_safe_mode,
            restored_from: self.inner.hold.taken_at(),
            pressure: self.inner.pressure.felt().or(full).or(slow),
        }
    }

    /// Starts nothing new until [`Engine::undrain`]; live runs go on.
    pub fn drain(&self) {
        self.inner.is_draining.store(true, Ordering::Release);
    }

    /// Ends a drain, unless the server is stopping.
    pub fn undrain(&self) {
        if !self.inner.stopping.is_cancelled() {
            self.inner.is_draining.store(false, Ordering::Release);
            self.inner.nudge.changed();
        }
    }

    /// How much this host takes from now on; what is live already goes on.
    pub fn set_limits(&self, live_runs_max: usize, reserve: Reserve) {
        self.inner.live_runs_max.store(live_runs_max, Ordering::Release);
        self.inner.pressure.set_reserve(reserve);
        self.inner.nudge.changed();
    }
}
