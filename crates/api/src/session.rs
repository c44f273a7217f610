//! Sessions of the console: a cookie that stands for a token, and the one-time links that give one. The cookie holds the
//! token's hash, when it ends, and a code under a key of this server: nothing is kept, so a session survives a restart, and
//! ends with its token. Not here: what a principal may do (`access`).
//!
//! Invariant: a request that carries nothing but the cookie changes nothing, unless it also carries the header of the
//! console, which no other site can make a browser send.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use subtle::ConstantTimeEq;
use wakeful_domain::hex;
use wakeful_domain::hmac::hmac_sha256;
use wakeful_domain::time::Timestamp;
use wakeful_engine::{TokenKind, clock, hash_of, mint};
use zeroize::Zeroizing;

use crate::Problem;

/// The name of the cookie.
const COOKIE: &str = "wakeful_session";
/// A session lasts as long as this behind its last renewal.
const LASTS: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// A page that is opened with a session older than this renews it.
const RENEWED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// A link is good for so long, and once.
const LINK_LASTS: Duration = Duration::from_secs(2 * 60);
/// Links that may be open at once; the oldest go first.
const LINKS_MAX: usize = 100;
/// The header that the console sends with whatever changes something.
const CONSOLE_HEADER: &str = "wakeful-console";

/// What sessions are made and known by.
#[derive(Debug, Clone)]
pub struct Sessions {
    key: Arc<Zeroizing<[u8; 32]>>,
    /// By the hash of their code.
    links: Arc<Mutex<HashMap<String, Link>>>,
    /// The host of the public URL, which a proxy in front of the server is known by.
    public_host: Option<Arc<str>>,
    is_secure: bool,
}

#[derive(Debug)]
struct Link {
    token_hash: String,
    until: Timestamp,
}

/// A session that a request carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub token_hash: String,
    pub until: Timestamp,
}

impl Sessions {
    /// Sessions under a key; `public_url` is where the server is known at, if not at its own address.
    pub fn new(key: Zeroizing<[u8; 32]>, public_url: Option<&str>) -> Sessions {
        let uri: Option<axum::http::Uri> = public_url.and_then(|url| url.parse().ok());
        let is_secure = uri.as_ref().is_some_and(|uri| uri.scheme_str() == Some("https"));
        let public_host = uri.as_ref().and_then(|uri| uri.host()).map(|host| host.to_ascii_lowercase().into());
        Sessions { key: Arc::new(key), links: Arc::default(), public_host, is_secure }
    }

    /// The session that a request carries, if it is good. Whether its token still is, is asked elsewhere.
    pub fn of(&self, headers: &HeaderMap) -> Option<Session> {
        cookies(headers, COOKIE).find_map(|value| self.open(value, clock::now()))
    }

    /// The header that begins a session for a token.
    pub fn begin(&self, token_hash: &str) -> HeaderValue {
        let until = clock::now() + LASTS;
        self.cookie(&self.seal(token_hash, until), LASTS.as_secs())
    }

    /// The header that renews a session, if it is time to.
    pub fn renew(&self, session: &Session) -> Option<HeaderValue> {
        let is_young = session.until > clock::now() + (LASTS - RENEWED_AFTER);
        (!is_young).then(|| self.begin(&session.token_hash))
    }

    /// The header that ends a session.
    pub fn end(&self) -> HeaderValue {
        self.cookie("", 0)
    }

    /// A code that begins a session once, soon, and until when that is.
    pub fn link(&self, token_hash: &str) -> Result<(String, Timestamp), Problem> {
        let code = mint(TokenKind::Link).map_err(|error| {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no_chance", format!("no random bytes: {error}"))
        })?;
        let (now, until) = (clock::now(), clock::now() + LINK_LASTS);
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|_, link| link.until > now);
        if links.len() >= LINKS_MAX {
            let oldest = links.iter().min_by_key(|(_, link)| link.until).map(|(hash, _)| hash.clone());
            oldest.and_then(|hash| links.remove(&hash));
        }
        links.insert(hash_of(&code), Link { token_hash: token_hash.to_owned(), until });
        Ok((code, until))
    }

    /// The header that begins the session of a link, which is used up by it.
    pub fn redeem(&self, code: &str) -> Option<HeaderValue> {
        let link = self.links.lock().unwrap_or_else(PoisonError::into_inner).remove(&hash_of(code))?;
        (link.until > clock::now()).then(|| self.begin(&link.token_hash))
    }

    /// Refuses what a browser may have been talked into: a host name that is not this server's (DNS rebinding), and
    /// changes without the header of the console.
    pub fn guard(&self, method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
        self.check_host(headers)?;
        if !method.is_safe() && !headers.contains_key(CONSOLE_HEADER) {
            return Err(Problem::forbidden(
                "a session changes nothing without the header `Wakeful-Console: 1`; programs use a token instead",
            ));
        }
        Ok(())
    }

    /// Refuses host names other than this server's own: an address, `localhost`, or the host of the public URL.
    pub fn check_host(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let named = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let host = without_port(named).to_ascii_lowercase();
        let is_address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
        let is_local = host == "localhost" || host.ends_with(".localhost");
        if is_address || is_local || self.public_host.as_deref() == Some(host.as_str()) {
            return Ok(());
        }
        let detail = format!(
            "the console is not known as `{host}`: open it by its address, or start the server with `--public-url` naming that host"
        );
        Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, "unknown_host", detail))
    }

    fn seal(&self, token_hash: &str, until: Timestamp) -> String {
        let millis = until.as_millis().to_string();
        let code = hmac_sha256(self.key.as_slice(), &[millis.as_bytes(), b".", token_hash.as_bytes()]);
        format!("{millis}.{token_hash}.{}", hex::of(&code))
    }

    fn open(&self, value: &str, now: Timestamp) -> Option<Session> {
        let mut parts = value.splitn(3, '.');
        let (millis, token_hash) = (parts.next()?, parts.next()?);
        parts.next()?;
        let until = Timestamp::from_millis(millis.parse().ok()?);
        let is_whole: bool = self.seal(token_hash, until).as_bytes().ct_eq(value.as_bytes()).into();
        (is_whole && until > now).then(|| Session { token_hash: token_hash.to_owned(), until })
    }

    fn cookie(&self, value: &str, max_age_s: u64) -> HeaderValue {
        let secure = if self.is_secure { "; Secure" } else { "" };
        let text = format!("{COOKIE}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={max_age_s}{secure}");
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty() => {
            // An IPv6 address has its port behind the bracket.
            if name.contains(':') && !name.ends_with(']') { host } else { name }
        }
        Some(_) | None => host,
    }
}

/// The values of a cookie in a request.
fn cookies<'a>(headers: &'a HeaderMap, name: &'static str) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(header::COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    lines
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(move |(key, _)| *key == name)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions() -> Sessions {
        Sessions::new(Zeroizing::new([7; 32]), Some("https://agents.example.org/wakeful"))
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse::<header::HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    fn value_of(cookie: &HeaderValue) -> String {
        cookie.to_str().unwrap().split(';').next().unwrap().to_owned()
    }

    #[test]
    fn a_session_is_known_by_its_code_alone() {
        let cookie = sessions().begin("abc123");
        let carried = headers(&[("cookie", &format!("theme=dark; {}", value_of(&cookie)))]);
        assert_eq!(sessions().of(&carried).unwrap().token_hash, "abc123");
        assert!(cookie.to_str().unwrap().contains("HttpOnly; SameSite=Strict"));
        assert!(cookie.to_str().unwrap().ends_with("Secure"));
        let forged = value_of(&cookie).replace("abc123", "abc124");
        assert_eq!(sessions().of(&headers(&[("cookie", &forged)])), None);
        let other = Sessions::new(Zeroizing::new([8; 32]), None);
        assert_eq!(other.of(&carried), None);
    }

    #[test]
    fn a_session_that_has_ended_is_none() {
        let sessions = sessions();
        let now = clock::now();
        let value = sessions.seal("abc123", now);
        assert_eq!(sessions.open(&value, now), None);
        assert!(sessions.open(&value, now - Duration::from_secs(2)).is_some());
    }

    #[test]
    fn a_link_is_good_once() {
        let sessions = sessions();
        let (code, _) = sessions.link("abc123").unwrap();
        assert!(sessions.redeem(&code).is_some());
        assert!(sessions.redeem(&code).is_none());
    }

    #[test]
    fn only_own_names_are_hosts() {
        let check = |host: &str, is_own: bool| {
            assert_eq!(sessions().check_host(&headers(&[("host", host)])).is_ok(), is_own, "{host}");
        };
        check("127.0.0.1:7777", true);
        check("[::1]:7777", true);
        check("localhost:7777", true);
        check("agents.example.org", true);
        check("evil.example.org:7777", false);
        check("127.0.0.1.evil.example.org", false);
        check("", false);
    }

    #[test]
    fn a_session_changes_nothing_without_the_header_of_the_console() {
        let bare = headers(&[("host", "localhost")]);
        let of_console = headers(&[("host", "localhost"), ("wakeful-console", "1")]);
        assert!(sessions().guard(&Method::GET, &bare).is_ok());
        assert!(sessions().guard(&Method::POST, &bare).is_err());
        assert!(sessions().guard(&Method::POST, &of_console).is_ok());
    }
}
