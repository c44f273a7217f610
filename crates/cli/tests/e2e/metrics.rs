//! `/metrics`: every metric is documented as it is, and counts what happens, on both stores.

use std::collections::BTreeMap;
use std::path::Path;

use reqwest::Method;
use serde_json::json;
use wakeful_test_postgres::Cluster;

use crate::support::{Client, LOOK_EVERY, PATIENCE, Server};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/metrics.md");

async fn scrape(client: &Client) -> String {
    client.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap()
}

/// The value of a sample, named with its labels.
fn value(scraped: &str, sample: &str) -> Option<f64> {
    let line = scraped.lines().find(|line| line.rsplit_once(' ').is_some_and(|(name, _)| name == sample))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

async fn until(client: &Client, sample: &str, at_least: f64) -> String {
    let looking = async {
        loop {
            let scraped = scrape(client).await;
            if value(&scraped, sample).is_some_and(|value| value >= at_least) {
                return scraped;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("{sample} does not come"))
}

/// The rows of the document, made from a scrape: name, kind, labels, meaning.
fn rows(scraped: &str) -> Vec<String> {
    let mut labels: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for sample in scraped.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, rest)) = sample.split_once('{') else { continue };
        let names = rest.split(',').filter_map(|label| label.split_once('=')).map(|(label, _)| label);
        labels.insert(name, names.filter(|label| *label != "le").collect());
    }
    let told = |kind: &str| {
        let prefix = format!("# {kind} ");
        let lines = scraped.lines().filter_map(move |line| line.strip_prefix(&prefix)?.split_once(' '));
        lines.collect::<BTreeMap<_, _>>()
    };
    let helps = told("HELP");
    let row = |(name, kind): (&str, &str)| {
        let end = match kind {
            "counter" => "_total",
            "histogram" => "_bucket",
            _ => "",
        };
        let labels = labels.get(format!("{name}{end}").as_str()).map(|labels| labels.join(", ")).unwrap_or_default();
        let shown = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
        format!("| `{shown}` | {kind} | {labels} | {} |", helps[name].trim_end_matches('.'))
    };
    told("TYPE").into_iter().map(row).collect()
}

/// Has everything happen that is measured.
async fn live(client: &Client) -> String {
    let report = json!({ "summary": "did it", "cost_micros": 1200, "usage": { "input_tokens": 10, "output_tokens": 5,
        "cache_read_tokens": 100, "cache_write_tokens": 7 } });
    let script = format!("echo working; printf '%s' '{report}' > $WAKEFUL_RESULT_FILE");
    let ann = client.process_agent("ann", &script).await;
    let failing = json!({ "retry": { "delays_s": [], "jitter": 0 } });
    let ben = client.process_agent_with("ben", "exit 3", failing).await;
    let paused = client.process_agent("cid", "true").await;
    client.post(&format!("/agents/{paused}/pause"), &json!({})).await;
    assert_eq!(client.run_of(&ann, json!({})).await["status"], "succeeded");
    assert_eq!(client.run_of(&ben, json!({})).await["status"], "failed");
    client.wake(&ann, json!({ "delay_ms": 3_600_000 })).await;
    let schedule = json!({ "name": "often", "trigger": { "every": "1s" }, "target": { "wake": { "agent": ann } } });
    client.post("/companies/default/schedules", &schedule).await;
    let _following = wakeful_test_server::sse::follow(client, "/companies/default/events", None).await;
    client.get("/nowhere/at/all").await;
    until(client, "wakeful_slots_total{status=\"fired\"}", 1.0).await;
    until(client, "wakeful_wakeups_waiting{reason=\"not_due\"}", 1.0).await
}

fn check(scraped: &str) {
    for (sample, least) in [
        ("wakeful_wakes_total{source=\"manual\",fate=\"accepted\"}", 3.0),
        ("wakeful_wakes_total{source=\"schedule\",fate=\"accepted\"}", 1.0),
        ("wakeful_wakeup_fates_total{fate=\"completed\"}", 1.0),
        ("wakeful_wakeup_fates_total{fate=\"failed\"}", 1.0),
        ("wakeful_runs_ended_total{status=\"succeeded\",class=\"none\"}", 1.0),
        ("wakeful_runs_ended_total{status=\"failed\",class=\"transient\"}", 1.0),
        ("wakeful_run_duration_seconds_count{status=\"succeeded\"}", 1.0),
        ("wakeful_queue_time_seconds_count", 2.0),
        ("wakeful_tokens_total{kind=\"input\"}", 10.0),
        ("wakeful_tokens_total{kind=\"cache_read\"}", 100.0),
        ("wakeful_cost_micros_total", 1_200.0),
        ("wakeful_log_bytes_total", 8.0),
        ("wakeful_dead_letters", 1.0),
        ("wakeful_store_bytes", 10_000.0),
        ("wakeful_sse_clients", 1.0),
        ("wakeful_http_requests_total{method=\"unmatched\",route=\"unmatched\",status=\"404\"}", 1.0),
        ("wakeful_http_requests_total{method=\"POST\",route=\"/api/v1/agents/{id}/wake\",status=\"202\"}", 3.0),
        ("process_resident_memory_bytes", 1_000_000.0),
        ("process_open_fds", 5.0),
    ] {
        let found = value(scraped, sample);
        assert!(found.is_some_and(|found| found >= least), "{sample} is {found:?} in\n{scraped}");
    }
}

#[tokio::test]
async fn every_metric_counts_what_happens_and_is_documented_as_it_is() {
    let server = Server::start().await;
    let scraped = live(&server).await;
    check(&scraped);
    assert!(value(&scraped, "wakeful_store_wal_bytes").is_some_and(|bytes| bytes > 0.0));
    assert!(!scraped.contains("/nowhere"), "a path that somebody made up is a label");
    let rows = rows(&scraped);
    let document = std::fs::read_to_string(Path::new(DOCUMENT)).unwrap_or_default();
    let documented: Vec<&str> = document.lines().filter(|line| line.starts_with("| `")).collect();
    assert!(documented == rows, "docs/reference/metrics.md must list:\n{}\n", rows.join("\n"));
}

#[tokio::test]
async fn on_postgresql_the_same_is_counted() {
    let cluster = Cluster::start(&["fsync=off", "max_connections=100"]).unwrap();
    let server = Server::start_with(&["--database", &cluster.url()], &[]).await;
    check(&live(&server).await);
}
