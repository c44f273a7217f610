//! The task that sends metrics: what `/metrics` says, as OTLP says it. All are counted from the start of the process, so
//! what one request loses the next one brings.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum,
};
use prost::Message;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use wakeful_api::Api;
use wakeful_domain::time::Timestamp;
use wakeful_engine::{Engine, clock};

use super::attributes::{Attributes, scope};
use super::client_metrics::ClientMetrics;
use super::closed;
use super::exposition::{Family, Kind, Sample, families};
use super::receiver::Receiver;
use super::target::Target;
use super::trace::nanos;

/// Sends the metrics every so often, and once more when it is closed.
pub async fn run(
    engine: Engine,
    api: Api,
    target: Arc<Target>,
    measured: Arc<ClientMetrics>,
    since: Timestamp,
    every: Duration,
    mut closing: watch::Receiver<bool>,
) {
    let mut receiver = match Receiver::new(engine, &target, "metrics") {
        Ok(receiver) => receiver,
        Err(error) => return tracing::error!("no metrics are sent: there is no HTTP client: {error}"),
    };
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_last = false;
    while !is_last {
        tokio::select! {
            _ = ticks.tick() => {}
            () = closed(&mut closing) => is_last = true,
        }
        let text = match api.metrics().await {
            Ok(text) => text,
            Err(problem) => {
                tracing::debug!("the metrics cannot be gathered: {problem:?}");
                continue;
            }
        };
        let now = clock::now();
        let mut all: Vec<Metric> = families(&text).iter().filter_map(|family| metric(family, since, now)).collect();
        all.extend(measured.metrics(now));
        let of_scope = ScopeMetrics { scope: Some(scope()), metrics: all, ..ScopeMetrics::default() };
        let resource = Some(target.resource.clone());
        let of_resource = ResourceMetrics { resource, scope_metrics: vec![of_scope], ..ResourceMetrics::default() };
        let request = ExportMetricsServiceRequest { resource_metrics: vec![of_resource] };
        let sending = receiver.send(&target.metrics, request.encode_to_vec());
        let sent = tokio::select! {
            sent = sending => sent,
            // The last request follows.
            () = closed(&mut closing), if !is_last => continue,
        };
        receiver.note(&sent);
    }
}

/// A family as OTLP has it; `None` if nothing was counted so far.
fn metric(family: &Family, since: Timestamp, now: Timestamp) -> Option<Metric> {
    if family.samples.is_empty() {
        return None;
    }
    let temporality = AggregationTemporality::Cumulative.into();
    let numbers = |since| family.samples.iter().map(|sample| number(sample, since, now)).collect();
    let data = match family.kind {
        Kind::Counter => Data::Sum(Sum {
            data_points: numbers(nanos(since)),
            aggregation_temporality: temporality,
            is_monotonic: true,
        }),
        Kind::Gauge => Data::Gauge(Gauge { data_points: numbers(0) }),
        Kind::Histogram => Data::Histogram(Histogram {
            data_points: histograms(family, since, now),
            aggregation_temporality: temporality,
        }),
    };
    let unit = match family.unit.as_str() {
        "seconds" => "s",
        "bytes" => "By",
        _ => "",
    };
    Some(Metric {
        name: family.name.clone(),
        description: family.help.clone(),
        unit: unit.to_owned(),
        data: Some(data),
        ..Metric::default()
    })
}

fn number(sample: &Sample, since: u64, now: Timestamp) -> NumberDataPoint {
    NumberDataPoint {
        attributes: attributes(&sample.labels),
        start_time_unix_nano: since,
        time_unix_nano: nanos(now),
        value: Some(Value::AsDouble(sample.value)),
        ..NumberDataPoint::default()
    }
}

fn attributes(labels: &BTreeMap<String, String>) -> Vec<KeyValue> {
    let mut attributes = Attributes::default();
    for (key, value) in labels.iter().filter(|(key, _)| *key != "le") {
        attributes.text(key, value.as_str());
    }
    attributes.list()
}

/// Buckets are told as sums from below there, and each for itself here.
fn histograms(family: &Family, since: Timestamp, now: Timestamp) -> Vec<HistogramDataPoint> {
    let mut found: BTreeMap<BTreeMap<String, String>, HistogramDataPoint> = BTreeMap::new();
    for sample in &family.samples {
        let mut labels = sample.labels.clone();
        let bound = labels.remove("le");
        let point = found.entry(labels).or_insert_with(|| HistogramDataPoint {
            attributes: attributes(&sample.labels),
            start_time_unix_nano: nanos(since),
            time_unix_nano: nanos(now),
            ..HistogramDataPoint::default()
        });
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts, written by ourselves")]
        let count = sample.value as u64;
        match (sample.suffix.as_str(), bound.as_deref()) {
            ("_sum", _) => point.sum = Some(sample.value),
            ("_count", _) => point.count = count,
            ("_bucket", Some(bound)) => {
                let below: u64 = point.bucket_counts.iter().sum();
                point.bucket_counts.push(count.saturating_sub(below));
                if bound != "+Inf" {
                    point.explicit_bounds.extend(bound.parse::<f64>());
                }
            }
            _ => {}
        }
    }
    found.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_told_each_for_itself() {
        let text = "# HELP d Time.\n# TYPE d histogram\n\
                    d_sum{s=\"a\"} 3.5\nd_count{s=\"a\"} 5\nd_bucket{le=\"1.0\",s=\"a\"} 2\n\
                    d_bucket{le=\"2.0\",s=\"a\"} 4\nd_bucket{le=\"+Inf\",s=\"a\"} 5\n";
        let at = Timestamp::from_millis(5);
        let Some(Data::Histogram(found)) = metric(&families(text)[0], at, at).and_then(|metric| metric.data) else {
            panic!("a histogram is expected");
        };
        let point = &found.data_points[0];
        assert_eq!((point.count, point.sum), (5, Some(3.5)));
        assert_eq!(
            (point.bucket_counts.as_slice(), point.explicit_bounds.as_slice()),
            (&[2, 2, 1][..], &[1.0, 2.0][..])
        );
        assert_eq!(point.attributes.len(), 1);
    }
}
