//! What Claude Code says was used: by a message, by a run, by a whole session.

use serde_json::{Map, Value, json};
use wakeful_domain::outcome::SessionState;
use wakeful_domain::usage::Usage;

use super::super::figures;
use super::super::steps::{Answer, named};

/// What was used, by a run or by a whole session.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Totals {
    pub usage: Usage,
    pub cost_micros: Option<i64>,
}

impl Totals {
    /// Kept in the session since the last run.
    pub(super) fn of(session: &SessionState) -> Totals {
        let usage = session.params.get("usage").cloned().unwrap_or_default();
        Totals {
            usage: serde_json::from_value(usage).unwrap_or_default(),
            cost_micros: session.params.get("cost_micros").and_then(Value::as_i64),
        }
    }

    pub(super) fn plus(&self, used: &Totals) -> Totals {
        let cost = self.cost_micros.unwrap_or(0).saturating_add(used.cost_micros.unwrap_or(0));
        Totals { usage: figures::sum(&self.usage, &used.usage), cost_micros: Some(cost) }
    }

    pub(super) fn extra(&self) -> Map<String, Value> {
        let mut extra = Map::new();
        extra.insert("usage".into(), json!(self.usage));
        extra.insert("cost_micros".into(), json!(self.cost_micros));
        extra
    }
}

/// Its output is counted before it has been written, unless the event says why it stopped.
pub(super) fn answer_of(event: &Value) -> Answer {
    let message = &event["message"];
    Answer {
        id: named(&message["id"]),
        model: named(&message["model"]),
        within: named(&event["parent_tool_use_id"]),
        usage: message["usage"].is_object().then(|| usage_of_message(&message["usage"])),
        output_is_known: message["stop_reason"].is_string(),
    }
}

pub(super) fn usage_of_message(usage: &Value) -> Usage {
    let count = |name: &str| figures::tokens(&usage[name]);
    Usage {
        input_tokens: count("input_tokens"),
        output_tokens: count("output_tokens"),
        cache_read_tokens: count("cache_read_input_tokens"),
        cache_write_tokens: count("cache_creation_input_tokens"),
    }
}

/// Over all models: the `usage` of a result leaves out what subagents used.
pub(super) fn usage_of_result(result: &Value) -> Usage {
    let of_model = |usage: &Value| {
        let count = |name: &str| figures::tokens(&usage[name]);
        Usage {
            input_tokens: count("inputTokens"),
            output_tokens: count("outputTokens"),
            cache_read_tokens: count("cacheReadInputTokens"),
            cache_write_tokens: count("cacheCreationInputTokens"),
        }
    };
    match result["modelUsage"].as_object() {
        Some(models) if !models.is_empty() => {
            models.values().fold(Usage::default(), |sum, usage| figures::sum(&sum, &of_model(usage)))
        }
        _ => usage_of_message(&result["usage"]),
    }
}
