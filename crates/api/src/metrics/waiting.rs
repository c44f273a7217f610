//! Why pending wakeups wait, how many and since when. It takes a look at every lane that has any, so it is asked at most
//! every ten seconds, however often `/metrics` is.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use wakeful_domain::time::Timestamp;
use wakeful_domain::waiting::why_waiting;
use wakeful_engine::{Engine, clock};
use wakeful_store::Refusal;
use wakeful_store::ops::stats::{self, Pending};

use crate::wire::reason_name;

const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The wakeups that wait for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    pub depth: i64,
    pub oldest_at: Timestamp,
}

/// The queues by their reasons, as they were seen last.
#[derive(Debug, Default)]
pub struct Queues(Mutex<Option<(Instant, BTreeMap<String, Queue>)>>);

impl Queues {
    pub async fn seen(&self, engine: &Engine) -> Result<BTreeMap<String, Queue>, Refusal> {
        let mut last = self.0.lock().await;
        if let Some((_, queues)) = last.as_ref().filter(|(at, _)| at.elapsed() < LOOK_EVERY) {
            return Ok(queues.clone());
        }
        let pending = engine.db().read("stats.pending", (), |tx, ()| Box::pin(stats::pending(tx, None))).await?;
        let (host, now) = (engine.host(), clock::now());
        let mut queues: BTreeMap<String, Queue> = BTreeMap::new();
        for Pending { standing, count, oldest_at } in pending {
            let reason = reason_name(why_waiting(&standing, host, now).reason);
            let queue = queues.entry(reason).or_insert(Queue { depth: 0, oldest_at });
            queue.depth += count;
            queue.oldest_at = queue.oldest_at.min(oldest_at);
        }
        *last = Some((clock::monotonic(), queues.clone()));
        Ok(queues)
    }
}
