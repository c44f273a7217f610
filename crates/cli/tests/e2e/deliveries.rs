//! What people are told arrives: at an HTTP receiver that checks the signature, at Slack, in a program, in a mailbox. It
//! is called delivered only once the receiver has said so, and no secret stands anywhere on the way.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;
use wakeful_domain::signature::{key_of, verify};
use wakeful_domain::time::Timestamp;

use crate::support::service::{Received, Reply, Service};
use crate::support::smtp::MailServer;
use crate::support::{LOOK_EVERY, Server, id};

const CANARY: &str = "canary-58ac0f";

async fn server() -> Server {
    Server::start_with(&["--http-allow", "127.0.0.0/8"], &[]).await
}

async fn set_secret(server: &Server, name: &str, value: &str) {
    let path = format!("/companies/default/secrets/{name}");
    assert_eq!(server.put(&path, &json!({ "value": value })).await.0, 200);
}

async fn channel_with(server: &Server, name: &str, target: Value, filter: Value) -> String {
    let body = json!({ "name": name, "target": target, "filter": filter });
    let (status, channel) = server.post("/companies/default/channels", &body).await;
    assert_eq!((status, &channel["state"]), (201, &json!("enabled")), "{channel}");
    id(&channel)
}

async fn channel(server: &Server, name: &str, target: Value) -> String {
    channel_with(server, name, target, json!({})).await
}

/// Tells people something; gives the notification.
async fn tell(server: &Server, title: &str, severity: &str) -> String {
    let body = json!({ "title": title, "detail": format!("all about {title}"), "severity": severity });
    assert_eq!(server.post("/companies/default/escalations", &body).await.0, 201);
    let inbox = server.show("/companies/default/notifications").await;
    assert_eq!(inbox["items"][0]["title"], title, "{inbox:#}");
    id(&inbox["items"][0])
}

/// The only delivery of a notification, once it is as wanted.
async fn delivery(server: &Server, notification: &str, is_wanted: fn(&Value) -> bool) -> Value {
    let path = format!("/notifications/{notification}");
    let found = server.until(&path, |found| is_wanted(&found["deliveries"][0])).await;
    assert_eq!(found["deliveries"].as_array().unwrap().len(), 1, "{found:#}");
    found["deliveries"][0].clone()
}

fn is_over(delivery: &Value) -> bool {
    delivery["finished_at"].is_string()
}

fn was_tried(delivery: &Value) -> bool {
    delivery["log"].as_array().is_some_and(|log| !log.is_empty())
}

/// Makes the next attempt due now. What a server does over hours is the store's tests' business.
async fn retry_now(server: &mut Server) {
    server.stop().await;
    start_late(server).await;
}

/// Starts a server again as if the time limits and pauses of all deliveries were over.
async fn start_late(server: &mut Server) {
    let store = rusqlite::Connection::open(server.path().join("wakeful.db")).unwrap();
    for table in ["deliveries", "channels"] {
        store.execute(&format!("update {table} set due_at = 1 where due_at is not null"), []).unwrap();
    }
    drop(store);
    server.start_again().await;
}

async fn came(service: &Service, count: usize) -> Vec<Received> {
    while service.received().len() < count {
        sleep(LOOK_EVERY).await;
    }
    service.received()
}

async fn assert_signed(server: &Server, channel: &str, received: &Received) {
    let secret = server.show(&format!("/channels/{channel}/signing-secret")).await;
    let key = key_of(secret["signing_secret"].as_str().unwrap());
    let header = |name: &str| received.headers[name].to_str().unwrap();
    let at_s = header("webhook-timestamp").parse().unwrap();
    let now = Timestamp::from_millis(at_s * 1_000);
    assert!(verify(&key, header("webhook-id"), at_s, &received.bytes, header("webhook-signature"), now));
}

#[tokio::test]
async fn a_webhook_gets_a_signed_event_and_the_same_one_again_until_it_has_taken_it() {
    let (mut server, service) = (server().await, Service::start().await);
    set_secret(&server, "bearer", &format!("Bearer {CANARY}")).await;
    let headers = json!({ "x-team": "blue", "authorization": { "secret": "bearer" } });
    let target = json!({ "webhook": { "url": format!("{}/hook", service.address), "headers": headers } });
    let ops = channel(&server, "ops", target).await;
    service.reply(Reply::new(503, &format!("not yet, Bearer {CANARY}")));
    let notification = tell(&server, "disk is full", "high").await;
    let waits = delivery(&server, &notification, was_tried).await;
    assert_eq!((&waits["status"], &waits["log"][0]["ok"]), (&json!("pending"), &json!(false)), "{waits:#}");
    assert_eq!(waits["log"][0]["detail"], "status 503 not yet, ***");
    let due_at: Timestamp = waits["due_at"].as_str().unwrap().parse().unwrap();
    let tried_at: Timestamp = waits["log"][0]["at"].as_str().unwrap().parse().unwrap();
    assert!((27..=33).contains(&due_at.since(tried_at).as_secs()), "{waits:#}");

    retry_now(&mut server).await;
    let done = delivery(&server, &notification, is_over).await;
    assert_eq!((&done["status"], &done["attempts"]), (&json!("delivered"), &json!(2)), "{done:#}");
    let received = came(&service, 2).await;
    assert_eq!(received.len(), 2, "what was taken is not sent again");
    for one in &received {
        assert_signed(&server, &ops, one).await;
        assert_eq!(one.headers["webhook-id"], notification.as_str());
        assert_eq!(one.headers["content-type"], "application/cloudevents+json");
        assert_eq!(
            (&one.headers["x-team"], one.headers["authorization"].to_str().unwrap()),
            (&"blue".parse().unwrap(), format!("Bearer {CANARY}").as_str())
        );
        assert_eq!(one.bytes, received[0].bytes, "every attempt is the same event");
    }
    let event = &received[0].body;
    assert_eq!((&event["specversion"], &event["type"]), (&json!("1.0"), &json!("wakeful.notification")), "{event:#}");
    assert_eq!((&event["id"], &event["data"]["title"]), (&json!(notification), &json!("disk is full")), "{event:#}");
    assert_eq!((&event["data"]["kind"], &event["data"]["level"]), (&json!("escalation"), &json!("critical")));
    server.assert_sound().await;
}

#[tokio::test]
async fn what_a_receiver_refuses_fails_at_once_is_told_through_the_others_and_can_be_tried_again() {
    let (server, broken, sound) = (server().await, Service::start().await, Service::start().await);
    let target = |service: &Service| json!({ "webhook": { "url": service.address } });
    let failing = channel_with(&server, "broken", target(&broken), json!({ "min_level": "critical" })).await;
    broken.reply(Reply::new(404, "no such hook"));
    let notification = tell(&server, "disk is full", "high").await;
    let failed = delivery(&server, &notification, is_over).await;
    assert_eq!((&failed["status"], &failed["attempts"]), (&json!("failed"), &json!(1)), "{failed:#}");
    assert_eq!(failed["log"][0]["detail"], "status 404 no such hook");

    channel(&server, "sound", target(&sound)).await;
    broken.reply(Reply::new(410, ""));
    tell(&server, "disk is still full", "high").await;
    let path = "/companies/default/escalations";
    let is_incident = |found: &&Value| found["kind"] == "delivery_failing";
    let incident = |found: &Value| found["items"].as_array().unwrap().iter().find(is_incident).cloned();
    let found = server.until(path, |found| incident(found).is_some_and(|found| found["count"] == 2)).await;
    let found = incident(&found).unwrap();
    assert_eq!((&found["subject"], &found["status"]), (&json!(failing), &json!("open")), "{found:#}");
    // The first incident came before there was another channel; what comes after goes through the other.
    assert_eq!(came(&sound, 1).await[0].body["data"]["title"], "disk is still full");

    let open = "/companies/default/deliveries?status=failed&acknowledged=false";
    let before = server.all(open).await.len();
    for _ in 0..2 {
        assert_eq!(server.post(&format!("/deliveries/{}/ack", id(&failed)), &json!({})).await.0, 200);
    }
    assert_eq!(server.all(open).await.len(), before - 1, "somebody has seen it");

    let (status, again) = server.post(&format!("/deliveries/{}/retry", id(&failed)), &json!({})).await;
    assert_eq!((status, &again["status"]), (202, &json!("pending")), "{again:#}");
    let done = delivery(&server, &notification, |delivery| delivery["status"] == "delivered").await;
    assert_eq!(done["log"].as_array().unwrap().len(), 2, "{done:#}");
    let sent = came(&broken, 3).await;
    assert_eq!(sent[0].headers["webhook-id"], sent[2].headers["webhook-id"]);
    server.until(path, |found| incident(found).is_some_and(|found| found["status"] == "resolved")).await;
    for verb in ["retry", "ack"] {
        assert_eq!(server.post(&format!("/deliveries/{}/{verb}", id(&failed)), &json!({})).await.0, 409, "{verb}");
    }
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_up_neither_another_channel_nor_a_run() {
    let (server, slow, quick) = (server().await, Service::start().await, Service::start().await);
    let held = channel(&server, "slow", json!({ "webhook": { "url": slow.address } })).await;
    channel(&server, "quick", json!({ "webhook": { "url": quick.address } })).await;
    slow.reply(Reply::new(200, "").after(Duration::from_secs(600)));
    for number in 0..5 {
        tell(&server, &format!("number {number}"), "low").await;
    }
    let received = came(&quick, 5).await;
    let titles: Vec<_> = received.iter().map(|one| one.body["data"]["title"].clone()).collect();
    assert_eq!(titles, ["number 0", "number 1", "number 2", "number 3", "number 4"], "in their order");
    let agent = server.process_agent("busy", "true").await;
    assert_eq!(server.run_of(&agent, json!({})).await["status"], "succeeded");
    let path = format!("/companies/default/deliveries?channel={held}");
    let waiting = server.show(&path).await;
    assert!(waiting["items"].as_array().unwrap().iter().all(|one| one["status"] != "delivered"), "{waiting:#}");
    assert_eq!(slow.received().len(), 1, "one at a time");
}

#[tokio::test]
async fn what_an_action_tells_goes_through_the_channels_that_want_it() {
    let (server, service) = (server().await, Service::start().await);
    let target = json!({ "webhook": { "url": service.address } });
    channel_with(&server, "actions", target, json!({ "kinds": ["action"] })).await;
    tell(&server, "not for this one", "high").await;
    let action = json!({ "action": { "name": "daily-summary" } });
    let schedule = json!({ "name": "summary", "trigger": { "every": "1h" }, "target": action });
    let (status, schedule) = server.post("/companies/default/schedules", &schedule).await;
    assert_eq!(status, 201, "{schedule}");
    assert_eq!(server.post(&format!("/schedules/{}/run", id(&schedule)), &json!({})).await.0, 202);
    let received = came(&service, 1).await;
    let event = &received[0].body;
    assert_eq!((&event["data"]["kind"], &event["subject"]), (&json!("action"), &schedule["id"]), "{event:#}");
    assert_eq!(received.len(), 1);
}

#[tokio::test]
async fn a_stop_leaves_what_was_on_its_way_for_the_next_start() {
    let (mut server, service) = (server().await, Service::start().await);
    channel(&server, "ops", json!({ "webhook": { "url": service.address } })).await;
    service.reply(Reply::new(200, "").after(Duration::from_secs(600)));
    let notification = tell(&server, "disk is full", "high").await;
    came(&service, 1).await;
    assert!(server.stop().await.success());
    server.start_again().await;
    let done = delivery(&server, &notification, is_over).await;
    assert_eq!((&done["status"], &done["attempts"]), (&json!("delivered"), &json!(1)), "{done:#}");
    let received = came(&service, 2).await;
    assert_eq!(received[0].headers["webhook-id"], received[1].headers["webhook-id"]);
}

#[tokio::test]
async fn a_kill_of_the_server_loses_nothing_and_says_that_it_is_not_known_what_arrived() {
    let (mut server, service) = (server().await, Service::start().await);
    channel(&server, "ops", json!({ "webhook": { "url": service.address } })).await;
    service.reply(Reply::new(200, "").after(Duration::from_secs(600)));
    let notification = tell(&server, "disk is full", "high").await;
    came(&service, 1).await;
    server.kill9();
    start_late(&mut server).await;
    let done = delivery(&server, &notification, is_over).await;
    assert_eq!((&done["status"], &done["attempts"]), (&json!("delivered"), &json!(2)), "{done:#}");
    assert!(done["log"][0]["detail"].as_str().unwrap().contains("is not known"), "{done:#}");
    let received = came(&service, 2).await;
    assert_eq!(received[0].bytes, received[1].bytes);
    server.assert_sound().await;
}

#[tokio::test]
async fn slack_gets_a_text_and_its_url_stands_nowhere() {
    let (server, service) = (server().await, Service::start().await);
    set_secret(&server, "slack-url", &format!("{}/services/T0/B0/{CANARY}", service.address)).await;
    let ops = channel(&server, "ops", json!({ "slack": { "url": { "secret": "slack-url" } } })).await;
    let notification = tell(&server, "a <b> & c", "medium").await;
    let done = delivery(&server, &notification, is_over).await;
    assert_eq!(done["status"], "delivered", "{done:#}");
    let received = came(&service, 1).await.remove(0);
    assert_eq!(received.path, format!("/services/T0/B0/{CANARY}"));
    let expected = json!({ "text": ":warning: *a &lt;b&gt; &amp; c*\nall about a &lt;b&gt; &amp; c" });
    assert_eq!(received.body, expected);

    service.reply(Reply::new(404, &format!("no_service {}/services/T0/B0/{CANARY}", service.address)));
    let notification = tell(&server, "gone", "medium").await;
    let failed = delivery(&server, &notification, is_over).await;
    assert_eq!(failed["log"][0]["detail"], "status 404 no_service ***", "{failed:#}");
    // Nobody listens there.
    set_secret(&server, "slack-url", &format!("http://127.0.0.1:9/services/T0/B0/{CANARY}")).await;
    let notification = tell(&server, "unreachable", "medium").await;
    delivery(&server, &notification, was_tried).await;
    let shown = [
        server.show(&format!("/channels/{ops}")).await,
        server.show("/companies/default/deliveries").await,
        server.show("/companies/default/notifications").await,
        server.show("/companies/default/escalations").await,
        server.show("/companies/default/events").await,
    ];
    for document in shown {
        assert!(!document.to_string().contains(CANARY), "{document:#}");
    }
    assert!(!server.log().contains(CANARY));
}

#[tokio::test]
async fn a_program_gets_the_event_on_its_standard_input() {
    let server = server().await;
    let got = server.outside().join("got");
    let script = format!("cat > {}", got.display());
    channel(&server, "ops", json!({ "command": { "command": ["/bin/sh", "-c", script] } })).await;
    let notification = tell(&server, "disk is full", "high").await;
    let done = delivery(&server, &notification, is_over).await;
    assert_eq!((&done["status"], &done["log"][0]["detail"]), (&json!("delivered"), &json!("exit code 0")), "{done:#}");
    let event: Value = serde_json::from_str(&std::fs::read_to_string(&got).unwrap()).unwrap();
    assert_eq!((&event["id"], &event["data"]["title"]), (&json!(notification), &json!("disk is full")));

    let failing = json!({ "command": { "command": ["/bin/sh", "-c", "echo no pager >&2; exit 3"] } });
    let second = channel_with(&server, "pager", failing, json!({})).await;
    let (status, test) = server.post(&format!("/channels/{second}/test"), &json!({})).await;
    assert_eq!(status, 202, "{test}");
    let failed = server.until(&format!("/deliveries/{}", id(&test)), is_over).await;
    assert_eq!(failed["log"][0]["detail"], "the command failed: it ended with exit code 3: no pager", "{failed:#}");
    assert_eq!(std::fs::read_dir(server.path().join("asked")).unwrap().count(), 0, "nothing of them is left");
}

#[tokio::test]
async fn a_mail_is_handed_over_and_what_the_mail_server_says_is_believed() {
    let (mut server, post) = (server().await, MailServer::start().await);
    set_secret(&server, "smtp", CANARY).await;
    let smtp = json!({ "host": "127.0.0.1", "port": post.port, "tls": "none", "username": "w", "password": { "secret": "smtp" } });
    let target =
        json!({ "email": { "to": ["ann@a.example", "bob@a.example"], "from": "wakeful@a.example", "smtp": smtp } });
    let ops = channel(&server, "ops", target).await;
    let notification = tell(&server, "Größe: disk is full", "high").await;
    let done = delivery(&server, &notification, is_over).await;
    assert_eq!(
        (&done["status"], &done["log"][0]["detail"]),
        (&json!("delivered"), &json!("250 2.0.0 queued as 4711")),
        "{done:#}"
    );
    let mail = post.mails().remove(0);
    assert_eq!(
        (mail.from.as_str(), mail.to.as_slice()),
        ("wakeful@a.example", ["ann@a.example".to_owned(), "bob@a.example".into()].as_slice())
    );
    assert_eq!(mail.header("Message-ID"), format!("<{notification}.{ops}@wakeful>"));
    assert!(mail.header("Subject").starts_with("=?utf-8?"), "{}", mail.text);
    assert!(mail.header("Content-Type").starts_with("text/plain") && !mail.header("Date").is_empty(), "{}", mail.text);
    assert!(!mail.login.is_empty() && !mail.text.contains(CANARY));

    // A refusal for now is tried again as the same mail; one for good is not.
    post.refuse("450 4.2.1 mailbox busy");
    let later = tell(&server, "later", "high").await;
    let waits = delivery(&server, &later, was_tried).await;
    assert_eq!(waits["status"], "pending", "{waits:#}");
    assert!(waits["log"][0]["detail"].as_str().unwrap().contains("mailbox busy"), "{waits:#}");
    retry_now(&mut server).await;
    assert_eq!(delivery(&server, &later, is_over).await["status"], "delivered");
    assert_eq!(post.mails()[1].header("Message-ID"), format!("<{later}.{ops}@wakeful>"));
    post.refuse("550 5.1.1 no such user");
    let never = tell(&server, "never", "high").await;
    let failed = delivery(&server, &never, is_over).await;
    assert_eq!((&failed["status"], &failed["attempts"]), (&json!("failed"), &json!(1)), "{failed:#}");
    assert!(failed["log"][0]["detail"].as_str().unwrap().contains("no such user"), "{failed:#}");
    // What is to be encrypted is not sent without.
    let smtp = json!({ "host": "127.0.0.1", "port": post.port });
    let target = json!({ "email": { "to": ["ann@a.example"], "from": "w@a.example", "smtp": smtp } });
    let sealed = channel(&server, "sealed", target).await;
    let (_, test) = server.post(&format!("/channels/{sealed}/test"), &json!({})).await;
    let failed = server.until(&format!("/deliveries/{}", id(&test)), is_over).await;
    assert_eq!((&failed["status"], post.mails().len()), (&json!("failed"), 2), "{failed:#}");
    assert!(!server.log().contains(CANARY));
}

#[tokio::test]
async fn no_channel_leads_to_a_private_address_that_was_not_let_in() {
    let (server, service, post) = (Server::start().await, Service::start().await, MailServer::start().await);
    let smtp = json!({ "host": "localhost", "port": post.port, "tls": "none" });
    let email = json!({ "email": { "to": ["a@b.example"], "from": "c@d.example", "smtp": smtp } });
    for (name, target) in [("hook", json!({ "webhook": { "url": service.address } })), ("mail", email)] {
        let own = channel(&server, name, target).await;
        let (_, test) = server.post(&format!("/channels/{own}/test"), &json!({})).await;
        let failed = server.until(&format!("/deliveries/{}", id(&test)), is_over).await;
        assert_eq!(failed["status"], "failed", "{failed:#}");
        assert!(failed["log"][0]["detail"].as_str().unwrap().contains("--http-allow"), "{failed:#}");
    }
    assert!(service.received().is_empty() && post.mails().is_empty(), "nothing was sent");
}

#[tokio::test]
async fn what_is_wrong_with_a_channel_is_said_with_its_field() {
    let server = server().await;
    let check = async |body: Value, field: &str| {
        let (status, problem) = server.post("/companies/default/channels", &body).await;
        assert_eq!((status, problem["errors"][0]["field"].as_str()), (422, Some(field)), "{body}: {problem}");
    };
    let webhook = |url: &str| json!({ "webhook": { "url": url } });
    check(json!({ "name": "x", "target": webhook("ftp://a.example") }), "target.webhook.url").await;
    check(json!({ "name": "x", "target": webhook("https://me:pw@a.example") }), "target.webhook.url").await;
    check(json!({ "name": "", "target": webhook("https://a.example") }), "name").await;
    check(json!({ "name": "x", "target": { "slack": { "url": "https://hooks.example/x" } } }), "target.slack.url")
        .await;
    check(json!({ "name": "x", "target": { "command": { "command": [] } } }), "target.command.command").await;
    check(json!({ "name": "x", "target": webhook("https://a.example"), "filter": { "kind": [] } }), "filter.kind")
        .await;
    check(json!({ "name": "x" }), "target").await;
    for (field, id) in [("agents", "agt_00000000000000000000000000"), ("schedules", "sch_00000000000000000000000000")] {
        let body = json!({ "name": "x", "target": webhook("https://a.example"), "filter": { field: [id] } });
        check(body, &format!("filter.{field}[0]")).await;
    }
    let ops = channel(&server, "ops", webhook("https://a.example")).await;
    let (status, problem) = server
        .post("/companies/default/channels", &json!({ "name": "ops", "target": webhook("https://a.example") }))
        .await;
    assert_eq!((status, &problem["code"]), (409, &json!("channel_exists")), "{problem}");
    let hidden = json!({ "target": { "webhook": { "headers": { "x-key": "s3cret" } } } });
    let (status, changed) = server.patch(&format!("/channels/{ops}"), &hidden).await;
    assert_eq!((status, &changed["target"]["webhook"]["url"]), (200, &json!("https://a.example")), "{changed}");
    let (_, changed) =
        server.patch(&format!("/channels/{ops}"), &json!({ "target": webhook("https://b.example") })).await;
    assert_eq!(changed["target"]["webhook"], json!({ "url": "https://b.example", "headers": { "x-key": "s3cret" } }));
    let (status, problem) = server.patch(&format!("/channels/{ops}"), &json!({ "target": webhook("nowhere") })).await;
    assert_eq!((status, problem["errors"][0]["field"].as_str()), (422, Some("target.webhook.url")), "{problem}");
    let agent = server.process_agent("nosy", "sleep 60").await;
    let run = server.running(&server.wake(&agent, json!({})).await).await;
    let as_run = server.with_token(&crate::support::run_token(&run));
    assert_eq!(as_run.get("/companies/default/channels").await.0, 403);
    assert_eq!(as_run.get("/companies/default/notifications").await.0, 200);
    assert_eq!(server.get("/channels/chn_00000000000000000000000000").await.0, 404);
}

#[tokio::test]
async fn a_person_adds_tries_out_and_reads_in_the_words_of_the_command_line() {
    let (server, service) = (server().await, Service::start().await);
    let add =
        ["channel", "add", "ops", "--webhook", &service.address, "--header", "x-team=blue", "--min-level", "warning"];
    assert!(server.cli(&add).await.ok().contains("wakeful channel test ops"));
    assert_eq!(server.cli(&add).await.code, 5, "the name is taken");
    assert!(server.cli(&["channel", "ls"]).await.ok().contains("webhook"));
    assert!(server.cli(&["channel", "test", "ops"]).await.ok().contains("delivered status 200"));
    service.reply(Reply::new(500, "broken"));
    let failed = server.cli(&["channel", "test", "ops"]).await;
    assert_eq!((failed.code, failed.stdout.contains("status 500 broken")), (1, true), "{failed:?}");
    assert!(server.cli(&["channel", "signing-secret", "ops"]).await.ok().starts_with("whsec_"));
    let notification = tell(&server, "disk is full", "high").await;
    delivery(&server, &notification, is_over).await;
    assert!(server.cli(&["notifications", "--unread"]).await.ok().contains("disk is full"));
    assert!(server.cli(&["notifications", "show", &notification]).await.ok().contains("delivered status 200"));
    server.cli(&["notifications", "read", &notification]).await.ok();
    assert!(!server.cli(&["notifications", "--unread"]).await.ok().contains("disk is full"));
    server.cli(&["channel", "disable", "ops", "--reason", "holidays"]).await.ok();
    assert!(server.cli(&["channel", "ls"]).await.ok().contains("holidays"));
    assert_eq!(server.cli(&["channel", "test", "ops"]).await.code, 5, "it is off");
    assert!(server.cli(&["channel", "enable", "ops"]).await.ok().contains("enabled"));
    assert!(server.cli(&["channel", "show", "ops"]).await.ok().contains("x-team"));
    server.cli(&["channel", "rm", "ops"]).await.ok();
    assert_eq!(server.cli(&["channel", "show", "ops"]).await.code, 3);
    let command = ["channel", "add", "pager", "--", "/usr/bin/page", "--now"];
    server.cli(&command).await.ok();
    assert_eq!(server.cli(&["channel", "add", "nothing"]).await.code, 2);
}
