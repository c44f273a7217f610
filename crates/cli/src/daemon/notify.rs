//! What a service manager is told: ready, reloading, stopping, how it stands, and that the scheduler is alive. The
//! watchdog is fed by a completed beat of the dispatcher, never by a mere timer: a dispatcher that hangs lets the
//! manager restart the server.

use std::time::Duration;

use sd_notify::NotifyState;
use wakeful_engine::{Engine, clock};

/// Tells the manager, if there is one.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("the service manager could not be told: {error}");
    }
}

/// The server answers, and what was running has been found again.
pub fn ready(address: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(&format!("listens on {address}"))]);
}

/// The configuration is read again.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!("the monotonic clock cannot be read: {error}"),
    }
}

/// It was, and this is what came of it.
pub fn reloaded(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Nothing new is taken any more.
pub fn stopping(live_runs: usize) {
    tell(&[NotifyState::Stopping, NotifyState::Status(&format!("stopping; {live_runs} live runs go on"))]);
}

/// Feeds the watchdog for as long as the dispatcher makes progress; returns at once if none is wanted.
pub async fn feed_watchdog(engine: Engine) {
    let Some(within) = sd_notify::watchdog_enabled() else { return };
    let every = within / 3;
    loop {
        let asked_at = clock::now();
        engine.beat_soon();
        tokio::time::sleep(every.max(Duration::from_millis(10))).await;
        if engine.meters().last_beat() >= asked_at {
            tell(&[NotifyState::Watchdog]);
        } else {
            tracing::error!("the dispatcher has not completed a beat for {every:?}; the watchdog is not fed");
        }
    }
}
