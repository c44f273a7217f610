//! Talking to a server: where it is, with which token, and what its errors mean for the exit code.

use std::time::Duration;

use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use crate::arguments::Global;
use crate::data_dir::DataDir;
use crate::environment;
use crate::failure::{FAILED, Failure, NOT_FOUND, REFUSED, TEMPORARY, UNREACHABLE, USAGE};

/// A server and a token.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: String,
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

impl Client {
    /// The server and token that the options, the environment or the data directory name.
    pub fn find(global: &Global) -> Result<Client, Failure> {
        // Asked for only if nothing else speaks: a run may have no home, and needs none.
        let dir = || DataDir::of(global.data_dir.as_deref());
        // Within a run the environment speaks, unless a directory is named on the command line.
        let is_named = global.data_dir.is_some();
        let from_environment = || (!is_named).then(environment::url).flatten();
        let base = match global.server.clone().or_else(from_environment) {
            Some(base) => base,
            None => {
                let dir = dir()?;
                dir.address().ok_or_else(|| {
                    Failure::new(UNREACHABLE, format!("no server is known for {}", dir.path().display()))
                        .hint("start one with `wakeful up`, or name it with --server")
                })?
            }
        };
        let token = match (&global.token_file, (!is_named).then(environment::token).flatten()) {
            (Some(path), _) => std::fs::read_to_string(path)
                .map_err(|error| Failure::usage(format!("cannot read the token file {}: {error}", path.display())))?,
            (None, Some(token)) => token,
            (None, None) => std::fs::read_to_string(dir()?.token_file()).map_err(|_| {
                Failure::new(REFUSED, "no token is known for the server")
                    .hint("name one with --token-file, or set WAKEFUL_TOKEN")
            })?,
        };
        Client::new(&base, token.trim())
    }

    /// A client of the server at `base`.
    pub fn new(base: &str, token: &str) -> Result<Client, Failure> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(|error| Failure::failed(format!("no HTTP client: {error}")))?;
        Ok(Client { http, base: base.trim_end_matches('/').to_owned(), token: token.to_owned() })
    }

    /// The URL of the server.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Asks for a document.
    pub async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.json(Method::GET, path, None).await
    }

    /// Sends a document.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.json(Method::POST, path, Some(body)).await
    }

    /// Sends a document that counts once for its key, however often it is sent.
    pub async fn post_once(&self, path: &str, body: &Value, key: &str) -> Result<Value, Failure> {
        let request = self.request(Method::POST, path).header("idempotency-key", key).json(body);
        self.read(request).await
    }

    /// Changes something.
    pub async fn patch(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.json(Method::PATCH, path, Some(body)).await
    }

    /// Puts a document in place.
    pub async fn put(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.json(Method::PUT, path, Some(body)).await
    }

    /// Removes something.
    pub async fn delete(&self, path: &str) -> Result<(), Failure> {
        self.send(self.request(Method::DELETE, path)).await.map(|_| ())
    }

    /// Asks for a text.
    pub async fn text(&self, path: &str) -> Result<String, Failure> {
        let response = self.send(self.request(Method::GET, path)).await?;
        response.text().await.map_err(|error| self.unreachable(&error))
    }

    /// Opens an event stream, behind the last event that was seen.
    pub async fn stream(&self, path: &str, last_event_id: Option<&str>) -> Result<Response, Failure> {
        let mut request = self.request(Method::GET, path).header("accept", "text/event-stream");
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        self.send(request).await
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token)
    }

    async fn json(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let request = self.request(method, path);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        self.read(request).await
    }

    async fn read(&self, request: reqwest::RequestBuilder) -> Result<Value, Failure> {
        let response = self.send(request).await?;
        let text = response.text().await.map_err(|error| self.unreachable(&error))?;
        document(&text).map_err(|error| Failure::failed(format!("the server answered no JSON: {error}")))
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let text = response.text().await.unwrap_or_default();
        Err(refusal(status, &text))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let mut cause: &dyn std::error::Error = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        Failure::new(UNREACHABLE, format!("the server at {} does not answer: {cause}", self.base))
            .hint("start it with `wakeful up`, or name another with --server")
    }
}

/// What an error answer means for the command.
fn refusal(status: StatusCode, body: &str) -> Failure {
    let problem: Value = serde_json::from_str(body).unwrap_or(Value::Null);
    let detail = problem.get("detail").and_then(Value::as_str).unwrap_or(body).to_owned();
    let code = match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => NOT_FOUND,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::CONFLICT => REFUSED,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE | StatusCode::INSUFFICIENT_STORAGE => TEMPORARY,
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY | StatusCode::PAYLOAD_TOO_LARGE => USAGE,
        _ => FAILED,
    };
    Failure::new(code, detail)
}

/// An answer of the server: what somebody has sent stands in it, a few levels deeper than it was sent.
fn document(text: &str) -> Result<Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer.disable_recursion_limit();
    let document = Value::deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(document)
}
