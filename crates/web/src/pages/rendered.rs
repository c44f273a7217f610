//! Tests of whole pages, against an API that says one thing of each kind. What agents wrote has to come out as text.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::{
    Shown, agent, agent_edit, agents, costs, health, inbox, notifications, plan, run, schedule, schedule_form,
    schedules, timeline, wakes, wakeup,
};
use crate::call::Calls;
use crate::visit::Visit;

const EVIL: &str = "<script>alert(1)</script>";

/// Polls until it is done: nothing here waits for anything.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}

fn a_company() -> Value {
    json!({"slug": "acme", "name": "Acme", "state": "active", "state_reason": null, "time_zone": "Europe/Paris",
        "max_concurrent_runs": 5, "live_runs": 1})
}

fn a_wakeup(id: &str, status: &str) -> Value {
    let mut wakeup = json!({
        "id": id, "agent": "agt_1", "task": "tsk_1", "source": "schedule", "reason": EVIL, "count": 2, "priority": 50,
        "payload": {"said": EVIL}, "context": {}, "actor": {"type": "agent", "id": "agt_1"}, "idempotency_key": "key-1",
        "cause_id": "run_01m80tmn6pevjtt1x2br3d4sr5", "requested_at": "2026-11-22T05:00:00Z",
        "due_at": "2026-11-22T05:00:00Z", "expires_at": null, "status": status, "status_reason": null, "run_id": null,
        "attempt": 1, "max_attempts": 3, "error_code": null, "error": null, "finished_at": null,
    });
    if status == "pending" {
        let detail = "the run of the lane is live";
        wakeup["waiting"] = json!({"reason": "lane_busy", "detail": detail, "until": "2026-11-22T06:00:00Z"});
    }
    wakeup
}

/// A run that took nine seconds, or is at it.
pub fn a_run(adapter: &str, status: &str) -> Value {
    let finished_at = (status != "running").then_some("2026-11-22T05:00:10.000Z");
    json!({
        "id": "run_1", "agent": "agt_1", "task": null, "adapter": adapter, "fence": 1, "status": status,
        "error_code": null, "error": null, "exit_code": 0, "signal": null, "session_before": null, "session_after": null,
        "session": null, "usage": {"input_tokens": 0, "output_tokens": 0, "cache_read_tokens": 0, "cache_write_tokens": 0},
        "cost_micros": null, "model": null, "provider": null, "billing": null, "summary": null, "result": null, "stop": null,
        "workspace": null, "last_output_at": null, "log": {"bytes": 0, "lines": 0, "truncated": false},
        "created_at": "2026-11-22T05:00:00.000Z", "started_at": "2026-11-22T05:00:01.000Z",
        "finished_at": finished_at, "pinned_at": null, "log_removed_at": null, "wakeups": [],
    })
}

/// What an agent said and did; what a tool returned is as bad as can be.
fn run_events() -> Value {
    let told = [
        ("message", EVIL.to_owned(), Value::Null),
        ("tool", "Read: page.html".into(), json!({"name": "Read", "id": "a"})),
        ("tool", "Bash: cargo test".into(), json!({"name": "Bash", "id": "b"})),
        (
            "tool_result",
            format!(
                "{EVIL}\u{202e}\u{1b}[31m</div></details><a href=\"javascript:alert(1)\">\n{}",
                "line\n".repeat(40)
            ),
            json!({"id": "a", "failed": false}),
        ),
        ("tool_result", "no such test".into(), json!({"id": "b", "failed": true, "exit_code": 101})),
        ("tool", "Bash: sleep 60".into(), json!({"name": "Bash", "id": "c"})),
    ];
    let events = told.iter().zip(1..).map(|((kind, message, data), seq)| {
        json!({"seq": seq, "at": "2026-11-22T05:00:05.000Z", "type": kind, "level": "info", "message": message, "data": data})
    });
    events.collect()
}

/// An agent that nobody has approved yet.
fn an_agent_to_approve() -> Value {
    json!({
        "id": "agt_1", "name": format!("ada {EVIL}"), "title": EVIL, "adapter": {"type": "claude"},
        "state": "pending_approval", "state_reason": EVIL, "status": "pending_approval",
        "liveness": {"status": "paused", "reason": null, "since": null}, "live_runs": 0, "max_concurrent_runs": 1,
        "pending_wakeups": 0, "last_run": null, "open_circuits": [],
        "totals": {"runs": 0, "tokens": 0, "cost_micros": 0}, "created_at": "2026-11-22T05:00:00.000Z",
    })
}

fn a_schedule(id: &str, state: &str) -> Value {
    json!({
        "id": id, "name": format!("morning {EVIL}"), "trigger": {"cron": "0 9 * * *", "time_zone": "Europe/Paris"},
        "target": {"wake": {"agent": "agt_1", "reason": EVIL, "payload": {"x": 1}}}, "gate": {"command": ["check-mail"]},
        "active_hours": null, "jitter": "30s", "overlap": "coalesce", "catch_up": "latest", "stale_after": "2h",
        "starts_at": null, "ends_at": null, "max_fires": null, "fires": 7, "wakes_avoided": 3, "failures_in_row": 2,
        "last_error": EVIL, "state": state, "note": null, "next_slot_at": "2026-11-23T08:00:00Z",
        "words": "every day at 09:00, Europe/Paris; next Mon 23 Nov 09:00 CET, in 1 d",
    })
}

fn sums(cost_micros: i64) -> Value {
    json!({"runs": 3, "input_tokens": 1_200, "output_tokens": 300, "cache_read_tokens": 5_000, "cache_write_tokens": 0,
        "cost_micros": cost_micros, "duration_ms": 61_000})
}

fn an_item(key: Value, name: Value, cost_micros: i64) -> Value {
    let mut item = sums(cost_micros);
    item["key"] = key;
    item["name"] = name;
    item
}

fn list(items: Value) -> Value {
    json!({"items": items, "next_cursor": "cursor_1"})
}

fn standing() -> Value {
    json!({"version": "0.1.0", "tick_age_ms": 900, "tick_within_ms": 300_000, "live_runs": 1, "live_runs_max": 8, "is_draining": false,
        "safe_mode": null, "restored_from": "2026-11-21T00:00:00Z"})
}

fn a_timeline() -> Value {
    let recent = wakeful_engine::clock::now().to_string();
    json!({
        "runs": [{"id": "run_1", "agent": "agt_1", "task": null, "status": "running", "created_at": recent,
            "started_at": recent, "finished_at": null}],
        "wakeups": [{"id": "wak_1", "agent": "agt_1", "task": null, "source": "manual", "status": "pending",
            "requested_at": "2026-11-22T05:00:00Z", "due_at": "2026-11-22T05:00:00Z", "run_id": null}],
        "missed": [{"schedule": "sch_1", "name": EVIL, "slot_at": recent, "status": "missed", "reason": "stale"}],
        "truncated": true,
    })
}

fn a_server() -> Value {
    json!({
        "store": "sqlite", "started_at": "2026-11-22T05:00:00Z", "uptime_s": 7_200,
        "recovery": {"live_runs": 2, "attached": 1, "ended_meanwhile": 1, "died": 0, "never_started": 0, "services": 0,
            "slots_fired": 1, "slots_missed": 4, "violations": 0, "took_ms": 120},
        "configuration": {"path": "/etc/wakeful.toml", "read_at": "2026-11-22T05:00:00Z", "error": null,
            "needs_restart": ["listen"]},
    })
}

fn an_agent() -> Value {
    json!({
        "id": "agt_1", "name": "ada", "title": EVIL, "state": "active", "state_reason": null, "status": "idle",
        "adapter": {"type": "process", "command": ["python3", "my agent.py"], "cwd": EVIL}, "capabilities": [],
        "liveness": {"status": "failing", "reason": "its last 3 runs failed", "since": "2026-11-22T05:00:00Z"},
        "live_runs": 0, "max_concurrent_runs": 1, "pending_wakeups": 1, "last_run": null,
        "open_circuits": [{"task": null, "since": "2026-11-22T05:00:00Z"}],
        "totals": {"runs": 5, "tokens": 0, "cost_micros": 42}, "created_at": "2026-11-22T05:00:00Z",
        "heartbeat": {"enabled": false, "wake_on_demand": true, "only_when_work": false},
        "retry": {"delays_s": [120, 7_200], "jitter": 0.25}, "limits": {"max_duration_s": 300},
        "session": {"max_runs": 200, "max_tokens": 50_000_000, "max_age_s": 2_592_000},
    })
}

fn an_escalation() -> Value {
    let detail =
        "nothing more is started until `wakeful agent resume ada`; the last was run_01m80tmn6pevjtt1x2br3d4sr5";
    json!({"id": "esc_1", "kind": "circuit_open", "severity": "high", "subject": "agt_1", "title": EVIL,
        "detail": format!("{detail} at 2026-11-22T05:00:00.123Z {EVIL}"), "count": 1, "last_at": "2026-11-22T05:00:00Z"})
}

fn a_delivery() -> Value {
    let refused =
        json!({"at": "2026-11-22T05:00:00Z", "ok": false, "detail": format!("404 {EVIL}"), "duration_ms": 12});
    json!({"id": "dlv_1", "channel": "chn_1", "notification": "ntf_1", "status": "failed", "attempts": 3, "log": [refused],
        "due_at": null, "created_at": "2026-11-22T05:00:00Z", "finished_at": "2026-11-22T05:00:00Z"})
}

fn attention() -> Value {
    let missed = json!({"schedule": "sch_1", "name": EVIL, "count": 3, "last_at": "2026-11-22T05:00:00Z"});
    json!({"escalations": 1, "approvals": 1, "dead_letters": 90, "mail": 2, "deliveries": 4, "missed": [missed]})
}

/// What the API says to a path; its rules are tested elsewhere.
fn said(path: &str) -> Option<Value> {
    let slot = json!({"slot_at": "2026-11-22T08:00:00Z", "count": 1, "status": "fired", "reason": EVIL,
        "wakeup": "wak_1", "task": null, "answer": null, "at": "2026-11-22T08:00:01Z"});
    let planned = json!({"slot_at": "2026-11-23T08:00:00Z", "schedule": "sch_1", "name": EVIL, "skipped": "quiet_hours", "count": 1});
    let budget = json!({"id": "bud_1", "scope": "agent", "agent": "agt_1", "task": null, "schedule": null,
        "window": "day", "metric": "cost_micros", "limit": 5_000_000, "spent": 4_500_000, "level": "warned",
        "window_ends_at": "2026-11-23T00:00:00Z"});
    let ended =
        json!({"at": "2026-11-22T05:01:00Z", "kind": "finished", "id": "wak_1", "text": EVIL, "status": "failed"});
    let chain = [json!({"at": "2026-11-22T05:00:00Z", "kind": "requested", "id": "wak_1", "text": EVIL}), ended];
    Some(match path.strip_prefix("/api/v1")? {
        "/companies/acme" => a_company(),
        "/companies" => list(json!([a_company()])),
        "/me" => json!({"kind": "admin"}),
        "/standing" => standing(),
        "/companies/acme/events/latest" => json!({"id": "evt_1"}),
        "/companies/acme/attention" => attention(),
        "/companies/acme/escalations" => list(json!([an_escalation()])),
        "/companies/acme/deliveries" => list(json!([a_delivery()])),
        "/companies/acme/messages" | "/companies/acme/channels" => list(json!([])),
        "/companies/acme/notifications" => {
            list(json!([{"id": "ntf_1", "at": "2026-11-22T05:00:00Z", "kind": "escalation",
            "level": "critical", "title": EVIL, "text": EVIL, "metadata": {"severity": "high"}, "agent": "agt_1",
            "run": null, "schedule": null, "repeats": 0, "read_at": null}]))
        }
        "/deliveries/dlv_1" => a_delivery(),
        "/agents/agt_1" => an_agent(),
        "/agents/agt_1/why" => {
            json!({"summary": EVIL, "chain": chain, "next": "`wakeful agent resume ada` lets it start"})
        }
        "/companies/acme/names" => {
            list(json!([{"id": "agt_1", "name": format!("ada {EVIL}")}, {"id": "chn_1", "name": "ops"}]))
        }
        "/companies/acme/agents" => list(json!([an_agent_to_approve()])),
        "/companies/acme/projects" => list(json!([])),
        "/companies/acme/goals" => list(json!([{"id": "gol_1", "title": EVIL}])),
        "/companies/acme/wakeups" => list(json!([a_wakeup("wak_1", "pending"), a_wakeup("wak_2", "failed")])),
        "/wakeups/wak_1" => a_wakeup("wak_1", "pending"),
        "/wakeups/wak_2" => a_wakeup("wak_2", "failed"),
        "/wakeups/wak_1/why" | "/wakeups/wak_2/why" => json!({"summary": EVIL, "chain": chain, "next": "it starts"}),
        "/runs/run_1" => a_run("claude", "running"),
        "/runs/run_1/why" => json!({"summary": EVIL, "chain": chain, "next": null}),
        "/runs/run_1/events" => list(run_events()),
        "/companies/acme/runs" => list(json!([a_run("claude", "running")])),
        "/companies/acme/schedules" => list(json!([a_schedule("sch_1", "active"), a_schedule("sch_2", "paused")])),
        "/schedules/sch_1" => a_schedule("sch_1", "active"),
        "/schedules/sch_1/next" => json!({"items": ["2026-11-23T08:00:00Z"]}),
        "/schedules/sch_1/slots" | "/schedules/sch_2/slots" => list(json!([slot])),
        "/companies/acme/plan" => {
            let often = json!({"schedule": "sch_2", "name": EVIL, "words": "every 20 s", "next_slot_at": "2026-11-23T08:00:00Z"});
            json!({"items": [planned], "truncated": true, "often": [often]})
        }
        "/companies/acme/timeline" => a_timeline(),
        "/companies/acme/costs" => {
            let items = [an_item(json!("agt_1"), json!(EVIL), 4_000_000), an_item(Value::Null, Value::Null, 1_000_000)];
            json!({"items": items, "others": sums(1), "total": sums(5_000_001)})
        }
        "/companies/acme/budgets" => list(json!([budget])),
        "/server" => a_server(),
        "/restore" => json!({"lost_runs": 1, "pending_wakeups": 4, "due_schedules": 2, "deliveries": 0}),
        "/invariants" => {
            let violation = json!({"name": "one-live-run", "statement": "a lane has one", "subject": EVIL});
            json!({"checked": ["one-live-run"], "violations": [violation]})
        }
        _ => return None,
    })
}

async fn answer(uri: Uri) -> Response {
    match said(uri.path()) {
        Some(answer) => Json(answer).into_response(),
        None => {
            let problem = json!({"code": "not_found", "detail": format!("the test knows no {uri}")});
            (StatusCode::NOT_FOUND, Json(problem)).into_response()
        }
    }
}

/// The page that a handler makes of a request for `id` with a query.
fn rendered<F: Future<Output = Shown>>(handler: impl FnOnce(Visit) -> F, id: &str, query: &str) -> String {
    let calls = Calls::of(Router::new().fallback(answer), &HeaderMap::new());
    let uri: Uri = format!("/c/acme/page?{query}").parse().unwrap();
    let answer = wait(handler(Visit { calls, company: "acme".into(), id: id.into(), uri, theme: "system" })).unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let body = wait(answer.into_body().collect()).unwrap().to_bytes();
    let html = String::from_utf8(body.to_vec()).unwrap();
    assert!(!html.contains(EVIL), "what somebody wrote is HTML:\n{html}");
    assert!(!html.contains(" style=") && !html.contains(" onclick="), "the policy refuses what is inline");
    html
}

fn check(html: &str, expected: &[&str]) {
    for words in expected {
        assert!(html.contains(words), "no `{words}` in\n{html}");
    }
}

#[test]
fn the_ledger_says_the_fate_of_each_wake() {
    let html = rendered(wakes::show, "", "status=pending&since=7d");
    let older = "/c/acme/wakes?status=pending&#38;since=7d&#38;cursor=cursor%5F1";
    check(&html, &["lane busy", "/api/v1/wakeups/wak_1/cancel", "/api/v1/wakeups/wak_2/retry", "Older wakes"]);
    assert!(html.contains(older) || html.contains(&older.replace("%5F", "_")), "{html}");
}

#[test]
fn a_wakeup_says_what_it_waits_for() {
    let html = rendered(wakeup::show, "wak_1", "");
    check(&html, &["lane busy", "2 of 3", "wakeful why wak_1", "/c/acme/runs/run_01m80tmn6pevjtt1x2br3d4sr5", "key-1"]);
}

#[test]
fn a_failed_end_is_drawn_as_one() {
    check(&rendered(wakeup::show, "wak_1", ""), &["<li class=\"k-plain\">", "<li class=\"k-bad\">"]);
}

#[test]
fn attempts_are_those_that_were_made_and_the_one_that_waits() {
    check(&rendered(wakeup::show, "wak_1", ""), &["<dd>2 of 3</dd>"]);
    check(&rendered(wakeup::show, "wak_2", ""), &["<dd>1 of 3</dd>"]);
}

#[test]
fn the_inbox_lets_a_stopped_agent_start_again() {
    let html = rendered(inbox::show, "", "");
    check(&html, &["/api/v1/agents/agt_1/resume", "Let it start again", "<code>wakeful agent resume ada</code>"]);
    check(
        &html,
        &["/c/acme/runs/run_01m80tmn6pevjtt1x2br3d4sr5", "<time data-clock datetime=\"2026-11-22T05:00:00.123Z\">"],
    );
    check(&html, &[">ops</a>", "404 ", "Missed while down", "title=\"needs a person\">99</b>"]);
}

#[test]
fn an_agent_that_failed_too_often_says_so_and_can_be_started_again() {
    let html = rendered(agent::show, "agt_1", "");
    check(&html, &["It failed too often in a row", "outside any task", "/api/v1/agents/agt_1/resume", "$0.000042"]);
    check(&html, &["data-command=\"wakeful wake ada[ -m {reason}]", ">wakeful wake ada</code>"]);
}

#[test]
fn an_agent_is_changed_as_it_was_made() {
    let html = rendered(agent_edit::show, "agt_1", "");
    check(&html, &["name=\"adapter.command\" data-type=\"argv\"", "python3 &#39;my agent.py&#39;</textarea>"]);
    check(&html, &["value=\"5m\"", "value=\"30d\"", "value=\"2m, 2h\""]);
    assert!(!html.contains("&#34;command&#34;"), "it has a field of its own");
}

#[test]
fn a_notification_of_an_escalation_is_as_loud_as_the_escalation() {
    let html = rendered(notifications::show, "", "delivery=dlv_1");
    check(&html, &[">high</span>", "It was not taken: 404 "]);
    assert!(!html.contains(">critical</span>"));
}

#[test]
fn a_transcript_has_each_call_with_what_it_returned() {
    let html = rendered(run::show, "run_1", "tab=transcript");
    let (_, shown) = html.split_once("<ol class=\"transcript\">").unwrap();
    let (shown, _) = shown.split_once("</ol>").unwrap();
    let entries: Vec<&str> = shown.split("<li ").skip(1).collect();
    assert_eq!(entries.len(), 4, "{shown}");
    // A stranger's words, folded: nothing of them is a tag, and what would turn the text around is named.
    check(
        entries[1],
        &[
            "id=\"e2\"",
            "Read: page.html",
            "id=\"e4\"",
            "#succeeded",
            ">done<",
            "<details class=\"text\"><summary>&#60;script&#62;",
        ],
    );
    check(entries[1], &["⟦U+202E⟧&#60;/div&#62;&#60;/details&#62;&#60;a href=&#34;javascript:"]);
    assert!(!entries[1].contains('\u{1b}') && entries[1].matches("</details>").count() == 1, "{}", entries[1]);
    check(
        entries[2],
        &[
            "id=\"e3\"",
            "id=\"e5\"",
            "s-failed",
            "#failed",
            ">failed<",
            "exit status 101",
            "<div class=\"text\">no such test",
        ],
    );
    check(entries[3], &["id=\"e6\"", "No result yet"]);
    assert_eq!(html.matches("No result yet").count(), 1);
    let events = rendered(run::show, "run_1", "tab=events");
    check(&events, &["tool_result", "<details class=\"text\"><summary>&#60;script&#62;"]);
}

#[test]
fn schedules_show_their_last_slots() {
    let html = rendered(schedules::show, "", "");
    check(&html, &["every day at 09:00, Europe/Paris<", "<li class=\"s-succeeded\"", "/schedules/sch_1/pause"]);
    check(&html, &["/schedules/sch_2/resume", "jitter 30s", "failed 2 times in a row"]);
}

#[test]
fn a_schedule_shows_its_ledger_and_its_plan() {
    let html = rendered(schedule::show, "sch_1", "");
    check(
        &html,
        &["check-mail", "Older slots", "Mon 23 Nov", "09:00", "skipped: quiet hours", "/schedules/sch_1/edit"],
    );
}

#[test]
fn the_plan_is_by_day() {
    check(&rendered(plan::show, "", ""), &["Mon 23 Nov", "more slots than are shown", "schedules/sch_1"]);
    check(&rendered(plan::show, "", ""), &["Too often to list", "every 20 s"]);
}

#[test]
fn the_inbox_has_agents_approved() {
    let html = rendered(inbox::show, "", "");
    check(&html, &["Agents to approve", "/agents/agt_1/approve", "/agents/agt_1/terminate", "needs approval"]);
    let primary = html.split("/agents/agt_1/approve").nth(1).unwrap();
    assert!(primary.starts_with("\" data-method=\"POST\"") && primary.contains("button primary"), "{primary}");
}

#[test]
fn agents_that_were_not_looked_through_are_said_to_be_more() {
    let html = rendered(agents::show, "", "state=failing");
    check(&html, &["Only the next 2000 agents were looked through", "Look further"]);
    check(&rendered(agents::show, "", "name=ada"), &["Older agents", "/agents/agt_1/approve"]);
}

#[test]
fn forms_send_the_shape_of_the_api() {
    let made = rendered(schedule_form::new, "", "");
    check(
        &made,
        &["action=\"/api/v1/companies/acme/schedules\"", "name=\"trigger.cron\"", "name=\"target.wake.agent\""],
    );
    check(&rendered(schedule_form::new, "", "does=task"), &["name=\"target.task.title\"", "{{date}}"]);
    let changed = rendered(schedule_form::edit, "sch_1", "");
    check(&changed, &["data-method=\"PATCH\"", "0 9 * * *", "value=\"agt_1\" selected", "data-method=\"DELETE\""]);
}

#[test]
fn the_timeline_draws_bars_marks_and_what_was_missed() {
    let html = rendered(timeline::show, "", "zoom=1h");
    check(
        &html,
        &["class=\"bar s-running\"", "class=\"bar waiting\"", "class=\"missed\"", "class=\"now\"", "id=\"hatch\""],
    );
}

#[test]
fn costs_name_what_belongs_to_nothing() {
    let html = rendered(costs::show, "", "by=agent");
    check(
        &html,
        &["$5.00", "no agent", "all others", "width=\"1000\"", "width=\"250\"", "$4.50 of $5.00", "width=\"900\""],
    );
}

#[test]
fn health_checks_when_it_is_asked_to() {
    let plain = rendered(health::show, "", "");
    check(&plain, &["sqlite, up 2 h", "slots missed", "Check now", "4 wakeups start", "data-live=\"run\""]);
    check(&rendered(health::show, "", "check=1"), &["a lane has one", "data-live=\"\""]);
}
