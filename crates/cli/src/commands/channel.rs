//! `wakeful channel …`

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use wakeful_domain::url::percent_encoded;
use wakeful_engine::clock;

use super::Session;
use crate::arguments::{ChannelAddArguments, ChannelVerb};
use crate::failure::{FAILED, Failure, NOT_FOUND};
use crate::output::{items, short, text, time};

/// Longer than any attempt, and the wait for the pace of a channel.
const TEST_PATIENCE: Duration = Duration::from_secs(150);
/// Between two looks at a test.
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub async fn run(session: &Session, verb: &ChannelVerb) -> Result<(), Failure> {
    match verb {
        ChannelVerb::Add(arguments) => add(session, arguments).await,
        ChannelVerb::Ls => list(session).await,
        ChannelVerb::Show { channel } => show(session, channel).await,
        ChannelVerb::Test { channel } => test(session, channel).await,
        ChannelVerb::SigningSecret { channel } => {
            let shown = session.client.get(&format!("{}/signing-secret", path_of(session, channel).await?)).await?;
            session.output.show(&shown, || text(&shown, "/signing_secret"));
            Ok(())
        }
        ChannelVerb::Enable { channel } => set_state(session, channel, &json!({ "state": "enabled" })).await,
        ChannelVerb::Disable { channel, reason } => {
            set_state(session, channel, &json!({ "state": "disabled", "state_reason": reason })).await
        }
        ChannelVerb::Rm { channel } => {
            session.client.delete(&path_of(session, channel).await?).await?;
            session.output.show(&json!({ "channel": channel, "removed": true }), || format!("{channel} is removed"));
            Ok(())
        }
    }
}

/// The path of a channel that is given by name or id.
async fn path_of(session: &Session, channel: &str) -> Result<String, Failure> {
    if channel.starts_with("chn_") {
        return Ok(format!("/api/v1/channels/{channel}"));
    }
    let found =
        session.client.get(&session.of_company(&format!("/channels?name={}", percent_encoded(channel)))).await?;
    match items(&found).first() {
        Some(channel) => Ok(format!("/api/v1/channels/{}", text(channel, "/id"))),
        None => Err(Failure::new(NOT_FOUND, format!("there is no channel `{channel}`"))
            .hint("`wakeful channel ls` lists them, `wakeful channel add` makes one")),
    }
}

async fn add(session: &Session, arguments: &ChannelAddArguments) -> Result<(), Failure> {
    let mut filter = Map::new();
    if !arguments.kinds.is_empty() {
        filter.insert("kinds".into(), json!(arguments.kinds));
    }
    if let Some(level) = &arguments.min_level {
        filter.insert("min_level".into(), json!(level));
    }
    if !arguments.agents.is_empty() {
        let mut agents = Vec::new();
        for agent in &arguments.agents {
            agents.push(session.agent_id(agent).await?);
        }
        filter.insert("agents".into(), json!(agents));
    }
    if !arguments.schedules.is_empty() {
        filter.insert("schedules".into(), json!(arguments.schedules));
    }
    let body = json!({ "name": arguments.name, "target": target(arguments)?, "filter": filter });
    let channel = session.client.post(&session.of_company("/channels"), &body).await?;
    session.output.show(&channel, || {
        format!("{} added; try it out with: wakeful channel test {}", arguments.name, arguments.name)
    });
    Ok(())
}

fn target(arguments: &ChannelAddArguments) -> Result<Value, Failure> {
    if let Some(target) = &arguments.target {
        return serde_json::from_str(target)
            .map_err(|error| Failure::usage(format!("--target is not a JSON object: {error}")));
    }
    if let Some(url) = &arguments.webhook {
        let mut headers = Map::new();
        for pair in &arguments.header {
            let (name, value) = pair_of("--header", pair)?;
            headers.insert(name, json!(value));
        }
        for pair in &arguments.secret_header {
            let (name, secret) = pair_of("--secret-header", pair)?;
            headers.insert(name, json!({ "secret": secret }));
        }
        return Ok(json!({ "webhook": { "url": url, "headers": headers } }));
    }
    if let Some(secret) = &arguments.slack {
        return Ok(json!({ "slack": { "url": { "secret": secret } } }));
    }
    if arguments.email.is_empty() {
        return Ok(json!({ "command": { "command": arguments.command } }));
    }
    let mut smtp = json!({ "host": arguments.smtp });
    if let Some(port) = arguments.smtp_port {
        smtp["port"] = json!(port);
    }
    if let Some(tls) = &arguments.smtp_tls {
        smtp["tls"] = json!(tls);
    }
    if let (Some(user), Some(secret)) = (&arguments.smtp_user, &arguments.smtp_password) {
        smtp["username"] = json!(user);
        smtp["password"] = json!({ "secret": secret });
    }
    Ok(json!({ "email": { "to": arguments.email, "from": arguments.from, "smtp": smtp } }))
}

fn pair_of(option: &str, pair: &str) -> Result<(String, String), Failure> {
    let (name, value) =
        pair.split_once('=').ok_or_else(|| Failure::usage(format!("{option} {pair}: write NAME=VALUE")))?;
    Ok((name.to_owned(), value.to_owned()))
}

async fn list(session: &Session) -> Result<(), Failure> {
    let channels = session.client.get(&session.of_company("/channels?limit=200")).await?;
    let output = session.output;
    output.show(&channels, || {
        let row = |channel: &Value| {
            vec![
                text(channel, "/name"),
                kind_of(channel),
                output.status(&text(channel, "/state")),
                short(&text(channel, "/filter"), 80),
                short(&text(channel, "/state_reason"), 40),
            ]
        };
        match items(&channels).is_empty() {
            true => "no channels yet; the inbox has everything: wakeful notifications".into(),
            false => {
                output.table(&["name", "kind", "state", "filter", "note"], items(&channels).iter().map(row).collect())
            }
        }
    });
    Ok(())
}

fn kind_of(channel: &Value) -> String {
    let target = channel.get("target").and_then(Value::as_object);
    target.and_then(|target| target.keys().next().cloned()).unwrap_or_default()
}

async fn show(session: &Session, channel: &str) -> Result<(), Failure> {
    let channel = session.client.get(&path_of(session, channel).await?).await?;
    let path = session.of_company(&format!("/deliveries?limit=20&channel={}", text(&channel, "/id")));
    let deliveries = session.client.get(&path).await?;
    let whole = json!({ "channel": channel, "deliveries": deliveries["items"] });
    let output = session.output;
    output.show(&whole, || {
        let state = [output.status(&text(&channel, "/state")), text(&channel, "/state_reason")];
        let mut lines = vec![
            format!("{} ({})", text(&channel, "/name"), text(&channel, "/id")),
            format!("  state      {}", state.join(" ").trim()),
            format!("  target     {}", text(&channel, "/target")),
            format!("  filter     {}", text(&channel, "/filter")),
        ];
        lines.extend(items(&deliveries).iter().map(|delivery| format!("  delivery   {}", told(delivery))));
        lines.join("\n")
    });
    Ok(())
}

/// A delivery in one line.
pub(super) fn told(delivery: &Value) -> String {
    let log = delivery.get("log").and_then(Value::as_array);
    let last = log.and_then(|log| log.last()).map(|last| short(&text(last, "/detail"), 100)).unwrap_or_default();
    let line = [time(delivery, "/created_at"), text(delivery, "/id"), text(delivery, "/status"), last];
    line.join(" ").trim_end().to_owned()
}

async fn test(session: &Session, channel: &str) -> Result<(), Failure> {
    let path = path_of(session, channel).await?;
    let mut delivery = session.client.post(&format!("{path}/test"), &json!({})).await?;
    let path = format!("/api/v1/deliveries/{}", text(&delivery, "/id"));
    let until: Instant = clock::monotonic() + TEST_PATIENCE;
    while matches!(text(&delivery, "/status").as_str(), "pending" | "sending") && clock::monotonic() < until {
        tokio::time::sleep(LOOK_EVERY).await;
        delivery = session.client.get(&path).await?;
    }
    let is_delivered = text(&delivery, "/status") == "delivered";
    session.output.show(&delivery, || told(&delivery));
    match is_delivered {
        true => Ok(()),
        false => Err(Failure::new(FAILED, format!("nothing was delivered through `{channel}`"))),
    }
}

async fn set_state(session: &Session, channel: &str, patch: &Value) -> Result<(), Failure> {
    let changed = session.client.patch(&path_of(session, channel).await?, patch).await?;
    session.output.show(&changed, || format!("{} is {}", text(&changed, "/name"), text(&changed, "/state")));
    Ok(())
}
