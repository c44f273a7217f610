//! The `http` adapter: the agent is a service. Here are its settings, the request's body and what
//! an answer means; how requests are made is `crate::http`, when is the engine's business.
//!
//! In mode `sync` the answer is the result. In mode `callback` an answer of 202 says that the work
//! has begun, and `POST /runs/{id}/finish` ends it.

use std::time::Duration;

use serde_json::{Value, json};
use wakeful_domain::outcome::Outcome;
use wakeful_domain::time::Timestamp;

use super::ConfigError;
use super::excerpt::{cut, cut_bytes};
use super::report::{KEYS as REPORT_KEYS, Report, SUMMARY_BYTES_MAX};
use super::settings::{self, Keys, Kind};
use crate::http::{Answer, url_problem};

const KEYS: Keys = &[
    ("url", Kind::Text),
    ("account", Kind::Text),
    ("method", Kind::OneOf(METHODS)),
    ("headers", Kind::Headers),
    ("timeout_s", Kind::Count),
    ("mode", Kind::OneOf(&["sync", "callback"])),
    ("signing_secret", Kind::Secret),
];
const METHODS: &[&str] = &["POST", "PUT", "PATCH"];

/// A service that works while it is asked has this long.
const SYNC_TIMEOUT: Duration = Duration::from_secs(600);
/// One that only takes the work on has this long to say so.
const CALLBACK_TIMEOUT: Duration = Duration::from_secs(30);
/// Of an answer that is no success, this much is told.
const EXCERPT_CHARS_MAX: usize = 300;

/// Statuses that mean something of their own. The rest of 4xx is `http_refused`, of 5xx `http_error`.
const STATUSES: &[(u16, &str)] = &[
    (401, "auth_required"),
    (403, "auth_required"),
    (408, "http_error"),
    (423, "http_error"),
    (425, "http_error"),
    (429, "rate_limited"),
];

/// The settings of a service, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    pub url: String,
    pub method: String,
    pub headers: Vec<(String, String)>,
    pub timeout: Duration,
    /// Whether the answer only says that the work has begun.
    pub calls_back: bool,
    /// The secret it checks signatures with; one of its own by default.
    pub signing_secret: Option<String>,
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq)]
pub enum Meaning {
    /// The work has begun; a callback ends it.
    Begun,
    /// The run is over.
    Over(Box<Outcome>),
}

pub(super) fn check(config: &Value) -> Result<(), ConfigError> {
    settings::check("http", KEYS, config)?;
    let refused = |message: String| ConfigError { field: "adapter.url".into(), message };
    let text = settings::text(config, "url").ok_or_else(|| refused("is required: the URL that is called".into()))?;
    match url_problem(text) {
        Some(problem) => Err(refused(problem)),
        None => Ok(()),
    }
}

impl Service {
    /// Reads settings in which secrets have been filled in.
    pub fn read(config: &Value) -> Service {
        let calls_back = settings::text(config, "mode") == Some("callback");
        let timeout = config.get("timeout_s").and_then(Value::as_u64).map(Duration::from_secs);
        let headers = config.get("headers").and_then(Value::as_object).into_iter().flatten();
        Service {
            url: settings::text(config, "url").unwrap_or_default().to_owned(),
            method: settings::text(config, "method").unwrap_or("POST").to_owned(),
            headers: headers
                .filter_map(|(name, value)| Some((name.to_ascii_lowercase(), value.as_str()?.to_owned())))
                .collect(),
            timeout: timeout.unwrap_or(if calls_back { CALLBACK_TIMEOUT } else { SYNC_TIMEOUT }),
            calls_back,
            signing_secret: settings::text(config, "signing_secret").map(str::to_owned),
        }
    }
}

/// The body of the request: the context of the run, and what the service needs to answer for it.
pub fn body(context: &Value, fence: i64, token: &str, callback_url: &str) -> Vec<u8> {
    let mut body = context.clone();
    body["fence"] = json!(fence);
    body["token"] = json!(token);
    body["callback_url"] = json!(callback_url);
    body.to_string().into_bytes()
}

/// What an answer means for the run.
pub fn judge(service: &Service, answer: &Answer, now: Timestamp) -> Meaning {
    match answer.status {
        202 if service.calls_back => Meaning::Begun,
        200..=299 => Meaning::Over(Box::new(result(answer))),
        status => {
            let known = STATUSES.iter().find(|(known, _)| *known == status).map(|(_, code)| *code);
            let code = known.unwrap_or(if status < 500 { "http_refused" } else { "http_error" });
            let told = String::from_utf8_lossy(&answer.body);
            let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
            let excerpt = if told.is_empty() { String::new() } else { format!(": {}", cut(&told, EXCERPT_CHARS_MAX)) };
            let failed = Outcome::failed(code, format!("the service answered with status {status}{excerpt}"));
            let retry_at = answer.retry_after_s.map(|seconds| now + Duration::from_secs(seconds));
            Meaning::Over(Box::new(Outcome { retry_at, ..failed }))
        }
    }
}

/// A success that may say more: a report, any other document as the result, or a text as the summary.
fn result(answer: &Answer) -> Outcome {
    let succeeded = Outcome::succeeded();
    if answer.is_cut {
        return bad_result("it is longer than 1 MiB");
    }
    let Ok(text) = std::str::from_utf8(&answer.body) else { return bad_result("it is not UTF-8") };
    match serde_json::from_str::<Value>(text) {
        _ if text.trim().is_empty() => succeeded,
        Ok(Value::Object(fields)) if fields.keys().any(|name| REPORT_KEYS.contains(&name.as_str())) => {
            match Report::read(text) {
                Ok(report) => report.judge(succeeded),
                Err(problem) => bad_result(&problem),
            }
        }
        Ok(document) => Outcome { result: Some(document), ..succeeded },
        Err(_) => Outcome { summary: Some(cut_bytes(text.trim(), SUMMARY_BYTES_MAX)), ..succeeded },
    }
}

fn bad_result(problem: &str) -> Outcome {
    Outcome::failed("bad_result", format!("the service's answer is refused: {problem}"))
}

#[cfg(test)]
mod tests {
    use wakeful_domain::outcome::{End, SessionChange};

    use super::*;

    fn service(mode: &str) -> Service {
        Service::read(&json!({"url": "https://a.example", "mode": mode}))
    }

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, retry_after_s: None, body: body.as_bytes().to_vec(), is_cut: false }
    }

    fn over(meaning: Meaning) -> Outcome {
        match meaning {
            Meaning::Over(outcome) => *outcome,
            Meaning::Begun => panic!("it has only begun"),
        }
    }

    #[test]
    fn settings_are_checked() {
        let check = |config: Value, refusal: &str| {
            let found = super::check(&config).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(found.starts_with(refusal) && found.is_empty() == refusal.is_empty(), "{config}: {found}");
        };
        check(json!({"type": "http", "url": "https://a.example/x", "mode": "callback", "timeout_s": 5}), "");
        check(json!({}), "adapter.url: is required");
        check(json!({"url": "a.example"}), "adapter.url: is no URL");
        check(json!({"url": "file:///etc/passwd"}), "adapter.url: must begin with http");
        check(json!({"url": "https://me:pw@a.example"}), "adapter.url: must hold no user");
        check(json!({"url": "https://a.example", "mode": "async"}), "adapter.mode: must be one of sync, callback");
        check(json!({"url": "https://a.example", "method": "GET"}), "adapter.method: must be one of POST");
        check(json!({"url": "https://a.example", "timeout_s": 0}), "adapter.timeout_s: must be a whole number");
    }

    #[test]
    fn statuses_are_judged() {
        let now = Timestamp::from_millis(1_000);
        let check = |mode: &str, status: u16, code: &str| {
            let found = over(judge(&service(mode), &answer(status, "no\n way"), now));
            assert_eq!(found.error_code.as_deref().unwrap_or_default(), code, "{status}");
            let told = format!("the service answered with status {status}: no way");
            assert_eq!(found.error.unwrap_or_default(), if code.is_empty() { String::new() } else { told });
        };
        for (status, code) in STATUSES {
            check("sync", *status, code);
        }
        check("sync", 200, "");
        check("sync", 202, "");
        check("callback", 200, "");
        check("callback", 404, "http_refused");
        check("sync", 400, "http_refused");
        check("sync", 500, "http_error");
        check("sync", 503, "http_error");
        check("sync", 304, "http_refused");
        assert_eq!(judge(&service("callback"), &answer(202, ""), now), Meaning::Begun);
        let later = Answer { retry_after_s: Some(7), ..answer(503, "") };
        assert_eq!(over(judge(&service("sync"), &later, now)).retry_at, Some(Timestamp::from_millis(8_000)));
    }

    #[test]
    fn a_success_says_what_came_of_it() {
        let found = |body: &str| over(judge(&service("sync"), &answer(200, body), Timestamp::from_millis(0)));
        assert_eq!(found(""), Outcome::succeeded());
        assert_eq!(found(" all well \n").summary.as_deref(), Some("all well"));
        assert_eq!(found(r#"{"ok": true}"#).result, Some(json!({"ok": true})));
        assert_eq!(found("[1]").result, Some(json!([1])));
        let reported = found(r#"{"summary": "s", "session": "t-1", "cost_micros": 5}"#);
        assert_eq!((reported.summary.as_deref(), reported.cost_micros), (Some("s"), Some(5)));
        assert!(matches!(reported.session, SessionChange::Set(_)));
        let failed = found(r#"{"outcome": "failed", "error_code": "usage_limit", "error": "full"}"#);
        assert_eq!((failed.end, failed.error_code.as_deref()), (End::Failed, Some("usage_limit")));
        let refused = found(r#"{"outcome": "failed", "eror": "typo"}"#);
        assert_eq!(refused.error_code.as_deref(), Some("bad_result"));
        let cut = Answer { is_cut: true, ..answer(200, "{\"summary\": ") };
        assert_eq!(
            over(judge(&service("sync"), &cut, Timestamp::from_millis(0))).error_code.as_deref(),
            Some("bad_result")
        );
    }
}
