//! `wakeful doctor`: the machine, the data directory, the server and the invariants of its store.
//! Each finding has a remedy. Exit code 1 if something is wrong.

pub mod programs;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};
use wakeful_store::{Error, file};

use crate::arguments::Global;
use crate::client::Client;
use crate::data_dir::DataDir;
use crate::failure::Failure;
use crate::output::{Output, text};

/// A log of the store that is longer than this is held open by a reader: it is cut at half of that otherwise.
const LOG_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// Less free space than this is worth a warning.
const FREE_BYTES_MIN: u64 = 1024 * 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    Warning,
    Failed,
}

#[derive(Debug)]
struct Finding {
    subject: &'static str,
    verdict: Verdict,
    detail: String,
    remedy: Option<String>,
}

fn finding(subject: &'static str, verdict: Verdict, detail: impl Into<String>) -> Finding {
    Finding { subject, verdict, detail: detail.into(), remedy: None }
}

impl Finding {
    fn remedy(self, remedy: impl Into<String>) -> Finding {
        Finding { remedy: Some(remedy.into()), ..self }
    }
}

pub async fn run(global: &Global) -> Result<(), Failure> {
    let output = Output::new(global);
    let dir = DataDir::of(global.data_dir.as_deref())?;
    let mut findings =
        vec![data_directory(dir.path()), disk(dir.path()), processes(), control_groups(), master_key(&dir)];
    findings.extend(store(&dir));
    findings.extend(programs::findings().await);
    findings.extend(server(global).await);
    let document: Vec<Value> = findings
        .iter()
        .map(|finding| {
            json!({
                "subject": finding.subject,
                "verdict": word(finding.verdict),
                "detail": finding.detail,
                "remedy": finding.remedy,
            })
        })
        .collect();
    output.show(&json!({ "findings": document }), || say(output, &findings));
    match findings.iter().filter(|finding| finding.verdict == Verdict::Failed).count() {
        0 => Ok(()),
        count => Err(Failure::failed(format!("{count} findings need a remedy"))),
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "ok",
        Verdict::Warning => "warning",
        Verdict::Failed => "failed",
    }
}

fn say(output: Output, findings: &[Finding]) -> String {
    let mut lines = Vec::new();
    for finding in findings {
        lines.push(format!("{:<18} {:<8} {}", finding.subject, output.status(word(finding.verdict)), finding.detail));
        if let Some(remedy) = &finding.remedy {
            lines.push(format!("{:<18} {:<8} → {remedy}", "", ""));
        }
    }
    lines.join("\n")
}

fn data_directory(path: &Path) -> Finding {
    let subject = "data directory";
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => finding(subject, Verdict::Ok, path.display().to_string()),
        Ok(_) => finding(subject, Verdict::Failed, format!("{} is not a directory", path.display()))
            .remedy("name another one with --data-dir"),
        Err(_) => finding(subject, Verdict::Warning, format!("{} does not exist yet", path.display()))
            .remedy("`wakeful up` makes it"),
    }
}

fn disk(path: &Path) -> Finding {
    let subject = "disk";
    let existing = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
    match rustix::fs::statvfs(existing) {
        Ok(space) => {
            let free = space.f_bavail * space.f_frsize;
            let detail = format!("{} MiB free", free / (1024 * 1024));
            match free < FREE_BYTES_MIN {
                true => finding(subject, Verdict::Warning, detail).remedy("make room: a full disk stops new runs"),
                false => finding(subject, Verdict::Ok, detail),
            }
        }
        Err(error) => finding(subject, Verdict::Warning, format!("free space is not known: {error}")),
    }
}

/// The file of the embedded store, every page of it, and the log beside it.
fn store(dir: &DataDir) -> Vec<Finding> {
    let subject = "store";
    let path = dir.store_file();
    if !path.exists() {
        return Vec::new();
    }
    let mut findings = vec![match file::check(&path) {
        Ok(()) => finding(subject, Verdict::Ok, format!("every page of {} is in order", path.display())),
        Err(error @ Error::Damaged { .. }) => finding(subject, Verdict::Failed, error.to_string())
            .remedy("stop the server and put a backup in its place: wakeful restore FILE"),
        Err(error) => finding(subject, Verdict::Warning, error.to_string()),
    }];
    let log = file::log_bytes(&path);
    if log > LOG_BYTES_MAX {
        let detail = format!("{} MiB wait in the log beside it: somebody reads an old snapshot", log / (1024 * 1024));
        findings.push(
            finding(subject, Verdict::Warning, detail)
                .remedy("end the program that has the file open (a shell, a copy): it is cut once nobody reads it"),
        );
    }
    findings
}

fn processes() -> Finding {
    let subject = "processes";
    match wakeful_runner::process::identity::boot_id() {
        Ok(_) => finding(subject, Verdict::Ok, "/proc shows processes and the boot"),
        Err(error) => finding(subject, Verdict::Failed, format!("/proc cannot be read: {error}"))
            .remedy("Wakeful needs Linux with /proc mounted"),
    }
}

fn control_groups() -> Finding {
    let subject = "control groups";
    let able = wakeful_runner::process::control_groups();
    let what = |is_able: bool, what: &'static str| is_able.then_some(what);
    let found = [
        what(able.kill, "end a whole tree at once"),
        what(able.memory, "limit its memory"),
        what(able.pids, "limit its processes"),
    ];
    match found.into_iter().flatten().collect::<Vec<_>>().as_slice() {
        [] => finding(
            subject,
            Verdict::Ok,
            "none may be made: trees are ended by walking them, limits are kept by sampling",
        ),
        able => finding(subject, Verdict::Ok, format!("runs get their own: they {}", able.join(", "))),
    }
}

/// Whether the key of the data directory is for us alone.
fn master_key(dir: &DataDir) -> Finding {
    let subject = "master key";
    let path = dir.master_key_file();
    match std::fs::metadata(&path) {
        Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
            finding(subject, Verdict::Failed, format!("{} can be read by others", path.display()))
                .remedy(format!("chmod 600 {}, and set the secrets anew", path.display()))
        }
        Ok(_) => finding(subject, Verdict::Ok, format!("{}: back it up apart from the store", path.display())),
        Err(_) => {
            finding(subject, Verdict::Ok, "not in the data directory: `wakeful up` makes it, or is told where it is")
        }
    }
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
    let mut findings = vec![finding("server", Verdict::Ok, client.base().to_owned())];
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
