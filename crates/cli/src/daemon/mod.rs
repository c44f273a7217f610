//! `wakeful daemon …`: a server in the background of this machine, by its data directory. The server itself is
//! `wakeful up`; here it is started, found by its identity, asked to stop, and asked how it stands.

pub mod lives;
mod logs;
pub mod notify;
mod units;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use wakeful_domain::time::{parse_duration, say_duration};
use wakeful_engine::clock;
use wakeful_runner::process::identity::boot_id;

use crate::arguments::{DaemonVerb, Global, SettingOptions};
use crate::client::Client;
use crate::config::settings;
use crate::data_dir::{DataDir, Owner};
use crate::environment;
use crate::failure::{FAILED, Failure, NOT_FOUND, REFUSED, TEMPORARY, UNREACHABLE};
use crate::logging;
use crate::output::{Output, text};

/// A start is given up after this.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// A stop is given up after this, if nothing else is said.
const STOP_PATIENCE: Duration = Duration::from_secs(60);
/// What a stop takes beside waiting.
const STOP_MARGIN: Duration = Duration::from_secs(10);
/// A server that takes longer to say how it stands does not answer.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Last lines of the log that are shown when a start fails.
const LINES_SHOWN: usize = 15;

pub async fn run(global: &Global, verb: &DaemonVerb) -> Result<(), Failure> {
    let output = Output::new(global);
    let dir = DataDir::of(global.data_dir.as_deref())?;
    match verb {
        DaemonVerb::Start(arguments) => {
            let up = arguments.up.with_config_of_environment();
            settings::load(settings::found(&dir, up.config.as_deref()), &up.settings)?;
            let started = start(&dir, &up.to_options()).await?;
            output.show(&started, || told_started(&started));
            Ok(())
        }
        DaemonVerb::Stop { timeout } => {
            let stopped = stop(&dir, patience(&dir, timeout.as_deref())?).await?;
            output.show(&stopped, || told_stopped(&stopped));
            Ok(())
        }
        DaemonVerb::Restart { timeout } => {
            let lives::Lives { options, variables, is_unit, .. } = lives::read(&dir);
            if is_unit && owner(&dir).is_some() {
                return Err(Failure::new(REFUSED, "it runs as a unit of systemd, which starts it again itself")
                    .hint("systemctl --user restart wakeful.service (without --user if it is the system's)"));
            }
            // Without them it would be another server, on another store maybe.
            let missing: Vec<String> = variables.into_iter().filter(|name| !environment::is_set(name)).collect();
            if !missing.is_empty() {
                let told = format!("it was started with {}, which is not set here", missing.join(", "));
                return Err(Failure::new(REFUSED, told).hint("set it, or `wakeful daemon stop` and `start` without it"));
            }
            match stop(&dir, patience(&dir, timeout.as_deref())?).await {
                Ok(_) => {}
                Err(failure) if failure.code == NOT_FOUND => {}
                Err(failure) => return Err(failure),
            }
            let started = start(&dir, &options).await?;
            output.show(&started, || told_started(&started));
            Ok(())
        }
        DaemonVerb::Status => {
            let status = status(&dir).await;
            output.show(&status, || told_status(&status));
            match status["running"].as_bool() {
                Some(true) if status["answers"] == false => {
                    Err(Failure::new(UNREACHABLE, "the server lives and does not answer")
                        .hint("`wakeful daemon logs` shows what it does; `wakeful daemon restart` starts it anew"))
                }
                Some(true) => Ok(()),
                Some(false) | None => Err(Failure::new(NOT_FOUND, "no server runs on this data directory")
                    .hint("`wakeful daemon start` starts one")),
            }
        }
        DaemonVerb::Reload => {
            let owner = running(&dir)?;
            signal(&owner, Signal::HUP)?;
            let told = json!({ "pid": owner.process.pid, "reloading": true });
            output.show(&told, || {
                "told to read its configuration again; `wakeful daemon status` says what came of it".into()
            });
            Ok(())
        }
        DaemonVerb::Logs { .. } if lives::read(&dir).is_unit => {
            Err(Failure::new(NOT_FOUND, "it runs as a unit of systemd, and its log is in the journal")
                .hint(lives::JOURNAL))
        }
        DaemonVerb::Logs { follow, lines } => logs::show(&dir, *lines, *follow).await,
        DaemonVerb::Install(arguments) => units::install(&dir, arguments, output),
        DaemonVerb::Uninstall { system } => units::uninstall(*system, output),
    }
}

/// As long as is wanted; else as a stop takes at most: it waits twice, for calls and for requests.
fn patience(dir: &DataDir, wanted: Option<&str>) -> Result<Duration, Failure> {
    if let Some(text) = wanted {
        return parse_duration(text).map_err(|error| Failure::usage(format!("--timeout: {error}")));
    }
    // A configuration with a mistake must not keep a server from being stopped.
    let loaded = settings::load(settings::found(dir, None), &SettingOptions::default());
    let drain = loaded.map_or(Duration::ZERO, |loaded| loaded.effective.settings.daemon.drain);
    Ok(STOP_PATIENCE.max(drain * 2 + STOP_MARGIN))
}

/// Who holds the data directory, if somebody does.
pub(crate) fn owner(dir: &DataDir) -> Option<Owner> {
    let boot = boot_id().ok()?;
    dir.owner().filter(|owner| owner.process.is_alive(&boot))
}

fn running(dir: &DataDir) -> Result<Owner, Failure> {
    owner(dir).ok_or_else(|| {
        Failure::new(NOT_FOUND, format!("no server runs on {}", dir.path().display()))
            .hint("`wakeful daemon start` starts one")
    })
}

/// Starts a server of its own session, and waits until it is ready.
async fn start(dir: &DataDir, options: &[String]) -> Result<Value, Failure> {
    if let Some(owner) = owner(dir) {
        let at = owner.address.map(|address| format!(", listening on {address}")).unwrap_or_default();
        return Err(Failure::new(REFUSED, format!("a server runs already: process {}{at}", owner.process.pid))
            .hint("`wakeful daemon restart` starts it anew"));
    }
    dir.create()?;
    let program = environment::program()
        .map_err(|error| Failure::failed(format!("the path of this program is not known: {error}")))?;
    let log = logging::open(&dir.log_file())
        .map_err(|error| Failure::failed(format!("cannot write {}: {error}", dir.log_file().display())))?;
    let mut command = Command::new(program);
    command.arg("--data-dir").arg(dir.path()).arg("up").args(options).arg("--service");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).current_dir("/");
    let mut child = command.spawn().map_err(|error| Failure::failed(format!("it cannot be started: {error}")))?;
    let begun = clock::monotonic();
    loop {
        if let Some(ended) = child.try_wait()? {
            let told = format!("it ended at once ({ended}):\n{}", logs::last(dir, LINES_SHOWN));
            return Err(Failure::new(FAILED, told).hint("the whole log: wakeful daemon logs"));
        }
        if let Some(address) = ready(dir, &child).await {
            return Ok(json!({ "running": true, "pid": child.id(), "address": address }));
        }
        if begun.elapsed() > START_PATIENCE {
            let told = format!(
                "process {} is not ready after {}; it goes on. Its last lines:\n{}",
                child.id(),
                say_duration(START_PATIENCE),
                logs::last(dir, LINES_SHOWN)
            );
            return Err(Failure::new(TEMPORARY, told));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Where it answers, once it says that it is ready.
async fn ready(dir: &DataDir, child: &Child) -> Option<String> {
    let address = dir.address_of(Some(child.id()))?;
    let client = Client::new(&address, &token(dir)?).ok()?;
    let asked = tokio::time::timeout(ANSWER_PATIENCE, client.get("/readyz")).await;
    asked.ok()?.ok().map(|_| address)
}

fn token(dir: &DataDir) -> Option<String> {
    Some(std::fs::read_to_string(dir.token_file()).ok()?.trim().to_owned())
}

/// What is printed outside of the log's own lines goes there too.
fn signal(owner: &Owner, signal: Signal) -> Result<(), Failure> {
    owner.process.signal(signal).map_err(|error| {
        Failure::new(REFUSED, format!("process {} cannot be signalled: {error}", owner.process.pid))
            .hint("it belongs to another user: ask as that one")
    })
}

/// Asks the server to stop and waits until it is gone. Live runs go on.
async fn stop(dir: &DataDir, patience: Duration) -> Result<Value, Failure> {
    let owner = running(dir)?;
    let live_runs = of_server(dir).await.map(|server| server["live_runs"].clone()).unwrap_or(Value::Null);
    signal(&owner, Signal::TERM)?;
    let begun = clock::monotonic();
    // The second signal ends it at once, whatever is still in flight.
    if !is_gone(&owner, begun, patience).await {
        signal(&owner, Signal::TERM)?;
        if !is_gone(&owner, clock::monotonic(), Duration::from_secs(5)).await {
            signal(&owner, Signal::KILL)?;
            if !is_gone(&owner, clock::monotonic(), Duration::from_secs(5)).await {
                return Err(Failure::failed(format!("process {} does not end, not even by KILL", owner.process.pid)));
            }
        }
        return Ok(json!({ "stopped": true, "pid": owner.process.pid, "live_runs": live_runs, "in_time": false }));
    }
    Ok(json!({ "stopped": true, "pid": owner.process.pid, "live_runs": live_runs, "in_time": true }))
}

async fn is_gone(owner: &Owner, since: Instant, patience: Duration) -> bool {
    let Ok(boot) = boot_id() else { return false };
    while owner.process.is_alive(&boot) {
        if since.elapsed() > patience {
            return false;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    true
}

/// What the server says of itself.
async fn of_server(dir: &DataDir) -> Option<Value> {
    let client = Client::new(&dir.address()?, &token(dir)?).ok()?;
    tokio::time::timeout(ANSWER_PATIENCE, client.get("/api/v1/server")).await.ok()?.ok()
}

async fn status(dir: &DataDir) -> Value {
    let owner = owner(dir);
    let mut status = json!({ "running": owner.is_some(), "live_runs": null, "tick_age_ms": null });
    if let Some(crash) = lives::read(dir).last_crash {
        status["last_crash"] = json!(crash);
    }
    let Some(owner) = owner else { return status };
    status["pid"] = json!(owner.process.pid);
    status["version"] = json!(owner.version);
    status["address"] = json!(owner.address);
    match of_server(dir).await {
        Some(Value::Object(fields)) => status.as_object_mut().into_iter().for_each(|own| own.extend(fields.clone())),
        Some(_) | None => status["answers"] = json!(false),
    }
    status
}

fn told_started(started: &Value) -> String {
    format!("wakeful runs as process {} and listens on {}", text(started, "/pid"), text(started, "/address"))
}

fn told_stopped(stopped: &Value) -> String {
    let rest = match stopped["live_runs"].as_i64() {
        Some(0) | None => String::new(),
        Some(1) => "; 1 live run goes on, and is found again at the next start".into(),
        Some(count) => format!("; {count} live runs go on, and are found again at the next start"),
    };
    let late = if stopped["in_time"] == false { ", though not by itself" } else { "" };
    format!("process {} has ended{late}{rest}", text(stopped, "/pid"))
}

fn told_status(status: &Value) -> String {
    let mut lines = vec![match status["running"].as_bool() {
        Some(true) => format!(
            "running: process {}, version {}, on {}",
            text(status, "/pid"),
            text(status, "/version"),
            text(status, "/address")
        ),
        Some(false) | None => "not running".into(),
    }];
    let number = |field: &str| status[field].as_u64();
    if let (Some(uptime), Some(live), Some(age)) = (number("uptime_s"), number("live_runs"), number("tick_age_ms")) {
        lines.push(format!("  up         {}", say_duration(Duration::from_secs(uptime))));
        lines.push(format!("  live runs  {live} of {}", text(status, "/live_runs_max")));
        lines.push(format!("  last tick  {} ago", say_duration(Duration::from_millis(age))));
        lines.push(format!("  store      {}", text(status, "/store")));
    }
    if status["answers"] == false {
        lines.push("  it does not answer".into());
    }
    if let Some(reason) = status["safe_mode"].as_str() {
        lines.push(format!("  safe mode  {reason}; `wakeful daemon restart` goes on"));
    }
    if let Some(taken_at) = status["restored_from"].as_str() {
        lines.push(format!(
            "  restored   from the backup of {taken_at}, and held; `wakeful restore --plan` lists what would run"
        ));
    }
    if let Some(error) = status.pointer("/configuration/error").and_then(Value::as_str) {
        lines.push(format!("  configuration refused: {error}"));
    }
    let needs_restart = status.pointer("/configuration/needs_restart").and_then(Value::as_array);
    if let Some(names) = needs_restart.filter(|names| !names.is_empty()) {
        let names = names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
        lines.push(format!("  changed    {names}: `wakeful daemon restart` makes it so"));
    }
    if let Some(crash) = status.get("last_crash") {
        lines.push(format!("  last crash {}: {}", text(crash, "/at"), text(crash, "/exit")));
    }
    lines.join("\n")
}
