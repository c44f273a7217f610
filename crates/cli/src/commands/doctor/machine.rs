//! The machine: what its kernel offers, and its clock.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use wakeful_domain::time::say_duration;
use wakeful_engine::clock;

use super::{Finding, Verdict, finding};
use crate::data_dir::DataDir;

/// What was written later than now by more than this was written by another clock.
const AHEAD_MAX: Duration = Duration::from_secs(5);
/// What the system's own tool may take to answer.
const ASK_TIMEOUT: Duration = Duration::from_secs(3);

pub(super) async fn findings(dir: &DataDir) -> Vec<Finding> {
    vec![processes(), control_groups(), time(dir).await]
}

/// Whether the clock is kept right, and has not been set back since the server last wrote.
async fn time(dir: &DataDir) -> Finding {
    let (subject, now) = ("clock", clock::now());
    if let Some(ahead) = dir.last_written().map(|at| at.since(now)).filter(|ahead| *ahead > AHEAD_MAX) {
        let detail =
            format!("it says {now}, and the data directory was last written {} after that", say_duration(ahead));
        return finding(subject, Verdict::Failed, detail)
            .remedy("set the clock right: schedules go by it (what was due while it was ahead is not fired again)");
    }
    match is_synchronized().await {
        Some(false) => finding(subject, Verdict::Warning, format!("it says {now}; nothing keeps it right"))
            .remedy("timedatectl set-ntp true"),
        Some(true) => finding(subject, Verdict::Ok, format!("it says {now}, and is kept right by the network")),
        None => {
            finding(subject, Verdict::Ok, format!("it says {now}; whether it is kept right, the system does not tell"))
        }
    }
}

async fn is_synchronized() -> Option<bool> {
    let mut ask = Command::new("timedatectl");
    ask.args(["show", "--property=NTPSynchronized", "--value"]).stdin(Stdio::null()).kill_on_drop(true);
    let answer = tokio::time::timeout(ASK_TIMEOUT, ask.output()).await.ok()?.ok()?;
    match String::from_utf8_lossy(&answer.stdout).trim() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
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
