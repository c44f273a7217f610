//! Traces and metrics over OTLP: what a run's trace is made of, that it holds no content, that it is whole after a crash,
//! and that no receiver, whatever it does, holds a run or a stop up.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{HistogramDataPoint, Metric};
use opentelemetry_proto::tonic::trace::v1::Span;
use reqwest::Method;
use serde_json::{Value, json};
use wakeful_domain::id::RunId;
use wakeful_stub_model::{Behaviour, StubModel};

use crate::agents::{CLAUDE, agent_cli};
use crate::collector::{Collector, Manner, attributes};
use crate::support::{LOOK_EVERY, PATIENCE, Server, id, program};

async fn sending(collector: &Collector) -> Server {
    Server::start_with(&["--otlp-endpoint", &collector.url, "--otlp-interval", "1s"], &[]).await
}

/// Each span as `name < name of its parent`, in the order of their beginnings.
fn tree(spans: &[Span]) -> Vec<String> {
    let names: BTreeMap<&[u8], &str> = spans.iter().map(|span| (&span.span_id[..], &span.name[..])).collect();
    let mut sorted: Vec<&Span> = spans.iter().collect();
    sorted.sort_by_key(|span| (span.start_time_unix_nano, !span.parent_span_id.is_empty()));
    let line = |span: &Span| match names.get(&span.parent_span_id[..]) {
        Some(parent) => format!("{} < {parent}", span.name),
        None => span.name.clone(),
    };
    sorted.into_iter().map(line).collect()
}

fn root(spans: &[Span]) -> &Span {
    spans.iter().find(|span| span.parent_span_id.is_empty()).unwrap()
}

fn sum(spans: &[Span], operation: &str, key: &str) -> i64 {
    let of_spans = spans.iter().map(|span| attributes(&span.attributes));
    let chosen = of_spans.filter(|span| span["gen_ai.operation.name"] == operation);
    chosen.filter_map(|span| span.get(key)?.parse::<i64>().ok()).sum()
}

fn trace_id(run: &str) -> Vec<u8> {
    run.parse::<RunId>().unwrap().uuid().as_bytes().to_vec()
}

#[tokio::test]
async fn the_trace_of_a_run_is_its_turns_and_tool_calls_with_their_tokens_and_no_content() {
    let (collector, model) = (Collector::start().await, StubModel::start().await.unwrap());
    let server = sending(&collector).await;
    let home = server.path().join("claude-home");
    let variables = json!({
        "ANTHROPIC_BASE_URL": model.url(), "ANTHROPIC_API_KEY": "sk-stub", "HOME": home,
        "CLAUDE_CONFIG_DIR": home.join(".claude"), "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_TELEMETRY": "1", "DISABLE_ERROR_REPORTING": "1",
    });
    let adapter = json!({ "type": "claude", "command": agent_cli(CLAUDE), "env": variables });
    let agent = server.agent(&json!({ "name": "ann", "adapter": adapter })).await;
    model.script().set(Behaviour::Shell { command: "echo canary-in-the-tool".into() });
    let run = server.run_of(&agent, json!({ "reason": "canary-in-the-prompt" })).await;
    assert_eq!(run["status"], "succeeded", "{run:#}");

    let spans = collector.trace_of(run["id"].as_str().unwrap()).await;
    let name = run["model"].as_str().unwrap();
    let answered = spans.iter().find(|span| span.name.starts_with("chat ")).unwrap().name.clone();
    let expected = [
        "invoke_agent ann".to_owned(),
        format!("{answered} < invoke_agent ann"),
        format!("execute_tool Bash < {answered}"),
        format!("{answered} < invoke_agent ann"),
    ];
    assert_eq!(tree(&spans), expected);
    let of_run = attributes(&root(&spans).attributes);
    for (key, value) in [
        ("gen_ai.operation.name", "invoke_agent"),
        ("gen_ai.provider.name", "anthropic"),
        ("gen_ai.request.model", name),
        ("gen_ai.agent.name", "ann"),
        ("gen_ai.agent.id", &agent),
        ("gen_ai.conversation.id", run["session_after"].as_str().unwrap()),
        ("wakeful.run.status", "succeeded"),
        ("wakeful.company", "default"),
        ("wakeful.wakeup.source", "manual"),
        ("gen_ai.usage.output_tokens", &run["usage"]["output_tokens"].to_string()),
    ] {
        assert_eq!(of_run.get(key).map(String::as_str), Some(value), "{key} of {of_run:#?}");
    }
    assert_eq!(of_run["wakeful.cost_micros"], run["cost_micros"].to_string());
    let count = |key: &str| run["usage"][key].as_i64().unwrap();
    let input = count("input_tokens") + count("cache_read_tokens") + count("cache_write_tokens");
    for (key, expected) in [
        ("gen_ai.usage.input_tokens", input),
        ("gen_ai.usage.cache_read.input_tokens", count("cache_read_tokens")),
        ("gen_ai.usage.cache_creation.input_tokens", count("cache_write_tokens")),
    ] {
        assert_eq!(sum(&spans, "invoke_agent", key), expected, "{key}");
        assert_eq!(sum(&spans, "chat", key), expected, "{key}: the turns add up to the run");
    }
    assert!(input > count("input_tokens"), "the stub reports caches");
    let tool = spans.iter().find(|span| span.name == "execute_tool Bash").map(|span| attributes(&span.attributes));
    assert!(tool.unwrap()["gen_ai.tool.call.id"].starts_with("toolu_"));
    assert!(server.stdout(run["id"].as_str().unwrap()).await.contains("canary-in-the-tool"), "the run did see it");
    for canary in ["canary-in-the-prompt", "canary-in-the-tool", "stub answer"] {
        assert!(!collector.has_been_told(canary), "{canary} was sent");
    }
    assert_eq!(collector.resource()["service.name"], "wakeful");
    client_metrics(&collector, input).await;
}

async fn client_metrics(collector: &Collector, input: i64) {
    let named = |metrics: &[Metric], name: &str| metrics.iter().find(|metric| metric.name == name).cloned();
    let metrics = collector.metrics_with(|metrics| named(metrics, "gen_ai.client.token.usage").is_some()).await;
    let Some(Data::Histogram(tokens)) = named(&metrics, "gen_ai.client.token.usage").and_then(|metric| metric.data)
    else {
        panic!("a histogram is expected");
    };
    let of_input = |kind: &str| {
        let of_kind = |point: &&HistogramDataPoint| attributes(&point.attributes)["gen_ai.token.type"] == kind;
        tokens.data_points.iter().find(of_kind).and_then(|point| point.sum)
    };
    assert_eq!(of_input("input"), Some(input as f64));
    assert!(named(&metrics, "gen_ai.client.operation.duration").is_some());
}

/// What the `claude` adapter reads, as a script writes it; `pause` is between the two turns.
fn scripted(pause: &str) -> Value {
    let told = |event: Value| format!("printf '%s\\n' '{event}'");
    let usage = json!({ "input_tokens": 10, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 3, "output_tokens": 1 });
    let answer = |id: &str, content: Value| {
        told(
            json!({ "type": "assistant", "session_id": "11111111-2222-4333-8444-555555555555", "parent_tool_use_id": null,
            "message": { "id": id, "model": "m-1", "content": content, "usage": usage } }),
        )
    };
    let call = json!([{ "type": "tool_use", "id": "t1", "name": "Read", "input": { "file_path": "/canary" } }]);
    let result = json!([{ "type": "tool_result", "tool_use_id": "t1", "content": "canary", "is_error": true }]);
    let lines = [
        "head -n 1 > /dev/null".to_owned(),
        told(
            json!({ "type": "system", "subtype": "init", "session_id": "11111111-2222-4333-8444-555555555555", "model": "m-1" }),
        ),
        answer("a", call),
        pause.to_owned(),
        told(json!({ "type": "user", "message": { "content": result } })),
        answer("b", json!([{ "type": "text", "text": "canary" }])),
        told(
            json!({ "type": "result", "subtype": "success", "is_error": false, "result": "canary", "total_cost_usd": 0.5,
            "usage": { "input_tokens": 20, "cache_read_input_tokens": 10, "cache_creation_input_tokens": 6, "output_tokens": 9 } }),
        ),
    ];
    json!({ "type": "claude", "command": ["/bin/sh", "-c", lines.join("; ")] })
}

#[tokio::test]
async fn a_trace_is_whole_though_the_server_was_killed_in_the_middle() {
    let collector = Collector::start().await;
    let mut server = sending(&collector).await;
    let gate = server.outside().join("go-on");
    let adapter = scripted(&format!("while [ ! -e {} ]; do sleep 0.05; done", gate.display()));
    let agent = server.agent(&json!({ "name": "ann", "adapter": adapter })).await;
    let run = id(&server.running(&server.wake(&agent, json!({})).await).await);
    server.until(&format!("/runs/{run}/events"), |events| events.to_string().contains("\"tool\"")).await;
    server.kill9();
    server.start_again().await;
    std::fs::write(&gate, "").unwrap();
    assert_eq!(server.finished(&run).await["status"], "succeeded");
    let spans = collector.trace_of(&run).await;
    let expected = [
        "invoke_agent ann",
        "chat m-1 < invoke_agent ann",
        "execute_tool Read < chat m-1",
        "chat m-1 < invoke_agent ann",
    ];
    assert_eq!(tree(&spans), expected);
    assert!(spans.iter().all(|span| span.trace_id == trace_id(&run)), "the trace is found by the run");
    let tool = spans.iter().find(|span| span.name == "execute_tool Read").unwrap();
    assert_eq!(attributes(&tool.attributes)["error.type"], "tool_error");
    assert_eq!(sum(&spans, "invoke_agent", "gen_ai.usage.input_tokens"), 36);
    assert_eq!(sum(&spans, "chat", "gen_ai.usage.input_tokens"), 36);
    assert!(!collector.has_been_told("canary"));
    server.assert_sound().await;
}

#[tokio::test]
async fn a_failure_is_told_by_its_class_and_a_run_points_at_the_run_that_caused_it() {
    let collector = Collector::start().await;
    let server = sending(&collector).await;
    let ben = server.process_agent("ben", "echo canary-of-the-error >&2; exit 3").await;
    let script = format!("{} wake ben -m canary-of-the-reason", program());
    let ann = server.process_agent("ann", &script).await;
    let cause = server.run_of(&ann, json!({})).await;
    assert_eq!(cause["status"], "succeeded", "{cause:#}");
    let path = format!("/companies/default/runs?agent={ben}");
    let runs = server.until(&path, |runs| runs["items"][0]["finished_at"].is_string()).await;
    let spans = collector.trace_of(runs["items"][0]["id"].as_str().unwrap()).await;
    let failed = root(&spans);
    assert_eq!((failed.name.as_str(), failed.status.clone().unwrap().code), ("invoke_agent ben", 2));
    let of_run = attributes(&failed.attributes);
    assert_eq!(of_run["error.type"], runs["items"][0]["error_code"]);
    assert_eq!(of_run["wakeful.cause.id"], cause["id"].as_str().unwrap());
    let causing = collector.trace_of(cause["id"].as_str().unwrap()).await;
    let link = &failed.links[0];
    assert_eq!((&link.trace_id, &link.span_id), (&root(&causing).trace_id, &root(&causing).span_id));
    assert!(!collector.has_been_told("canary"));
}

#[tokio::test]
async fn metrics_come_and_are_those_of_the_metrics_page() {
    let collector = Collector::start().await;
    let server = sending(&collector).await;
    let agent = server.process_agent("ann", "echo hello").await;
    for _ in 0..3 {
        server.run_of(&agent, json!({})).await;
    }
    let value = |metrics: &[Metric], name: &str| {
        let metric = metrics.iter().find(|metric| metric.name == name)?;
        let points = match metric.data.as_ref()? {
            Data::Sum(sum) => sum.data_points.clone(),
            Data::Gauge(gauge) => gauge.data_points.clone(),
            _ => return None,
        };
        match points.first()?.value? {
            Number::AsDouble(value) => Some(value),
            Number::AsInt(value) => Some(value as f64),
        }
    };
    let metrics = collector.metrics_with(|metrics| value(metrics, "wakeful_runs_ended") == Some(3.0)).await;
    let page = server.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    let families = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    for family in families {
        let has_samples = page.lines().any(|line| line.starts_with(family));
        let is_sent = metrics.iter().any(|metric| metric.name == family);
        assert!(is_sent || !has_samples, "{family} is not sent");
    }
    for (name, sample) in [
        ("wakeful_runs_started", "wakeful_runs_started_total "),
        ("wakeful_runs_ended", "wakeful_runs_ended_total{"),
        ("wakeful_log_bytes", "wakeful_log_bytes_total "),
        ("wakeful_live_runs_max", "wakeful_live_runs_max "),
    ] {
        let shown = page.lines().find(|line| line.starts_with(sample)).and_then(|line| line.rsplit(' ').next());
        assert_eq!(value(&metrics, name).map(|value| value.to_string()).as_deref(), shown, "{name}");
    }
    let duration = metrics.iter().find(|metric| metric.name == "wakeful_run_duration_seconds").unwrap();
    let Some(Data::Histogram(histogram)) = &duration.data else { panic!("a histogram is expected") };
    assert_eq!((duration.unit.as_str(), histogram.data_points[0].count), ("s", 3));
    assert_eq!(histogram.data_points[0].bucket_counts.iter().sum::<u64>(), 3);
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_up_neither_runs_nor_the_stop() {
    let collector = Collector::start().await;
    collector.answers(Manner::Hangs);
    let mut server = sending(&collector).await;
    let agent = server.process_agent("ann", "true").await;
    for _ in 0..5 {
        assert_eq!(server.run_of(&agent, json!({})).await["status"], "succeeded");
    }
    until(|| collector.requests() >= 2).await;
    assert_eq!(server.run_of(&agent, json!({})).await["status"], "succeeded");
    let began = monotonic();
    assert!(server.stop().await.success());
    assert!(began.elapsed() < Duration::from_secs(5), "the stop took {:?}", began.elapsed());
    assert!(server.log().contains("not all traces and metrics were sent"), "{}", server.log());
}

#[tokio::test]
async fn what_a_receiver_misses_is_sent_again_and_told_once() {
    let collector = Collector::start().await;
    collector.answers(Manner::IsBusy);
    let mut server = sending(&collector).await;
    let agent = server.process_agent("ann", "true").await;
    let first = server.run_of(&agent, json!({})).await;
    // Of the traces at least two were tried: metrics are sent once a second, and there is a pause of one at first.
    until(|| collector.requests() >= 6).await;
    assert!(collector.spans().is_empty());
    collector.answers(Manner::Takes);
    collector.trace_of(first["id"].as_str().unwrap()).await;
    assert_eq!(server.log().matches("traces cannot be sent to").count(), 1, "{}", server.log());
    until(|| server.log().contains("traces are sent to")).await;
    let page = server.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(page.contains("wakeful_otlp_traces_dropped_total 0"), "{page}");
    // What has just ended is sent by the stop.
    let last = server.run_of(&agent, json!({})).await;
    assert!(server.stop().await.success());
    let is_there = |run: &Value| {
        let wanted = trace_id(run["id"].as_str().unwrap());
        collector.spans().iter().filter(|span| span.trace_id == wanted).count() == 1
    };
    assert!(is_there(&first) && is_there(&last));
}

#[tokio::test]
async fn headers_reach_the_receiver_and_nobody_else_and_nothing_is_sent_unasked() {
    let collector = Collector::start().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("otlp.headers");
    std::fs::write(&file, "authorization: Bearer canary-key\n").unwrap();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()),
        ("OTEL_SERVICE_NAME", "night-shift"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=a%20b,service.name=other"),
    ];
    let server =
        Server::start_with(&["--otlp-headers-file", file.to_str().unwrap(), "--log-level", "trace"], &variables).await;
    let agent = server.process_agent("ann", "true").await;
    let run = server.run_of(&agent, json!({})).await;
    collector.trace_of(run["id"].as_str().unwrap()).await;
    assert!(collector.was_always_given("authorization", "Bearer canary-key"));
    let resource = collector.resource();
    assert_eq!(
        (resource["service.name"].as_str(), resource["deployment.environment"].as_str()),
        ("night-shift", "a b")
    );
    let shown = server.cli(&["config", "show"]).await.ok();
    assert!(!server.log().contains("canary-key") && !shown.contains("canary-key"));

    let before = collector.requests();
    let quiet = Server::start_with(&[], &[variables[0], ("OTEL_SDK_DISABLED", "true")]).await;
    let agent = quiet.process_agent("ann", "true").await;
    quiet.run_of(&agent, json!({})).await;
    assert!(!quiet.log().contains("are sent to"), "{}", quiet.log());
    assert!(before > 0);
}

#[tokio::test]
async fn the_doctor_says_whether_the_receiver_is_there() {
    let collector = Collector::start().await;
    let server = Server::start().await;
    let found = |printed: &str| {
        let document: Value = serde_json::from_str(printed).unwrap();
        let findings = document["findings"].as_array().unwrap().clone();
        findings.into_iter().find(|finding| finding["subject"] == "otlp").map(|finding| finding["verdict"].clone())
    };
    let ask = async |endpoint: &str| {
        let printed = server.cli_with(&["doctor", "--json"], &[("WAKEFUL_OTLP_ENDPOINT", endpoint)]).await;
        found(&printed.stdout)
    };
    assert_eq!(ask(&collector.url).await, Some(json!("ok")));
    assert_eq!(ask("http://127.0.0.1:1").await, Some(json!("warning")));
    assert_eq!(ask("").await, None);
}

async fn until(is_so: impl Fn() -> bool) {
    let looking = async {
        while !is_so() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap();
}

#[expect(clippy::disallowed_methods, reason = "the duration of a stop is what is tested")]
fn monotonic() -> Instant {
    Instant::now()
}
