//! What the server is asked for from outside, by signals.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Mutex;

/// What the server is asked for from outside.
pub struct Signals {
    terminate: Mutex<Signal>,
    interrupt: Mutex<Signal>,
    hang_up: Mutex<Signal>,
}

impl Signals {
    /// From here on none of them ends the process by itself.
    pub fn catch() -> std::io::Result<Signals> {
        let caught = |kind| signal(kind).map(Mutex::new);
        Ok(Signals {
            terminate: caught(SignalKind::terminate())?,
            interrupt: caught(SignalKind::interrupt())?,
            hang_up: caught(SignalKind::hangup())?,
        })
    }

    /// Asked to stop.
    pub async fn stop(&self) {
        tokio::select! {
            _ = async { self.terminate.lock().await.recv().await } => {}
            _ = async { self.interrupt.lock().await.recv().await } => {}
        }
    }

    /// Asked to read the configuration again.
    pub async fn reload(&self) {
        self.hang_up.lock().await.recv().await;
    }
}
