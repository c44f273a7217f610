//! What time does to subscriptions: windows close, and what did not come in time is told. Part of the dispatcher's
//! transaction, which sleeps until the next is due.

use wakeful_domain::id::{AgentId, SubscriptionId, TaskId};
use wakeful_domain::time::Timestamp;

use super::deliver::{close, time_out};
use super::waiting::{Waiting, try_lock};
use super::{find, keep};
use crate::{Refusal, Tx};

/// Subscriptions in one transaction; the rest follow in the next.
const BITE: i64 = 100;

/// When the next window closes or the next wait is over.
pub(crate) const NEXT_DUE: &str = "
    select due_at
    from subscriptions
    where due_at is not null
    order by due_at
    limit 1";

const DUE: &str = "
    select id, agent_id, task_id
    from subscriptions
    where due_at is not null
      and due_at <= $1
    order by due_at, id
    limit $2";

/// Wakes for what is due, up to a bite. Gives how many were woken.
pub(crate) async fn fire_due(tx: &mut Tx, now: Timestamp) -> Result<usize, Refusal> {
    let mut due: Vec<(SubscriptionId, AgentId, Option<TaskId>)> = Vec::new();
    for mut row in tx.query(DUE, &[now.into(), BITE.into()]).await? {
        due.push((row.get()?, row.get()?, row.task()?));
    }
    let mut woken = 0;
    for (id, agent, task) in due {
        // Whoever is at its lane looks for what is due when it is done.
        let waiting = Waiting { tasks: task.into_iter().collect(), agents: [agent].into() };
        if !try_lock(tx, &waiting).await? {
            continue;
        }
        let Some(mut subscription) = find(tx, id).await? else { continue };
        if subscription.agent != agent || subscription.task != task {
            continue;
        }
        let is_over = subscription.window.is_some_and(|window| window.closes_at <= now);
        let is_late = subscription.timeout_at.is_some_and(|at| at <= now);
        match (is_over, is_late) {
            (true, _) => close(tx, &mut subscription, now).await?,
            (false, true) => time_out(tx, &mut subscription, now).await?,
            (false, false) => continue,
        }
        keep(tx, &subscription).await?;
        woken += 1;
    }
    Ok(woken)
}
