//! Webhooks from outside: who may tell something, what becomes of it, and what is never kept.

use serde_json::{Value, json};
use wakeful_domain::hex;
use wakeful_domain::hmac::hmac_sha256;
use wakeful_domain::signature::{key_of, sign};

use crate::shape::{assert_code, assert_field};
use crate::support::{Server, id};

async fn webhook(server: &Server, body: Value) -> (String, String) {
    let (status, made) = server.post("/companies/default/webhooks", &body).await;
    assert_eq!(status, 201, "{made:#}");
    (id(&made), made["secret"].as_str().unwrap().to_owned())
}

/// Tells something, with these headers and no token of the server.
async fn tell(server: &Server, hook: &str, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
    let mut request = reqwest::Client::new().post(format!("{}/hooks/{hook}", server.address())).body(body.to_owned());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
}

fn now_s() -> i64 {
    wakeful_engine::clock::now().as_millis() / 1_000
}

async fn tell_signed(server: &Server, hook: &str, secret: &str, name: &str, at_s: i64, body: &str) -> (u16, Value) {
    let signature = sign(&key_of(secret), name, at_s, body.as_bytes());
    let at = at_s.to_string();
    tell(server, hook, &[("webhook-id", name), ("webhook-timestamp", &at), ("webhook-signature", &signature)], body)
        .await
}

#[tokio::test]
async fn what_is_told_wakes_the_target_and_whoever_subscribed_once() {
    let server = Server::start().await;
    let (ann, bob) = (server.process_agent("ann", "true").await, server.process_agent("bob", "true").await);
    let (hook, secret) = webhook(&server, json!({ "name": "ci", "target": { "agent": "ann" } })).await;
    let wanted = json!({ "agent": bob, "source": { "webhook": "ci" }, "filter": { "body.ok": true } });
    server.post("/companies/default/subscriptions", &wanted).await;
    let body = json!({ "ok": true }).to_string();
    let (status, told) = tell_signed(&server, &hook, &secret, "m1", now_s(), &body).await;
    assert_eq!((status, &told["status"], &told["matched"]), (202, &json!("accepted"), &json!(1)), "{told:#}");
    let (status, again) = tell_signed(&server, &hook, &secret, "m1", now_s(), &body).await;
    assert_eq!((status, &again["status"], &again["repeats"]), (202, &json!("duplicate"), &told["id"]));
    for agent in [&ann, &bob] {
        let woken = server.all(&format!("/companies/default/wakeups?agent={agent}&source=webhook")).await;
        assert_eq!(woken.len(), 1);
        assert_eq!(woken[0]["payload"]["data"]["body"]["ok"], true);
    }
    // Told once more on purpose, it is a new one.
    let (status, replayed) = server.post(&format!("/receipts/{}/replay", id(&told)), &json!({})).await;
    assert_eq!((status, &replayed["status"], &replayed["repeats"]), (202, &json!("accepted"), &told["id"]));
    let listed = server.all(&format!("/webhooks/{hook}/receipts")).await;
    let statuses: Vec<&Value> = listed.iter().map(|one| &one["status"]).collect();
    assert_eq!(statuses, ["accepted", "duplicate", "accepted"]);
    let shown = server.show(&format!("/receipts/{}", id(&told))).await;
    assert_eq!(shown["data"]["body"]["ok"], true);
    server.assert_sound().await;
}

#[tokio::test]
async fn who_does_not_know_the_secret_learns_nothing_and_leaves_nothing() {
    let server = Server::start().await;
    let (hook, secret) = webhook(&server, json!({ "name": "ci" })).await;
    let unknown = "hok_01h455vb4pex5vsknk084sn02q";
    let wrong = tell_signed(&server, &hook, "whsec_AAAA", "m1", now_s(), "{}").await;
    let nowhere = tell_signed(&server, unknown, &secret, "m1", now_s(), "{}").await;
    let nonsense = tell(&server, "x", &[], "{}").await;
    assert_eq!((&wrong, &nowhere), (&nowhere, &nonsense), "all look the same");
    assert_code(&wrong.1, 401, "unauthorized");
    let old = tell_signed(&server, &hook, &secret, "m1", now_s() - 301, "{}").await;
    let future = tell_signed(&server, &hook, &secret, "m1", now_s() + 320, "{}").await;
    assert_eq!((old.0, future.0), (401, 401), "the signature is good for five minutes");
    assert_eq!(tell(&server, &hook, &[("authorization", &format!("Bearer {secret}"))], "{}").await.0, 401);
    let (status, problem) = tell_signed(&server, &hook, &secret, "m2", now_s(), &"x".repeat(256 * 1024 + 1)).await;
    assert_eq!(status, 413, "{problem}");
    assert!(server.all(&format!("/webhooks/{hook}/receipts")).await.is_empty());
    let shown = server.show(&format!("/webhooks/{hook}")).await;
    assert!(shown["refused"].as_i64().unwrap() >= 1 && shown.get("secret").is_none(), "{shown:#}");
    let (status, nobody) = tell_signed(&server, &hook, &secret, "m3", now_s(), "no JSON").await;
    assert_eq!((status, &nobody["status"]), (202, &json!("ignored")));
}

#[tokio::test]
async fn github_and_bearer_prove_themselves_in_their_own_ways() {
    let server = Server::start().await;
    let ann = server.process_agent("ann", "true").await;
    let (hub, secret) =
        webhook(&server, json!({ "name": "hub", "scheme": "github", "target": { "agent": ann } })).await;
    let body = json!({ "ref": "refs/heads/main" }).to_string();
    let signature = format!("sha256={}", hex::of(&hmac_sha256(secret.as_bytes(), &[body.as_bytes()])));
    let headers = [("x-hub-signature-256", &*signature), ("x-github-event", "push"), ("x-github-delivery", "d1")];
    let (status, told) = tell(&server, &hub, &headers, &body).await;
    assert_eq!((status, &told["status"], &told["event"]), (202, &json!("accepted"), &json!("push")));
    assert_eq!(tell(&server, &hub, &headers, &body).await.1["status"], "duplicate");
    assert_eq!(tell(&server, &hub, &headers, "{}").await.0, 401, "another body");
    assert_eq!(tell(&server, &hub, &headers[1..], &body).await.0, 401);

    let (plain, secret) = webhook(&server, json!({ "name": "plain", "scheme": "bearer" })).await;
    let bearer = format!("Bearer {secret}");
    assert_eq!(tell(&server, &plain, &[("authorization", &bearer)], "{}").await.1["status"], "ignored");
    assert_eq!(tell(&server, &plain, &[("authorization", "Bearer x")], "{}").await.0, 401);
    let admin = format!("Bearer {}", server.token());
    assert_eq!(tell(&server, &plain, &[("authorization", &admin)], "{}").await.0, 401, "it has its own authentication");

    // Whom it wakes is gone: that is told, and the webhook goes on.
    server.post(&format!("/agents/{ann}/terminate"), &json!({})).await;
    let headers = [headers[0], headers[1], ("x-github-delivery", "d2")];
    assert_eq!(tell(&server, &hub, &headers, &body).await.1["status"], "skipped");
}

#[tokio::test]
async fn a_new_secret_works_at_once_and_the_old_one_for_a_while() {
    let mut server = Server::start().await;
    let (hook, old) = webhook(&server, json!({ "name": "ci" })).await;
    let (status, rotated) = server.post(&format!("/webhooks/{hook}/rotate"), &json!({ "overlap": "1h" })).await;
    assert_eq!(status, 200, "{rotated:#}");
    let new = rotated["secret"].as_str().unwrap();
    server.kill9();
    server.start_again().await;
    assert_eq!(tell_signed(&server, &hook, &old, "m1", now_s(), "{}").await.0, 202);
    assert_eq!(tell_signed(&server, &hook, new, "m2", now_s(), "{}").await.0, 202);
    let (_, rotated) = server.post(&format!("/webhooks/{hook}/rotate"), &json!({ "overlap": "0s" })).await;
    assert_eq!(tell_signed(&server, &hook, new, "m3", now_s(), "{}").await.0, 401);
    assert_eq!(tell_signed(&server, &hook, rotated["secret"].as_str().unwrap(), "m3", now_s(), "{}").await.0, 202);
}

/// Posts under an idempotency key.
async fn post_once(server: &Server, path: &str, key: &str, body: &Value) -> (u16, Value) {
    let url = format!("{}/api/v1{path}", server.address());
    let request = reqwest::Client::new().post(url).bearer_auth(server.token()).header("idempotency-key", key);
    let answer = request.json(body).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test]
async fn an_answer_that_was_lost_is_given_again_under_the_same_key() {
    let mut server = Server::start().await;
    let new = json!({ "name": "ci" });
    let (status, made) = post_once(&server, "/companies/default/webhooks", "k1", &new).await;
    assert_eq!(status, 201, "{made:#}");
    server.kill9();
    server.start_again().await;
    assert_eq!(
        post_once(&server, "/companies/default/webhooks", "k1", &new).await,
        (201, made.clone()),
        "secret and all"
    );
    let other = post_once(&server, "/companies/default/webhooks", "k1", &json!({ "name": "cd" })).await;
    assert_field(&other, "Idempotency-Key");
    let hook = id(&made);

    let rotate = format!("/webhooks/{hook}/rotate");
    let (_, rotated) = post_once(&server, &rotate, "k2", &json!({ "overlap": "0s" })).await;
    assert_ne!(rotated["secret"], made["secret"]);
    assert_eq!(post_once(&server, &rotate, "k2", &json!({ "overlap": "0s" })).await, (200, rotated.clone()));
    let secret = rotated["secret"].as_str().unwrap();
    let (status, told) = tell_signed(&server, &hook, secret, "m1", now_s(), "{}").await;
    assert_eq!(status, 202, "the secret that was shown twice is the one that holds");

    let replay = format!("/receipts/{}/replay", id(&told));
    let (status, replayed) = post_once(&server, &replay, "k3", &json!({})).await;
    assert_eq!((status, post_once(&server, &replay, "k3", &json!({})).await), (202, (202, replayed)));
    assert_eq!(server.all(&format!("/webhooks/{hook}/receipts")).await.len(), 2, "told, and once more");
}

#[tokio::test]
async fn a_flood_is_held_back() {
    let server = Server::start().await;
    let (hook, secret) = webhook(&server, json!({ "name": "ci", "scheme": "bearer" })).await;
    let bearer = format!("Bearer {secret}");
    let headers = [("authorization", &*bearer)];
    let mut refused = 0;
    for _ in 0..150 {
        let (status, answer) = tell(&server, &hook, &headers, "{}").await;
        refused += i64::from(status == 429);
        assert!(matches!(status, 202 | 429), "{answer}");
    }
    assert!(refused > 0, "a hundred at once, ten a second");
}

#[tokio::test]
async fn webhooks_are_made_changed_and_removed() {
    let server = Server::start().await;
    let ann = server.process_agent("ann", "true").await;
    let (hook, _) = webhook(&server, json!({ "name": "ci" })).await;
    let path = format!("/webhooks/{hook}");
    let (_, problem) = server.post("/companies/default/webhooks", &json!({ "name": "ci" })).await;
    assert_code(&problem, 409, "webhook_exists");
    for (body, field) in [
        (json!({ "name": "" }), "name"),
        (json!({ "name": "x", "scheme": "none" }), "scheme"),
        (json!({ "name": "x", "target": { "agent": "nobody" } }), "target.agent"),
        (json!({ "name": "x", "target": { "agent": ann, "task": "T-9" } }), "target.task"),
    ] {
        let (status, problem) = server.post("/companies/default/webhooks", &body).await;
        assert_field(&(status, problem), field);
    }
    let (status, changed) = server.patch(&path, &json!({ "target": { "agent": "ann" } })).await;
    assert_eq!((status, &changed["target"]["agent"]), (200, &json!(ann)));
    let (_, changed) = server.patch(&path, &json!({ "name": "build", "target": null })).await;
    assert_eq!((&changed["name"], &changed["target"]), (&json!("build"), &Value::Null));
    let wanted = json!({ "agent": ann, "source": { "webhook": hook } });
    server.post("/companies/default/subscriptions", &wanted).await;
    assert_eq!(server.delete(&path).await.0, 204);
    assert_eq!(server.get(&path).await.0, 404);
    let told = server.all(&format!("/companies/default/wakeups?agent={ann}")).await;
    assert_eq!(told[0]["payload"]["event"], "source.over");
    server.assert_sound().await;
}

#[tokio::test]
async fn verbs_of_webhooks_do_the_same() {
    let server = Server::start().await;
    let added = server.cli(&["webhook", "add", "ci", "--scheme", "bearer"]).await.stdout;
    let secret = added.lines().find_map(|line| line.strip_prefix("secret")).unwrap().trim().to_owned();
    let url = added.lines().find_map(|line| line.strip_prefix("url")).unwrap().trim().to_owned();
    let sent = reqwest::Client::new().post(&url).bearer_auth(&secret).body("{}").send().await.unwrap();
    assert_eq!(sent.status().as_u16(), 202);
    assert!(server.cli(&["webhook", "ls"]).await.stdout.contains("bearer"));
    let told = server.cli(&["webhook", "deliveries", "ci"]).await.stdout;
    assert!(told.contains("ignored"), "{told}");
    let receipt = told.split_whitespace().find(|word| word.starts_with("rcp_")).unwrap();
    assert!(server.cli(&["webhook", "replay", receipt]).await.stdout.contains("ignored"));
    assert!(server.cli(&["webhook", "rotate", "ci"]).await.stdout.contains("secret"));
    assert!(!server.cli(&["webhook", "show", "ci"]).await.stdout.contains(&secret));
    assert_eq!(server.cli(&["webhook", "rm", "ci"]).await.code, 0);
    assert_eq!(server.cli(&["webhook", "show", "ci"]).await.code, 3);
}
