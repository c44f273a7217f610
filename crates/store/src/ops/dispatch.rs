//! The dispatcher's transaction: what is due, then claims as far as there is something to claim. The engine's beat,
//! the simulator and the benchmark run this one. Where there is neither, it costs no sync.

use wakeful_domain::time::Timestamp;

use crate::ops::budgets_due::{self, BudgetsDue};
use crate::ops::claim::{ClaimRequest, Claimed, claim_some};
use crate::ops::firing::{self, Fired};
use crate::ops::late_ends;
use crate::ops::subscriptions::due;
use crate::ops::timers::{self, TimerReport};
use crate::{Refusal, Tx};

/// What a dispatcher brings: the time, and an id for each run that it may start.
pub type Dispatch = (Timestamp, Vec<ClaimRequest>);

/// What was done, and what is to follow from it.
#[derive(Debug)]
pub struct Dispatched {
    pub budgets: BudgetsDue,
    pub fired: Fired,
    /// Subscriptions whose window has closed, or that have waited long enough.
    pub woken: usize,
    pub timers: TimerReport,
    pub claimed: Vec<Claimed>,
}

/// Does what is due and claims what may start.
pub async fn dispatch(tx: &mut Tx, (now, requests): &Dispatch) -> Result<Dispatched, Refusal> {
    let budgets = budgets_due::due(tx, *now).await?;
    if budgets.looked > 0 {
        // It has locked a company; the rest is done at once, in a transaction of its own.
        let timers = TimerReport { next_at: Some(*now), ..TimerReport::default() };
        return Ok(Dispatched { budgets, fired: Fired::default(), woken: 0, timers, claimed: Vec::new() });
    }
    let fired = firing::fire_due(tx, *now).await?;
    let timers = timers::tick(tx, *now).await?;
    late_ends::tell_due(tx, *now).await?;
    let woken = due::fire_due(tx, *now).await?;
    Ok(Dispatched { budgets, fired, woken, timers, claimed: claim_some(tx, requests).await? })
}
