//! `/metrics`, in OpenMetrics text: what this process counts, and what is cheap to ask of the store. Nothing here scans
//! what has ended: counters count it as it ends. Labels are words of fixed lists and routes, never what somebody made up.

mod fates;
mod waiting;

use std::fs;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use wakeful_domain::time::Timestamp;
use wakeful_engine::{Engine, Meters, clock};
use wakeful_store::Refusal;
use wakeful_store::ops::stats;

use crate::{Api, Problem};

/// What is kept between two questions.
#[derive(Debug, Default)]
pub struct Kept {
    fates: fates::Fates,
    queues: waiting::Queues,
}

impl Kept {
    /// What happens from here on is counted.
    pub async fn begin(&self, engine: &Engine) -> Result<(), Refusal> {
        self.fates.count(engine).await
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: String,
}

/// The metrics as text.
pub async fn text(api: &Api) -> Result<String, Problem> {
    let mut registry = Registry::default();
    process(&mut registry, api);
    http(&mut registry, api);
    runs(&mut registry, api);
    wakes(&mut registry, api).await?;
    store(&mut registry, api).await?;
    let mut text = String::new();
    encode(&mut text, &registry)
        .map_err(|error| Problem::malformed(format!("the metrics cannot be written: {error}")))?;
    Ok(text)
}

fn process(registry: &mut Registry, api: &Api) {
    for (meter, name, help) in Meters::ALL {
        let counter: Counter = Counter::default();
        counter.inc_by(api.engine.meters().get(meter));
        registry.register(name, help, counter);
    }
    let beat = seconds_since(api.engine.meters().last_beat());
    let told = "Time since the dispatcher last completed a beat; it sleeps while nothing is due";
    gauge(registry, "wakeful_dispatch_beat_age", told, Some(Unit::Seconds), beat);
    let up = seconds_since(api.standing.started_at);
    gauge(registry, "wakeful_uptime", "Time since this process began", Some(Unit::Seconds), up);
    let host = api.engine.host();
    gauge(registry, "wakeful_live_runs", "Runs live on this host", None, host.live_runs as i64);
    gauge(registry, "wakeful_live_runs_max", "Runs this host takes at once", None, host.live_runs_max as i64);
    let is_held = i64::from(host.starts_nothing());
    gauge(
        registry,
        "wakeful_starts_held",
        "1 while nothing starts: draining, safe mode or host pressure",
        None,
        is_held,
    );
    // A system that does not say shows 0.
    let memory = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = memory.split(' ').nth(1).and_then(|pages| pages.parse::<i64>().ok()).unwrap_or(0);
    let resident = pages * i64::try_from(rustix::param::page_size()).unwrap_or(0);
    let told = "Memory of this process that is in use";
    gauge(registry, "process_resident_memory", told, Some(Unit::Bytes), resident);
    let files = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    gauge(registry, "process_open_fds", "Files and connections that this process has open", None, files as i64);
}

fn http(registry: &mut Registry, api: &Api) {
    let told = "Requests answered, by method, route and status";
    registry.register("wakeful_http_requests", told, api.http.requests.clone());
    registry.register("wakeful_sse_clients", "Open streams of server-sent events", api.http.streams.clone());
}

fn runs(registry: &mut Registry, api: &Api) {
    let runs = &api.engine.meters().runs;
    let told = "Runs ended, by status and class of their failure";
    registry.register("wakeful_runs_ended", told, runs.ended.clone());
    let told = "From the claim of a run to its end";
    registry.register_with_unit("wakeful_run_duration", told, Unit::Seconds, runs.duration.clone());
    let told = "From when a run's oldest wakeup was due to the claim";
    registry.register_with_unit("wakeful_queue_time", told, Unit::Seconds, runs.queue_time.clone());
    let told = "Tokens of ended runs, by kind; input without what came from caches";
    registry.register("wakeful_tokens", told, runs.tokens.clone());
    let told = "Spend of ended runs in micro-dollars";
    registry.register("wakeful_cost_micros", told, runs.cost_micros.clone());
    let told = "Output of ended runs that was kept";
    registry.register_with_unit("wakeful_log", told, Unit::Bytes, runs.log_bytes.clone());
}

async fn wakes(registry: &mut Registry, api: &Api) -> Result<(), Problem> {
    let kept = &api.kept;
    kept.fates.count(&api.engine).await?;
    let told = "Wakes by source: accepted, skipped, or coalesced with another";
    registry.register("wakeful_wakes", told, kept.fates.wakes.clone());
    let told = "What became of accepted wakeups; retry_scheduled is no end";
    registry.register("wakeful_wakeup_fates", told, kept.fates.ended.clone());
    registry.register("wakeful_slots", "Slots of schedules by status", kept.fates.slots.clone());
    let (depth, age) = (Family::<Reason, Gauge>::default(), Family::<Reason, Gauge>::default());
    for (reason, queue) in kept.queues.seen(&api.engine).await? {
        let reason = Reason { reason };
        depth.get_or_create(&reason).set(queue.depth);
        age.get_or_create(&reason).set(seconds_since(queue.oldest_at));
    }
    registry.register("wakeful_wakeups_waiting", "Pending wakeups by the reason why they wait", depth);
    let told = "Age of the oldest wakeup that waits for this reason";
    registry.register_with_unit("wakeful_wakeups_waiting_oldest_age", told, Unit::Seconds, age);
    Ok(())
}

async fn store(registry: &mut Registry, api: &Api) -> Result<(), Problem> {
    let db = api.engine.db();
    let found = db.read("stats.gauges", (), |tx, ()| Box::pin(stats::gauges(tx))).await?;
    gauge(registry, "wakeful_wakeups_claimed", "Wakeups of live runs", None, found.claimed);
    gauge(registry, "wakeful_dead_letters", "Wakeups that were given up and are kept", None, found.dead_letters);
    let told = "Wakes of schedules that were not made because there was nothing to do";
    gauge(registry, "wakeful_wakes_avoided", told, None, found.wakes_avoided);
    gauge(registry, "wakeful_store", "Size of the store", Some(Unit::Bytes), found.bytes);
    let told = "Size of the write-ahead log of SQLite; 0 on PostgreSQL";
    gauge(registry, "wakeful_store_wal", told, Some(Unit::Bytes), i64::try_from(db.log_bytes()).unwrap_or(i64::MAX));
    Ok(())
}

fn seconds_since(at: Timestamp) -> i64 {
    i64::try_from(clock::now().since(at).as_secs()).unwrap_or(i64::MAX)
}

fn gauge(registry: &mut Registry, name: &str, help: &str, unit: Option<Unit>, value: i64) {
    let gauge = Gauge::<i64>::default();
    gauge.set(value);
    match unit {
        Some(unit) => registry.register_with_unit(name, help, unit, gauge),
        None => registry.register(name, help, gauge),
    }
}
