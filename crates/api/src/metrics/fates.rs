//! What became of wakes and slots since this process began, read from the events that tell it: whatever made them, they
//! are counted once, after their commit, and a question costs what has happened since the last one.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use serde_json::Value;
use tokio::sync::Mutex;
use wakeful_engine::Engine;
use wakeful_store::Refusal;
use wakeful_store::ops::events::{self, Cursor, Told};

/// Events read at a time.
const PAGE: i64 = 2_000;
/// Pages read for one question: what is left is counted at the next one.
const PAGES_MAX: usize = 100;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Wake {
    source: String,
    fate: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Fate {
    fate: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Slot {
    status: String,
}

/// The counters, and up to where they count.
#[derive(Debug, Default)]
pub struct Fates {
    pub wakes: Family<Wake, Counter>,
    pub ended: Family<Fate, Counter>,
    pub slots: Family<Slot, Counter>,
    counted: Mutex<Option<Cursor>>,
}

impl Fates {
    /// Counts what has happened since the last question; the first one begins the count.
    pub async fn count(&self, engine: &Engine) -> Result<(), Refusal> {
        let mut counted = self.counted.lock().await;
        let mut cursor = match *counted {
            Some(cursor) => cursor,
            None => engine.db().read("events.newest", (), |tx, ()| Box::pin(events::newest(tx))).await?,
        };
        for _ in 0..PAGES_MAX {
            let page = engine
                .db()
                .read("events.fates", cursor, |tx, cursor| Box::pin(events::fates_after(tx, *cursor, PAGE)))
                .await?;
            page.iter().for_each(|told| self.add(told));
            cursor = page.last().map_or(cursor, |told| told.cursor);
            if page.len() < PAGE as usize {
                break;
            }
        }
        *counted = Some(cursor);
        Ok(())
    }

    fn add(&self, Told { kind, fate, .. }: &Told) {
        let Some(data) = fate else { return };
        let text = |field: &str| data.get(field).and_then(Value::as_str).unwrap_or("unknown").to_owned();
        match kind.split_once('.') {
            Some(("wakeup", fate @ ("accepted" | "skipped" | "coalesced"))) => {
                self.wakes.get_or_create(&Wake { source: text("source"), fate: fate.to_owned() }).inc();
            }
            Some(("wakeup", fate)) => {
                self.ended.get_or_create(&Fate { fate: fate.to_owned() }).inc();
            }
            Some(_) => {
                let count = data.get("count").and_then(Value::as_u64).unwrap_or(1);
                self.slots.get_or_create(&Slot { status: text("status") }).inc_by(count);
            }
            None => {}
        }
    }
}
