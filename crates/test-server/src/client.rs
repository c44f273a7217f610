//! Asking a server as a program would: documents with their status, and waiting for what is to come.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::server::{LOOK_EVERY, PATIENCE, id};

/// Asks a server with one token.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) http: reqwest::Client,
    pub(crate) base: String,
    pub(crate) token: String,
}

impl Client {
    /// Asks the server at this URL.
    pub fn new(base: &str, token: &str) -> Client {
        Client { http: reqwest::Client::new(), base: base.to_owned(), token: token.to_owned() }
    }

    /// As someone else.
    pub fn with_token(&self, token: &str) -> Client {
        Client { token: token.to_owned(), ..self.clone() }
    }

    /// The URL of the server.
    pub fn address(&self) -> &str {
        &self.base
    }

    pub fn token(&self) -> &str {
        &self.token
    }

    /// A request with the token; `path` begins behind `/api/v1` unless it is one of the few outside.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let is_outside = ["/healthz", "/readyz", "/metrics", "/api"].iter().any(|start| path.starts_with(start));
        let prefix = if is_outside { "" } else { "/api/v1" };
        self.http.request(method, format!("{}{prefix}{path}", self.base)).bearer_auth(&self.token)
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        answer(self.request(Method::POST, path).json(body)).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> (u16, Value) {
        answer(self.request(Method::PATCH, path).json(body)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> (u16, Value) {
        answer(self.request(Method::PUT, path).json(body)).await
    }

    pub async fn delete(&self, path: &str) -> (u16, Value) {
        answer(self.request(Method::DELETE, path)).await
    }

    /// The document at `path`, which must be there.
    pub async fn show(&self, path: &str) -> Value {
        let (status, document) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {document}");
        document
    }

    /// Asks until the answer is as wanted, and gives it.
    pub async fn until(&self, path: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let last = std::cell::RefCell::new(Value::Null);
        let asking = async {
            loop {
                let (_, document) = self.get(path).await;
                if is_wanted(&document) {
                    return document;
                }
                last.replace(document);
                sleep(LOOK_EVERY).await;
            }
        };
        let found = timeout(PATIENCE, asking).await;
        found.unwrap_or_else(|_| panic!("{path} is not as wanted within {PATIENCE:?}: {:#}", last.take()))
    }

    /// Makes an agent of the default company that runs `script` in a shell, never retried; gives its id.
    pub async fn process_agent(&self, name: &str, script: &str) -> String {
        self.process_agent_with(name, script, json!({})).await
    }

    /// The same, with more fields of the request.
    pub async fn process_agent_with(&self, name: &str, script: &str, more: Value) -> String {
        let adapter = json!({ "type": "process", "command": script });
        let mut body = json!({ "name": name, "adapter": adapter, "retry": { "delays_s": [], "jitter": 0 } });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.agent(&body).await
    }

    /// Makes an agent of the default company; gives its id.
    pub async fn agent(&self, body: &Value) -> String {
        let (status, agent) = self.post("/companies/default/agents", body).await;
        assert_eq!(status, 201, "{agent}");
        id(&agent)
    }

    /// Wakes an agent; gives the id of the wakeup.
    pub async fn wake(&self, agent: &str, body: Value) -> String {
        let (status, wakeup) = self.post(&format!("/agents/{agent}/wake"), &body).await;
        assert_eq!(status, 202, "{wakeup}");
        id(&wakeup)
    }

    /// The wakeup, once it has its terminal status.
    pub async fn settled(&self, wakeup: &str) -> Value {
        self.until(&format!("/wakeups/{wakeup}"), |wakeup| {
            wakeup["status"].is_string() && wakeup["status"] != "pending" && wakeup["status"] != "claimed"
        })
        .await
    }

    /// The newest run that took the wakeup, once it is `running` or over.
    pub async fn running(&self, wakeup: &str) -> Value {
        let asked = self.show(&format!("/wakeups/{wakeup}")).await;
        let text = |field: &str| asked[field].as_str().unwrap().to_owned();
        let took = |run: &Value| {
            let batch = run["wakeups"].as_array().unwrap();
            run["status"] != "starting" && batch.iter().any(|taken| taken["id"] == wakeup)
        };
        let find = |runs: &Value| runs["items"].as_array().and_then(|runs| runs.iter().find(|run| took(run)).cloned());
        // A wakeup that was put back names no run any more, but the run names the wakeup.
        let path = format!("/companies/{}/runs?agent={}", text("company"), text("agent"));
        find(&self.until(&path, |runs| find(runs).is_some()).await).unwrap()
    }

    /// The run, once it is over.
    pub async fn finished(&self, run: &str) -> Value {
        self.until(&format!("/runs/{run}"), |run| run["finished_at"].is_string()).await
    }

    /// Wakes an agent and gives the run, once it is over.
    pub async fn run_of(&self, agent: &str, body: Value) -> Value {
        let run = id(&self.running(&self.wake(agent, body).await).await);
        self.finished(&run).await
    }

    /// What a run wrote to standard output.
    pub async fn stdout(&self, run: &str) -> String {
        let request = self.request(Method::GET, &format!("/runs/{run}/log/text?stream=stdout"));
        request.send().await.unwrap().text().await.unwrap()
    }

    /// Every item of a list, page by page.
    pub async fn all(&self, path: &str) -> Vec<Value> {
        let join = if path.contains('?') { '&' } else { '?' };
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.show(&format!("{path}{join}limit=200{cursor}")).await;
            found.extend(page["items"].as_array().unwrap().iter().cloned());
            let Some(next) = page["next_cursor"].as_str() else { return found };
            let parameter = if path.contains("/events") { "after" } else { "cursor" };
            cursor = format!("&{parameter}={next}");
        }
    }

    /// Fails if an invariant of the store does not hold.
    pub async fn assert_sound(&self) {
        let checked = self.show("/invariants").await;
        assert_eq!(checked["violations"], json!([]));
        assert!(!checked["checked"].as_array().unwrap().is_empty());
    }
}

/// Sends a request; an answer without a body is `null`.
pub async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = match request.send().await {
        Ok(response) => response,
        // A server that was killed meanwhile; those who wait go on asking.
        Err(error) => return (0, json!(error.to_string())),
    };
    let status = response.status().as_u16();
    let text = response.text().await.unwrap_or_default();
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}
