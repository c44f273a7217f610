//! `wakeful why` reads like an explanation by a colleague; a change of its words is seen here.

use rustix::process::Signal;
use serde_json::json;

use crate::support::{Server, id, program, shim_pid, signal};

/// What `why` says, with everything that differs from run to run replaced by its kind.
async fn why(server: &Server, subject: &str) -> String {
    let printed = server.cli(&["why", subject]).await;
    assert_eq!(printed.code, 0, "{}", printed.stderr);
    let bin = program().trim_end_matches("/wakeful");
    let told = printed.stdout.replace(server.outside().to_str().unwrap(), "[dir]").replace(bin, "[bin]");
    let told = ["run", "wak", "agt", "tsk"].iter().fold(told, |told, prefix| without_ids(&told, prefix));
    told.lines().map(redacted).collect::<Vec<_>>().join("\n")
}

fn without_ids(text: &str, prefix: &str) -> String {
    let start = format!("{prefix}_");
    let mut parts = text.split(&start);
    let first = parts.next().unwrap().to_owned();
    // 26 characters of an id follow.
    parts.fold(first, |told, part| told + "[" + prefix + "]" + &part[26..])
}

fn redacted(line: &str) -> String {
    let told = line.split(' ').map(word).collect::<Vec<_>>().join(" ");
    without_durations(&told.replace("[day] [clock]", "[time]"))
}

fn word(word: &str) -> String {
    let core = word.trim_matches(|c| matches!(c, '(' | ',' | '.' | ';' | ')' | ':'));
    let kind = match core.len() {
        24 if core.ends_with('Z') => "[time]",
        10 if core.starts_with("20") => "[day]",
        9 if core.ends_with('Z') => "[clock]",
        _ if core.parse::<u32>().is_ok_and(|number| number > 99) => "[number]",
        _ => return word.to_owned(),
    };
    word.replace(core, kind)
}

/// Durations behind `after` and `(in` are replaced as a whole.
fn without_durations(line: &str) -> String {
    let mut line = line.to_owned();
    for (start, ends) in [(" after ", [":", ".", ";"]), ("(in ", [")", ")", ")"])] {
        let Some(begin) = line.find(start).map(|at| at + start.len()) else { continue };
        let is_duration =
            line[begin..].starts_with(|c: char| c.is_ascii_digit()) || line[begin..].starts_with("[number]");
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
    insta::assert_snapshot!("dead_letter", why(&server, &id(&run["wakeups"][0])).await);
    let agent = server.process_agent("doomed", "exec sleep 600").await;
    let run = server.running(&server.wake(&agent, json!({})).await).await;
    signal(shim_pid(&server.run_dir(&id(&run)).join("shim-1.json")).unwrap(), Signal::KILL);
    server.finished(&id(&run)).await;
    insta::assert_snapshot!("lost_run", why(&server, &id(&run)).await);
}
