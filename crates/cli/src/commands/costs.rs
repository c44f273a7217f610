//! `wakeful costs`: what runs have used, added up by the server.

use serde_json::Value;
use wakeful_domain::time::{parse_duration, say_duration};
use wakeful_domain::url::percent_encoded;
use wakeful_engine::clock;

use super::Session;
use crate::arguments::CostsArguments;
use crate::failure::Failure;
use crate::output::{items, text};

pub async fn run(session: &Session, arguments: &CostsArguments) -> Result<(), Failure> {
    let since = parse_duration(&arguments.since).map_err(|error| Failure::usage(format!("--since: {error}")))?;
    let from = (clock::now() - since).to_string();
    let path = format!("/costs?by={}&from={}", arguments.by, percent_encoded(&from));
    let costs = session.client.get(&session.of_company(&path)).await?;
    let output = session.output;
    output.show(&costs, || {
        let mut rows: Vec<Vec<String>> = items(&costs).iter().map(|line| row(&named(line), line)).collect();
        if let Some(others) = costs.get("others").filter(|others| others.is_object()) {
            rows.push(row("(others)", others));
        }
        rows.push(row("total", &costs["total"]));
        let head = [arguments.by.as_str(), "runs", "cost", "input", "cached", "output", "time"];
        match costs["total"]["runs"].as_i64() {
            None | Some(0) => format!("no run has ended in the last {}", say_duration(since)),
            Some(_) => output.table(&head, rows),
        }
    });
    Ok(())
}

/// How a line is called: runs without a task or a schedule have none.
fn named(line: &Value) -> String {
    [text(line, "/name"), text(line, "/key"), "(none)".into()]
        .into_iter()
        .find(|name| !name.is_empty())
        .unwrap_or_default()
}

fn row(name: &str, sums: &Value) -> Vec<String> {
    let number = |field: &str| sums.get(field).and_then(Value::as_i64).unwrap_or_default();
    let time = std::time::Duration::from_secs(number("duration_ms").unsigned_abs() / 1_000);
    vec![
        name.to_owned(),
        text(sums, "/runs"),
        format!("${:.2}", number("cost_micros") as f64 / 1e6),
        text(sums, "/input_tokens"),
        (number("cache_read_tokens") + number("cache_write_tokens")).to_string(),
        text(sums, "/output_tokens"),
        say_duration(time),
    ]
}
