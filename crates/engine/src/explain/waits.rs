//! Who waits for what: open subscriptions, as steps of a chain.

use wakeful_domain::id::{AgentId, TaskId};
use wakeful_domain::subscription::{Source, Subscription};
use wakeful_domain::task::Task;
use wakeful_store::ops::agents;
use wakeful_store::ops::subscriptions::{self, SubscriptionFilter};
use wakeful_store::{Refusal, Tx};

use super::Link;
use super::words::asker;

/// Subscriptions that are shown of each kind.
const SHOWN: i64 = 10;

/// What an agent waits for.
pub(super) async fn of_agent(tx: &mut Tx, agent: AgentId) -> Result<Vec<Link>, Refusal> {
    let filter = SubscriptionFilter { agent: Some(agent), ..open() };
    links(tx, filter).await
}

/// What somebody waits for on the lanes of a task.
pub(super) async fn of_lanes(tx: &mut Tx, task: TaskId) -> Result<Vec<Link>, Refusal> {
    let filter = SubscriptionFilter { task: Some(task), ..open() };
    links(tx, filter).await
}

/// Who waits for something of a task, or of those below it.
pub(super) async fn for_task(tx: &mut Tx, task: &Task) -> Result<Vec<Link>, Refusal> {
    let mut found = Vec::new();
    for source in [Source::Task(task.id), Source::Children(task.id)] {
        let filter = SubscriptionFilter { company: Some(task.company), source: Some(source), ..open() };
        found.extend(links(tx, filter).await?);
    }
    Ok(found)
}

fn open() -> SubscriptionFilter {
    SubscriptionFilter { is_open: Some(true), ..SubscriptionFilter::default() }
}

async fn links(tx: &mut Tx, filter: SubscriptionFilter) -> Result<Vec<Link>, Refusal> {
    let mut links = Vec::new();
    for one in subscriptions::list(tx, &filter, None, SHOWN).await?.items {
        let name = agents::get(tx, one.agent).await?.name;
        let asked = asker(tx, &one.created_by).await?;
        links.push(Link {
            at: one.created_at,
            kind: "subscription".into(),
            id: one.id.to_string(),
            text: say(&one, &name, &asked),
            status: None,
        });
    }
    Ok(links)
}

fn say(of: &Subscription, name: &str, asked: &str) -> String {
    let events: Vec<&str> = of.on.iter().map(|event| event.as_str()).collect();
    let (kind, source) = of.source.to_string().split_once(':').map_or_else(Default::default, |(kind, source)| {
        let kind = if kind == "children" { "the tasks below".to_owned() } else { kind.to_owned() };
        (kind, source.to_owned())
    });
    let until = match of.timeout_at {
        Some(at) => format!(", until {at}"),
        None => String::new(),
    };
    let by = if asked == name { String::new() } else { format!(", as {asked} asked") };
    format!("{name} waits for {} of {kind} {source}{until}{by}", events.join(" or "))
}
