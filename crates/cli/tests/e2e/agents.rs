//! Where the real agent CLIs are. One that is missing is a failure, not a reason to skip.

use serde_json::Value;

use crate::support::{Server, id};

/// Claude Code.
pub const CLAUDE: &str = "claude";
/// Codex.
pub const CODEX: &str = "codex";

/// Gemini CLI.
pub const GEMINI: &str = "gemini";
/// `OpenCode`.
pub const OPENCODE: &str = "opencode";

/// The path of an agent CLI, as `cargo xtask setup` installs it.
#[expect(clippy::disallowed_methods, reason = "the tests are told by a variable where the CLIs are")]
pub fn agent_cli(name: &str) -> String {
    let installed = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/agents/node_modules/.bin");
    let dir = std::env::var("WAKEFUL_TEST_AGENTS_DIR").unwrap_or_else(|_| installed.to_owned());
    let path = format!("{dir}/{name}");
    assert!(std::path::Path::new(&path).exists(), "{path} is missing: run `cargo xtask setup`");
    path
}

/// The one tool call of a run, and what came of it, which has the same id.
pub async fn call_and_result(server: &Server, run: &Value) -> (Value, Value) {
    let events = server.show(&format!("/runs/{}/events", id(run))).await;
    let of = |kind: &str| -> Vec<&Value> {
        events["items"].as_array().unwrap().iter().filter(|event| event["type"] == kind).collect()
    };
    let (calls, results) = (of("tool"), of("tool_result"));
    assert_eq!((calls.len(), results.len()), (1, 1), "{events:#}");
    assert_eq!(calls[0]["data"]["id"], results[0]["data"]["id"], "{events:#}");
    let why = server.show(&format!("/runs/{}/why", id(run))).await.to_string();
    assert!(why.contains("\"tool\"") && !why.contains("tool_result"), "it explains nothing: {why}");
    (calls[0].clone(), results[0].clone())
}

/// When a usage limit lifts that was just reached, in seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the CLIs read it against the real clock")]
pub fn in_two_days() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap() + 2 * 86_400
}
