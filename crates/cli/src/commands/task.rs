//! `wakeful task …`

use serde_json::{Value, json};

use super::Session;
use crate::arguments::TaskVerb;
use crate::failure::Failure;
use crate::output::{items, short, text};

pub async fn run(session: &Session, verb: &TaskVerb) -> Result<(), Failure> {
    match verb {
        TaskVerb::Add { title, description, assignee } => {
            let assignee = match assignee {
                Some(agent) => Some(session.agent_id(agent).await?),
                None => None,
            };
            let body = json!({ "title": title, "description": description, "assignee": assignee });
            let task = session.client.post(&session.of_company("/tasks"), &body).await?;
            session.output.show(&task, || {
                format!("{} added; wake an agent for it with: wakeful wake AGENT --task {0}", text(&task, "/id"))
            });
            Ok(())
        }
        TaskVerb::Ls => list(session).await,
        TaskVerb::Show { task } => {
            let task = session.client.get(&format!("/api/v1/tasks/{task}")).await?;
            session.output.show(&task, || say(&task));
            Ok(())
        }
        TaskVerb::Set { task, status } => change(session, task, &json!({ "status": status })).await,
        TaskVerb::Assign { task, agent } => {
            let agent = session.agent_id(agent).await?;
            change(session, task, &json!({ "assignee": agent })).await
        }
    }
}

async fn change(session: &Session, task: &str, body: &Value) -> Result<(), Failure> {
    let task = session.client.patch(&format!("/api/v1/tasks/{task}"), body).await?;
    session.output.show(&task, || say(&task));
    Ok(())
}

async fn list(session: &Session) -> Result<(), Failure> {
    let tasks = session.client.get(&session.of_company("/tasks?limit=200")).await?;
    let output = session.output;
    output.show(&tasks, || {
        let row = |task: &Value| {
            vec![
                text(task, "/id"),
                output.status(&text(task, "/status")),
                text(task, "/assignee"),
                short(&text(task, "/title"), 60),
            ]
        };
        output.table(&["id", "status", "assignee", "title"], items(&tasks).iter().map(row).collect())
    });
    Ok(())
}

fn say(task: &Value) -> String {
    let mut lines = vec![
        format!("{} ({})", text(task, "/title"), text(task, "/id")),
        format!("  status     {}", text(task, "/status")),
        format!("  assignee   {}", text(task, "/assignee")),
        format!("  held by    {}", text(task, "/held_by")),
    ];
    if !text(task, "/description").is_empty() {
        lines.push(format!("\n{}", text(task, "/description")));
    }
    lines.join("\n")
}
