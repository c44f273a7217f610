//! Firing a schedule by hand, and what follows from any firing. By the clock it is the dispatcher's transaction
//! that fires.

use wakeful_domain::id::ScheduleId;
use wakeful_store::Refusal;
use wakeful_store::ops::firing::{self, Fired};
use wakeful_store::ops::slots::Slot;

use crate::clock;
use crate::engine::Engine;

impl Engine {
    /// Fires a schedule now; gives the slot that this is.
    pub async fn fire_schedule(&self, id: ScheduleId) -> Result<Slot, Refusal> {
        let engine = self.clone();
        self.whole("schedule.fire", async move {
            let (slot, fired) = engine
                .write("schedule.fire", (clock::now(), id), |tx, (now, id)| Box::pin(firing::fire_now(tx, *now, *id)))
                .await?;
            engine.after_firing(&fired);
            Ok(slot)
        })
        .await
    }

    /// Does what follows from what was fired.
    pub(crate) fn after_firing(&self, fired: &Fired) {
        for run in &fired.stops {
            self.signal_stop(*run, "its schedule fires again");
        }
        if fired.asked > 0 {
            self.inner.nudge.asked();
        }
    }
}
