//! What an agent gets: its environment, its context, the command, and no secret where one can be read.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::shape::assert_field;
use crate::support::{Server, every_pid, id, run_token, variable};

/// Runs until it is told to end, with a process name of its own.
const WAITS: &str = "until test -e go; do sleep 0.02; done";

fn let_go(server: &Server, agent: &str) {
    fs::write(server.path().join("agents").join(agent).join("go"), "").unwrap();
}

fn pid(run: &Value) -> u32 {
    u32::try_from(run["process"]["pid"].as_u64().unwrap()).unwrap()
}

#[tokio::test]
async fn the_environment_names_the_run_and_holds_nothing_of_wakefuls_from_outside() {
    let outside = [
        ("WAKEFUL_TOKEN", "stolen"),
        ("WAKEFUL_TASK", "tsk_wrong"),
        ("WAKEFUL_FOO", "bar"),
        ("WAKEFUL_DATA_DIR", "/wrong"),
        ("CLAUDECODE", "1"),
        ("KEPT", "yes"),
        ("OVERRIDDEN", "by the server"),
    ];
    let server = Server::start_with(&[], &outside).await;
    let env = json!({ "OWN": "mine", "OVERRIDDEN": "by the agent" });
    let adapter = json!({ "type": "process", "command": WAITS, "env": env });
    let agent = server.process_agent_with("ann", "", json!({ "adapter": adapter })).await;
    let forged = json!({ "type": "process", "command": "true", "env": { "WAKEFUL_RUN": "forged" } });
    let forged = server.patch(&format!("/agents/{agent}"), &json!({ "adapter": forged })).await;
    assert_field(&forged, "adapter.env.WAKEFUL_RUN");
    let (_, task) = server.post("/companies/default/tasks", &json!({ "title": "Paint" })).await;
    let wakeup =
        server.wake(&agent, json!({ "task": id(&task), "reason": "it's \"time\"\nnow", "source": "webhook" })).await;
    let run = server.running(&wakeup).await;
    let run_dir = server.run_dir(&id(&run));
    let expected = [
        ("WAKEFUL_URL", server.address().to_owned()),
        ("WAKEFUL_COMPANY", run["company"].as_str().unwrap().to_owned()),
        ("WAKEFUL_AGENT", agent.clone()),
        ("WAKEFUL_AGENT_NAME", "ann".into()),
        ("WAKEFUL_RUN", id(&run)),
        ("WAKEFUL_TASK", id(&task)),
        ("WAKEFUL_REASON", "it's \"time\"\nnow".into()),
        ("WAKEFUL_SOURCE", "webhook".into()),
        ("KEPT", "yes".into()),
        ("OWN", "mine".into()),
        ("OVERRIDDEN", "by the agent".into()),
    ];
    for (name, value) in expected {
        assert_eq!(variable(pid(&run), name), Some(value), "{name}");
    }
    for (name, file) in [("WAKEFUL_CONTEXT_FILE", "context.json"), ("WAKEFUL_RESULT_FILE", "result.json")] {
        assert_eq!(variable(pid(&run), name).unwrap(), run_dir.join(file).to_str().unwrap());
    }
    for name in ["WAKEFUL_FOO", "WAKEFUL_DATA_DIR", "CLAUDECODE"] {
        assert_eq!(variable(pid(&run), name), None, "{name}");
    }
    assert_eq!(server.with_token(&run_token(&run)).show("/me").await["run"], id(&run));
    let_go(&server, &agent);
    assert_eq!(server.finished(&id(&run)).await["status"], "succeeded");
}

#[tokio::test]
async fn the_context_file_holds_every_wakeup_of_the_batch_whole() {
    let server = Server::start().await;
    let adapter = json!({ "type": "process", "command": "cat; cat \"$WAKEFUL_CONTEXT_FILE\" >&2", "stdin": "context" });
    let agent = server.process_agent_with("ann", "", json!({ "adapter": adapter, "title": "Painter" })).await;
    let body = json!({ "title": "Paint", "description": "the door", "assignee": agent });
    let (_, task) = server.post("/companies/default/tasks", &body).await;
    // The assignment's own run, before anything is said.
    server.until(&format!("/agents/{agent}"), |agent| agent["last_run"]["status"] == "succeeded").await;
    server.post("/companies/default/pause", &json!({})).await;
    let mut comments = Vec::new();
    for said in ["too red", "and not dry"] {
        let (_, comment) = server.post(&format!("/tasks/{}/comments", id(&task)), &json!({ "body": said })).await;
        comments.push(id(&comment));
    }
    let mut wakeups = Vec::new();
    for number in 1..=3 {
        let body = json!({
            "task": id(&task), "reason": format!("reason {number}"), "payload": { "number": number, "nested": { "a": [1] }, "comment_id": format!("c{number}") },
            "context": { "hint": number }, "priority": if number == 2 { 90 } else { 10 },
        });
        wakeups.push(server.wake(&agent, body).await);
    }
    server.post("/companies/default/resume", &json!({})).await;
    let run = server.finished(&id(&server.running(&wakeups[0]).await)).await;
    let context: Value = serde_json::from_str(&server.stdout(&id(&run)).await).unwrap();
    let file: Value =
        serde_json::from_slice(&fs::read(server.run_dir(&id(&run)).join("context.json")).unwrap()).unwrap();
    assert_eq!(context, file, "standard input and file say the same");
    assert_eq!((&context["run"]["id"], &context["run"]["fence"]), (&run["id"], &run["fence"]));
    assert_eq!((&context["agent"]["name"], &context["agent"]["title"]), (&json!("ann"), &json!("Painter")));
    assert_eq!((&context["task"]["id"], &context["task"]["description"]), (&task["id"], &json!("the door")));
    let said: Vec<&Value> =
        context["task"]["comments"].as_array().unwrap().iter().map(|comment| &comment["body"]).collect();
    assert_eq!(said, ["too red", "and not dry"]);
    comments.extend(["c1", "c2", "c3"].map(str::to_owned));
    assert_eq!((&context["task"]["key"], &context["comment_ids"]), (&json!("T-1"), &json!(comments)));
    assert_eq!(context["workspace"], run["workspace"]);
    let batch = context["wakeups"].as_array().unwrap();
    let (of_comments, batch) = batch.split_at(2);
    assert!(of_comments.iter().all(|wakeup| wakeup["source"] == "comment"), "a comment is a wakeup of its own");
    assert_eq!(batch.iter().map(id).collect::<Vec<_>>(), wakeups, "in the order of their requests");
    for (number, wakeup) in (1..).zip(batch) {
        assert_eq!(wakeup["reason"], format!("reason {number}"));
        let payload = json!({ "number": number, "nested": { "a": [1] }, "comment_id": format!("c{number}") });
        assert_eq!(wakeup["payload"], payload);
        assert_eq!(wakeup["context"]["hint"], number);
        assert_eq!(wakeup["lead"], number == 2);
    }
    assert_eq!(run["wakeups"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn the_command_is_on_the_path_and_needs_no_option() {
    let server = Server::start().await;
    let script = "command -v wakeful; pwd; wakeful agent ls --json; wakeful why ann >&2";
    let agent = server.process_agent("ann", script).await;
    let run = server.run_of(&agent, json!({})).await;
    let printed = server.stdout(&id(&run)).await;
    let (paths, list) = printed.split_once('{').unwrap();
    let home = server.path().join("agents").join(&agent);
    assert_eq!(paths, format!("{}\n{}\n", crate::support::program(), home.display()));
    let list: Value = serde_json::from_str(&format!("{{{list}")).unwrap();
    assert_eq!(list["items"][0]["name"], "ann");
    assert_eq!(run["workspace"]["cwd"], home.to_str().unwrap());
    assert_eq!(run["status"], "succeeded");
}

#[tokio::test]
async fn a_runs_token_stands_in_no_argument_and_in_no_file() {
    let server = Server::start().await;
    let script = format!("wakeful checkpoint '{{}}' > /dev/null; wakeful done -m ok > /dev/null; {WAITS}");
    let agent = server.process_agent("ann", &script).await;
    let run = server.running(&server.wake(&agent, json!({})).await).await;
    let token = run_token(&run);
    assert!(token.starts_with("wkf_run_"));
    server.until(&format!("/runs/{}/checkpoint", id(&run)), |note| note.is_object()).await;
    for pid in every_pid() {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        assert!(!contains(&line, &token), "process {pid}: {}", String::from_utf8_lossy(&line));
    }
    assert_eq!(files_with(server.outside(), &token), Vec::<String>::new());
    let_go(&server, &agent);
    server.finished(&id(&run)).await;
    assert_eq!(files_with(server.outside(), &token), Vec::<String>::new());
    assert_eq!(files_with(server.outside(), server.token()), ["admin.token"]);
}

#[tokio::test]
async fn what_a_run_keeps_on_disk_is_for_the_owner_alone() {
    let server = Server::start().await;
    let agent = server.process_agent("ann", "echo hello; wakeful done -m ok").await;
    let run = server.run_of(&agent, json!({})).await;
    for file in walk(&server.run_dir(&id(&run))) {
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{file:?}: {mode:o}");
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}

fn walk(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

/// The names of the files below a directory that hold the text.
fn files_with(dir: &Path, text: &str) -> Vec<String> {
    let holds = |path: &std::path::PathBuf| fs::read(path).is_ok_and(|bytes| contains(&bytes, text));
    let name = |path: std::path::PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    walk(dir).into_iter().filter(holds).map(name).collect()
}
