//! `/metrics`: the counters of this process and the counts of the store, in OpenMetrics text.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use wakeful_engine::{Meters, clock};
use wakeful_store::ops::stats;

use crate::{Api, Problem};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByStatus {
    status: String,
}

/// The metrics as text.
pub async fn text(api: &Api) -> Result<String, Problem> {
    let mut registry = Registry::default();
    for (meter, name, help) in Meters::ALL {
        let counter: Counter = Counter::default();
        counter.inc_by(api.engine.meters().get(meter));
        registry.register(name, help, counter);
    }
    let counted = api.engine.db().read("stats.count", (), |tx, ()| Box::pin(stats::count(tx, None))).await?;
    by_status(&mut registry, "wakeful_wakeups", "Wakeups in the store", &counted.wakeups);
    by_status(&mut registry, "wakeful_runs", "Runs in the store", &counted.runs);
    let now = clock::now();
    let host = api.engine.host();
    let seconds = |age: std::time::Duration| i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
    let oldest = counted.oldest_pending_at.map_or(0, |at| seconds(now.since(at)));
    gauge(&mut registry, "wakeful_oldest_pending_age", "Age of the oldest pending wakeup", Some(Unit::Seconds), oldest);
    let beat = seconds(now.since(api.engine.meters().last_beat()));
    gauge(
        &mut registry,
        "wakeful_dispatch_beat_age",
        "Time since the dispatcher's last beat",
        Some(Unit::Seconds),
        beat,
    );
    let avoided = "Wakes of schedules that were not made because there was nothing to do";
    gauge(&mut registry, "wakeful_wakes_avoided", avoided, None, counted.wakes_avoided);
    let log = i64::try_from(api.engine.db().log_bytes()).unwrap_or(i64::MAX);
    gauge(
        &mut registry,
        "wakeful_store_log",
        "Of the embedded store: what is not in its file yet",
        Some(Unit::Bytes),
        log,
    );
    gauge(&mut registry, "wakeful_live_runs", "Runs live on this host", None, host.live_runs as i64);
    gauge(&mut registry, "wakeful_live_runs_max", "Runs this host takes at once", None, host.live_runs_max as i64);
    let mut text = String::new();
    encode(&mut text, &registry)
        .map_err(|error| Problem::malformed(format!("the metrics cannot be written: {error}")))?;
    Ok(text)
}

fn by_status(registry: &mut Registry, name: &str, help: &str, counts: &[(String, i64)]) {
    let family = Family::<ByStatus, Gauge>::default();
    for (status, count) in counts {
        family.get_or_create(&ByStatus { status: status.clone() }).set(*count);
    }
    registry.register(name, help, family);
}

fn gauge(registry: &mut Registry, name: &str, help: &str, unit: Option<Unit>, value: i64) {
    let gauge = Gauge::<i64>::default();
    gauge.set(value);
    match unit {
        Some(unit) => registry.register_with_unit(name, help, unit, gauge),
        None => registry.register(name, help, gauge),
    }
}
