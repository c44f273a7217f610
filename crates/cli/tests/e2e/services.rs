//! Agents that are services: called once, signed, within the guard; their answers, callbacks,
//! silences and crashes judged honestly.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;
use wakeful_domain::signature::{key_of, verify};
use wakeful_domain::time::Timestamp;

use crate::support::service::{Received, Reply, Service};
use crate::support::{LOOK_EVERY, Server, id};

async fn server() -> Server {
    Server::start_with(&["--http-allow", "127.0.0.0/8"], &[]).await
}

async fn agent(server: &Server, service: &Service, settings: Value) -> String {
    let mut adapter = json!({ "type": "http", "url": format!("{}/work?key=1", service.address) });
    adapter.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    let retry = json!({ "delays_s": [], "jitter": 0 });
    server.agent(&json!({ "name": "remote", "adapter": adapter, "retry": retry, "limits": { "grace_s": 1 } })).await
}

async fn called(service: &Service, count: usize) -> Received {
    while service.received().len() < count {
        sleep(LOOK_EVERY).await;
    }
    service.received().swap_remove(count - 1)
}

fn assert_signed(received: &Received, key: &[u8]) {
    let header = |name: &str| received.headers[name].to_str().unwrap();
    let at_s = header("webhook-timestamp").parse().unwrap();
    let (id, now) = (header("webhook-id"), Timestamp::from_millis(at_s * 1_000));
    assert!(verify(key, id, at_s, &received.bytes, header("webhook-signature"), now));
}

#[tokio::test]
async fn an_answer_is_the_result_and_the_request_is_signed() {
    let (server, service) = (server().await, Service::start().await);
    let headers = json!({ "x-team": "blue" });
    let agent = agent(&server, &service, json!({ "headers": headers })).await;
    service.reply(Reply::new(200, r#"{"summary": "all well", "cost_micros": 7, "session": "t-1"}"#));
    let run = server.run_of(&agent, json!({ "reason": "look", "payload": { "n": 1 } })).await;
    assert_eq!(
        (&run["status"], &run["summary"], &run["cost_micros"], &run["session_after"]),
        (&json!("succeeded"), &json!("all well"), &json!(7), &json!("t-1")),
        "{run:#}"
    );
    let received = called(&service, 1).await;
    assert_eq!((received.path.as_str(), received.headers["x-team"].to_str().unwrap()), ("/work", "blue"));
    assert_eq!((&received.body["run"]["id"], &received.body["fence"]), (&run["id"], &run["fence"]));
    assert_eq!(received.body["wakeups"][0]["payload"], json!({ "n": 1 }));
    assert_eq!(received.headers["webhook-id"], run["id"].as_str().unwrap());
    let secret = server.show(&format!("/agents/{agent}/signing-secret")).await;
    assert_signed(&received, &key_of(secret["signing_secret"].as_str().unwrap()));
    let log = server.stdout(run["id"].as_str().unwrap()).await;
    assert!(log.contains("all well") && run["log"]["lines"] == 2, "{log} {run:#}");
    // The token was good while the run lived.
    let token = received.body["token"].as_str().unwrap();
    assert_eq!(server.with_token(token).get("/me").await.0, 401);

    let second = server.run_of(&agent, json!({})).await;
    assert_eq!(second["session_before"], "t-1", "{second:#}");
    server.assert_sound().await;
}

#[tokio::test]
async fn a_named_secret_signs_and_stands_nowhere_else() {
    let (server, service) = (server().await, Service::start().await);
    for (name, value) in [("hook", "whsec_c2VjcmV0LWtleQ=="), ("bearer", "Bearer canary-4711")] {
        assert_eq!(server.put(&format!("/companies/default/secrets/{name}"), &json!({ "value": value })).await.0, 200);
    }
    let settings =
        json!({ "signing_secret": { "secret": "hook" }, "headers": { "authorization": { "secret": "bearer" } } });
    let agent = agent(&server, &service, settings).await;
    service.reply(Reply::new(200, r#"{"summary": "you sent Bearer canary-4711"}"#));
    let run = server.run_of(&agent, json!({})).await;
    let received = called(&service, 1).await;
    assert_signed(&received, b"secret-key");
    assert_eq!(received.headers["authorization"], "Bearer canary-4711");
    assert_eq!(run["summary"], "you sent ***", "{run:#}");
    assert!(!server.stdout(run["id"].as_str().unwrap()).await.contains("canary"));
}

#[tokio::test]
async fn a_service_that_says_no_is_believed_with_its_words() {
    let (server, service) = (server().await, Service::start().await);
    let agent = agent(&server, &service, json!({ "timeout_s": 1 })).await;
    let check = async |reply: Reply, code: &str, told: &str| {
        service.reply(reply);
        let run = server.run_of(&agent, json!({})).await;
        assert_eq!((&run["status"], &run["error_code"]), (&json!("failed"), &json!(code)), "{run:#}");
        assert!(run["error"].as_str().unwrap().contains(told), "{run:#}");
    };
    check(Reply::new(400, "no such\nworker"), "http_refused", "status 400: no such worker").await;
    check(Reply::new(401, ""), "auth_required", "status 401").await;
    check(Reply::new(503, ""), "http_error", "status 503").await;
    check(Reply::new(200, r#"{"outcome": "failed", "error": "no disk"}"#), "agent_error", "no disk").await;
    check(Reply::new(200, r#"{"outcome": "perhaps"}"#), "bad_result", "unknown variant `perhaps`").await;
    server.post(&format!("/agents/{agent}/resume"), &json!({})).await;
    check(Reply::new(200, "").after(Duration::from_secs(5)), "http_timeout", "did not answer within 1 s").await;
}

#[tokio::test]
async fn a_callback_ends_the_run_and_the_answer_comes_once_it_is_durable() {
    let (server, service) = (server().await, Service::start().await);
    let agent = agent(&server, &service, json!({ "mode": "callback" })).await;
    service.reply(Reply::new(202, ""));
    let wakeup = server.wake(&agent, json!({})).await;
    let received = called(&service, 1).await;
    let run = id(&server.running(&wakeup).await);
    let token = received.body["token"].as_str().unwrap().to_owned();
    let as_run = server.with_token(&token);
    assert_eq!(as_run.get("/me").await.0, 200);
    assert_eq!(as_run.post(&format!("/runs/{run}/progress"), &json!({ "message": "half" })).await.0, 200);
    let callback = received.body["callback_url"].as_str().unwrap();
    assert_eq!(callback, format!("{}/api/v1/runs/{run}/finish", server.address()));

    let mut report = json!({ "fence": received.body["fence"].as_i64().unwrap() + 1, "outcome": "succeeded" });
    assert_eq!(as_run.post(&format!("/runs/{run}/finish"), &report).await.0, 409, "an old fence");
    report["fence"] = received.body["fence"].clone();
    report["summary"] = json!("done there");
    let (status, ended) = as_run.post(&format!("/runs/{run}/finish"), &report).await;
    assert_eq!((status, &ended["status"], &ended["summary"]), (200, &json!("succeeded"), &json!("done there")));
    assert_eq!(ended["log"]["lines"], 1, "the log has the request: {ended:#}");
    assert_eq!(server.settled(&wakeup).await["status"], "completed");
    assert_eq!(as_run.post(&format!("/runs/{run}/finish"), &report).await.0, 409, "a second report is refused");
    server.assert_sound().await;
}

#[tokio::test]
async fn w05_a_callback_run_survives_a_kill_of_the_server_and_a_sync_one_is_lost_and_tried_again() {
    let (mut server, service) = (server().await, Service::start().await);
    let there = agent(&server, &service, json!({ "mode": "callback" })).await;
    service.reply(Reply::new(202, ""));
    let wakeup = server.wake(&there, json!({})).await;
    let received = called(&service, 1).await;
    let run = id(&server.running(&wakeup).await);
    server.until(&format!("/runs/{run}/events"), |events| events.to_string().contains("\"begun\"")).await;

    let adapter = json!({ "type": "http", "url": service.address });
    let body = json!({ "name": "sync", "adapter": adapter, "retry": { "delays_s": [0, 0], "jitter": 0 } });
    let here = server.agent(&body).await;
    service.reply(Reply::new(200, "").after(Duration::from_secs(60)));
    let answered = server.wake(&here, json!({})).await;
    let lost = id(&server.running(&answered).await);
    called(&service, 2).await;
    server.kill9();
    server.start_again().await;

    let lost = server.finished(&lost).await;
    assert_eq!((&lost["status"], &lost["error_code"]), (&json!("lost"), &json!("process_lost")), "{lost:#}");
    let settled = server.settled(&answered).await;
    assert_eq!((&settled["status"], &settled["attempt"]), (&json!("completed"), &json!(2)), "{settled:#}");

    let report = json!({ "fence": received.body["fence"], "outcome": "succeeded", "summary": "after the crash" });
    let as_run = server.with_token(received.body["token"].as_str().unwrap());
    let (status, ended) = as_run.post(&format!("/runs/{run}/finish"), &report).await;
    assert_eq!((status, &ended["summary"]), (200, &json!("after the crash")), "{ended:#}");
    let asked: Vec<_> = service.received().iter().map(|one| one.headers["webhook-id"].clone()).collect();
    assert_eq!(asked.iter().filter(|asked| asked.to_str().unwrap() == run).count(), 1, "it is asked once");
    server.assert_sound().await;
}

#[tokio::test]
async fn a_request_that_may_not_have_arrived_is_sent_again_as_the_same_one() {
    let (mut server, service) = (server().await, Service::start().await);
    let agent = agent(&server, &service, json!({ "mode": "callback" })).await;
    service.reply(Reply::new(202, "").after(Duration::from_secs(20)));
    let wakeup = server.wake(&agent, json!({})).await;
    called(&service, 1).await;
    server.kill9();
    service.reply(Reply::new(202, ""));
    server.start_again().await;
    let again = called(&service, 2).await;
    let first = called(&service, 1).await;
    assert_eq!(first.headers["webhook-id"], again.headers["webhook-id"]);
    assert_eq!((&first.body["token"], &first.body["fence"]), (&again.body["token"], &again.body["fence"]));
    let run = id(&server.running(&wakeup).await);
    let as_run = server.with_token(again.body["token"].as_str().unwrap());
    let report = json!({ "fence": again.body["fence"], "outcome": "succeeded" });
    assert_eq!(as_run.post(&format!("/runs/{run}/finish"), &report).await.0, 200);
    assert_eq!(server.settled(&wakeup).await["status"], "completed");
}

#[tokio::test]
async fn a_stop_gives_the_service_its_grace_and_then_goes_on_without_it() {
    let (server, service) = (server().await, Service::start().await);
    let agent = agent(&server, &service, json!({ "mode": "callback" })).await;
    service.reply(Reply::new(202, ""));
    let wakeup = server.wake(&agent, json!({})).await;
    let received = called(&service, 1).await;
    let run = id(&server.running(&wakeup).await);
    assert_eq!(server.post(&format!("/runs/{run}/cancel"), &json!({ "reason": "enough" })).await.0, 202);
    let ended = server.finished(&run).await;
    assert_eq!((&ended["status"], &ended["error"]), (&json!("cancelled"), &json!("enough")), "{ended:#}");
    let report = json!({ "fence": received.body["fence"], "outcome": "succeeded" });
    let as_run = server.with_token(received.body["token"].as_str().unwrap());
    assert_eq!(as_run.post(&format!("/runs/{run}/finish"), &report).await.0, 409);
}

#[tokio::test]
async fn private_addresses_are_refused_by_name_by_number_and_after_a_redirect() {
    let (guarded, service) = (Server::start().await, Service::start().await);
    let port = service.address.rsplit(':').next().unwrap();
    let check = async |name: &str, url: String| {
        let adapter = json!({ "type": "http", "url": url });
        let agent = guarded.agent(&json!({ "name": name, "adapter": adapter })).await;
        let run = guarded.run_of(&agent, json!({})).await;
        assert_eq!((&run["status"], &run["error_code"]), (&json!("failed"), &json!("address_refused")), "{run:#}");
        assert!(run["error"].as_str().unwrap().contains("--http-allow"), "{run:#}");
    };
    check("number", format!("http://127.0.0.1:{port}/")).await;
    check("name", format!("http://localhost:{port}/")).await;
    check("decimal", format!("http://2130706433:{port}/")).await;
    check("mapped", format!("http://[::ffff:127.0.0.1]:{port}/")).await;
    check("metadata", "http://169.254.169.254/latest/meta-data/".into()).await;
    assert_eq!(service.received().len(), 0, "nothing was sent");

    let server = server().await;
    let agent = agent(&server, &service, json!({})).await;
    service.reply(Reply::new(307, "").with("location", "http://169.254.169.254/"));
    let run = server.run_of(&agent, json!({})).await;
    assert_eq!(run["error_code"], "http_redirected", "{run:#}");
    assert!(!run["error"].as_str().unwrap().contains("key=1"), "{run:#}");
}

#[tokio::test]
async fn a_service_that_has_begun_is_waited_for_whatever_became_of_its_agents_settings() {
    let (mut server, service) = (server().await, Service::start().await);
    assert_eq!(server.put("/companies/default/secrets/key", &json!({ "value": "canary-4711" })).await.0, 200);
    let settings = json!({ "mode": "callback", "headers": { "x-key": { "secret": "key" } } });
    let agent = agent(&server, &service, settings).await;
    service.reply(Reply::new(202, ""));
    let wakeup = server.wake(&agent, json!({})).await;
    let received = called(&service, 1).await;
    let run = id(&server.running(&wakeup).await);
    server.until(&format!("/runs/{run}/events"), |events| events.to_string().contains("\"begun\"")).await;
    assert_eq!(server.delete("/companies/default/secrets/key").await.0, 204);
    server.kill9();
    server.start_again().await;
    let as_run = server.with_token(received.body["token"].as_str().unwrap());
    let report = json!({ "fence": received.body["fence"], "outcome": "succeeded", "summary": "I had canary-4711" });
    let (status, ended) = as_run.post(&format!("/runs/{run}/finish"), &report).await;
    assert_eq!((status, &ended["summary"]), (200, &json!("I had ***")), "{ended:#}");
    assert_eq!(as_run.post(&format!("/runs/{run}/finish"), &report).await.0, 409);
    let events = server.show(&format!("/runs/{run}/events")).await.to_string();
    assert!(
        events.contains("I had ***") && !events.contains("4711"),
        "what came too late is kept without secrets: {events}"
    );
}
