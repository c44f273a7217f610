//! `wakeful webhook …`

use serde_json::{Value, json};
use wakeful_domain::url::percent_encoded;

use super::Session;
use crate::arguments::{WebhookAddArguments, WebhookVerb};
use crate::failure::{Failure, NOT_FOUND};
use crate::output::{items, text, time};

pub async fn run(session: &Session, verb: &WebhookVerb) -> Result<(), Failure> {
    match verb {
        WebhookVerb::Add(arguments) => add(session, arguments).await,
        WebhookVerb::Ls => list(session).await,
        WebhookVerb::Show { webhook } => show(session, webhook).await,
        WebhookVerb::Rotate { webhook, overlap } => {
            let path = format!("{}/rotate", path_of(session, webhook).await?);
            let rotated = session.client.post(&path, &json!({ "overlap": overlap })).await?;
            session.output.show(&rotated, || {
                let until = time(&rotated, "/old_secret_until");
                format!("secret   {}\nthe old one works until {until}", text(&rotated, "/secret"))
            });
            Ok(())
        }
        WebhookVerb::Deliveries { webhook } => deliveries(session, webhook).await,
        WebhookVerb::Replay { delivery } => {
            let path = format!("/api/v1/receipts/{}/replay", percent_encoded(delivery));
            let told = session.client.post(&path, &json!({})).await?;
            session.output.show(&told, || line(&told));
            Ok(())
        }
        WebhookVerb::Rm { webhook } => {
            session.client.delete(&path_of(session, webhook).await?).await?;
            session.output.show(&json!({ "webhook": webhook, "removed": true }), || format!("{webhook} is removed"));
            Ok(())
        }
    }
}

/// The path of a webhook that is given by name or id.
async fn path_of(session: &Session, webhook: &str) -> Result<String, Failure> {
    if webhook.starts_with("hok_") {
        return Ok(format!("/api/v1/webhooks/{}", percent_encoded(webhook)));
    }
    let found =
        session.client.get(&session.of_company(&format!("/webhooks?name={}", percent_encoded(webhook)))).await?;
    match items(&found).first() {
        Some(webhook) => Ok(format!("/api/v1/webhooks/{}", text(webhook, "/id"))),
        None => Err(Failure::new(NOT_FOUND, format!("there is no webhook `{webhook}`"))
            .hint("`wakeful webhook ls` lists them, `wakeful webhook add` makes one")),
    }
}

async fn add(session: &Session, arguments: &WebhookAddArguments) -> Result<(), Failure> {
    let mut body = json!({ "name": arguments.name, "scheme": arguments.scheme });
    if let Some(agent) = &arguments.agent {
        body["target"] = json!({ "agent": session.agent_id(agent).await?, "task": arguments.about });
    }
    let made = session.client.post(&session.of_company("/webhooks"), &body).await?;
    session.output.show(&made, || {
        let url = format!("{}{}", session.client.base(), text(&made, "/url"));
        format!("url      {url}\nsecret   {}\nThe secret is not shown again.", text(&made, "/secret"))
    });
    Ok(())
}

async fn list(session: &Session) -> Result<(), Failure> {
    let found = session.client.get(&session.of_company("/webhooks?limit=200")).await?;
    let output = session.output;
    output.show(&found, || {
        let row = |one: &Value| {
            vec![
                text(one, "/name"),
                text(one, "/id"),
                text(one, "/scheme"),
                text(one, "/received"),
                text(one, "/refused"),
                time(one, "/last_received_at"),
            ]
        };
        match items(&found).is_empty() {
            true => "no webhooks yet".into(),
            false => {
                let head = ["name", "id", "scheme", "received", "refused", "last"];
                output.table(&head, items(&found).iter().map(row).collect())
            }
        }
    });
    Ok(())
}

async fn show(session: &Session, webhook: &str) -> Result<(), Failure> {
    let found = session.client.get(&path_of(session, webhook).await?).await?;
    session.output.show(&found, || {
        [
            format!("{} ({})", text(&found, "/name"), text(&found, "/id")),
            format!("  url        {}{}", session.client.base(), text(&found, "/url")),
            format!("  scheme     {}", text(&found, "/scheme")),
            format!("  wakes      {} {}", text(&found, "/target/agent"), text(&found, "/target/task")),
            format!("  received   {}, {} refused", text(&found, "/received"), text(&found, "/refused")),
        ]
        .join("\n")
    });
    Ok(())
}

async fn deliveries(session: &Session, webhook: &str) -> Result<(), Failure> {
    let path = format!("{}/receipts?limit=50", path_of(session, webhook).await?);
    let found = session.client.get(&path).await?;
    session.output.show(&found, || match items(&found).is_empty() {
        true => "nothing was told yet".into(),
        false => items(&found).iter().map(line).collect::<Vec<_>>().join("\n"),
    });
    Ok(())
}

/// Something that was told, in a line.
fn line(told: &Value) -> String {
    let parts = [
        time(told, "/at"),
        text(told, "/id"),
        text(told, "/status"),
        text(told, "/event"),
        format!("{} matched", text(told, "/matched")),
        text(told, "/wakeup"),
    ];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  ")
}
