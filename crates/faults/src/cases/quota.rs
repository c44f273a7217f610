//! A provider's usage limit, however a CLI tells it.

use std::fs;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::sleep;
use wakeful_domain::settle::{QUOTA_REST_DEFAULT, QUOTA_SPREAD_MAX};
use wakeful_domain::time::Timestamp;
use wakeful_test_server::{Server, id};

use super::server;
use crate::fakes::{SESSION, assert_ended, begins, cli_agent, says, succeeds};
use crate::machine::now_ns;
use crate::waiting::{nothing_is_left, until};
use crate::{Case, Measured, Scale};

pub const USAGE_LIMIT: Case = Case {
    name: "usage_limit",
    rows: "37",
    provoked: "fake CLIs at their usage limit: said in words, with a failed exit, a 429, a good answer with an error event, a reset time that is past, and none",
    must_hold: "parked until the reset or the default, no attempt counted, nothing of the account started meanwhile, then the same session goes on",
    run: |scale, seed| Box::pin(usage_limit(scale, seed)),
};

/// How a limit is told, and in how many seconds it lifts.
struct Limit {
    name: &'static str,
    kind: &'static str,
    says: String,
    lifts_in_s: i64,
}

fn now_s() -> i64 {
    i64::try_from(now_ns() / 1_000_000_000).unwrap()
}

fn result(words: &str, status: Value) -> String {
    says(
        &json!({ "type": "result", "subtype": "success", "is_error": true, "api_error_status": status, "result": words, "session_id": SESSION }),
    )
}

fn rejected(resets_at: i64) -> String {
    let info = json!({ "status": "rejected", "resetsAt": resets_at, "rateLimitType": "five_hour" });
    says(&json!({ "type": "rate_limit_event", "rate_limit_info": info, "session_id": SESSION }))
}

fn codex_begins() -> String {
    says(&json!({ "type": "thread.started", "thread_id": SESSION }))
}

fn limits() -> Vec<Limit> {
    let default_s = i64::try_from(QUOTA_REST_DEFAULT.as_secs()).unwrap();
    let limit = |name, kind, says, lifts_in_s| Limit { name, kind, says, lifts_in_s };
    let words = format!("Claude AI usage limit reached|{}", now_s() + 7_200);
    let error = json!({ "message": "You've hit your usage limit. Visit the settings or try again in 2 hours." });
    let event = json!({ "type": "error", "message": error["message"] });
    let failed = json!({ "type": "turn.failed", "error": error });
    vec![
        limit("words", "claude", format!("{}{}exit 0", begins(), result(&words, Value::Null)), 7_200),
        limit("words-and-exit", "claude", format!("{}{}exit 1", begins(), result(&words, Value::Null)), 7_200),
        limit(
            "exit-and-stderr",
            "codex",
            format!("{}echo \"You've hit your usage limit, try again in 2 hours.\" >&2; exit 1", codex_begins()),
            7_200,
        ),
        limit(
            "status-429",
            "claude",
            format!("{}{}{}exit 1", begins(), rejected(now_s() + 3_600), result("API Error: 429", json!(429))),
            3_600,
        ),
        limit("error-event", "codex", format!("{}{}{}exit 0", codex_begins(), says(&event), says(&failed)), 7_200),
        limit(
            "reset-in-the-past",
            "claude",
            format!("{}{}{}exit 1", begins(), rejected(now_s() - 86_400), result("You've hit your limit", json!(429))),
            default_s,
        ),
        limit(
            "no-reset",
            "claude",
            format!("{}{}exit 1", begins(), result("You've hit your weekly limit", Value::Null)),
            default_s,
        ),
    ]
}

/// Counts its starts; at the limit at the first, and well at the second.
fn script(limit: &str) -> String {
    format!(
        "echo start >> starts; test $(grep -c start starts) -gt 1 && {{ {} exit 0; }}\n{limit}",
        format!("{}{}", begins(), succeeds()).replace('\n', ";")
    )
}

async fn usage_limit(scale: Scale, _seed: u64) -> Measured {
    let server = server(10, &[]).await;
    let limits = limits();
    let watched = scale.of(Duration::from_secs(2), Duration::from_secs(10));
    let parked = join_all(limits.iter().map(|limit| parked(&server, limit, watched))).await;
    let wakes = parked.len();
    // The limit of one lifts within seconds, and it comes back by itself.
    let back = comes_back(&server, scale).await;
    nothing_is_left(&server).await;
    server.assert_sound().await;
    Ok(format!(
        "{wakes} ways to say it: {wakes} parked until the reset or for the default, 0 attempts counted, 0 starts in {watched:?} with another wake waiting; {back}"
    ))
}

/// The wakeup waits for the reset, uncounted, and nothing of the account starts.
async fn parked(server: &Server, limit: &Limit, watched: Duration) -> String {
    let agent =
        cli_agent(server, limit.name, limit.kind, &script(&limit.says), json!({ "retry": { "delays_s": [0, 0] } }))
            .await;
    let wakeup = server.wake(&agent, json!({})).await;
    let run = server.finished(&id(&server.running(&wakeup).await)).await;
    assert_ended(&run, "failed", "usage_limit");
    let waiting = server.show(&format!("/wakeups/{wakeup}")).await;
    assert_eq!(
        (&waiting["status"], &waiting["attempt"]),
        (&json!("pending"), &json!(0)),
        "{}: {waiting:#}",
        limit.name
    );
    let due: Timestamp = waiting["due_at"].as_str().unwrap().parse().unwrap();
    let ended: Timestamp = run["finished_at"].as_str().unwrap().parse().unwrap();
    let rest_s = due.since(ended).as_secs_f64();
    let least = limit.lifts_in_s as f64 - 60.0;
    let most = limit.lifts_in_s as f64 + QUOTA_SPREAD_MAX.as_secs_f64() + 2.0;
    assert!((least..=most).contains(&rest_s), "{}: it rests for {rest_s} s: {waiting:#}", limit.name);
    let other = server.wake(&agent, json!({ "reason": "another" })).await;
    sleep(watched).await;
    let starts = fs::read_to_string(server.path().join("agents").join(&agent).join("starts")).unwrap();
    assert_eq!(starts.lines().count(), 1, "{}: it was started at its limit", limit.name);
    let other = server.show(&format!("/wakeups/{other}")).await;
    assert_eq!(other["waiting"]["reason"], "quota_until", "{}: {other:#}", limit.name);
    wakeup
}

/// An agent whose limit lifts in a moment goes on with its session.
async fn comes_back(server: &Server, scale: Scale) -> String {
    let lifts_at = now_s() + 4;
    let limit = format!("{}{}{}exit 1", begins(), rejected(lifts_at), result("You've hit your limit", json!(429)));
    let agent = cli_agent(server, "comes-back", "claude", &script(&limit), json!({})).await;
    let wakeup = server.wake(&agent, json!({})).await;
    assert_ended(&server.finished(&id(&server.running(&wakeup).await)).await, "failed", "usage_limit");
    // Those who wait for one limit come back spread over a minute; one that was woken anew comes at once.
    let sooner = match scale {
        Scale::Small => server.wake(&agent, json!({ "reason": "go on" })).await,
        Scale::Full => wakeup.clone(),
    };
    let path = format!("/wakeups/{sooner}");
    let took = until("the run after the limit", Duration::from_secs(80), async || {
        server.get(&path).await.1["status"] == "completed"
    })
    .await;
    assert!(now_s() >= lifts_at, "it was started before its limit lifted");
    let settled = server.show(&path).await;
    assert_eq!(settled["attempt"], 1, "{settled:#}");
    let run = server.show(&format!("/runs/{}", settled["run_id"].as_str().unwrap())).await;
    assert_eq!((&run["session_before"], &run["session"]["choice"]), (&json!(SESSION), &json!("resumed")), "{run:#}");
    format!("one whose limit lifted after 4 s went on with its session after {:.0} s", took.as_secs_f64())
}
