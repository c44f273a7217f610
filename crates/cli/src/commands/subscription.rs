//! `wakeful subscription …`, `wakeful publish` and, inside a run, `wakeful wait`.

use std::io::Read;

use serde_json::{Map, Value, json};
use wakeful_domain::url::percent_encoded;

use super::Session;
use crate::arguments::{PublishArguments, SubscriptionAddArguments, SubscriptionVerb, WaitArguments, WantedArguments};
use crate::environment;
use crate::failure::Failure;
use crate::output::{items, short, text, time};

pub async fn run(session: &Session, verb: &SubscriptionVerb) -> Result<(), Failure> {
    match verb {
        SubscriptionVerb::Add(arguments) => add(session, arguments).await,
        SubscriptionVerb::Ls { agent, all } => list(session, agent.as_deref(), *all).await,
        SubscriptionVerb::Show { subscription } => show(session, subscription).await,
        SubscriptionVerb::Rm { subscription } => {
            session.client.delete(&path_of(subscription)).await?;
            let removed = json!({ "subscription": subscription, "removed": true });
            session.output.show(&removed, || format!("{subscription} is removed"));
            Ok(())
        }
    }
}

fn path_of(subscription: &str) -> String {
    format!("/api/v1/subscriptions/{}", percent_encoded(subscription))
}

fn object(option: &str, text: &str) -> Result<Value, Failure> {
    let read: Map<String, Value> = serde_json::from_str(text)
        .map_err(|error| Failure::usage(format!("{option} is not a JSON object: {error}")))?;
    Ok(Value::Object(read))
}

/// The fields of the request that say what is waited for.
fn wanted(arguments: &WantedArguments, name: &str) -> Result<Value, Failure> {
    let mut body = json!({ "source": { (arguments.kind.clone()): name } });
    if !arguments.on.is_empty() {
        body["on"] = json!(arguments.on);
    }
    if let Some(filter) = &arguments.filter {
        body["filter"] = object("--filter", filter)?;
    }
    if let Some(timeout) = &arguments.timeout {
        body["timeout"] = json!(timeout);
    }
    Ok(body)
}

fn named(arguments: &WantedArguments) -> Result<String, Failure> {
    let kind = &arguments.kind;
    arguments.name.clone().ok_or_else(|| Failure::usage(format!("say which {kind}: `{kind} NAME`")))
}

async fn add(session: &Session, arguments: &SubscriptionAddArguments) -> Result<(), Failure> {
    let mut body = wanted(&arguments.wanted, &named(&arguments.wanted)?)?;
    body["agent"] = json!(session.agent_id(&arguments.agent).await?);
    body["once"] = json!(arguments.once);
    body["include_result"] = json!(!arguments.no_result);
    let more = [("task", &arguments.task), ("debounce", &arguments.debounce), ("key", &arguments.key)];
    for (name, value) in more {
        if let Some(value) = value {
            body[name] = json!(value);
        }
    }
    if let Some(payload) = &arguments.payload {
        body["payload"] = object("--payload", payload)?;
    }
    let made = session.client.post(&session.of_company("/subscriptions"), &body).await?;
    session.output.show(&made, || format!("{} {}", text(&made, "/id"), standing(&made)));
    Ok(())
}

/// How a subscription stands, in words.
fn standing(subscription: &Value) -> String {
    match text(subscription, "/end_reason").as_str() {
        "" => "waits".to_owned(),
        "fired" => "has fired".to_owned(),
        "timed_out" => "waited long enough".to_owned(),
        _ => "has ended: nothing more comes of its source".to_owned(),
    }
}

async fn list(session: &Session, agent: Option<&str>, all: bool) -> Result<(), Failure> {
    let mut path = session.of_company("/subscriptions?limit=200");
    if let Some(agent) = agent {
        path.push_str(&format!("&agent={}", session.agent_id(agent).await?));
    }
    if !all {
        path.push_str("&state=open");
    }
    let found = session.client.get(&path).await?;
    let names = session.agent_names().await?;
    let output = session.output;
    output.show(&found, || {
        let row = |one: &Value| {
            let agent = text(one, "/agent");
            vec![
                text(one, "/id"),
                names.get(&agent).cloned().unwrap_or(agent),
                source_of(one),
                events_of(one),
                text(one, "/state"),
                text(one, "/matches"),
                short(&text(one, "/key"), 40),
            ]
        };
        match items(&found).is_empty() {
            true => "nobody waits for anything".into(),
            false => {
                let head = ["id", "agent", "source", "on", "state", "matches", "key"];
                output.table(&head, items(&found).iter().map(row).collect())
            }
        }
    });
    Ok(())
}

fn source_of(subscription: &Value) -> String {
    let source = subscription.get("source").and_then(Value::as_object);
    let named = source.and_then(|source| source.iter().next());
    named.map(|(kind, name)| format!("{kind} {}", name.as_str().unwrap_or_default())).unwrap_or_default()
}

fn events_of(subscription: &Value) -> String {
    let events = subscription.get("on").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    events.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
}

async fn show(session: &Session, subscription: &str) -> Result<(), Failure> {
    let found = session.client.get(&path_of(subscription)).await?;
    session.output.show(&found, || {
        let mut lines = vec![
            format!("{} {}", text(&found, "/id"), standing(&found)),
            format!("  wakes      {} {}", text(&found, "/agent"), text(&found, "/task")),
            format!("  when       {}: {}", source_of(&found), events_of(&found)),
            format!("  filter     {}", text(&found, "/filter")),
            format!("  matches    {}, {} wakeups", text(&found, "/matches"), text(&found, "/wakeups")),
            format!("  made       {} by {}", time(&found, "/created_at"), text(&found, "/created_by/id")),
        ];
        for (name, pointer) in [("window", "/window_at"), ("timeout", "/timeout_at"), ("ended", "/ended_at")] {
            if !text(&found, pointer).is_empty() {
                lines.push(format!("  {name:<10} {}", time(&found, pointer)));
            }
        }
        lines.join("\n")
    });
    Ok(())
}

/// Publishes to a topic.
pub async fn publish(session: &Session, arguments: &PublishArguments) -> Result<(), Failure> {
    let data = match arguments.data.as_deref() {
        None => "{}".to_owned(),
        Some("-") => {
            let mut read = String::new();
            std::io::stdin().read_to_string(&mut read)?;
            read
        }
        Some(data) => data.to_owned(),
    };
    let data = object("DATA", &data)?;
    let path = session.of_company(&format!("/topics/{}/publish", percent_encoded(&arguments.topic)));
    let published = match &arguments.key {
        Some(key) => session.client.post_once(&path, &data, key).await?,
        None => session.client.post(&path, &data).await?,
    };
    session.output.show(&published, || match text(&published, "/matched").as_str() {
        "1" => "1 subscription was told".into(),
        count => format!("{count} subscriptions were told"),
    });
    Ok(())
}

/// Subscribes the lane of this run, for once: the agent ends its run, and is woken.
pub async fn wait(session: &Session, arguments: &WaitArguments) -> Result<(), Failure> {
    if environment::run().is_none() {
        return Err(Failure::usage("this command works within a run only: WAKEFUL_RUN is not set")
            .hint("elsewhere it is: wakeful subscription add AGENT KIND NAME --once"));
    }
    let wanted_of = &arguments.wanted;
    let task = environment::task();
    // The children are those of the task at hand, unless another is named.
    let name = match (wanted_of.kind.as_str(), &task) {
        ("children", Some(task)) if wanted_of.name.is_none() => task.clone(),
        _ => named(wanted_of)?,
    };
    let mut body = wanted(wanted_of, &name)?;
    body["once"] = json!(true);
    // Waiting twice for the same is waiting once.
    body["key"] = json!(format!("wait {} {name} {}", wanted_of.kind, wanted_of.on.join(",")));
    if let Some(task) = task {
        body["task"] = json!(task);
    }
    let made = session.client.post(&session.of_company("/subscriptions"), &body).await?;
    session.output.show(&made, || match text(&made, "/state").as_str() {
        "ended" => format!("{}: it has come already; finish, and you are woken at once", text(&made, "/id")),
        _ => format!("{}: leave a checkpoint and finish; you are woken when it comes", text(&made, "/id")),
    });
    Ok(())
}
