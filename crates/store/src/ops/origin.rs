//! Where a change comes from: who makes it, when, and the ids of what follows from it.

use wakeful_domain::actor::Actor;
use wakeful_domain::id::{IdSource, RunId};
use wakeful_domain::run::RunFence;
use wakeful_domain::time::Timestamp;

use crate::ops::runs;
use crate::{Refusal, Tx};

/// Where a change comes from.
#[derive(Debug, Clone)]
pub struct Origin {
    pub now: Timestamp,
    pub actor: Actor,
    /// The live run whose token was used: the cause of wakes that follow.
    pub by_run: Option<RunFence>,
    /// Ids of what follows come from it, so that an operation that is run again makes the same.
    pub id_seed: u64,
}

impl Origin {
    /// The ids of what follows. One source an operation: two would give the same ids.
    pub fn ids(&self) -> IdSource {
        IdSource::new(self.id_seed)
    }

    /// The run that makes the change, if one does.
    pub fn run(&self) -> Option<RunId> {
        self.by_run.map(|own| own.run)
    }

    /// Refuses the change of a run that has ended meanwhile. Tasks and agents are locked before.
    pub async fn prove(&self, tx: &mut Tx) -> Result<(), Refusal> {
        match self.by_run {
            Some(RunFence { run, fence }) => runs::get_live(tx, run, fence).await.map(|_| ()),
            None => Ok(()),
        }
    }
}
