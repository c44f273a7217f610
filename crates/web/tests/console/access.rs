//! Who may see the console, and what a browser can be talked into.

use reqwest::header::{COOKIE, HOST, LOCATION, SET_COOKIE};
use reqwest::{Client, Method, Response, redirect};
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
    console.goto("runs?status=failed").await;
    assert_eq!(console.path().await, "/login?next=%2Fc%2Fdefault%2Fruns%3Fstatus%3Dfailed");
    console.fill("#token", "wkf_admin_wrong").await;
    console.click("button[type=submit]").await;
    console.until(".field .error", |text| text.starts_with("Token is not the admin token")).await;
    let token = console.server.token().to_owned();
    console.fill("#token", &token).await;
    console.click("button[type=submit]").await;
    console.until("h1", |text| text == "Runs").await;
    assert_eq!(console.path().await, "/c/default/runs?status=failed", "where they were about to go");
    let cookies = console.ask("return document.cookie").await;
    assert!(!cookies.as_str().unwrap().contains("wakeful_session"), "no script may read the session");
    console.goto("settings").await;
    console.click("[data-sign-out] button").await;
    console.until("h1", |text| text == "Wakeful").await;
    console.goto("runs").await;
    console.until("h1", |text| text == "Wakeful").await;
}

/// What the browser asks when the page of a link is opened.
async fn redeem(server: &Server, path: &str) -> Response {
    let code = path.strip_prefix("/login/").unwrap();
    let request = http().post(format!("{}/api/v1/session", server.address())).header("wakeful-console", "1");
    request.json(&json!({ "link": code })).send().await.unwrap()
}

#[tokio::test]
async fn a_link_signs_in_once_and_not_by_being_looked_at() {
    let server = Server::start().await;
    let (_, link) = server.post("/session/links", &json!({})).await;
    let path = link["path"].as_str().unwrap();
    for method in [Method::HEAD, Method::GET] {
        let looked = http().request(method, format!("{}{path}", server.address())).send().await.unwrap();
        assert!(looked.status() == 200 && !looked.headers().contains_key(SET_COOKIE));
    }
    let first = redeem(&server, path).await;
    assert_eq!(first.status(), 204);
    let cookie = first.headers()[SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
    assert_eq!(get(&server, &cookie, "/c/default/inbox").await.status(), 200);
    let second = redeem(&server, path).await;
    assert!(second.status() == 410 && !second.headers().contains_key(SET_COOKIE));
}

#[tokio::test]
async fn another_site_cannot_sign_somebody_in_as_somebody_else() {
    let server = Server::start().await;
    let (_, link) = server.post("/session/links", &json!({})).await;
    let opened = async |site: Option<&str>| {
        let mut request = http().get(format!("{}{}", server.address(), link["path"].as_str().unwrap()));
        if let Some(site) = site {
            request = request.header("sec-fetch-site", site);
        }
        request.send().await.unwrap().text().await.unwrap().contains("data-at-once")
    };
    assert!(opened(Some("none")).await, "as a browser says of an address that was typed, or opened by a program");
    for site in [Some("cross-site"), Some("same-site"), None] {
        assert!(!opened(site).await, "{site:?}: a person has to say so");
    }
}

#[tokio::test]
async fn a_link_of_a_revoked_token_is_good_no_more() {
    let server = Server::start().await;
    let (_, made) = server.post("/companies/default/tokens", &json!({ "name": "ops", "role": "admin" })).await;
    let key = server.with_token(made["token"].as_str().unwrap());
    let (_, link) = key.post("/session/links", &json!({})).await;
    server.delete(&format!("/companies/default/tokens/{}", made["id"].as_str().unwrap())).await;
    assert_eq!(redeem(&server, link["path"].as_str().unwrap()).await.status(), 422);
}

#[tokio::test]
async fn the_command_line_prints_a_link_that_signs_in() {
    let server = Server::start().await;
    let printed = server.cli(&["open", "--print"]).await.ok();
    let path = printed.trim().strip_prefix(server.address()).unwrap();
    assert_eq!(redeem(&server, path).await.status(), 204);
}

#[tokio::test]
async fn who_has_signed_out_is_out_everywhere() {
    let mut server = Server::start().await;
    let token = server.token().to_owned();
    let (mine, other) = (session(&server, &token).await, session(&server, &token).await);
    let request = http().delete(format!("{}/api/v1/session", server.address())).header("wakeful-console", "1");
    assert_eq!(request.header(COOKIE, &mine).send().await.unwrap().status(), 204);
    for restarts in [false, true] {
        if restarts {
            server.kill9();
            server.start_again().await;
        }
        assert_eq!(get(&server, &mine, "/api/v1/companies").await.status(), 401);
        assert_eq!(get(&server, &mine, "/c/default/runs").await.status(), 303);
        assert_eq!(get(&server, &other, "/c/default/runs").await.status(), 200, "another session of the same token");
    }
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
    for (path, login) in [
        ("/", "/login"),
        ("/c/default/inbox", "/login?next=%2Fc%2Fdefault%2Finbox"),
        ("/c/default/runs?status=failed", "/login?next=%2Fc%2Fdefault%2Fruns%3Fstatus%3Dfailed"),
    ] {
        let answer = get(&server, "", path).await;
        assert_eq!((answer.status().as_u16(), answer.headers()[LOCATION].to_str().unwrap()), (303, login), "{path}");
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
