//! A thread of mail, oldest first, and the answer to it.

use askama::Template;

use super::mail::PEOPLE;
use super::{Shown, page};
use crate::call::query;
use crate::failure::Failure;
use crate::frame::Frame;
use crate::pieces;
use crate::seen::{List, Mail, Names};
use crate::visit::Visit;

/// Messages that are shown: the newest of a longer thread.
const SHOWN: &str = "200";

#[derive(Template)]
#[template(path = "mail_thread.html")]
struct ThreadPage {
    frame: Frame,
    thread: String,
    /// Oldest first.
    mail: Vec<Mail>,
    has_older: bool,
    answers_to: String,
    names: Names,
}

impl ThreadPage {
    fn subject(&self) -> &str {
        self.mail.iter().find_map(|message| message.subject.as_deref()).unwrap_or("Mail")
    }

    fn answered(&self) -> &str {
        if self.answers_to == PEOPLE { "people" } else { self.names.name(&self.answers_to) }
    }
}

/// Shows a thread.
pub async fn show(visit: Visit, thread: String) -> Shown {
    let frame = Frame::around(&visit, "mail", "message").await?;
    let asked = query(&[("thread", &thread), ("limit", SHOWN)]);
    let list: List<Mail> = visit.calls.get(&visit.of_company(&format!("messages{asked}"))).await?;
    let names = Names::of(&visit.calls, &visit.company, list.items.iter().flat_map(Mail::ids).collect()).await?;
    let has_older = list.next_cursor.is_some();
    let mail: Vec<Mail> = list.items.into_iter().rev().collect();
    if mail.is_empty() {
        return Err(Failure::no_page(visit.uri.path()));
    }
    let answers_to = answers_to(&mail);
    let shown = ThreadPage { frame, thread, mail, has_older, answers_to, names };
    let title = shown.subject().to_owned();
    page(&ThreadPage { frame: shown.frame.titled(title), ..shown })
}

/// Whom a person answers: the agent that spoke last, or else the one that was spoken to.
fn answers_to(mail: &[Mail]) -> String {
    let speaker = mail.iter().rev().find(|message| message.from.r#type == "agent");
    let reader = || mail.iter().rev().find(|message| message.to != PEOPLE).map(|message| message.to.clone());
    speaker.map(|message| message.from.id.clone()).or_else(reader).unwrap_or_else(|| PEOPLE.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_person_answers_the_agent_that_spoke_last() {
        let message = |kind: &str, from: &str, to: &str| -> Mail {
            serde_json::from_value(json!({
                "id": "msg_1", "from": {"type": kind, "id": from}, "to": to, "subject": null, "body": "", "thread": "msg_1",
                "kind": "note", "task": null, "created_at": "2026-11-22T05:00:00.000Z", "acked_at": null
            }))
            .unwrap()
        };
        let check = |mail: &[Mail], expected: &str| assert_eq!(answers_to(mail), expected);
        check(&[message("user", "admin", "agt_1"), message("agent", "agt_1", "user")], "agt_1");
        check(&[message("user", "admin", "agt_2")], "agt_2");
        check(&[message("user", "admin", "user")], "user");
    }
}
