//! `gen_ai.client.operation.duration` and `gen_ai.client.token.usage`, as the conventions ask for them. They are kept
//! here and not in `/metrics`, whose labels are fixed words: a model may be called anything.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, Histogram, HistogramDataPoint, Metric};
use wakeful_domain::run::Run;
use wakeful_domain::time::Timestamp;

use super::attributes::Attributes;
use super::trace::{Trace, input_of, nanos, provider};

/// Bounds that the conventions name.
const SECONDS: [f64; 14] = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
const TOKENS: [f64; 14] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];
/// Series of each: more models than anyone uses. What comes beyond is counted under [`OTHER`].
const SERIES_MAX: usize = 200;
const OTHER: &str = "_OTHER";

/// Operation, kind of token (if it is of tokens), provider, model.
type Key = (&'static str, Option<&'static str>, String, String);

/// The two histograms.
#[derive(Debug)]
pub struct ClientMetrics {
    since: Timestamp,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    seconds: BTreeMap<Key, Series>,
    tokens: BTreeMap<Key, Series>,
}

#[derive(Debug, Default, Clone)]
struct Series {
    count: u64,
    sum: f64,
    buckets: [u64; 15],
}

impl ClientMetrics {
    /// Nothing so far.
    pub fn new(since: Timestamp) -> ClientMetrics {
        ClientMetrics { since, kept: Mutex::default() }
    }

    /// Counts a run and its answers. Tokens are counted once, for the run: only there all of them are known.
    pub fn ended(&self, run: &Run, trace: &Trace<'_>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let model = run.model.as_deref().unwrap_or_default();
        let key = |operation, kind, model: &str| (operation, kind, provider(run).to_owned(), model.to_owned());
        let took = run.finished_at.unwrap_or(run.created_at).since(run.created_at).as_secs_f64();
        observe(&mut kept.seconds, key("invoke_agent", None, model), took, &SECONDS);
        for (took, answered) in trace.answers() {
            observe(&mut kept.seconds, key("chat", None, answered.unwrap_or(model)), took, &SECONDS);
        }
        for (kind, count) in [("input", input_of(&run.usage)), ("output", run.usage.output_tokens)] {
            if count > 0 {
                observe(&mut kept.tokens, key("invoke_agent", Some(kind), model), count as f64, &TOKENS);
            }
        }
    }

    /// Both as they are now.
    pub fn metrics(&self, now: Timestamp) -> Vec<Metric> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let metric = |name: &str, unit: &str, told: &str, series: &BTreeMap<Key, Series>, bounds: &[f64]| Metric {
            name: name.to_owned(),
            unit: unit.to_owned(),
            description: told.to_owned(),
            data: Some(Data::Histogram(Histogram {
                data_points: series.iter().map(|(key, series)| self.point(key, series, bounds, now)).collect(),
                aggregation_temporality: AggregationTemporality::Cumulative.into(),
            })),
            ..Metric::default()
        };
        let told = "How long operations of generative AI took";
        let seconds = metric("gen_ai.client.operation.duration", "s", told, &kept.seconds, &SECONDS);
        let told = "Tokens that runs used, by kind";
        let tokens = metric("gen_ai.client.token.usage", "{token}", told, &kept.tokens, &TOKENS);
        let both = [(seconds, kept.seconds.is_empty()), (tokens, kept.tokens.is_empty())];
        both.into_iter().filter(|(_, is_empty)| !is_empty).map(|(metric, _)| metric).collect()
    }

    fn point(&self, key: &Key, series: &Series, bounds: &[f64], now: Timestamp) -> HistogramDataPoint {
        let (operation, kind, provider, model) = key;
        let mut attributes = Attributes::default();
        attributes
            .text("gen_ai.operation.name", *operation)
            .text_if("gen_ai.token.type", *kind)
            .text("gen_ai.provider.name", provider.as_str())
            .text_if("gen_ai.request.model", Some(model.as_str()).filter(|model| !model.is_empty()));
        HistogramDataPoint {
            attributes: attributes.list(),
            start_time_unix_nano: nanos(self.since),
            time_unix_nano: nanos(now),
            count: series.count,
            sum: Some(series.sum),
            bucket_counts: series.buckets.to_vec(),
            explicit_bounds: bounds.to_vec(),
            ..HistogramDataPoint::default()
        }
    }
}

fn observe(all: &mut BTreeMap<Key, Series>, key: Key, value: f64, bounds: &[f64; 14]) {
    let key = match all.len() < SERIES_MAX || all.contains_key(&key) {
        true => key,
        false => (key.0, key.1, OTHER.to_owned(), OTHER.to_owned()),
    };
    let series = all.entry(key).or_default();
    series.count += 1;
    series.sum += value;
    series.buckets[bounds.partition_point(|bound| *bound < value)] += 1;
}
