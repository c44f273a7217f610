//! `wakeful agent …`

use std::time::Duration;

use serde_json::{Map, Value, json};
use wakeful_domain::time::{parse_duration, say_duration};

use super::Session;
use crate::arguments::{AgentAddArguments, AgentVerb};
use crate::failure::Failure;
use crate::output::{items, short, text, time};

pub async fn run(session: &Session, verb: &AgentVerb) -> Result<(), Failure> {
    match verb {
        AgentVerb::Add(arguments) => add(session, arguments).await,
        AgentVerb::Ls => list(session).await,
        AgentVerb::Show { agent } => show(session, agent).await,
        AgentVerb::Pause { agent, reason, now } => {
            let body = json!({ "reason": reason, "cancel_runs": now });
            change_state(session, agent, "pause", &body).await
        }
        AgentVerb::SigningSecret { agent } => {
            let path = format!("/api/v1/agents/{}/signing-secret", session.agent_id(agent).await?);
            let shown = session.client.get(&path).await?;
            session.output.show(&shown, || text(&shown, "/signing_secret"));
            Ok(())
        }
        AgentVerb::Resume { agent } => change_state(session, agent, "resume", &json!({})).await,
        AgentVerb::Rm { agent } => {
            let id = session.agent_id(agent).await?;
            session.client.delete(&format!("/api/v1/agents/{id}")).await?;
            session.output.show(&json!({ "removed": id }), || {
                format!("{agent} is terminated and hidden; its runs stay readable")
            });
            Ok(())
        }
    }
}

async fn add(session: &Session, arguments: &AgentAddArguments) -> Result<(), Failure> {
    let body = body(arguments)?;
    let agent = session.client.post(&session.of_company("/agents"), &body).await?;
    session.output.show(&agent, || {
        format!(
            "{} added ({}); wake it with: wakeful wake {} --wait",
            arguments.name,
            text(&agent, "/id"),
            arguments.name
        )
    });
    Ok(())
}

fn body(arguments: &AgentAddArguments) -> Result<Value, Failure> {
    let mut adapter = match &arguments.config {
        Some(text) => serde_json::from_str::<Map<String, Value>>(text)
            .map_err(|error| Failure::usage(format!("--config is not a JSON object: {error}")))?,
        None => Map::new(),
    };
    adapter.insert("type".into(), json!(arguments.adapter));
    if !arguments.command.is_empty() {
        adapter.insert("command".into(), json!(arguments.command));
    }
    for (key, value) in [("model", &arguments.model), ("prompt", &arguments.prompt)] {
        if let Some(value) = value {
            adapter.insert(key.into(), json!(value));
        }
    }
    if let Some(cwd) = &arguments.cwd {
        let absolute = std::path::absolute(cwd)?;
        adapter.insert("cwd".into(), json!(absolute));
    }
    if let Some(url) = &arguments.url {
        adapter.insert("url".into(), json!(url));
    }
    if !arguments.env.is_empty() || !arguments.secret.is_empty() {
        let mut variables = match adapter.remove("env") {
            Some(Value::Object(variables)) => variables,
            Some(_) | None => Map::new(),
        };
        for pair in &arguments.env {
            let (name, value) =
                pair.split_once('=').ok_or_else(|| Failure::usage(format!("--env {pair}: write NAME=VALUE")))?;
            variables.insert(name.to_owned(), json!(value));
        }
        for pair in &arguments.secret {
            let (name, secret) = pair.split_once('=').unwrap_or((pair, pair));
            variables.insert(name.to_owned(), json!({ "secret": secret }));
        }
        adapter.insert("env".into(), Value::Object(variables));
    }
    let mut body = json!({ "name": arguments.name, "adapter": adapter });
    if let Some(title) = &arguments.title {
        body["title"] = json!(title);
    }
    if let Some(cap) = arguments.max_concurrent_runs {
        body["max_concurrent_runs"] = json!(cap);
    }
    if let Some(duration) = &arguments.max_duration {
        body["limits"] = json!({ "max_duration_s": seconds("--max-duration", duration)? });
    }
    if let Some(runs) = arguments.max_session_runs {
        body["session"] = json!({ "max_runs": runs });
    }
    if let Some(delays) = &arguments.retry {
        let delays: Vec<u64> = match delays.as_str() {
            "none" => Vec::new(),
            delays => delays.split(',').map(|delay| seconds("--retry", delay)).collect::<Result<_, _>>()?,
        };
        body["retry"] = json!({ "delays_s": delays });
    }
    Ok(body)
}

fn seconds(option: &str, text: &str) -> Result<u64, Failure> {
    let duration = parse_duration(text).map_err(|error| Failure::usage(format!("{option}: {error}")))?;
    Ok(duration.as_secs())
}

async fn list(session: &Session) -> Result<(), Failure> {
    let agents = session.client.get(&session.of_company("/agents?limit=200")).await?;
    let output = session.output;
    output.show(&agents, || {
        let rows: Vec<Vec<String>> = items(&agents)
            .iter()
            .map(|agent| {
                vec![
                    text(agent, "/name"),
                    text(agent, "/adapter/type"),
                    output.status(&text(agent, "/status")),
                    text(agent, "/liveness/status"),
                    text(agent, "/pending_wakeups"),
                    text(agent, "/totals/runs"),
                    text(agent, "/last_run/status"),
                    text(agent, "/id"),
                ]
            })
            .collect();
        match rows.is_empty() {
            true => "no agents yet; add one with: wakeful agent add NAME -- COMMAND".into(),
            false => {
                output.table(&["name", "adapter", "status", "liveness", "pending", "runs", "last run", "id"], rows)
            }
        }
    });
    Ok(())
}

async fn show(session: &Session, agent: &str) -> Result<(), Failure> {
    let id = session.agent_id(agent).await?;
    let agent = session.client.get(&format!("/api/v1/agents/{id}")).await?;
    let output = session.output;
    output.show(&agent, || {
        let mut lines = vec![
            format!("{} ({})", text(&agent, "/name"), text(&agent, "/id")),
            format!("  status     {}, {}", output.status(&text(&agent, "/status")), text(&agent, "/liveness/status")),
            format!("  adapter    {}", short(&text(&agent, "/adapter"), 200)),
            format!(
                "  runs       {} live of {} at once; {} in all",
                text(&agent, "/live_runs"),
                text(&agent, "/max_concurrent_runs"),
                text(&agent, "/totals/runs")
            ),
            format!("  sessions   rotated after {}", rotation(&agent)),
            format!("  waiting    {} wakeups", text(&agent, "/pending_wakeups")),
            format!(
                "  used       {} tokens, {} micro-dollars",
                text(&agent, "/totals/tokens"),
                text(&agent, "/totals/cost_micros")
            ),
            format!(
                "  last run   {} {} {}",
                text(&agent, "/last_run/id"),
                text(&agent, "/last_run/status"),
                time(&agent, "/last_run/finished_at")
            ),
        ];
        if !text(&agent, "/state_reason").is_empty() {
            lines.push(format!("  because    {}", text(&agent, "/state_reason")));
        }
        lines.join("\n")
    });
    Ok(())
}

/// When its sessions are rotated, in words.
fn rotation(agent: &Value) -> String {
    let limit =
        |key: &str| agent.pointer(&format!("/session/{key}")).and_then(Value::as_u64).filter(|limit| *limit > 0);
    let parts = [
        limit("max_runs").map(|runs| format!("{runs} runs")),
        limit("max_tokens").map(|tokens| format!("{tokens} tokens")),
        limit("max_age_s").map(|age| say_duration(Duration::from_secs(age))),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "nothing: they have no limit".into() } else { parts.join(" or ") }
}

async fn change_state(session: &Session, agent: &str, verb: &str, body: &Value) -> Result<(), Failure> {
    let id = session.agent_id(agent).await?;
    let agent = session.client.post(&format!("/api/v1/agents/{id}/{verb}"), body).await?;
    session.output.show(&agent, || format!("{} is {}", text(&agent, "/name"), text(&agent, "/state")));
    Ok(())
}
