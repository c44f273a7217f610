//! Sessions of the console: a cookie that stands for a token, and the one-time links that give one. The cookie holds the
//! token's hash, when it began and ends, and a code under a key of this server: no session is kept, so one survives a restart
//! and ends with its token. Only that somebody has signed out is kept (`store::ops::ended_sessions`). Not here: what a principal
//! may do (`access`).
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
/// However often it is renewed, it lasts no longer than this.
const LASTS_IN_ALL: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// The id of a session has so many characters.
const ID_CHARS: usize = 32;
/// Cookies of this name that are looked at in one request.
const COOKIES_MAX: usize = 4;
/// A link is good for so long, and once.
const LINK_LASTS: Duration = Duration::from_secs(2 * 60);
/// Links of one token that may be open at once; the oldest go first.
const LINKS_MAX: usize = 5;
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
    /// Tells it from others of the same token.
    pub id: String,
    pub token_hash: String,
    pub until: Timestamp,
    begun_at: Timestamp,
}

impl Sessions {
    /// Sessions under a key; `public_url` is where the server is known at, if not at its own address.
    pub fn new(key: Zeroizing<[u8; 32]>, public_url: Option<&str>) -> Sessions {
        let uri: Option<axum::http::Uri> = public_url.and_then(|url| url.parse().ok());
        let is_secure = uri.as_ref().is_some_and(|uri| uri.scheme_str() == Some("https"));
        let public_host = uri.as_ref().and_then(|uri| uri.host()).map(|host| host.to_ascii_lowercase().into());
        Sessions { key: Arc::new(key), links: Arc::default(), public_host, is_secure }
    }

    /// The session that a request carries, if it is good. Whether its token still is, and whether somebody has signed out, is
    /// asked elsewhere.
    pub fn of(&self, headers: &HeaderMap) -> Option<Session> {
        cookies(headers, COOKIE).take(COOKIES_MAX).find_map(|value| self.open(value, clock::now()))
    }

    /// The header that begins a session for a token.
    pub fn begin(&self, token_hash: &str) -> Result<HeaderValue, Problem> {
        let id = hash_of(&code()?)[..ID_CHARS].to_owned();
        let now = clock::now();
        Ok(self.carry(&Session { id, token_hash: token_hash.to_owned(), until: now + LASTS, begun_at: now }, now))
    }

    /// The header that renews a session, if it is time to.
    pub fn renew(&self, session: &Session) -> Option<HeaderValue> {
        let now = clock::now();
        let until = (now + LASTS).min(session.begun_at + LASTS_IN_ALL);
        let is_young = session.until > now + (LASTS - RENEWED_AFTER);
        (!is_young && until > session.until).then(|| self.carry(&Session { until, ..session.clone() }, now))
    }

    /// The header that ends a session.
    pub fn end(&self) -> HeaderValue {
        self.cookie("", 0)
    }

    /// A code that begins a session once, soon, and until when that is.
    pub fn link(&self, token_hash: &str) -> Result<(String, Timestamp), Problem> {
        let code = code()?;
        let (now, until) = (clock::now(), clock::now() + LINK_LASTS);
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|_, link| link.until > now);
        let of_token = || links.iter().filter(|(_, link)| link.token_hash == token_hash);
        if of_token().count() >= LINKS_MAX {
            let oldest = of_token().min_by_key(|(_, link)| link.until).map(|(hash, _)| hash.clone());
            oldest.and_then(|hash| links.remove(&hash));
        }
        links.insert(hash_of(&code), Link { token_hash: token_hash.to_owned(), until });
        Ok((code, until))
    }

    /// The hash of the token whose link this is the code of; the link is used up by it.
    pub fn redeem(&self, code: &str) -> Option<String> {
        let link = self.links.lock().unwrap_or_else(PoisonError::into_inner).remove(&hash_of(code))?;
        (link.until > clock::now()).then_some(link.token_hash)
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
        let is_plain = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.');
        let is_local = host == "localhost" || (is_plain && host.ends_with(".localhost"));
        if is_address || is_local || self.public_host.as_deref() == Some(host.as_str()) {
            return Ok(());
        }
        let detail = format!(
            "the console is not known as `{host}`: open it by its address, or start the server with `--public-url` naming that host"
        );
        Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, "unknown_host", detail))
    }

    fn seal(&self, session: &Session) -> String {
        let Session { id, token_hash, until, begun_at } = session;
        let text = format!("{}.{}.{id}.{token_hash}", begun_at.as_millis(), until.as_millis());
        let code = hmac_sha256(self.key.as_slice(), &[text.as_bytes()]);
        format!("{text}.{}", hex::of(&code))
    }

    fn open(&self, value: &str, now: Timestamp) -> Option<Session> {
        let parts: Vec<&str> = value.split('.').collect();
        let &[begun_at, until, id, token_hash, _] = parts.as_slice() else { return None };
        let time = |millis: &str| Some(Timestamp::from_millis(millis.parse().ok()?));
        let (begun_at, until) = (time(begun_at)?, time(until)?);
        let session = Session { id: id.to_owned(), token_hash: token_hash.to_owned(), until, begun_at };
        let is_whole: bool = self.seal(&session).as_bytes().ct_eq(value.as_bytes()).into();
        (is_whole && until > now).then_some(session)
    }

    fn carry(&self, session: &Session, now: Timestamp) -> HeaderValue {
        self.cookie(&self.seal(session), session.until.since(now).as_secs())
    }

    fn cookie(&self, value: &str, max_age_s: u64) -> HeaderValue {
        let secure = if self.is_secure { "; Secure" } else { "" };
        let text = format!("{COOKIE}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={max_age_s}{secure}");
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
    }
}

/// A word that nobody can guess.
fn code() -> Result<String, Problem> {
    mint(TokenKind::Link).map_err(|error| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no_chance", format!("no random bytes: {error}"))
    })
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
        let cookie = sessions().begin("abc123").unwrap();
        let carried = headers(&[("cookie", &format!("theme=dark; {}", value_of(&cookie)))]);
        assert_eq!(sessions().of(&carried).unwrap().token_hash, "abc123");
        assert!(cookie.to_str().unwrap().contains("HttpOnly; SameSite=Strict"));
        assert!(cookie.to_str().unwrap().ends_with("Secure"));
        let forged = value_of(&cookie).replace("abc123", "abc124");
        assert_eq!(sessions().of(&headers(&[("cookie", &forged)])), None);
        let other = Sessions::new(Zeroizing::new([8; 32]), None);
        assert_eq!(other.of(&carried), None);
    }

    fn session(begun_at: Timestamp, until: Timestamp) -> Session {
        Session { id: "1".into(), token_hash: "abc123".into(), until, begun_at }
    }

    #[test]
    fn a_session_whose_time_is_over_is_none() {
        let sessions = sessions();
        let now = clock::now();
        let value = sessions.seal(&session(now, now));
        assert_eq!(sessions.open(&value, now), None);
        assert!(sessions.open(&value, now - Duration::from_secs(2)).is_some());
    }

    #[test]
    fn a_session_is_renewed_once_a_day_and_not_for_ever() {
        let sessions = sessions();
        // Cookies hold milliseconds.
        let now = Timestamp::from_millis(clock::now().as_millis());
        let day = Duration::from_secs(24 * 60 * 60);
        let until_after = |begun_at: Timestamp, until: Timestamp| {
            let renewed = sessions.renew(&session(begun_at, until))?;
            Some(sessions.of(&headers(&[("cookie", &value_of(&renewed))])).unwrap().until)
        };
        assert_eq!(until_after(now, now + LASTS), None);
        let next = until_after(now - 2 * day, now + 5 * day).unwrap();
        assert!(next >= Timestamp::from_millis((now + LASTS).as_millis()));
        let last = until_after(now - 28 * day, now + day).unwrap();
        assert_eq!(last.as_millis(), (now + 2 * day).as_millis());
        assert_eq!(until_after(now - 28 * day, last), None, "there is nothing to add");
    }

    #[test]
    fn a_link_is_good_once_and_pushes_out_only_links_of_its_own_token() {
        let sessions = sessions();
        let (code, _) = sessions.link("abc123").unwrap();
        let (first, _) = sessions.link("def456").unwrap();
        for _ in 0..LINKS_MAX {
            sessions.link("def456").unwrap();
        }
        assert_eq!(sessions.redeem(&first), None);
        assert_eq!(sessions.redeem(&code).as_deref(), Some("abc123"));
        assert_eq!(sessions.redeem(&code), None);
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
        check("wakeful.localhost:7777", true);
        check("evil.example.org/.localhost", false);
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
