//! Topics: names that anyone in a company may publish to. A topic is not made and not removed; what is published is
//! an event, and wakes whoever waits for it and lets it through.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json as object};
use wakeful_domain::id::{CompanyId, EventId};
use wakeful_domain::subscription::{EventName, Source, Subscription};

use super::deliver::{Happening, Seen, concerned, tell_one};
use super::waiting::Waiting;
use crate::ops::origin::Origin;
use crate::ops::request_keys::{self, RequestKey};
use crate::ops::{events, ready};
use crate::{Error, Refusal, Tx};

/// Larger data is not repeated in the event; those who are woken have it.
const EVENT_BYTES_MAX: usize = 16 * 1024;

/// Something to be published.
#[derive(Debug, Clone)]
pub struct Publication {
    pub company: CompanyId,
    pub topic: String,
    pub data: Map<String, Json>,
    pub request_key: Option<RequestKey>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Published {
    pub event: EventId,
    /// Subscriptions that it matched.
    pub matched: i64,
}

/// What one publication may come to in all wakeups together.
const TOLD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Publishes to a topic.
pub async fn publish(tx: &mut Tx, origin: &Origin, publication: &Publication) -> Result<Published, Refusal> {
    let company = publication.company;
    let source = Source::Topic(publication.topic.clone());
    let seen = Seen { source, names: vec![EventName::TopicPublished], is_last: false };
    let mut happening = Happening {
        now: origin.now,
        at: origin.now,
        company,
        key: Some(format!("published {} {}", origin.now.as_micros(), origin.id_seed)),
        cause: origin.run(),
        what: format!("something was published to the topic `{}`", publication.topic),
        data: publication.data.clone(),
        detail: Map::new(),
    };
    let subscribers = hold(tx, &happening, &seen).await?;
    origin.prove(tx).await?;
    if let Some(key) = &publication.request_key
        && let Some(earlier) = request_keys::find(tx, Some(company), key).await?
    {
        return serde_json::from_str(&earlier)
            .map_err(|error| Error::Column { place: 2, what: error.to_string() }.into());
    }
    let bytes = object!(publication.data).to_string().len();
    if bytes.saturating_mul(subscribers.len()) > TOLD_BYTES_MAX {
        let told = format!(
            "{bytes} bytes would be told to {} subscriptions: publish where they are, or filter more",
            subscribers.len()
        );
        return Err(Refusal::invalid("data", told));
    }
    let data = object!({
        "actor": origin.actor,
        "run": origin.run(),
        "data": (bytes <= EVENT_BYTES_MAX).then_some(&publication.data),
        "bytes": bytes,
    });
    let subject = format!("topic:{}", publication.topic);
    let event = events::append_known(tx, company, origin.now, "topic.published", &subject, &data).await?;
    happening.detail.insert("event_id".into(), object!(event));
    let mut matched = 0;
    for mut subscription in subscribers {
        matched += i64::from(tell_one(tx, &mut subscription, &happening, &seen, false).await?);
    }
    let published = Published { event, matched };
    if let Some(key) = &publication.request_key {
        request_keys::keep(tx, origin.now, Some(company), key, &object!(published).to_string()).await?;
    }
    Ok(published)
}

/// Those whom a happening concerns, locked: what is known of it is known before anything is locked, so it is only them.
pub(crate) async fn hold(tx: &mut Tx, happening: &Happening, seen: &Seen) -> Result<Vec<Subscription>, Error> {
    let found = concerned(tx, happening, seen).await?;
    if found.is_empty() || tx.is_alone() {
        return Ok(found);
    }
    let waiting = of(&found);
    ready::lock(tx, waiting.tasks_with([]), waiting.agents_with([])).await?;
    // Some have ended or were replaced meanwhile; somebody who came meanwhile came after it.
    let mut still = concerned(tx, happening, seen).await?;
    still.retain(|one| found.iter().any(|earlier| earlier.id == one.id));
    waiting.require_all(&of(&still))?;
    Ok(still)
}

fn of(subscriptions: &[Subscription]) -> Waiting {
    Waiting {
        tasks: subscriptions.iter().filter_map(|one| one.task).collect(),
        agents: subscriptions.iter().map(|one| one.agent).collect(),
    }
}
