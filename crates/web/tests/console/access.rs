//! Who may see the console, and what a browser can be talked into.

use reqwest::header::{COOKIE, HOST, LOCATION, SET_COOKIE};
use reqwest::{Client, Response, redirect};
use serde_json::json;

use crate::browser::Console;
use crate::support::Server;

fn http() -> Client {
    Client::builder().redirect(redirect::Policy::none()).build().unwrap()
}

/// The cookie of a session that a token begins.
pub async fn session(server: &Server, token: &str) -> String {
    let request = http().post(format!("{}/api/v1/session", server.address())).header("wakeful-console", "1");
    let answer = request.json(&json!({ "token": token })).send().await.unwrap();
    assert_eq!(answer.status(), 204);
    let cookie = answer.headers()[SET_COOKIE].to_str().unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    cookie.split(';').next().unwrap().to_owned()
}

/// A page as the server gives it.
pub async fn get(server: &Server, cookie: &str, path: &str) -> Response {
    http().get(format!("{}{path}", server.address())).header(COOKIE, cookie).send().await.unwrap()
}

/// A token of the default company with this role.
pub async fn token(server: &Server, role: &str) -> String {
    let (status, made) = server.post("/companies/default/tokens", &json!({ "name": role, "role": role })).await;
    assert_eq!(status, 201, "{made}");
    made["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_person_signs_in_with_a_token_and_out_again() {
    let console = Console::closed(Server::start().await).await;
    console.goto("runs").await;
    assert_eq!(console.path().await, "/login");
    console.fill("#token", "wkf_admin_wrong").await;
    console.click("button[type=submit]").await;
    console.until(".field .error", |text| text.starts_with("Token is not the admin token")).await;
    let token = console.server.token().to_owned();
    console.fill("#token", &token).await;
    console.click("button[type=submit]").await;
    console.until("h1", |text| text == "Inbox").await;
    let cookies = console.ask("return document.cookie").await;
    assert!(!cookies.as_str().unwrap().contains("wakeful_session"), "no script may read the session");
    console.goto("settings").await;
    console.click("[data-sign-out] button").await;
    console.until("h1", |text| text == "Wakeful").await;
    console.goto("runs").await;
    assert_eq!(console.path().await, "/login");
}

#[tokio::test]
async fn a_link_signs_in_once() {
    let server = Server::start().await;
    let (_, link) = server.post("/session/links", &json!({})).await;
    let path = link["path"].as_str().unwrap();
    let first = get(&server, "", path).await;
    assert_eq!(first.status(), 200);
    let cookie = first.headers()[SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
    assert_eq!(get(&server, &cookie, "/c/default/inbox").await.status(), 200);
    let second = get(&server, "", path).await;
    assert_eq!(second.status(), 410);
    assert!(second.headers().get(SET_COOKIE).is_none());
}

#[tokio::test]
async fn the_command_line_prints_a_link_that_signs_in() {
    let server = Server::start().await;
    let printed = server.cli(&["open", "--print"]).await.ok();
    let path = printed.trim().strip_prefix(server.address()).unwrap();
    let answer = get(&server, "", path).await;
    assert!(answer.status() == 200 && answer.headers().contains_key(SET_COOKIE));
}

#[tokio::test]
async fn a_session_survives_a_restart() {
    let mut server = Server::start().await;
    let cookie = session(&server, server.token()).await;
    server.kill9();
    server.start_again().await;
    assert_eq!(get(&server, &cookie, "/c/default/runs").await.status(), 200);
}

#[tokio::test]
async fn nobody_is_let_in_without_a_session() {
    let server = Server::start().await;
    for path in ["/", "/c/default/inbox", "/c/default/runs", "/c/default/settings"] {
        let answer = get(&server, "", path).await;
        assert_eq!((answer.status().as_u16(), answer.headers()[LOCATION].to_str().unwrap()), (303, "/login"), "{path}");
    }
    let forged = get(&server, "wakeful_session=1.2.3", "/c/default/runs").await;
    assert_eq!(forged.status(), 303);
}

#[tokio::test]
async fn a_viewer_sees_everything_and_changes_nothing() {
    let server = Server::start().await;
    let agent = server.process_agent("echo", "echo hello").await;
    let viewer = token(&server, "viewer").await;
    let cookie = session(&server, &viewer).await;
    let page = get(&server, &cookie, "/c/default/agents").await;
    assert_eq!(page.status(), 200);
    assert!(page.text().await.unwrap().contains("data-role=\"viewer\""));
    let attempts = [
        (format!("/agents/{agent}/wake"), json!({})),
        (format!("/agents/{agent}/pause"), json!({})),
        (
            "/companies/default/agents".to_owned(),
            json!({ "name": "mine", "adapter": { "type": "process", "command": "true" } }),
        ),
        ("/companies/default/tokens".to_owned(), json!({ "name": "mine", "role": "admin" })),
    ];
    for (path, body) in attempts {
        let request = http().post(format!("{}/api/v1{path}", server.address())).header(COOKIE, &cookie);
        let answer = request.header("wakeful-console", "1").json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 403, "{path}");
    }
    assert_eq!(server.show("/companies/default/wakeups").await["items"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn another_site_can_make_a_browser_change_nothing() {
    let server = Server::start().await;
    let agent = server.process_agent("echo", "echo hello").await;
    let cookie = session(&server, server.token()).await;
    let path = format!("{}/api/v1/agents/{agent}/wake", server.address());
    let forged = http().post(&path).header(COOKIE, &cookie).json(&json!({})).send().await.unwrap();
    assert_eq!(forged.status(), 403);
    assert!(forged.text().await.unwrap().contains("Wakeful-Console"));
    let own = http()
        .post(&path)
        .header(COOKIE, &cookie)
        .header("wakeful-console", "1")
        .json(&json!({}))
        .send()
        .await
        .unwrap();
    assert_eq!(own.status(), 202);
}

#[tokio::test]
async fn a_foreign_host_is_not_answered() {
    let server = Server::start().await;
    let cookie = session(&server, server.token()).await;
    for path in ["/c/default/runs", "/login", "/api/v1/companies"] {
        let request = http().get(format!("{}{path}", server.address())).header(COOKIE, &cookie);
        let answer = request.header(HOST, "rebound.example.org").send().await.unwrap();
        assert_eq!(answer.status(), 421, "{path}");
    }
}

#[tokio::test]
async fn pages_load_nothing_from_elsewhere() {
    let server = Server::start().await;
    let cookie = session(&server, server.token()).await;
    let answer = get(&server, &cookie, "/c/default/inbox").await;
    let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let text = answer.text().await.unwrap();
    assert!(!text.contains("<style") && !text.contains(" style=") && !text.contains("onclick"), "{text}");
    assert!(!text.contains("https://"), "{text}");
}
