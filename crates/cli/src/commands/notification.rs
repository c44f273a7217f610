//! `wakeful notifications …`: the company's inbox, and what became of it in each channel.

use serde_json::{Value, json};

use super::Session;
use super::channel::told;
use crate::arguments::{NotificationVerb, NotificationsArguments};
use crate::failure::Failure;
use crate::output::{items, short, text, time};

pub async fn run(session: &Session, arguments: &NotificationsArguments) -> Result<(), Failure> {
    match &arguments.verb {
        None => list(session, arguments.unread).await,
        Some(NotificationVerb::Show { notification }) => show(session, notification).await,
        Some(NotificationVerb::Read { notifications }) => {
            for id in notifications {
                let seen = session.client.post(&format!("/api/v1/notifications/{id}/read"), &json!({})).await?;
                session.output.stream(&seen, || format!("{id} is read"));
            }
            Ok(())
        }
        Some(NotificationVerb::Retry { delivery }) => {
            let again = session.client.post(&format!("/api/v1/deliveries/{delivery}/retry"), &json!({})).await?;
            session.output.show(&again, || told(&again));
            Ok(())
        }
    }
}

async fn list(session: &Session, only_unread: bool) -> Result<(), Failure> {
    let path = session.of_company(&format!("/notifications?limit=200&unread={only_unread}"));
    let found = session.client.get(&path).await?;
    let output = session.output;
    output.show(&found, || {
        let row = |notification: &Value| {
            vec![
                text(notification, "/id"),
                time(notification, "/at"),
                text(notification, "/level"),
                if text(notification, "/read_at").is_empty() { "new".into() } else { String::new() },
                short(&text(notification, "/title"), 60),
                short(&text(notification, "/text"), 100),
            ]
        };
        match items(&found).is_empty() {
            true => "nothing was told".into(),
            false => output.table(&["id", "at", "level", "", "title", "text"], items(&found).iter().map(row).collect()),
        }
    });
    Ok(())
}

async fn show(session: &Session, notification: &str) -> Result<(), Failure> {
    let found = session.client.get(&format!("/api/v1/notifications/{notification}")).await?;
    session.output.show(&found, || {
        let head = format!("{} {} {}", time(&found, "/at"), text(&found, "/level"), text(&found, "/title"));
        let mut lines = vec![head, text(&found, "/text")];
        let deliveries = found.get("deliveries").and_then(Value::as_array).into_iter().flatten();
        lines.extend(deliveries.map(|delivery| format!("  {} {}", text(delivery, "/channel"), told(delivery))));
        lines.join("\n")
    });
    Ok(())
}
