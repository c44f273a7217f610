//! Schedules in real time: they fire at their slots, once each, over a crash of the server; they
//! rest, are fired by hand and planned; and what is wrong with one is said with its field and place.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::shape::assert_field;
use crate::support::{Server, id};

async fn schedule(server: &Server, body: Value) -> Value {
    let (status, schedule) = server.post("/companies/default/schedules", &body).await;
    assert_eq!(status, 201, "{schedule}");
    schedule
}

#[tokio::test]
async fn a_schedule_fires_each_second_once_over_a_kill_of_the_server() {
    let mut server = Server::start().await;
    let agent = server.process_agent("tick", "true").await;
    let made = schedule(
        &server,
        json!({ "name": "often", "trigger": { "every": "1s" }, "target": { "wake": { "agent": agent } }, "catch_up": "all" }),
    )
    .await;
    assert_eq!((&made["state"], &made["overlap"]), (&json!("active"), &json!("coalesce")), "{made:#}");
    assert!(made["words"].as_str().unwrap().starts_with("every second; next "), "{made:#}");
    let slots = format!("/schedules/{}/slots?limit=200", id(&made));
    let count = |slots: &Value| slots["items"].as_array().map_or(0, Vec::len);
    server.until(&slots, |slots| count(slots) >= 2).await;
    server.kill9();
    sleep(Duration::from_secs(2)).await;
    server.start_again().await;
    let found = server.until(&slots, |slots| count(slots) >= 6).await;
    let times: Vec<i64> = found["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|slot| slot["slot_at"].as_str().unwrap().parse::<wakeful_domain::time::Timestamp>().unwrap().as_millis())
        .collect();
    assert!(times.windows(2).all(|pair| pair[0] - pair[1] == 1_000), "no slot is missing or double: {times:?}");
    let first = found["items"].as_array().unwrap().last().unwrap();
    let wakeup = server.settled(first["wakeup"].as_str().unwrap()).await;
    assert_eq!((&wakeup["source"], &wakeup["status"]), (&json!("schedule"), &json!("completed")), "{wakeup:#}");
    server.assert_sound().await;
}

#[tokio::test]
async fn a_live_run_stands_for_the_slots_that_come_meanwhile() {
    let server = Server::start().await;
    let agent = server.process_agent("slow", "sleep 3").await;
    let made = schedule(
        &server,
        json!({ "name": "often", "trigger": { "every": "1s" }, "target": { "wake": { "agent": agent } } }),
    )
    .await;
    let path = format!("/schedules/{}/slots", id(&made));
    let is_counted = |slots: &Value| {
        slots["items"]
            .as_array()
            .is_some_and(|slots| slots.iter().filter(|slot| slot["status"] == "coalesced").count() >= 2)
    };
    let slots = server.until(&path, is_counted).await;
    let coalesced: Vec<_> =
        slots["items"].as_array().unwrap().iter().filter(|slot| slot["status"] == "coalesced").collect();
    assert_eq!(coalesced[0]["wakeup"], coalesced[1]["wakeup"], "one row counts them: {slots:#}");
    let counted = server.show(&format!("/wakeups/{}", coalesced[0]["wakeup"].as_str().unwrap())).await;
    assert_eq!(counted["status"], "coalesced");
    server.delete(&format!("/schedules/{}", id(&made))).await;
}

#[tokio::test]
async fn a_person_says_it_in_the_words_of_the_command_line() {
    let server = Server::start().await;
    server.process_agent("ann", "true").await;
    let add =
        ["schedule", "add", "standup", "--cron", "0 9 * * MON-FRI", "--time-zone", "Europe/Paris", "--agent", "ann"];
    let said = server.cli(&add).await.ok();
    assert!(said.starts_with("standup: every weekday at 09:00, Europe/Paris; next "), "{said}");
    assert_eq!(server.cli(&add).await.code, 5, "the name is taken");
    let add = ["schedule", "add", "report", "--every", "1h", "--agent", "ann", "--task", "Report of {{date}}"];
    server.cli(&add).await.ok();
    let fired = server.cli(&["schedule", "run", "report"]).await.ok();
    assert!(fired.starts_with("fired tsk_"), "{fired}");
    let tasks = server.until("/companies/default/tasks", |tasks| tasks["items"][0]["title"].is_string()).await;
    assert!(tasks["items"][0]["title"].as_str().unwrap().starts_with("Report of 20"), "{tasks:#}");
    server.cli(&["schedule", "pause", "standup", "--note", "holidays"]).await.ok();
    assert!(server.cli(&["schedule", "ls"]).await.ok().contains("holidays"));
    let plan = server.cli(&["schedule", "plan", "--json"]).await.json();
    let items = plan["items"].as_array().unwrap();
    assert!(items.len() >= 23 && items.iter().all(|slot| slot["name"] == "report"), "{plan:#}");
    let passed = server.cli(&["schedule", "plan", "--from", "2026-01-01T00:00:00Z", "--json"]).await.json();
    let first = &passed["items"][0];
    assert_eq!((&first["name"], &first["status"]), (&json!("report"), &json!("fired")), "what has passed: {passed:#}");
    assert!(passed["items"].as_array().unwrap().iter().any(|slot| slot["status"].is_null()), "and what is to come");
    assert!(server.cli(&["schedule", "resume", "standup"]).await.ok().contains("next "));
    assert!(server.cli(&["schedule", "show", "report"]).await.ok().contains("fired tsk_"));
    server.cli(&["schedule", "rm", "report"]).await.ok();
    assert_eq!(server.cli(&["schedule", "show", "report"]).await.code, 3);
}

#[tokio::test]
async fn a_plan_is_of_one_schedule_or_leaves_out_what_comes_too_often() {
    let server = Server::start().await;
    let agent = server.process_agent("ann", "true").await;
    server.post("/companies", &json!({ "slug": "other", "name": "Other" })).await;
    let add = async |name: &str, every: &str| {
        let target = json!({ "wake": { "agent": agent } });
        let body = json!({ "name": name, "trigger": { "every": every }, "target": target });
        let (status, made) = server.post("/companies/default/schedules", &body).await;
        assert_eq!(status, 201, "{made}");
        id(&made)
    };
    let (poll, daily) = (add("poll", "20s").await, add("daily", "1d").await);
    let now: jiff::Timestamp = server.show("/companies/default").await["updated_at"].as_str().unwrap().parse().unwrap();
    let to = now + jiff::SignedDuration::from_hours(24 * 10);
    let plan = async |query: &str| server.show(&format!("/companies/default/plan?to={to}{query}")).await;
    let whole = plan("").await;
    assert_eq!((&whole["truncated"], &whole["often"]), (&json!(true), &json!([])));
    let of_daily = plan(&format!("&schedule={daily}")).await;
    let items = of_daily["items"].as_array().unwrap();
    assert!(items.len() >= 9 && items.iter().all(|slot| slot["schedule"] == daily.as_str()), "{of_daily:#}");
    assert_eq!(of_daily["truncated"], false);
    let few = plan("&each=100").await;
    assert_eq!((&few["items"], &few["truncated"]), (&of_daily["items"], &json!(false)), "the others are all there");
    let often = &few["often"];
    assert_eq!(
        (often.as_array().unwrap().len(), &often[0]["schedule"], &often[0]["words"]),
        (1, &json!(poll), &json!("every 20 s"))
    );
    server.post(&format!("/schedules/{daily}/pause"), &json!({})).await;
    assert_eq!(plan(&format!("&schedule={daily}")).await["items"], json!([]), "it has no slots meanwhile");
    for wrong in ["&schedule=nonsense", "&each=0", "&each=20000"] {
        let refused = server.get(&format!("/companies/default/plan?to={to}{wrong}")).await;
        assert_field(&refused, wrong[1..].split('=').next().unwrap());
    }
    let unknown = "sch_01m80tmn6pevjtt1x2br3d4sr5";
    assert_eq!(server.get(&format!("/companies/default/plan?schedule={unknown}")).await.0, 404);
    assert_eq!(server.get(&format!("/companies/other/plan?schedule={poll}")).await.0, 404, "it is another company's");
}

#[tokio::test]
async fn what_is_wrong_with_a_schedule_is_said_with_its_field_and_place() {
    let server = Server::start().await;
    let agent = server.process_agent("ann", "true").await;
    let wake = json!({ "wake": { "agent": agent } });
    let check = async |trigger: Value, target: &Value, field: &str, words: &str| {
        let body = json!({ "name": "x", "trigger": trigger, "target": target });
        let (status, problem) = server.post("/companies/default/schedules", &body).await;
        let error = &problem["errors"][0];
        assert_eq!((status, error["field"].as_str()), (422, Some(field)), "{problem}");
        assert!(error["message"].as_str().unwrap().contains(words), "{problem}");
    };
    check(json!({ "cron": "0 9 32 * *" }), &wake, "trigger.cron", "field 3").await;
    check(json!({ "cron": "0 0 30 2 *" }), &wake, "trigger.cron", "").await;
    check(json!({ "cron": "0 9 * * *", "time_zone": "Mars/Olympus" }), &wake, "trigger.time_zone", "Mars/Olympus")
        .await;
    check(json!({ "every": "10ms" }), &wake, "trigger.every", "1s").await;
    check(json!({ "at": "2020-01-01T00:00:00Z" }), &wake, "trigger.at", "").await;
    check(json!({}), &wake, "trigger", "exactly one of").await;
    let every = json!({ "every": "1h" });
    check(every.clone(), &json!({ "task": { "title": "{{day}}" } }), "target.task.title", "{{day}}").await;
    for (field, id) in [("goal", "goal_00000000000000000000000000"), ("project", "prj_00000000000000000000000000")] {
        let task = json!({ "task": { "title": "x", field: id } });
        check(every.clone(), &task, &format!("target.task.{field}"), "in this company").await;
    }
    check(every.clone(), &json!({ "action": { "name": "task-scan" } }), "target.action.agent", "must be given").await;
    let nobody = json!({ "wake": { "agent": "agt_00000000000000000000000000" } });
    check(every, &nobody, "target.wake.agent", "no agent").await;
}

#[tokio::test]
async fn an_agents_own_timer_wakes_it_only_when_there_is_work() {
    let server = Server::start().await;
    let heartbeat = json!({ "enabled": true, "every": "1s" });
    let agent = server.process_agent_with("ann", "true", json!({ "heartbeat": heartbeat })).await;
    let (_, idle) = server
        .post(
            "/companies/default/agents",
            &json!({
                "name": "bob", "adapter": { "type": "process", "command": "true" }, "heartbeat": { "enabled": true },
            }),
        )
        .await;
    assert_eq!(idle["heartbeat"]["every"], "30m", "{idle:#}");
    let timers = server.show(&format!("/companies/default/schedules?name=heartbeat:{agent}")).await;
    let timer = id(&timers["items"][0]);
    let path = format!("/schedules/{timer}/slots");
    let has = |status: &'static str, reason: &'static str| {
        move |slots: &Value| {
            let found = slots["items"].as_array();
            found.is_some_and(|slots| {
                slots.iter().any(|slot| slot["status"] == status && slot["reason"].as_str().unwrap_or("") == reason)
            })
        }
    };
    server.until(&path, has("skipped", "nothing_to_do")).await;
    assert!(server.all("/companies/default/runs").await.is_empty(), "an idle agent costs nothing");
    let (status, task) = server.post("/companies/default/tasks", &json!({ "title": "t", "assignee": agent })).await;
    assert_eq!(status, 201, "{task}");
    server.until(&path, has("fired", "")).await;
    assert_eq!(server.delete(&format!("/schedules/{timer}")).await.0, 409, "it goes with the agent's policy");
    let off = json!({ "heartbeat": { "enabled": false } });
    assert_eq!(server.patch(&format!("/agents/{agent}"), &off).await.0, 200);
    assert_eq!(server.get(&format!("/schedules/{timer}")).await.0, 404);
    let both = json!({ "heartbeat": { "enabled": true, "every": "5m", "cron": "* * * * *" } });
    assert_eq!(server.patch(&format!("/agents/{agent}"), &both).await.0, 422);
    let never = json!({ "heartbeat": { "enabled": true, "cron": "0 0 30 2 *" } });
    let (status, problem) = server.patch(&format!("/agents/{agent}"), &never).await;
    assert_eq!((status, problem["errors"][0]["field"].as_str()), (422, Some("heartbeat.cron")), "{problem}");
}
