//! `wakeful project …`

use serde_json::{Map, Value, json};
use wakeful_domain::url::percent_encoded;

use super::Session;
use crate::arguments::{ProjectAddArguments, ProjectVerb};
use crate::failure::Failure;
use crate::output::{items, short, text};

pub async fn run(session: &Session, verb: &ProjectVerb) -> Result<(), Failure> {
    match verb {
        ProjectVerb::Add(arguments) => {
            let project = session.client.post(&session.of_company("/projects"), &body(arguments)?).await?;
            session.output.show(&project, || {
                let id = text(&project, "/id");
                format!("{id} added; work on a task in it with: wakeful task add TITLE --project {id}")
            });
            Ok(())
        }
        ProjectVerb::Ls => list(session).await,
        ProjectVerb::Show { project } => {
            let project = session.client.get(&format!("/api/v1/projects/{}", percent_encoded(project))).await?;
            session.output.show(&project, || say(&project));
            Ok(())
        }
    }
}

fn body(arguments: &ProjectAddArguments) -> Result<Value, Failure> {
    let mut first = Map::new();
    if let Some(cwd) = &arguments.cwd {
        first.insert("cwd".into(), json!(std::path::absolute(cwd)?));
    }
    for (key, value) in [("repo_url", &arguments.repo), ("repo_ref", &arguments.reference)] {
        if let Some(value) = value {
            first.insert(key.into(), json!(value));
        }
    }
    let mut workspaces = Vec::new();
    if !first.is_empty() {
        workspaces.push(Value::Object(first));
    }
    for workspace in &arguments.workspace {
        let parsed = serde_json::from_str::<Map<String, Value>>(workspace)
            .map_err(|error| Failure::usage(format!("--workspace {workspace} is not a JSON object: {error}")))?;
        workspaces.push(Value::Object(parsed));
    }
    Ok(json!({ "name": arguments.name, "workspaces": workspaces }))
}

async fn list(session: &Session) -> Result<(), Failure> {
    let projects = session.client.get(&session.of_company("/projects?limit=200")).await?;
    session.output.show(&projects, || {
        let row = |project: &Value| {
            let first = workspaces(project).first().map(place).unwrap_or_default();
            vec![text(project, "/id"), short(&text(project, "/name"), 40), first]
        };
        let rows: Vec<Vec<String>> = items(&projects).iter().map(row).collect();
        match rows.is_empty() {
            true => "no projects yet; add one with: wakeful project add NAME --cwd DIR".into(),
            false => session.output.table(&["id", "name", "first workspace"], rows),
        }
    });
    Ok(())
}

fn workspaces(project: &Value) -> &[Value] {
    project.get("workspaces").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn place(workspace: &Value) -> String {
    let reference = match text(workspace, "/repo_ref") {
        reference if reference.is_empty() => reference,
        reference => format!("at {reference}"),
    };
    let parts = [text(workspace, "/cwd"), text(workspace, "/repo_url"), reference];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

fn say(project: &Value) -> String {
    let mut lines = vec![format!("{} ({})", text(project, "/name"), text(project, "/id"))];
    lines.extend(workspaces(project).iter().map(|workspace| format!("  workspace  {}", place(workspace))));
    lines.join("\n")
}
