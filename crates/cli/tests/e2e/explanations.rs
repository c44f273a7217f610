//! `wakeful why` reads like an explanation by a colleague; a change of its words is seen here.

use rustix::process::Signal;
use serde_json::json;

use crate::support::{Server, id, shim_pid, signal};

/// What `why` says, with everything that differs from run to run replaced by its kind.
async fn why(server: &Server, subject: &str) -> String {
    let printed = server.cli(&["why", subject]).await;
    assert_eq!(printed.code, 0, "{}", printed.stderr);
    printed.stdout.lines().map(redacted).collect::<Vec<_>>().join("\n")
}

fn redacted(line: &str) -> String {
    let told = line.split(' ').map(word).collect::<Vec<_>>().join(" ");
    let told = told.replace("[day] [clock]", "[time]");
    without_durations(&told)
}

fn word(word: &str) -> String {
    let end = word.trim_end_matches([',', '.', ';', ')', ':']);
    let rest = &word[end.len()..];
    let start = end.trim_start_matches('(');
    let before = &end[..end.len() - start.len()];
    let kind = match start.split_once('_').map(|(prefix, _)| prefix) {
        Some(prefix @ ("run" | "wak" | "agt" | "tsk")) if start.len() == prefix.len() + 27 => format!("[{prefix}]"),
        Some(_) | None if start.len() == 24 && start.ends_with('Z') => "[time]".into(),
        Some(_) | None if start.len() == 9 && start.ends_with('Z') => "[clock]".into(),
        Some(_) | None if start.len() == 10 && start.starts_with("20") => "[day]".into(),
        Some(_) | None if start.parse::<u32>().is_ok_and(|number| number > 99) => "[number]".into(),
        Some(_) | None => start.into(),
    };
    format!("{before}{kind}{rest}")
}

/// Durations behind `after` and `(in` are replaced as a whole.
fn without_durations(line: &str) -> String {
    let mut line = line.to_owned();
    for (start, ends) in [(" after ", [":", ".", ";"]), ("(in ", [")", ")", ")"])] {
        let Some(begin) = line.find(start).map(|at| at + start.len()) else { continue };
        let is_duration = line[begin..].starts_with(|c: char| c.is_ascii_digit() || c == '[');
        let end = ends.iter().filter_map(|end| line[begin..].find(end)).min().unwrap_or(line.len() - begin);
        if is_duration && !line[begin..].contains("attempts") {
            line.replace_range(begin..begin + end, "[duration]");
        }
    }
    line
}

#[tokio::test]
async fn why_tells_what_became_of_a_wakeup_a_run_an_agent_and_a_task() {
    let server = Server::start().await;
    let agent = server.process_agent("painter", "echo painted; wakeful done -m 'the door is red'").await;
    let (_, task) =
        server.post("/companies/default/tasks", &json!({ "title": "Paint the door", "assignee": agent })).await;
    let run = server.run_of(&agent, json!({ "task": id(&task), "reason": "it fades" })).await;
    insta::assert_snapshot!("completed_wakeup", why(&server, &id(&run["wakeups"][0])).await);
    insta::assert_snapshot!("succeeded_run", why(&server, &id(&run)).await);
    insta::assert_snapshot!("idle_agent", why(&server, "painter").await);
    insta::assert_snapshot!("worked_on_task", why(&server, &id(&task)).await);
}

#[tokio::test]
async fn why_tells_what_a_wakeup_waits_for() {
    let server = Server::start().await;
    let agent = server.process_agent("painter", "until test -e go; do sleep 0.02; done").await;
    let working = server.wake(&agent, json!({ "reason": "begin" })).await;
    server.running(&working).await;
    insta::assert_snapshot!("claimed_wakeup", why(&server, &working).await);
    let behind = server.wake(&agent, json!({ "reason": "and then" })).await;
    insta::assert_snapshot!("wakeup_behind_a_live_run", why(&server, &behind).await);
    let later = server.wake(&agent, json!({ "delay_ms": 3_600_000 })).await;
    insta::assert_snapshot!("wakeup_not_due", why(&server, &later).await);
    server.post(&format!("/wakeups/{later}/cancel"), &json!({})).await;
    insta::assert_snapshot!("cancelled_wakeup", why(&server, &later).await);
    let other = server.process_agent("other", "true").await;
    server.post("/companies/default/pause", &json!({ "reason": "holiday" })).await;
    let paused = server.wake(&other, json!({})).await;
    insta::assert_snapshot!("wakeup_of_a_paused_company", why(&server, &paused).await);
}

#[tokio::test]
async fn why_tells_of_a_failure_what_to_do_and_what_happens_next() {
    let server = Server::start().await;
    let policy = json!({ "retry": { "delays_s": [3_600], "jitter": 0 } });
    let agent = server.process_agent_with("clumsy", "echo 'spilt it' >&2; exit 3", policy).await;
    let run = server.run_of(&agent, json!({ "reason": "try" })).await;
    insta::assert_snapshot!("wakeup_to_be_tried_again", why(&server, &id(&run["wakeups"][0])).await);
    insta::assert_snapshot!("failed_run", why(&server, &id(&run)).await);
    let adapter = json!({ "type": "process", "command": ["no-such-command"] });
    let agent = server.process_agent_with("absent", "", json!({ "adapter": adapter })).await;
    let run = server.run_of(&agent, json!({})).await;
    insta::assert_snapshot!(
        "dead_letter",
        why(&server, &id(&run["wakeups"][0]))
            .await
            .replace(crate::support::PROGRAM.trim_end_matches("/wakeful"), "[bin]")
    );
    let agent = server.process_agent("doomed", "sleep 600").await;
    let run = server.running(&server.wake(&agent, json!({})).await).await;
    signal(shim_pid(&server.run_dir(&id(&run)).join("shim-1.json")).unwrap(), Signal::KILL);
    server.finished(&id(&run)).await;
    insta::assert_snapshot!("lost_run", why(&server, &id(&run)).await);
}
