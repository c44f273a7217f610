//! `wakeful worktree …`

use serde_json::Value;
use wakeful_domain::url::percent_encoded;

use super::Session;
use crate::arguments::WorktreeVerb;
use crate::failure::Failure;
use crate::output::{items, text};

pub async fn run(session: &Session, verb: &WorktreeVerb) -> Result<(), Failure> {
    match verb {
        WorktreeVerb::Ls { state } => list(session, state.as_deref()).await,
    }
}

async fn list(session: &Session, state: Option<&str>) -> Result<(), Failure> {
    let filter = state.map(|state| format!("&state={}", percent_encoded(state))).unwrap_or_default();
    let worktrees = session.client.get(&session.of_company(&format!("/worktrees?limit=200{filter}"))).await?;
    let output = session.output;
    output.show(&worktrees, || {
        let row = |worktree: &Value| {
            let shown = ["/branch", "/state_reason", "/path"].map(|pointer| text(worktree, pointer));
            let [branch, reason, path] = shown;
            vec![output.status(&text(worktree, "/state")), branch, reason, path]
        };
        let rows: Vec<Vec<String>> = items(&worktrees).iter().map(row).collect();
        if rows.is_empty() {
            return "no worktrees; a task gets one with: wakeful task add TITLE --project ID --worktree".into();
        }
        let mut lines = vec![output.table(&["state", "branch", "kept because of", "path"], rows)];
        for worktree in items(&worktrees).iter().filter(|worktree| !text(worktree, "/advice").is_empty()) {
            lines.push(format!("\n{}: {}", text(worktree, "/branch"), text(worktree, "/advice")));
        }
        lines.join("\n")
    });
    Ok(())
}
