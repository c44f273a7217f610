//! Waiting for what is about to happen, longer or more seldom than a test does, and saying what did not.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};
use wakeful_test_server::Client;

/// Between two looks at what takes a while.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Looks until it is so; fails with what was waited for. Says how long it took.
pub async fn until(what: &str, within: Duration, mut is_so: impl AsyncFnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < within, "not within {within:?}: {what}");
        sleep(LOOK_EVERY).await;
    }
    began.elapsed()
}

/// The run once it is over, and how long that took.
pub async fn ended(client: &Client, run: &str, within: Duration) -> (Value, Duration) {
    let mut found = Value::Null;
    let took = until(&format!("the end of {run}"), within, async || {
        let (_, document) = client.get(&format!("/runs/{run}")).await;
        found = document;
        found["finished_at"].is_string()
    })
    .await;
    (found, took)
}

/// Nothing but the server belongs to the data directory any more.
pub async fn nothing_is_left(server: &wakeful_test_server::Server) {
    let within = Duration::from_secs(30);
    let began = Instant::now();
    loop {
        let left = server.left_over();
        if left.is_empty() {
            return;
        }
        let commands: Vec<String> = left.iter().map(|pid| crate::machine::command_of(*pid)).collect();
        assert!(began.elapsed() < within, "{} processes are left over: {commands:?}", left.len());
        sleep(LOOK_EVERY).await;
    }
}

/// Seconds with one decimal.
pub fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// The value that so many of a hundred do not exceed.
pub fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let last = values.len().checked_sub(1).unwrap_or_else(|| panic!("nothing was measured"));
    values[(values.len() * percent / 100).min(last)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let mut values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!((percentile(&mut values, 50), percentile(&mut values, 99)), (51.0, 100.0));
        assert_eq!(percentile(&mut [7.0], 99), 7.0);
    }
}
