//! What an agent calls within its run: `inbox`, `checkpoint`, `comment`, `ask`, `done`; and the skill that tells it so.

use std::io::Read;

use serde_json::{Value, json};
use wakeful_domain::url::percent_encoded;

use super::Session;
use crate::arguments::{DoneArguments, Global, InboxArguments};
use crate::environment;
use crate::failure::Failure;
use crate::output::{Output, text};

fn run_path(path: &str) -> Result<String, Failure> {
    let run = environment::run().ok_or_else(|| {
        Failure::usage("this command works within a run only: WAKEFUL_RUN is not set")
            .hint("Wakeful sets it for the agents it starts")
    })?;
    Ok(format!("/api/v1/runs/{run}{path}"))
}

/// Shows what came while the run is live, and takes it over if asked.
pub async fn inbox(session: &Session, arguments: &InboxArguments) -> Result<(), Failure> {
    let inbox = session.client.get(&run_path("/inbox")?).await?;
    let listed = |name| inbox.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let (waiting, messages) = (listed("wakeups"), listed("messages"));
    let ids = |of: &[Value]| of.iter().map(|one| text(one, "/id")).collect::<Vec<_>>();
    // A message says more than the wakeup that brings it.
    let is_brought = |wakeup: &&Value| messages.iter().any(|one| text(one, "/wakeup") == text(wakeup, "/id"));
    let shown: Vec<&Value> = messages.iter().chain(waiting.iter().filter(|wakeup| !is_brought(wakeup))).collect();
    let (read, wanted): (Vec<String>, Vec<String>) = match arguments.ack_all {
        true => (ids(&messages), ids(&waiting)),
        false => arguments.ack.iter().cloned().partition(|id| ids(&messages).contains(id)),
    };
    if wanted.is_empty() && read.is_empty() {
        session.output.show(&inbox, || match shown.is_empty() {
            true => "nothing new".into(),
            false => shown.iter().copied().map(say).collect::<Vec<_>>().join("\n"),
        });
        return Ok(());
    }
    let answer = session.client.post(&run_path("/inbox/ack")?, &json!({ "wakeups": wanted, "messages": read })).await?;
    session.output.show(&answer, || {
        let taken = answer.get("acknowledged").and_then(Value::as_array).cloned().unwrap_or_default();
        let refused = answer.get("refused").and_then(Value::as_array).cloned().unwrap_or_default();
        let is_asked = |one: &&Value| wanted.contains(&text(one, "/id")) || read.contains(&text(one, "/id"));
        let mut lines: Vec<String> = shown.iter().copied().filter(is_asked).map(say).collect();
        let count = taken.iter().filter(|id| !read.iter().any(|read| id.as_str() == Some(read))).count();
        lines.push(format!("{count} taken over"));
        lines.extend(refused.iter().map(|one| format!("{} refused: {}", text(one, "/id"), text(one, "/reason"))));
        lines.join("\n")
    });
    Ok(())
}

/// A wakeup or a nudge in a line; mail whole.
fn say(one: &Value) -> String {
    if one.get("body").is_some() {
        return super::mail::say(one);
    }
    let (what, words) = if one.get("kind").is_some() { ("/kind", "/text") } else { ("/source", "/reason") };
    format!("{} [{}] {}", text(one, "/id"), text(one, what), text(one, words))
}

/// Notes something down for the lane's next run, or shows what is noted.
pub async fn checkpoint(session: &Session, note: Option<&str>) -> Result<(), Failure> {
    let path = run_path("/checkpoint")?;
    let Some(note) = note else {
        let found = session.client.get(&path).await?;
        session.output.show(&found, || serde_json::to_string_pretty(&found).unwrap_or_default());
        return Ok(());
    };
    let note = match note {
        "-" => {
            let mut read = String::new();
            std::io::stdin().read_to_string(&mut read)?;
            read
        }
        note => note.to_owned(),
    };
    let note: Value =
        serde_json::from_str(&note).map_err(|error| Failure::usage(format!("the checkpoint is not JSON: {error}")))?;
    let kept = session.client.put(&path, &note).await?;
    session.output.show(&kept, || "kept for the next run of this lane".into());
    Ok(())
}

/// Reports the outcome; the run ends when the process does.
pub async fn done(session: &Session, arguments: &DoneArguments) -> Result<(), Failure> {
    let path = run_path("/finish")?;
    let me = session.client.get("/api/v1/me").await?;
    let outcome = if arguments.failed.is_some() { "failed" } else { "succeeded" };
    let mut body = json!({ "fence": me.get("fence"), "outcome": outcome });
    if let Some(message) = &arguments.message {
        body["summary"] = json!(message);
    }
    if let Some(reason) = &arguments.failed {
        body["error_code"] = json!("agent_error");
        body["error"] = json!(reason);
    }
    if let Some(result) = &arguments.result {
        body["result"] =
            serde_json::from_str(result).map_err(|error| Failure::usage(format!("--result is not JSON: {error}")))?;
    }
    let run = session.client.post(&path, &body).await?;
    session.output.show(&run, || "noted; the run ends when this agent does".into());
    Ok(())
}

/// The skill, as agents load it.
const SKILL: &str = include_str!("../../../../docs/skills/wakeful/SKILL.md");

/// Prints the skill.
pub fn skill(global: &Global) -> Result<(), Failure> {
    Output::new(global).show(&json!({ "name": "wakeful", "text": SKILL }), || SKILL.trim_end().to_owned());
    Ok(())
}

/// Says something about the task of this run.
pub async fn comment(session: &Session, message: &str) -> Result<(), Failure> {
    run_path("")?;
    let task = environment::task().ok_or_else(|| {
        Failure::usage("this run has no task to comment on").hint("name one: wakeful task comment TASK -m TEXT")
    })?;
    let path = format!("/api/v1/tasks/{}/comments", percent_encoded(&task));
    let made = session.client.post(&path, &json!({ "body": message })).await?;
    session.output.show(&made, || "said".into());
    Ok(())
}

/// Asks a person, who is told once however often it is asked.
pub async fn ask(session: &Session, question: &str) -> Result<(), Failure> {
    let run = run_path("")?;
    let name = environment::agent_name().unwrap_or_default();
    let task = environment::task().map(|task| format!(" --task {task}")).unwrap_or_default();
    let detail = format!("{name} asks, and goes on when it is woken: wakeful wake {name}{task} -m ANSWER");
    let body =
        json!({ "title": question, "detail": detail, "severity": "medium", "key": format!("ask:{run}:{question}") });
    let raised = session.client.post(&session.of_company("/escalations"), &body).await?;
    session.output.show(&raised, || {
        format!("asked ({}); leave a checkpoint and finish: the answer wakes you", text(&raised, "/id"))
    });
    Ok(())
}
