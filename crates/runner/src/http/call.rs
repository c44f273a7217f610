//! One request and its answer. Every hop is resolved here, checked, and made to exactly the
//! addresses that were checked, so that a name that changes its mind in between changes nothing.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER, USER_AGENT};
use reqwest::redirect::Policy;
use reqwest::{Method, Response, StatusCode};
use url::{Host, Url};
use wakeful_domain::signature::{ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, sign};
use wakeful_domain::time::Timestamp;

use super::guard::{AddressError, Guard};

/// More of an answer is not read.
pub const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Longer chains of redirects are refused.
const REDIRECTS_MAX: usize = 5;
/// A service that does not take the connection by then is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// An idle connection is asked after this whether it still stands: a run may take an hour.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// A request to be made.
#[derive(Debug)]
pub struct Call<'a> {
    pub url: &'a str,
    pub method: &'a str,
    pub headers: &'a [(String, String)],
    pub body: &'a [u8],
    /// What makes a repeated request the same to its receiver.
    pub id: &'a str,
    /// When it is made; a part of what is signed.
    pub at: Timestamp,
    /// The key it is signed with.
    pub key: &'a [u8],
    /// From the first byte out to the last byte in.
    pub timeout: Duration,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Seconds after which the service wants to be asked again.
    pub retry_after_s: Option<u64>,
    pub body: Vec<u8>,
    /// Whether there was more of it.
    pub is_cut: bool,
}

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("{url} is no URL that can be called: {why}")]
    BadUrl { url: String, why: String },
    #[error("{url} is at {address}, which is {what}: let it in with `wakeful up --http-allow {address}`")]
    AddressRefused { url: String, address: IpAddr, what: &'static str },
    #[error("{url} redirects to {location}, which is not followed: {why}")]
    Redirected { url: String, location: String, why: &'static str },
    #[error("{url} did not answer within {} s", .after.as_secs_f64())]
    TimedOut { url: String, after: Duration },
    #[error("{url} could not be reached: {why}")]
    Unreachable { url: String, why: String },
    #[error("the header {name} cannot be sent: its name or value is not one")]
    BadHeader { name: String },
}

impl CallError {
    /// The failure code of a run that ends with it.
    pub fn code(&self) -> &'static str {
        match self {
            CallError::BadUrl { .. } | CallError::BadHeader { .. } => "bad_config",
            CallError::AddressRefused { .. } => "address_refused",
            CallError::Redirected { .. } => "http_redirected",
            CallError::TimedOut { .. } => "http_timeout",
            CallError::Unreachable { .. } => "unreachable",
        }
    }
}

/// Makes the request. Dropping the future breaks the connection off.
pub async fn call(guard: &Guard, call: &Call<'_>) -> Result<Answer, CallError> {
    let timed_out = || CallError::TimedOut { url: shown(call.url), after: call.timeout };
    tokio::time::timeout(call.timeout, follow(guard, call)).await.map_err(|_| timed_out())?
}

async fn follow(guard: &Guard, call: &Call<'_>) -> Result<Answer, CallError> {
    let bad_url = |why: String| CallError::BadUrl { url: shown(call.url), why };
    let mut url = Url::parse(call.url).map_err(|error| bad_url(error.to_string()))?;
    let method = Method::from_bytes(call.method.as_bytes()).map_err(|error| bad_url(error.to_string()))?;
    let headers = headers(call)?;
    for _ in 0..=REDIRECTS_MAX {
        let response = send(guard, &url, &method, &headers, call.body).await?;
        let Some(location) = location(&response) else { return answer(&url, response).await };
        url = target(&url, response.status(), &location)?;
    }
    Err(CallError::Redirected { url: shown(call.url), location: shown(url.as_str()), why: "it redirects without end" })
}

/// What is wrong with a URL that is to be called, if anything.
pub fn url_problem(text: &str) -> Option<String> {
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(error) => return Some(format!("is no URL: {error}")),
    };
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Some("must begin with http:// or https:// and name a host".into());
    }
    let holds_user = !url.username().is_empty() || url.password().is_some();
    holds_user.then(|| "must hold no user and no password: use headers with a secret".into())
}

/// A URL as it may be told: without user, password and query.
fn shown(url: &str) -> String {
    match Url::parse(url) {
        Ok(mut parsed) => {
            // It fails only for URLs that have neither.
            parsed.set_username("").ok();
            parsed.set_password(None).ok();
            parsed.set_query(None);
            parsed.into()
        }
        Err(_) => url.split('?').next().unwrap_or_default().to_owned(),
    }
}

fn headers(call: &Call<'_>) -> Result<HeaderMap, CallError> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("wakeful/", env!("CARGO_PKG_VERSION"))));
    let at_s = call.at.as_millis() / 1_000;
    let signed = [
        (ID_HEADER, call.id.to_owned()),
        (TIMESTAMP_HEADER, at_s.to_string()),
        (SIGNATURE_HEADER, sign(call.key, call.id, at_s, call.body)),
    ];
    let own = call.headers.iter().map(|(name, value)| (name.as_str(), value.clone()));
    for (name, value) in own.chain(signed) {
        let header = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(&value).ok());
        let (name, mut value) = header.ok_or_else(|| CallError::BadHeader { name: name.to_owned() })?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

async fn send(
    guard: &Guard,
    url: &Url,
    method: &Method,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, CallError> {
    let unreachable = |why: String| CallError::Unreachable { url: shown(url.as_str()), why };
    let addresses = resolved(guard, url).await?;
    let mut builder = reqwest::Client::builder()
        // A proxy would resolve names itself, behind the guard.
        .no_proxy()
        .redirect(Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_keepalive(KEEPALIVE);
    if let Some(Host::Domain(name)) = url.host() {
        builder = builder.resolve_to_addrs(name, &addresses);
    }
    let client = builder.build().map_err(|error| unreachable(error.to_string()))?;
    let request = client.request(method.clone(), url.clone()).headers(headers.clone()).body(body.to_vec());
    request.send().await.map_err(|error| unreachable(cause_of(&error)))
}

/// The addresses of a URL's host; one that may not be called refuses them all.
async fn resolved(guard: &Guard, url: &Url) -> Result<Vec<SocketAddr>, CallError> {
    let told = shown(url.as_str());
    if !matches!(url.scheme(), "http" | "https") {
        return Err(CallError::BadUrl { url: told, why: "it begins with neither http:// nor https://".into() });
    }
    let host = match url.host() {
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
        Some(Host::Domain(name)) => name.to_owned(),
        None => return Err(CallError::BadUrl { url: told, why: "it names no host".into() }),
    };
    guard.addresses(&host, url.port_or_known_default().unwrap_or(443)).await.map_err(|error| match error {
        AddressError::Refused { address, what } => CallError::AddressRefused { url: told, address, what },
        AddressError::Unknown { .. } => CallError::Unreachable { url: told, why: error.to_string() },
    })
}

fn location(response: &Response) -> Option<String> {
    let location = response.headers().get(LOCATION).filter(|_| response.status().is_redirection())?;
    Some(String::from_utf8_lossy(location.as_bytes()).into_owned())
}

/// Where a redirect leads, if it may be followed: the request goes on as it is, to the same host.
fn target(from: &Url, status: StatusCode, location: &str) -> Result<Url, CallError> {
    let refused = |why: &'static str| CallError::Redirected {
        url: shown(from.as_str()),
        location: shown(from.join(location).map_or(location.to_owned(), Into::into).as_str()),
        why,
    };
    let to = from.join(location).map_err(|_| refused("it is no URL"))?;
    if !matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
        return Err(refused("only 307 and 308 keep the request as it is; name the target in adapter.url"));
    }
    let port = |url: &Url| url.port_or_known_default();
    let is_upgrade = (from.scheme(), port(from), to.scheme(), port(&to)) == ("http", Some(80), "https", Some(443));
    if from.host() != to.host() || (port(from) != port(&to) && !is_upgrade) {
        return Err(refused("it is another server, which must not get this run's token; name it in adapter.url"));
    }
    if from.scheme() == "https" && to.scheme() != "https" {
        return Err(refused("it leaves https"));
    }
    Ok(to)
}

async fn answer(url: &Url, mut response: Response) -> Result<Answer, CallError> {
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after_s = retry_after.and_then(|text| text.trim().parse().ok());
    let status = response.status().as_u16();
    let mut body = Vec::new();
    let mut is_cut = false;
    while let Some(part) = response
        .chunk()
        .await
        .map_err(|error| CallError::Unreachable { url: shown(url.as_str()), why: cause_of(&error) })?
    {
        let room = ANSWER_BYTES_MAX - body.len();
        body.extend_from_slice(&part[..part.len().min(room)]);
        if part.len() > room {
            is_cut = true;
            break;
        }
    }
    Ok(Answer { status, retry_after_s, body, is_cut })
}

/// The innermost cause: the outer ones repeat the URL.
fn cause_of(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_redirects_that_keep_request_and_host_are_followed() {
        let from = Url::parse("https://a.example/x?key=1").unwrap();
        let check = |status: u16, location: &str, expected: Result<&str, &str>| {
            let found = target(&from, StatusCode::from_u16(status).unwrap(), location);
            match (found, expected) {
                (Ok(to), Ok(expected)) => assert_eq!(to.as_str(), expected),
                (Err(error), Err(why)) => {
                    let told = error.to_string();
                    assert!(told.contains(why) && !told.contains("key=1"), "{told}");
                }
                (found, _) => panic!("{location}: {found:?}"),
            }
        };
        check(307, "/y", Ok("https://a.example/y"));
        check(308, "https://a.example:8443/", Err("another server"));
        check(302, "/y", Err("only 307 and 308"));
        check(307, "https://b.example/", Err("another server"));
        check(307, "http://169.254.169.254/", Err("another server"));
        check(307, "http://a.example:443/", Err("leaves https"));
        let plain = Url::parse("http://a.example/x").unwrap();
        let upgraded = target(&plain, StatusCode::PERMANENT_REDIRECT, "https://a.example/x").unwrap();
        assert_eq!(upgraded.as_str(), "https://a.example/x");
    }

    #[test]
    fn what_is_told_of_a_url_holds_no_password() {
        assert_eq!(shown("https://me:hunter2@a.example/x?token=1"), "https://a.example/x");
        assert_eq!(shown("no url?token=1"), "no url");
    }
}
