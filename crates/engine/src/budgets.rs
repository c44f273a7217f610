//! What follows from what runs spend: agents are told, and runs are stopped. What is counted, and when a line is
//! crossed, is the store's.

use wakeful_domain::id::RunId;
use wakeful_domain::run::Run;
use wakeful_store::Refusal;
use wakeful_store::ops::budgets_due::BudgetsDue;
use wakeful_store::ops::messages::Message;
use wakeful_store::ops::runs::{self, Progress};
use wakeful_store::ops::spending::Spent;

use crate::engine::Engine;
use crate::live::Input;

impl Engine {
    /// Notes what an agent reports while it works.
    pub async fn progress(&self, progress: Progress) -> Result<Run, Refusal> {
        let engine = self.clone();
        self.whole("run.progress", async move {
            let (run, spent) =
                engine.write("run.progress", progress, |tx, progress| Box::pin(runs::progress(tx, progress))).await?;
            engine.after_spending(run.id, &spent);
            Ok(run)
        })
        .await
    }

    /// Does what follows from what a live run has used.
    pub(crate) fn after_spending(&self, run: RunId, spent: &Spent) {
        if let Some(message) = &spent.told {
            self.tell(run, message);
        }
        if let Some(reason) = &spent.stop {
            self.signal_stop(run, reason);
        }
    }

    /// Does what follows from what the dispatcher has done about budgets.
    pub(crate) fn after_budgets(&self, due: &BudgetsDue) {
        for (run, message) in &due.told {
            self.tell(*run, message);
        }
        for (run, reason) in &due.stops {
            self.signal_stop(*run, reason);
        }
    }

    /// It waits in the inbox; who takes messages while it works gets it at once.
    fn tell(&self, run: RunId, message: &Message) {
        self.say(run, Input { id: message.id.clone(), text: message.text.clone() });
    }
}
