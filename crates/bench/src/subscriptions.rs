//! Subscriptions: whether publishing costs more where more is subscribed, as long as as many match. Elsewhere: on
//! topics of their own; here: on the same topic, with filters that do not let it through.

use std::time::Instant;

use anyhow::Result;
use serde_json::{Map, json};
use wakeful_domain::actor::Actor;
use wakeful_domain::id::{IdSource, SubscriptionId};
use wakeful_domain::subscription::{EventName, Filter, Source, Subscription};
use wakeful_domain::time::Timestamp;
use wakeful_engine::clock;
use wakeful_store::ops::origin::Origin;
use wakeful_store::ops::subscriptions::declare::{Declaration, declare};
use wakeful_store::ops::subscriptions::topics::{Publication, publish};

use crate::engines::Engine;
use crate::fleet::{self, Fleet};
use crate::report::{Report, percentile};

/// Subscriptions that do not match.
const SIZES: &[i64] = &[0, 1_000, 100_000];
/// Subscriptions that do.
const MATCHING: i64 = 10;
/// Publications that are measured; their median counts.
const PUBLICATIONS: u64 = 200;
/// The dearest may cost this many times what the cheapest does.
const WITHIN: f64 = 2.0;
const TOPIC: &str = "news";

pub fn measure(report: &mut Report) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    for (place, is_here) in [("on other topics", false), ("on the same topic", true)] {
        let mut smallest = None;
        for others in SIZES {
            let store = Engine::Sqlite.place()?;
            let micros = runtime.block_on(async {
                let fleet = Fleet::make(store.db().await?).await?;
                for number in 0..MATCHING {
                    subscribe(&fleet, number).await?;
                }
                fleet.add_subscriptions(*others, is_here).await?;
                published(&fleet).await
            })?;
            let base = *smallest.get_or_insert(micros);
            let what = format!("publish, {MATCHING} match, {others} others {place}");
            let against = format!("{:.2} × the first of these", micros / base);
            report.at_most(&what, micros / 1_000.0, "ms", against, WITHIN * base / 1_000.0);
        }
    }
    Ok(())
}

async fn subscribe(fleet: &Fleet, number: i64) -> Result<()> {
    let now = clock::now();
    let subscription = Subscription {
        id: id(now, number),
        company: fleet.company,
        agent: fleet::agent(number)?,
        task: None,
        source: Source::Topic(TOPIC.into()),
        on: vec![EventName::TopicPublished],
        filter: serde_json::from_value::<Filter>(json!({ "to": "us" }))?,
        once: false,
        debounce: None,
        timeout: None,
        include_result: true,
        payload: Map::new(),
        key: None,
        created_by: Actor::user("bench"),
        by_run: None,
        matches: 0,
        wakeups: 0,
        last_match_at: None,
        window: None,
        timeout_at: None,
        created_at: now,
        updated_at: now,
        ended_at: None,
        end_reason: None,
    };
    let declaration = Declaration { subscription, by_run: None, request_key: None };
    fleet.db.write("subscribe", declaration, |tx, declaration| Box::pin(declare(tx, declaration))).await?;
    Ok(())
}

fn id(now: Timestamp, number: i64) -> SubscriptionId {
    IdSource::new(number.unsigned_abs()).next(now)
}

/// Microseconds of a publication, by the median.
async fn published(fleet: &Fleet) -> Result<f64> {
    let mut took = Vec::new();
    for number in 0..PUBLICATIONS {
        let origin = Origin { now: clock::now(), actor: Actor::user("bench"), by_run: None, id_seed: number };
        let data = Map::from_iter([("to".into(), json!("us")), ("number".into(), json!(number))]);
        let publication = Publication { company: fleet.company, topic: TOPIC.into(), data, request_key: None };
        let began = Instant::now();
        let told =
            fleet.db.write("publish", (origin, publication), |tx, (origin, what)| Box::pin(publish(tx, origin, what)));
        anyhow::ensure!(told.await?.matched == MATCHING, "another number of subscriptions matched");
        took.push(began.elapsed().as_secs_f64() * 1_000_000.0);
    }
    Ok(percentile(&mut took, 50.0))
}
