//! `wakeful events`: what happened, and what happens.

use serde_json::Value;
use wakeful_domain::url::percent_encoded;

use super::Session;
use crate::arguments::EventsArguments;
use crate::event_stream::EventStream;
use crate::failure::Failure;
use crate::output::{items, short, text, time};

pub async fn run(session: &Session, arguments: &EventsArguments) -> Result<(), Failure> {
    let after = arguments.after.as_deref().map(|id| format!("after={}", percent_encoded(id)));
    if arguments.follow {
        let query = after.map(|after| format!("?{after}")).unwrap_or_default();
        let mut stream = EventStream::open(&session.client, &session.of_company(&format!("/events{query}"))).await?;
        loop {
            let event = stream.next().await?;
            let event: Value = serde_json::from_str(&event.data).unwrap_or(Value::Null);
            session.output.stream(&event, || say(&event));
        }
    }
    let mut after = after;
    loop {
        let query = after.map(|after| format!("&{after}")).unwrap_or_default();
        let page = session.client.get(&session.of_company(&format!("/events?limit=200{query}"))).await?;
        for event in items(&page) {
            session.output.stream(event, || say(event));
        }
        match page.get("next_cursor").and_then(Value::as_str) {
            Some(cursor) => after = Some(format!("after={cursor}")),
            None => return Ok(()),
        }
    }
}

fn say(event: &Value) -> String {
    let data = short(&text(event, "/data"), 120);
    format!("{}  {:<24} {}  {data}", time(event, "/at"), text(event, "/type"), text(event, "/subject"))
}
