//! Where telemetry is sent, with which headers, and whom it says that it is from. Wakeful's own settings go before the
//! standard variables (`OTEL_…`). Headers may hold a key: they are shown nowhere.

use std::fmt;
use std::path::Path;

use opentelemetry_proto::tonic::resource::v1::Resource;
use percent_encoding::percent_decode_str;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};
use url::Url;

use super::attributes::Attributes;
use crate::config::settings::Otlp;
use crate::data_dir::DataDir;
use crate::environment;
use crate::failure::Failure;

/// A receiver of OTLP over HTTP.
pub struct Target {
    pub traces: Url,
    pub metrics: Url,
    /// Its address as people may see it.
    pub shown: String,
    pub headers: HeaderMap,
    pub resource: Resource,
}

/// Without the headers.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("shown", &self.shown).finish_non_exhaustive()
    }
}

/// The base address of the receiver, if one is named and the standard switch does not turn it off.
fn endpoint(settings: &Otlp) -> Option<String> {
    let is_off = environment::variable("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true"));
    match (&settings.endpoint, is_off) {
        (Some(endpoint), _) => Some(endpoint.clone()),
        (None, true) => None,
        (None, false) => environment::variable("OTEL_EXPORTER_OTLP_ENDPOINT"),
    }
}

impl Target {
    /// What the settings and the environment ask for.
    pub fn of(settings: &Otlp, dir: &DataDir) -> Result<Option<Target>, Failure> {
        let Some(endpoint) = endpoint(settings) else { return Ok(None) };
        let headers = match &settings.headers_file {
            Some(path) => of_file(path)?,
            None => of_variable(&environment::variable("OTEL_EXPORTER_OTLP_HEADERS").unwrap_or_default())?,
        };
        let address = |signal: &str| {
            let text = format!("{}/v1/{signal}", endpoint.trim_end_matches('/'));
            Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))
        };
        let wrong = || Failure::usage("the receiver of OTLP must be a URL that begins with http:// or https://");
        let traces = address("traces").ok_or_else(wrong)?;
        let metrics = address("metrics").ok_or_else(wrong)?;
        let shown = format!("{}://{}", traces.scheme(), authority(&traces));
        Ok(Some(Target { traces, metrics, shown, headers, resource: resource(dir) }))
    }
}

/// Host and port: a password before them is nobody's business.
pub fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn of_file(path: &Path) -> Result<HeaderMap, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("otlp.headers_file: cannot read {}: {error}", path.display())))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut headers = HeaderMap::new();
    for (number, line) in lines.enumerate() {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        // A line that is wrong is told by its number: it may hold a key.
        let (name, value) = header(name, value).ok_or_else(|| {
            Failure::usage(format!("otlp.headers_file: header {} of {} is none", number + 1, path.display()))
                .hint("write one a line, as `authorization: Bearer …`")
        })?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// `name=value,name=value`, with what is special percent-encoded.
fn of_variable(text: &str) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    for (number, pair) in text.split(',').filter(|pair| !pair.trim().is_empty()).enumerate() {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = header(name, &decoded(value)).ok_or_else(|| {
            Failure::usage(format!("OTEL_EXPORTER_OTLP_HEADERS: header {} is none", number + 1))
                .hint("write them as name=value,name=value")
        })?;
        headers.append(name, value);
    }
    Ok(headers)
}

fn header(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    let name = HeaderName::try_from(name.trim()).ok()?;
    let mut value = HeaderValue::try_from(value.trim()).ok()?;
    value.set_sensitive(true);
    Some((name, value))
}

fn decoded(text: &str) -> String {
    percent_decode_str(text.trim()).decode_utf8_lossy().into_owned()
}

/// This server, named by its host and data directory: the same after a restart.
fn resource(dir: &DataDir) -> Resource {
    let name = rustix::system::uname();
    let host = name.nodename().to_string_lossy().into_owned();
    let sum = Sha256::new().chain_update(&host).chain_update(dir.path().to_string_lossy().as_bytes()).finalize();
    let instance: String = sum.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let said = environment::variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let mut said: Vec<(String, String)> = said
        .split(',')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.trim().to_owned(), decoded(value)))
        .collect();
    said.extend(environment::variable("OTEL_SERVICE_NAME").map(|name| ("service.name".to_owned(), name)));
    let own = [
        ("service.name", "wakeful"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("service.instance.id", &instance),
        ("host.name", &host),
    ];
    let mut attributes = Attributes::default();
    for (key, value) in own.iter().filter(|(key, _)| !said.iter().any(|(known, _)| known == key)) {
        attributes.text(key, *value);
    }
    for (at, (key, value)) in said.iter().enumerate() {
        // The last word on a key stands.
        if !said[at + 1..].iter().any(|(later, _)| later == key) {
            attributes.text(key, value.as_str());
        }
    }
    Resource { attributes: attributes.list(), ..Resource::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_from_both_forms_and_a_wrong_one_is_not_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "# for the collector\nauthorization: Bearer a:b\n\nx-tenant:  ann \n").unwrap();
        let headers = of_file(file.path()).unwrap();
        assert_eq!(headers["authorization"], "Bearer a:b");
        assert_eq!(headers["x-tenant"], "ann");
        assert!(!format!("{headers:?}").contains("Bearer"), "{headers:?}");
        std::fs::write(file.path(), "can ary\n").unwrap();
        let told = of_file(file.path()).unwrap_err();
        assert!(told.message.contains("header 1") && !told.message.contains("can ary"), "{}", told.message);
        let headers = of_variable("api-key=a%20b%2Cc, x-tenant = ann").unwrap();
        assert_eq!((&headers["api-key"], &headers["x-tenant"]), (&"a b,c".parse().unwrap(), &"ann".parse().unwrap()));
        assert!(of_variable("").unwrap().is_empty() && of_variable("no pair").is_err());
    }
}
