//! What is new behind a place in a company's events. However many listen at the same place, the store is asked once, and
//! what it says is written out once.
//!
//! Invariant: a listener never gets an answer that began before its own hint. Answers are shared by the number of the hint
//! they were asked for, and for a moment only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::response::sse::Event;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use wakeful_domain::id::{CompanyId, EventId};
use wakeful_engine::clock;
use wakeful_store::ops::events::{self, Cursor};
use wakeful_store::ops::retention;

use crate::Api;
use crate::wire::EventView;

/// Rows read at a time.
const PAGE: i64 = 200;
/// Another node may have written without a hint to us: an answer is not given again after this.
const FRESH: Duration = Duration::from_secs(1);

/// What was asked last of each company.
#[derive(Debug, Default)]
pub struct Feeds(Mutex<HashMap<CompanyId, Look>>);

#[derive(Debug, Clone)]
struct Look {
    cursor: Cursor,
    hint: u64,
    at: Instant,
    answer: Shared<BoxFuture<'static, Option<Arc<News>>>>,
}

/// What lies behind a cursor.
#[derive(Debug)]
pub struct News {
    /// What lay between the cursor and this event is gone.
    pub gap: Option<EventId>,
    pub told: Vec<Told>,
}

/// An event as listeners get it.
#[derive(Debug)]
pub struct Told {
    pub id: EventId,
    /// `run.finished`, as an example.
    pub kind: String,
    pub shown: Event,
}

impl Feeds {
    /// What is new behind `cursor`, as of the hint `hint` or later; `None` if the store does not answer.
    pub async fn behind(&self, api: &Api, company: CompanyId, cursor: Cursor, hint: u64) -> Option<Arc<News>> {
        let answer = {
            let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let is_good = |look: &&Look| look.cursor == cursor && look.hint == hint && look.at.elapsed() < FRESH;
            match looks.get(&company).filter(is_good) {
                Some(look) => look.answer.clone(),
                None => {
                    let answer = ask(api.clone(), company, cursor).boxed().shared();
                    looks.insert(company, Look { cursor, hint, at: clock::monotonic(), answer: answer.clone() });
                    answer
                }
            }
        };
        answer.await
    }
}

async fn ask(api: Api, company: CompanyId, cursor: Cursor) -> Option<Arc<News>> {
    let read = api.engine.db().read("event.after", (company, cursor), |tx, (company, cursor)| {
        Box::pin(retention::events::after(tx, *company, *cursor, PAGE))
    });
    let found = read.await.ok()?;
    Some(Arc::new(News { gap: found.gap, told: found.events.into_iter().map(told).collect() }))
}

fn told(event: events::Event) -> Told {
    let (id, kind) = (event.id, event.kind.clone());
    let data = serde_json::to_string(&EventView::from(event)).unwrap_or_default();
    let shown = Event::default().id(id.to_string()).event(&kind).data(data);
    Told { id, kind, shown }
}
