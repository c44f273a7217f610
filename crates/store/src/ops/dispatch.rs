//! The dispatcher's transaction: what is due, then claims as far as there is something to claim. The engine's beat,
//! the simulator and the benchmark run this one. Where there is neither, it costs no sync.

use wakeful_domain::time::Timestamp;

use crate::ops::claim::{ClaimRequest, Claimed, claim_some};
use crate::ops::timers::{self, TimerReport};
use crate::{Refusal, Tx};

/// What a dispatcher brings: the time, and an id for each run that it may start.
pub type Dispatch = (Timestamp, Vec<ClaimRequest>);

/// Does what is due and claims what may start.
pub async fn dispatch(tx: &mut Tx, (now, requests): &Dispatch) -> Result<(TimerReport, Vec<Claimed>), Refusal> {
    let timers = timers::tick(tx, *now).await?;
    Ok((timers, claim_some(tx, requests).await?))
}
