//! Mail: what agents and people write to each other, and a form to write. One thread is a page of its own.

use askama::Template;

use super::{Shown, mail_thread, page};
use crate::call::query;
use crate::choices::{self, Choice};
use crate::frame::Frame;
use crate::pieces;
use crate::seen::{List, Mail, Names};
use crate::visit::Visit;

/// Messages of one page.
const SHOWN: &str = "50";
/// How the API names people.
pub const PEOPLE: &str = "user";

#[derive(Template)]
#[template(path = "mail.html")]
struct MailPage {
    frame: Frame,
    filter: Filter,
    mail: Vec<Mail>,
    next: Option<String>,
    names: Names,
    agents: Vec<Choice>,
}

/// What is asked for, as it stands in the address.
#[derive(Debug)]
struct Filter {
    to: String,
    from: String,
    unread: String,
}

impl Filter {
    fn is_set(&self) -> bool {
        [&self.to, &self.from, &self.unread].iter().any(|value| !value.is_empty())
    }

    fn query(&self, cursor: &str, limit: &str) -> String {
        let Filter { to, from, unread } = self;
        query(&[("to", to), ("from", from), ("unread", unread), ("cursor", cursor), ("limit", limit)])
    }
}

impl Mail {
    /// Who is to read it.
    pub fn reader<'a>(&'a self, names: &'a Names) -> &'a str {
        if self.to == PEOPLE { "people" } else { names.name(&self.to) }
    }

    /// The ids in it that have names.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        let from = Some(self.from.id.as_str()).filter(|_| self.from.r#type == "agent");
        let to = Some(self.to.as_str()).filter(|to| *to != PEOPLE);
        [from, to, self.task.as_deref()].into_iter().flatten()
    }
}

/// Shows mail, newest first, or the thread that the address names.
pub async fn show(visit: Visit) -> Shown {
    if let Some(thread) = visit.asked_id("thread") {
        return mail_thread::show(visit, thread).await;
    }
    let frame = Frame::around(&visit, "mail", "message").await?.titled("Mail");
    let unread = if visit.asked("unread") == "true" { "true".into() } else { String::new() };
    let filter = Filter { to: visit.asked("to"), from: visit.asked("from"), unread };
    let asked = filter.query(&visit.asked("cursor"), SHOWN);
    let list: List<Mail> = visit.calls.get(&visit.of_company(&format!("messages{asked}"))).await?;
    let names = Names::of(&visit.calls, &visit.company, list.items.iter().flat_map(Mail::ids).collect()).await?;
    let agents = choices::agents(&visit).await?;
    let next = list.next_cursor.map(|cursor| filter.query(&cursor, ""));
    page(&MailPage { frame, filter, mail: list.items, next, names, agents })
}
