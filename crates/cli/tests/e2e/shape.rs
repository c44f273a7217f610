//! What documents look like: fields, ids, times, problems.

use serde_json::Value;

/// The fields of a wakeup; `waiting` is there besides while it is pending.
pub const WAKEUP: &[&str] = &[
    "actor",
    "agent",
    "attempt",
    "cause_id",
    "company",
    "context",
    "count",
    "depth",
    "due_at",
    "error",
    "error_code",
    "expires_at",
    "finished_at",
    "id",
    "idempotency_key",
    "lead",
    "max_attempts",
    "payload",
    "priority",
    "reason",
    "requested_at",
    "root_id",
    "run_id",
    "source",
    "status",
    "status_reason",
    "task",
    "trigger_detail",
];
/// The fields of a run.
pub const RUN: &[&str] = &[
    "adapter",
    "agent",
    "billing",
    "company",
    "cost_micros",
    "created_at",
    "error",
    "error_code",
    "exit_code",
    "fence",
    "finished_at",
    "id",
    "lane",
    "last_event_at",
    "last_output_at",
    "lease_expires_at",
    "log",
    "log_removed_at",
    "model",
    "pinned_at",
    "process",
    "provider",
    "result",
    "session",
    "session_after",
    "session_before",
    "signal",
    "started_at",
    "status",
    "stop",
    "summary",
    "task",
    "usage",
    "wakeups",
    "workspace",
];
/// The fields of an agent.
pub const AGENT: &[&str] = &[
    "adapter",
    "capabilities",
    "company",
    "created_at",
    "heartbeat",
    "id",
    "last_run",
    "limits",
    "live_runs",
    "liveness",
    "max_concurrent_runs",
    "name",
    "open_circuits",
    "pending_wakeups",
    "retry",
    "session",
    "state",
    "state_reason",
    "status",
    "title",
    "totals",
    "updated_at",
];
/// The fields of a company.
pub const COMPANY: &[&str] = &[
    "created_at",
    "id",
    "live_runs",
    "max_concurrent_runs",
    "max_runs_per_root_hour",
    "name",
    "slug",
    "state",
    "state_reason",
    "time_zone",
    "updated_at",
];
/// The fields of a task.
pub const TASK: &[&str] = &[
    "adapter_overrides",
    "assignee",
    "blocked_by",
    "closed_at",
    "company",
    "created_at",
    "description",
    "due_at",
    "goal",
    "held_by",
    "id",
    "key",
    "labels",
    "open_blockers",
    "parent",
    "priority",
    "project",
    "reward",
    "status",
    "title",
    "updated_at",
    "wake_parent",
    "workspace",
];

/// The fields of a session.
pub const SESSION: &[&str] =
    &["adapter", "created_at", "display_id", "last_error", "last_run", "task", "tokens", "turns", "updated_at"];

/// The names of a document's fields, in order.
pub fn fields(document: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = match document {
        Value::Object(fields) => fields.keys().map(String::as_str).collect(),
        other => panic!("no object: {other}"),
    };
    names.sort_unstable();
    names
}

/// Fails unless the document has exactly these fields, and all ids and times in it are well-formed.
#[track_caller]
pub fn assert_shape(document: &Value, expected: &[&str]) {
    assert_eq!(fields(document), expected, "{document:#}");
    assert_well_formed(document);
}

/// Fails unless every id is a TypeID and every time is RFC 3339 in UTC with milliseconds, at any depth.
#[track_caller]
pub fn assert_well_formed(document: &Value) {
    match document {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            if let Value::String(text) = value {
                assert!(is_well_formed(name, text), "{name}: {text}");
            }
            assert_well_formed(value);
        }),
        Value::Array(items) => items.iter().for_each(assert_well_formed),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_well_formed(name: &str, text: &str) -> bool {
    match name {
        "company" => is_type_id(text, "co"),
        "agent" | "assignee" => is_type_id(text, "agt"),
        "task" => is_type_id(text, "tsk"),
        "run_id" | "run" | "held_by" => is_type_id(text, "run"),
        "root_id" => is_type_id(text, "wak"),
        "at" | "until" | "since" => is_time(text),
        _ if name.ends_with("_at") => is_time(text),
        _ => true,
    }
}

/// Prefix, `_`, and a UUIDv7 in 26 characters of Crockford's base 32.
pub fn is_type_id(text: &str, prefix: &str) -> bool {
    let of_base_32 = |c: char| c.is_ascii_digit() || c.is_ascii_lowercase() && !matches!(c, 'i' | 'l' | 'o' | 'u');
    text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_')).is_some_and(|rest| {
        rest.len() == 26 && rest.starts_with(|c| ('0'..='7').contains(&c)) && rest.chars().all(of_base_32)
    })
}

/// As in `2026-11-21T09:00:00.123Z`.
pub fn is_time(text: &str) -> bool {
    const PATTERN: &str = "0000-00-00T00:00:00.000Z";
    let fits =
        |(found, expected): (char, char)| if expected == '0' { found.is_ascii_digit() } else { found == expected };
    text.len() == PATTERN.len() && text.chars().zip(PATTERN.chars()).all(fits)
}

/// Fails unless an answer is a problem (RFC 9457) with this status.
#[track_caller]
pub fn assert_problem((status, problem): &(u16, Value), expected: u16) {
    assert_eq!(*status, expected, "{problem}");
    assert_eq!(problem["status"], expected, "{problem}");
    for field in ["type", "title", "code", "detail"] {
        assert!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {problem}");
    }
}

/// Fails unless a document is a problem with this status and code.
#[track_caller]
pub fn assert_code(problem: &Value, status: u16, code: &str) {
    assert_eq!((&problem["status"], &problem["code"]), (&Value::from(status), &Value::from(code)), "{problem}");
}

/// Fails unless an answer is 422 and names this field.
#[track_caller]
pub fn assert_field(answer: &(u16, Value), field: &str) {
    assert_problem(answer, 422);
    assert_eq!(answer.1["errors"][0]["field"], field, "{}", answer.1);
    assert!(answer.1["errors"][0]["message"].as_str().is_some_and(|text| !text.is_empty()), "{}", answer.1);
}
