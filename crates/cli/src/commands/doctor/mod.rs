//! `wakeful doctor`: the machine, the data directory, the settings, the server and the invariants of its store.
//! Each finding has a remedy; `--fix` carries out those that can do no harm. Exit code 1 if something is wrong.

mod machine;
mod place;
pub mod programs;
mod service;

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::arguments::{DoctorArguments, Global};
use crate::data_dir::DataDir;
use crate::failure::Failure;
use crate::output::Output;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    Warning,
    Failed,
}

/// A remedy that the doctor may carry out itself: nothing is lost by it, and doing it twice is doing it once.
#[derive(Debug)]
enum Fix {
    /// Makes a directory, for us alone.
    MakeDirectory(PathBuf),
    /// Takes from others what is for us alone.
    SetMode(PathBuf, u32),
}

impl Fix {
    fn carry_out(&self) -> std::io::Result<()> {
        match self {
            Fix::MakeDirectory(path) => std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path),
            Fix::SetMode(path, mode) => std::fs::set_permissions(path, std::fs::Permissions::from_mode(*mode)),
        }
    }
}

/// As it would be typed.
impl std::fmt::Display for Fix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fix::MakeDirectory(path) => write!(f, "mkdir -m 700 -p {}", path.display()),
            Fix::SetMode(path, mode) => write!(f, "chmod {mode:o} {}", path.display()),
        }
    }
}

#[derive(Debug)]
struct Finding {
    subject: &'static str,
    verdict: Verdict,
    detail: String,
    remedy: Option<String>,
    fix: Option<Fix>,
    is_fixed: bool,
}

fn finding(subject: &'static str, verdict: Verdict, detail: impl Into<String>) -> Finding {
    Finding { subject, verdict, detail: detail.into(), remedy: None, fix: None, is_fixed: false }
}

impl Finding {
    fn remedy(self, remedy: impl Into<String>) -> Finding {
        Finding { remedy: Some(remedy.into()), ..self }
    }

    fn fix(self, fix: Fix) -> Finding {
        let remedy =
            self.remedy.map_or_else(|| format!("`wakeful doctor --fix`, or {fix}"), |more| format!("{fix}; {more}"));
        Finding { remedy: Some(remedy), fix: Some(fix), ..self }
    }

    /// Carries its fix out, if it has one.
    fn mend(&mut self) {
        let Some(fix) = &self.fix else { return };
        match fix.carry_out() {
            Ok(()) => (self.is_fixed, self.verdict) = (true, Verdict::Ok),
            Err(error) => self.detail = format!("{}; it could not be mended: {error}", self.detail),
        }
    }

    fn document(&self) -> Value {
        json!({
            "subject": self.subject,
            "verdict": word(self.verdict),
            "detail": self.detail,
            "remedy": self.remedy,
            "fix": self.fix.as_ref().map(ToString::to_string),
            "fixed": self.is_fixed,
        })
    }
}

pub async fn run(global: &Global, arguments: &DoctorArguments) -> Result<(), Failure> {
    let output = Output::new(global);
    let dir = DataDir::of(global.data_dir.as_deref())?;
    let mut findings = place::findings(&dir);
    findings.extend(machine::findings(&dir).await);
    findings.extend(programs::findings().await);
    findings.extend(service::findings(global, &dir).await);
    if arguments.fix {
        findings.iter_mut().for_each(Finding::mend);
    }
    let document: Vec<Value> = findings.iter().map(Finding::document).collect();
    output.show(&json!({ "findings": document }), || say(output, &findings));
    match findings.iter().filter(|finding| finding.verdict == Verdict::Failed).count() {
        0 => Ok(()),
        1 => Err(Failure::failed("1 finding needs a remedy")),
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
        match (&finding.remedy, &finding.fix) {
            (_, Some(fix)) if finding.is_fixed => lines.push(format!("{:<18} {:<8} → done: {fix}", "", "")),
            (Some(remedy), _) => lines.push(format!("{:<18} {:<8} → {remedy}", "", "")),
            (None, _) => {}
        }
    }
    lines.join("\n")
}
