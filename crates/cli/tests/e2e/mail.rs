//! Mail as agents and people use it: sent, read in a run, answered, kept over a crash; and who may see what.

use std::fs;

use serde_json::{Value, json};

use crate::shape::{assert_field, assert_problem};
use crate::support::{Server, id, run_token};

const WAITS: &str = "until test -e go; do sleep 0.02; done";
const MAIL: &str = "/companies/default/messages";

fn let_go(server: &Server, agent: &str) {
    fs::write(server.path().join("agents").join(agent).join("go"), "").unwrap();
}

#[tokio::test]
async fn a_message_to_a_busy_agent_survives_a_crash_and_is_read_once() {
    let mut server = Server::start().await;
    let ann = server.process_agent("ann", WAITS).await;
    let run = server.running(&server.wake(&ann, json!({})).await).await;
    let (status, sent) = server.post(MAIL, &json!({ "to": "ann", "subject": "The door", "body": "is it red?" })).await;
    assert_eq!((status, &sent["to"], &sent["kind"]), (201, &json!(ann), &json!("note")));
    server.kill9();
    server.start_again().await;
    let inbox = server.show(&format!("/runs/{}/inbox", id(&run))).await;
    assert_eq!((&inbox["messages"][0]["body"], &inbox["wakeups"][0]["id"]), (&json!("is it red?"), &sent["wakeup"]));
    assert_eq!(server.show(&format!("/messages/{}", id(&sent))).await["acked_at"], Value::Null, "shown is not read");
    let_go(&server, &ann);
    let settled = server.settled(sent["wakeup"].as_str().unwrap()).await;
    assert_eq!((&settled["source"], &settled["status"]), (&json!("message"), &json!("completed")));
    let read = server.show(&format!("/messages/{}", id(&sent))).await;
    assert_eq!((&read["acked_by"], read["acked_at"].is_string()), (&settled["run_id"], true));
    assert_eq!(server.all("/companies/default/runs").await.len(), 2, "one follow-up");
    server.assert_sound().await;
}

#[tokio::test]
async fn agents_write_to_each_other_and_to_people_from_the_command_line() {
    let server = Server::start().await;
    let script = r#"wakeful inbox && id=$(wakeful inbox | sed -n 's/^\(msg_[a-z0-9]*\) .*/\1/p') &&
        wakeful mail reply "$id" -m 'yes, red' && wakeful mail ack "$id" && wakeful inbox"#;
    let ann = server.process_agent("ann", script).await;
    let sent = server.cli(&["mail", "send", "ann", "-m", "is it red?", "-s", "The door", "--json"]).await.json();
    let settled = server.settled(sent["wakeup"].as_str().unwrap()).await;
    let text = server.stdout(settled["run_id"].as_str().unwrap()).await;
    assert!(text.contains("The door\n  is it red?") && text.ends_with("acknowledged\nnothing new\n"), "{text}");
    let answer = &server.all(&format!("{MAIL}?to=user")).await[0];
    assert_eq!((&answer["subject"], &answer["thread"]), (&json!("Re: The door"), &sent["id"]));
    assert_eq!(answer["from"], json!({ "type": "agent", "id": ann }));
    let told = &server.all("/companies/default/notifications?unread=true").await[0];
    assert_eq!((&told["kind"], &told["title"]), (&json!("message"), &json!("ann: Re: The door")));
    let shown = server.cli(&["mail", "ls", "--thread", &id(&sent)]).await.ok();
    assert!(shown.contains("ann") && shown.lines().count() == 3, "{shown}");
    server.cli(&["mail", "ack", &id(answer)]).await.ok();
    assert_eq!(server.all(&format!("{MAIL}?unread=true")).await.len(), 0);
    let why = server.cli(&["why", sent["wakeup"].as_str().unwrap()]).await.ok();
    assert!(why.contains("ann was woken because admin wrote to you: The door"), "{why}");
    server.assert_sound().await;
}

#[tokio::test]
async fn an_agent_writes_as_itself_and_reads_its_own_mail_alone() {
    let server = Server::start().await;
    let mut own = Vec::new();
    for name in ["ann", "bob", "carl"] {
        let agent = server.process_agent(name, WAITS).await;
        let run = server.running(&server.wake(&agent, json!({})).await).await;
        own.push((agent, server.with_token(&run_token(&run))));
    }
    let [(ann, by_ann), (bob, by_bob), (_, by_carl)] = &own[..] else { panic!("three") };
    assert_field(&by_ann.post(MAIL, &json!({ "to": "bob", "body": "x", "from": bob })).await, "from");
    let (status, sent) = by_ann.post(MAIL, &json!({ "to": "bob", "body": "x" })).await;
    assert_eq!((status, &sent["from"]["id"], sent["from_run"].is_string()), (201, &json!(ann), true));
    let path = format!("/messages/{}", id(&sent));
    assert_eq!(by_bob.get(&path).await.0, 200);
    assert_problem(&by_carl.get(&path).await, 404);
    assert!(by_carl.all(MAIL).await.is_empty() && by_bob.all(MAIL).await.len() == 1);
    assert_problem(&by_ann.post(&format!("{path}/ack"), &json!({})).await, 403);
    let (status, read) = by_bob.post(&format!("{path}/ack"), &json!({})).await;
    assert_eq!((status, read["acked_by"].is_string()), (200, true));
    assert_eq!(server.show(&format!("/wakeups/{}", sent["wakeup"].as_str().unwrap())).await["status"], "claimed");
    assert_field(&by_carl.post(MAIL, &json!({ "to": "bob", "body": "x", "thread": id(&sent) })).await, "thread");
    for (body, field) in [
        (json!({ "to": "nobody", "body": "x" }), "to"),
        (json!({ "to": "bob", "body": " " }), "body"),
        (json!({ "to": "bob", "body": "x".repeat(70_000) }), "body"),
        (json!({ "to": "bob", "body": "x", "subject": "a\nb" }), "subject"),
        (json!({ "to": "bob", "body": "x", "kind": "spam" }), "kind"),
    ] {
        assert_field(&by_ann.post(MAIL, &body).await, field);
    }
    // Who has too much to read gets no more, and whoever writes is told to come back.
    for _ in 0..200 {
        assert_eq!(server.post(MAIL, &json!({ "to": "carl", "body": "x" })).await.0, 201);
    }
    let refused = server.post(MAIL, &json!({ "to": "carl", "body": "x" })).await;
    assert_problem(&refused, 429);
    assert_eq!(refused.1["code"], "mailbox_full");
    for (agent, _) in &own {
        let_go(&server, agent);
    }
}

#[tokio::test]
async fn another_companys_mail_does_not_exist() {
    let server = Server::start().await;
    let (_, other) = server.post("/companies", &json!({ "slug": "other", "name": "Other" })).await;
    let (_, agent) = server
        .post("/companies/other/agents", &json!({ "name": "eve", "adapter": { "type": "process", "command": "true" } }))
        .await;
    let ann = server.process_agent("ann", WAITS).await;
    let run = server.running(&server.wake(&ann, json!({})).await).await;
    let own = server.with_token(&run_token(&run));
    let (status, sent) = server.post("/companies/other/messages", &json!({ "to": id(&agent), "body": "x" })).await;
    assert_eq!((status, &sent["company"]), (201, &other["id"]));
    assert_problem(&own.get(&format!("/messages/{}", id(&sent))).await, 404);
    assert_problem(&own.get("/companies/other/messages").await, 404);
    assert_problem(&own.post("/companies/other/messages", &json!({ "to": "user", "body": "x" })).await, 404);
    assert_field(&own.post(MAIL, &json!({ "to": id(&agent), "body": "x" })).await, "to");
    let (_, refused) = own.post(&format!("/runs/{}/inbox/ack", id(&run)), &json!({ "messages": [id(&sent)] })).await;
    assert_eq!(refused["refused"][0]["reason"], "not_found");
    let_go(&server, &ann);
}
