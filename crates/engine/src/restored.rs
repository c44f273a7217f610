//! A store that was restored from a backup is held: nothing starts, fires or is sent until somebody says so. What of the
//! life before still runs on this machine is ended first.

use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;
use wakeful_domain::time::Timestamp;
use wakeful_store::Refusal;
use wakeful_store::ops::restore::{self, MissedSlots, Plan, Restored};

use crate::clock;
use crate::engine::Engine;

/// Whether the store is held, and what was ended for it.
#[derive(Debug)]
pub(crate) struct Hold {
    held: watch::Sender<Option<Restored>>,
    ended: Mutex<Vec<String>>,
}

impl Hold {
    pub fn new(held: Option<Restored>) -> Hold {
        Hold { held: watch::Sender::new(held), ended: Mutex::default() }
    }

    /// When the backup was taken, if the store is held.
    pub fn taken_at(&self) -> Option<Timestamp> {
        self.held.borrow().as_ref().map(|restored| restored.taken_at)
    }

    /// Notes that processes of this run were ended.
    pub fn note_ended(&self, run: String) {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).push(run);
    }
}

impl Engine {
    /// The restore that nobody has said yes to so far.
    pub fn held(&self) -> Option<Restored> {
        self.inner.hold.held.borrow().clone()
    }

    /// Runs of the life before whose processes this server has ended.
    pub fn ended_for_restore(&self) -> Vec<String> {
        self.inner.hold.ended.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What would happen if the store went on.
    pub async fn restore_plan(&self) -> Result<Plan, Refusal> {
        self.db().read("restore.plan", clock::now(), |tx, now| Box::pin(restore::plan(tx, *now))).await
    }

    /// Lets a restored store go on.
    pub async fn release_restored(&self, slots: MissedSlots) -> Result<Restored, Refusal> {
        let engine = self.clone();
        self.whole("restore.release", async move {
            let restored = engine
                .write("restore.release", (clock::now(), slots), |tx, (now, slots)| {
                    Box::pin(restore::release(tx, *now, *slots))
                })
                .await?;
            engine.inner.hold.held.send_replace(None);
            engine.inner.nudge.changed();
            engine.inner.nudge.asked();
            Ok(restored)
        })
        .await
    }

    /// Returns once the store is not held, or the server stops.
    pub(crate) async fn released(&self) {
        let mut held = self.inner.hold.held.subscribe();
        tokio::select! {
            () = self.stopping() => {}
            // The sender lives as long as the engine.
            _ = held.wait_for(Option::is_none) => {}
        }
    }
}
