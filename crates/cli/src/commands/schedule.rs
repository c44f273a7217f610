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
pub(super) async fn id_of(session: &Session, schedule: &str) -> Result<String, Failure> {
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
    let mut body = json!({ "name": arguments.name, "target": target(session, arguments).await? });
    if !trigger.is_empty() {
        body["trigger"] = Value::Object(trigger);
    }
    if let Some(gate) = gate(arguments) {
        body["gate"] = gate;
    }
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

fn gate(arguments: &ScheduleAddArguments) -> Option<Value> {
    let mut gate = match (&arguments.gate, &arguments.gate_url) {
        (Some(command), _) => json!({ "command": ["/bin/sh", "-c", command] }),
        (None, Some(url)) => json!({ "url": url }),
        (None, None) => return None,
    };
    if let Some(timeout) = &arguments.gate_timeout {
        gate["timeout"] = json!(timeout);
    }
    if arguments.gate_fail_closed {
        gate["on_failure"] = json!("fail_closed");
    }
    Some(gate)
}

fn object_of(option: &str, text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|error| Failure::usage(format!("{option} is not a JSON object: {error}")))
}

async fn target(session: &Session, arguments: &ScheduleAddArguments) -> Result<Value, Failure> {
    let agent = match &arguments.agent {
        Some(agent) => Some(session.agent_id(agent).await?),
        None => None,
    };
    if let Some(title) = &arguments.task {
        return Ok(json!({ "task": { "title": title, "assignee": agent, "description": arguments.message } }));
    }
    if let Some(name) = &arguments.action {
        let config = arguments.config.as_deref().map(|text| object_of("--config", text)).transpose()?;
        return Ok(json!({ "action": { "name": name, "agent": agent, "config": config } }));
    }
    let needed = "--agent is required, or --task TITLE for a routine, or --action NAME";
    let mut wake = json!({ "agent": agent.ok_or_else(|| Failure::usage(needed))? });
    if let Some(model) = &arguments.model {
        wake["model"] = json!(model);
    }
    if let Some(message) = &arguments.message {
        wake["reason"] = json!(message);
    }
    if let Some(payload) = &arguments.payload {
        wake["payload"] = object_of("--payload", payload)?;
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
        add("gate", gate_words(&schedule));
        add(
            "avoided",
            match text(&schedule, "/wakes_avoided").as_str() {
                "0" => String::new(),
                count => format!("{count} wakes for which there was nothing to do"),
            },
        );
        add(
            "error",
            match text(&schedule, "/failures_in_row").as_str() {
                "0" => String::new(),
                count => format!("{count} failures in a row: {}", text(&schedule, "/last_error")),
            },
        );
        for at in items(&next) {
            add("next", at.as_str().unwrap_or_default().to_owned());
        }
        for slot in items(&slots) {
            let count = match text(slot, "/count").as_str() {
                "1" => String::new(),
                count => format!(" ({count} slots)"),
            };
            let made = [text(slot, "/wakeup"), text(slot, "/task")].concat();
            let said = ["/answer/gate/message", "/answer/gate/error", "/answer/action/message"]
                .map(|place| short(&text(slot, place), 60))
                .join(" ");
            let told =
                [&time(slot, "/slot_at"), &format!("{}{count}", text(slot, "/status")), &text(slot, "/reason"), &made];
            let words = told.into_iter().chain([&said]).flat_map(|part| part.split_whitespace());
            add("slot", words.collect::<Vec<_>>().join(" "));
        }
        lines.join("\n")
    });
    Ok(())
}

fn gate_words(schedule: &Value) -> String {
    let command = schedule.pointer("/gate/command").and_then(Value::as_array);
    let words = command.map(|words| words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "));
    words.unwrap_or_else(|| text(schedule, "/gate/url"))
}

async fn plan(session: &Session, from: Option<&str>, to: Option<&str>) -> Result<(), Failure> {
    let bounds = [("from", from), ("to", to)];
    let query: Vec<String> =
        bounds.iter().filter_map(|(name, at)| Some(format!("{name}={}", percent_encoded((*at)?)))).collect();
    let plan = session.client.get(&session.of_company(&format!("/plan?{}", query.join("&")))).await?;
    session.output.show(&plan, || {
        let row = |slot: &Value| {
            let became = [text(slot, "/status"), text(slot, "/reason"), text(slot, "/skipped")].join(" ");
            vec![time(slot, "/slot_at"), text(slot, "/name"), became.trim().to_owned()]
        };
        match items(&plan).is_empty() {
            true => "nothing is planned".into(),
            false => {
                let table = session
                    .output
                    .table(&["slot", "schedule", "what becomes of it"], items(&plan).iter().map(row).collect());
                let is_cut = plan.get("truncated").and_then(Value::as_bool).unwrap_or(false);
                if is_cut { format!("{table}\nthere are more: name an earlier --to") } else { table }
            }
        }
    });
    Ok(())
}
