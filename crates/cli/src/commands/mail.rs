//! `wakeful mail …`

use std::io::Read;

use serde_json::{Value, json};
use wakeful_domain::url::percent_encoded;

use super::Session;
use crate::arguments::{MailSendArguments, MailVerb};
use crate::failure::Failure;
use crate::output::{items, short, text, time};

pub async fn run(session: &Session, verb: &MailVerb) -> Result<(), Failure> {
    match verb {
        MailVerb::Send(mail) => send(session, mail).await,
        MailVerb::Ls { unread, to, from, thread } => {
            let asked = [("to", to), ("from", from), ("thread", thread)];
            let mut path = session.of_company("/messages?limit=200");
            for (name, value) in asked.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
                path.push_str(&format!("&{name}={}", percent_encoded(value)));
            }
            if *unread {
                path.push_str("&unread=true");
            }
            list(session, &path).await
        }
        MailVerb::Show { message } => {
            let message = session.client.get(&path_of(message)).await?;
            session.output.show(&message, || say(&message));
            Ok(())
        }
        MailVerb::Ack { message } => {
            let message = session.client.post(&format!("{}/ack", path_of(message)), &json!({})).await?;
            session.output.show(&message, || format!("{} acknowledged", text(&message, "/id")));
            Ok(())
        }
        MailVerb::Reply { message, body } => reply(session, message, body).await,
    }
}

fn path_of(message: &str) -> String {
    format!("/api/v1/messages/{}", percent_encoded(message))
}

/// The text of a message, or standard input for `-`.
fn body_of(body: &str) -> Result<String, Failure> {
    if body != "-" {
        return Ok(body.to_owned());
    }
    let mut read = String::new();
    std::io::stdin().read_to_string(&mut read)?;
    Ok(read)
}

async fn send(session: &Session, mail: &MailSendArguments) -> Result<(), Failure> {
    let mut body = json!({ "to": mail.to, "body": body_of(&mail.body)?, "subject": mail.subject });
    if let Some(kind) = &mail.kind {
        body["kind"] = json!(kind);
    }
    if let Some(task) = &mail.task {
        body["task"] = json!(session.task_id(task).await?);
    }
    let sent = session.client.post(&session.of_company("/messages"), &body).await?;
    session.output.show(&sent, || format!("{} sent", text(&sent, "/id")));
    Ok(())
}

async fn reply(session: &Session, message: &str, body: &str) -> Result<(), Failure> {
    let earlier = session.client.get(&path_of(message)).await?;
    let to = match text(&earlier, "/from/type").as_str() {
        "agent" => text(&earlier, "/from/id"),
        _ => "user".to_owned(),
    };
    let subject = text(&earlier, "/subject");
    let subject = match subject.as_str() {
        "" => None,
        subject if subject.starts_with("Re: ") => Some(subject.to_owned()),
        subject => Some(short(&format!("Re: {subject}"), 190)),
    };
    let answer = json!({
        "to": to,
        "body": body_of(body)?,
        "subject": subject,
        "thread": text(&earlier, "/thread"),
        "task": earlier.get("task"),
    });
    let sent = session.client.post(&session.of_company("/messages"), &answer).await?;
    session.output.show(&sent, || format!("{} sent", text(&sent, "/id")));
    Ok(())
}

async fn list(session: &Session, path: &str) -> Result<(), Failure> {
    let mail = session.client.get(path).await?;
    let names = session.agent_names().await?;
    let output = session.output;
    let named = |id: String| names.get(&id).cloned().unwrap_or(id);
    output.show(&mail, || {
        let row = |message: &Value| {
            let subject = match text(message, "/subject") {
                subject if subject.is_empty() => text(message, "/body"),
                subject => subject,
            };
            vec![
                time(message, "/created_at"),
                named(text(message, "/from/id")),
                named(text(message, "/to")),
                text(message, "/kind"),
                if text(message, "/acked_at").is_empty() { "unread".into() } else { "read".into() },
                short(subject.lines().next().unwrap_or_default(), 50),
                text(message, "/id"),
            ]
        };
        match items(&mail).is_empty() {
            true => "no mail".into(),
            false => {
                output.table(&["at", "from", "to", "kind", "", "subject", "id"], items(&mail).iter().map(row).collect())
            }
        }
    });
    Ok(())
}

/// A message whole.
pub fn say(message: &Value) -> String {
    let subject = text(message, "/subject");
    let head = format!("{} [{}] from {}", text(message, "/id"), text(message, "/kind"), text(message, "/from/id"));
    let head = if subject.is_empty() { head } else { format!("{head}: {subject}") };
    format!("{head}\n  {}", text(message, "/body").replace('\n', "\n  "))
}
