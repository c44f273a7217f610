//! `wakeful schedule …`

use serde_json::{Map, Value, json};
use wakeful_domain::url::percent_encoded;

use super::Session;
use crate::arguments::{ScheduleAddArguments, ScheduleVerb};
use crate::failure::{Failure, NOT_FOUND};
use crate::output::{items, short, text, time};

pub async fn run(session: &Session, verb: &ScheduleVerb) -> Result<(), Failure> {
    match verb {
        ScheduleVerb::Add(arguments) => add(session, arguments).await,
        ScheduleVerb::Ls => list(session).await,
        ScheduleVerb::Show { schedule } => show(session, schedule).await,
        ScheduleVerb::Pause { schedule, note } => {
            post(session, schedule, "pause", &json!({ "note": note }), |schedule| {
                format!("{} rests; its slots are not made up for", text(schedule, "/name"))
            })
            .await
        }
        ScheduleVerb::Resume { schedule } => post(session, schedule, "resume", &json!({}), said).await,
        ScheduleVerb::Run { schedule } => {
            post(session, schedule, "run", &json!({}), |slot| {
                let made = [text(slot, "/wakeup"), text(slot, "/task")].concat();
                format!("{} {made} {}", text(slot, "/status"), text(slot, "/reason")).trim().to_owned()
            })
            .await
        }
        ScheduleVerb::Rm { schedule } => {
            let id = id_of(session, schedule).await?;
            session.client.delete(&format!("/api/v1/schedules/{id}")).await?;
            session.output.show(&json!({ "id": id, "removed": true }), || format!("{schedule} is removed"));
            Ok(())
        }
        ScheduleVerb::Plan { from, to } => plan(session, from.as_deref(), to.as_deref()).await,
    }
}

/// The id of a schedule that is given by name or id.
async fn id_of(session: &Session, schedule: &str) -> Result<String, Failure> {
    if schedule.starts_with("sch_") {
        return Ok(schedule.to_owned());
    }
    let found =
        session.client.get(&session.of_company(&format!("/schedules?name={}", percent_encoded(schedule)))).await?;
    match items(&found).first() {
        Some(schedule) => Ok(text(schedule, "/id")),
        None => Err(Failure::new(NOT_FOUND, format!("there is no schedule `{schedule}`"))
            .hint("`wakeful schedule ls` lists them, `wakeful schedule add` makes one")),
    }
}

async fn post(
    session: &Session,
    schedule: &str,
    what: &str,
    body: &Value,
    say: fn(&Value) -> String,
) -> Result<(), Failure> {
    let id = id_of(session, schedule).await?;
    let answer = session.client.post(&format!("/api/v1/schedules/{id}/{what}"), body).await?;
    session.output.show(&answer, || say(&answer));
    Ok(())
}

fn said(schedule: &Value) -> String {
    format!("{}: {}", text(schedule, "/name"), text(schedule, "/words"))
}

async fn add(session: &Session, arguments: &ScheduleAddArguments) -> Result<(), Failure> {
    let mut trigger = Map::new();
    for (name, value) in [
        ("cron", &arguments.cron),
        ("every", &arguments.every),
        ("at", &arguments.at),
        ("time_zone", &arguments.time_zone),
    ] {
        if let Some(value) = value {
            trigger.insert(name.into(), json!(value));
        }
    }
    let mut body = json!({ "name": arguments.name, "trigger": trigger, "target": target(session, arguments).await? });
    for (name, value) in [
        ("overlap", &arguments.overlap),
        ("catch_up", &arguments.catch_up),
        ("stale_after", &arguments.stale_after),
        ("jitter", &arguments.jitter),
    ] {
        if let Some(value) = value {
            body[name] = json!(value);
        }
    }
    if let Some(count) = arguments.max_fires {
        body["max_fires"] = json!(count);
    }
    let schedule = session.client.post(&session.of_company("/schedules"), &body).await?;
    session.output.show(&schedule, || said(&schedule));
    Ok(())
}

async fn target(session: &Session, arguments: &ScheduleAddArguments) -> Result<Value, Failure> {
    let agent = match &arguments.agent {
        Some(agent) => Some(session.agent_id(agent).await?),
        None => None,
    };
    if let Some(title) = &arguments.task {
        return Ok(json!({ "task": { "title": title, "assignee": agent, "description": arguments.message } }));
    }
    let agent = agent.ok_or_else(|| Failure::usage("--agent is required, or --task TITLE for a routine"))?;
    let mut wake = json!({ "agent": agent });
    if let Some(message) = &arguments.message {
        wake["reason"] = json!(message);
    }
    if let Some(payload) = &arguments.payload {
        wake["payload"] = serde_json::from_str(payload)
            .map_err(|error| Failure::usage(format!("--payload is not a JSON object: {error}")))?;
    }
    Ok(json!({ "wake": wake }))
}

async fn list(session: &Session) -> Result<(), Failure> {
    let schedules = session.client.get(&session.of_company("/schedules?limit=200")).await?;
    session.output.show(&schedules, || {
        let row = |schedule: &Value| {
            vec![
                text(schedule, "/name"),
                session.output.status(&text(schedule, "/state")),
                text(schedule, "/fires"),
                text(schedule, "/words"),
                short(&text(schedule, "/note"), 40),
            ]
        };
        match items(&schedules).is_empty() {
            true => {
                "no schedules yet; add one with: wakeful schedule add NAME --cron '0 9 * * MON-FRI' --agent NAME".into()
            }
            false => {
                let head = ["name", "state", "fired", "when", "note"];
                session.output.table(&head, items(&schedules).iter().map(row).collect())
            }
        }
    });
    Ok(())
}

async fn show(session: &Session, schedule: &str) -> Result<(), Failure> {
    let path = format!("/api/v1/schedules/{}", id_of(session, schedule).await?);
    let schedule = session.client.get(&path).await?;
    let slots = session.client.get(&format!("{path}/slots?limit=20")).await?;
    let next = session.client.get(&format!("{path}/next")).await?;
    let whole = json!({ "schedule": schedule, "next": next["items"], "slots": slots["items"] });
    session.output.show(&whole, || {
        let mut lines = vec![said(&schedule)];
        let mut add = |label: &str, value: String| {
            if !value.is_empty() {
                lines.push(format!("  {label:<10} {value}"));
            }
        };
        add("id", text(&schedule, "/id"));
        add("state", [text(&schedule, "/state"), text(&schedule, "/note")].join(" ").trim().to_owned());
        add("policies", format!("overlap {}, catch up {}", text(&schedule, "/overlap"), text(&schedule, "/catch_up")));
        for at in items(&next) {
            add("next", at.as_str().unwrap_or_default().to_owned());
        }
        for slot in items(&slots) {
            let count = match text(slot, "/count").as_str() {
                "1" => String::new(),
                count => format!(" ({count} slots)"),
            };
            let made = [text(slot, "/wakeup"), text(slot, "/task")].concat();
            let told =
                format!("{} {}{count} {} {made}", time(slot, "/slot_at"), text(slot, "/status"), text(slot, "/reason"));
            add("slot", told.trim().to_owned());
        }
        lines.join("\n")
    });
    Ok(())
}

async fn plan(session: &Session, from: Option<&str>, to: Option<&str>) -> Result<(), Failure> {
    let bounds = [("from", from), ("to", to)];
    let query: Vec<String> =
        bounds.iter().filter_map(|(name, at)| Some(format!("{name}={}", percent_encoded((*at)?)))).collect();
    let plan = session.client.get(&session.of_company(&format!("/plan?{}", query.join("&")))).await?;
    session.output.show(&plan, || {
        let row = |slot: &Value| vec![time(slot, "/slot_at"), text(slot, "/name"), text(slot, "/skipped")];
        match items(&plan).is_empty() {
            true => "nothing is planned".into(),
            false => {
                let table =
                    session.output.table(&["slot", "schedule", "skipped"], items(&plan).iter().map(row).collect());
                let is_cut = plan.get("truncated").and_then(Value::as_bool).unwrap_or(false);
                if is_cut { format!("{table}\nthere are more: name an earlier --to") } else { table }
            }
        }
    });
    Ok(())
}
