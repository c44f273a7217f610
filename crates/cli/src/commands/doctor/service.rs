//! The server of the data directory: whether it runs, where it listens or would, how its last life ended, and what it
//! says of its store.

use std::time::Duration;

use serde_json::Value;

use super::{Finding, Verdict, finding};
use crate::arguments::{Global, SettingOptions};
use crate::client::Client;
use crate::config::settings;
use crate::daemon::{self, lives};
use crate::data_dir::DataDir;
use crate::otlp::{Target, authority};
use crate::output::text;

/// A receiver of telemetry that is not there after this is not reached.
const CONNECT_MAX: Duration = Duration::from_secs(3);

pub(super) async fn findings(global: &Global, dir: &DataDir) -> Vec<Finding> {
    let mut findings: Vec<Finding> = last_crash(dir).into_iter().chain(port(dir).await).collect();
    findings.extend(server(global).await);
    findings.extend(receiver(dir).await);
    findings
}

/// Whether the receiver of traces and metrics can be reached, if the file or the environment names one.
async fn receiver(dir: &DataDir) -> Option<Finding> {
    let loaded = settings::load(settings::found(dir, None), &SettingOptions::default()).ok()?;
    let target = match Target::of(&loaded.effective.settings.otlp, dir) {
        Ok(target) => target?,
        Err(failure) => return Some(finding("otlp", Verdict::Failed, failure.message)),
    };
    let connecting = tokio::net::TcpStream::connect(authority(&target.traces));
    Some(match tokio::time::timeout(CONNECT_MAX, connecting).await {
        Ok(Ok(_)) => finding("otlp", Verdict::Ok, format!("{} can be reached", target.shown)),
        Ok(Err(_)) | Err(_) => {
            let detail = format!("{} cannot be reached: traces and metrics are dropped", target.shown);
            finding("otlp", Verdict::Warning, detail)
                .remedy("start the receiver, or set `otlp.endpoint`; runs do not wait for it")
        }
    })
}

fn last_crash(dir: &DataDir) -> Option<Finding> {
    let crash = lives::read(dir).last_crash?;
    let detail = format!("the server did not end by itself at {}: {}", crash.at, crash.exit);
    Some(finding("last crash", Verdict::Warning, detail).remedy("`wakeful daemon status --json` shows its last lines"))
}

/// Whether a server could listen where it is told to; nothing if one does.
async fn port(dir: &DataDir) -> Option<Finding> {
    if daemon::owner(dir).is_some() {
        return None;
    }
    let listen =
        settings::load(settings::found(dir, None), &SettingOptions::default()).ok()?.effective.settings.server.listen;
    Some(match tokio::net::TcpListener::bind(&listen).await {
        Ok(_) => finding("port", Verdict::Ok, format!("{listen} is free")),
        Err(error) => finding("port", Verdict::Failed, format!("a server could not listen on {listen}: {error}"))
            .remedy("end the program that has it (`ss -ltnp`), or set `server.listen`"),
    })
}

/// What the server says of itself and of its store.
async fn server(global: &Global) -> Vec<Finding> {
    let client = match Client::find(global) {
        Ok(client) => client,
        Err(failure) => {
            let remedy = failure.hint.unwrap_or_default();
            return vec![finding("server", Verdict::Warning, failure.message).remedy(remedy)];
        }
    };
    let checked = match client.get("/api/v1/invariants").await {
        Ok(checked) => checked,
        Err(failure) => {
            let found = finding("server", Verdict::Warning, failure.message);
            return vec![match failure.hint {
                Some(hint) => found.remedy(hint),
                None => found,
            }];
        }
    };
    let mut findings = standing(&client).await;
    let violations = checked.get("violations").and_then(Value::as_array).cloned().unwrap_or_default();
    let count = checked.get("checked").and_then(Value::as_array).map_or(0, Vec::len);
    if violations.is_empty() {
        findings.push(finding("invariants", Verdict::Ok, format!("all {count} hold")));
    }
    findings.extend(violations.iter().map(|violation| {
        let detail = format!(
            "{}: {} ({})",
            text(violation, "/name"),
            text(violation, "/statement"),
            text(violation, "/subject")
        );
        finding("invariants", Verdict::Failed, detail)
            .remedy("this is a bug of Wakeful: please report it with this line")
    }));
    findings
}

/// Whether it moves, and whether it holds anything back.
async fn standing(client: &Client) -> Vec<Finding> {
    let base = client.base().to_owned();
    let Ok(server) = client.get("/api/v1/server").await else {
        return vec![finding("server", Verdict::Ok, base)];
    };
    let mut findings = vec![finding("server", Verdict::Ok, format!("{base}, version {}", text(&server, "/version")))];
    if let Some(reason) = server["safe_mode"].as_str() {
        findings.push(
            finding("safe mode", Verdict::Failed, format!("nothing is started: {reason}"))
                .remedy("`wakeful daemon restart` goes on, once the cause is mended"),
        );
    }
    if let Some(at) = server["restored_from"].as_str() {
        findings.push(
            finding("restore", Verdict::Warning, format!("nothing is started: the store is the backup of {at}"))
                .remedy("`wakeful restore --go-on` goes on"),
        );
    }
    if let Some(error) = server.pointer("/configuration/error").and_then(Value::as_str) {
        findings.push(
            finding("configuration", Verdict::Failed, format!("it was refused, and the one before it holds: {error}"))
                .remedy("mend it, then `wakeful daemon reload`"),
        );
    }
    findings
}
