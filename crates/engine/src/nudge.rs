//! Hints that something changed: never data, only a reason to look. A hint given while nobody
//! waits is kept, so that arming before looking loses nothing.

use tokio::sync::{Notify, watch};

/// Wakes the dispatcher, whoever asks, and whoever follows the event stream.
#[derive(Debug)]
pub struct Nudge {
    dispatch: Notify,
    asking: Notify,
    events: watch::Sender<u64>,
}

impl Nudge {
    pub fn new() -> Nudge {
        Nudge { dispatch: Notify::new(), asking: Notify::new(), events: watch::Sender::new(0) }
    }

    /// Something may be ready to start, and there are new events.
    pub fn changed(&self) {
        self.dispatch.notify_one();
        self.told();
    }

    /// A gate or an action is to be asked.
    pub fn asked(&self) {
        self.asking.notify_one();
    }

    /// Waits until something is to be asked.
    pub async fn asking(&self) {
        self.asking.notified().await;
    }

    /// There are new events.
    pub fn told(&self) {
        self.events.send_modify(|generation| *generation = generation.wrapping_add(1));
    }

    /// Waits until something may be ready to start.
    pub async fn dispatch(&self) {
        self.dispatch.notified().await;
    }

    /// A place to wait for new events.
    pub fn events(&self) -> watch::Receiver<u64> {
        self.events.subscribe()
    }
}
