//! The shim: one small process per launch that outlives the server. It takes the
//! launch, starts the agent, keeps its log, ends its tree and leaves the exit record.
//!
//! `watch` is its loop, in the only thread that knows of the tree; `ending` decides when and how the tree ends. A second
//! thread writes the log, so that the disk keeps nobody waiting. It must run before any async runtime or argument
//! parser starts, and uses none.
//!
//! Invariant: nothing is started before the shim file is durable, or if somebody else has written it.

mod agent;
mod connection;
mod ending;
mod files;
mod guard;
mod input;
mod kernel_log;
mod output;
mod patience;
mod secret_files;
mod servers;
mod system;
mod watch;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{WaitStatus, getpid, set_child_subreaper, setsid};
use wakeful_domain::time::Timestamp;

use super::clock;
use super::identity::{Identity, boot_id};
use super::launch::Launch;
use super::log::secrets::Secrets;
use super::log::write::LogWriter;
use super::protocol::{Report, take_line};
use super::record::{AgentRecord, ExitRecord, Limit, LogSummary, ShimRecord, StartFailure};
use connection::Connection;
use guard::Guard;
use patience::{Patience, beside};
use secret_files::SecretFiles;
use servers::Servers;
use system::SignalDescriptor;
use watch::{Ended, Watch};

/// How long a shim tries to leave its exit record on a disk that does not take it, once a second.
const EXIT_RECORD_ATTEMPTS_MAX: u32 = 3_600;

/// The end is kept back for so many of them if the log has lost something and has no mark of it yet.
const MARK_ATTEMPTS_MAX: u32 = 10;

/// Runs the shim of one launch, whose description comes over standard input, and ends with it.
pub fn main() -> ExitCode {
    // Away from the terminal and the group of the server. It fails only for a group leader, who is away already.
    setsid().ok();
    match receive() {
        Ok(Some((launch, stream, received))) => match run(launch, stream, received) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        // The server died over the description: nothing was started.
        Ok(None) | Err(_) => ExitCode::FAILURE,
    }
}

/// The description, the socket it came over, and what came after it.
fn receive() -> io::Result<Option<(Launch, UnixStream, Vec<u8>)>> {
    let mut stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut received = Vec::new();
    let mut bytes = [0; 16 * 1024];
    loop {
        let count = stream.read(&mut bytes)?;
        if count == 0 || received.len() + count > Launch::BYTES_MAX {
            return Ok(None);
        }
        received.extend_from_slice(&bytes[..count]);
        if bytes[..count].contains(&b'\n') {
            break;
        }
    }
    let Some(line) = take_line(&mut received) else { return Ok(None) };
    // It may have held megabytes.
    received.shrink_to_fit();
    Ok(Some((serde_json::from_slice(&line)?, stream, received)))
}

fn run(mut launch: Launch, stream: UnixStream, received: Vec<u8>) -> io::Result<()> {
    let mut first = Connection::new(stream, received)?;
    let (mut shim_file, boot_id) = match take(&launch) {
        Ok(Some(taken)) => taken,
        // The server gave this launch up before we came.
        Ok(None) => return Ok(()),
        Err(error) => {
            first.send(&Report::StartFailed(spawn_failed("take the launch", &error)));
            return Err(error);
        }
    };
    let mut servers = Servers::listen(launch.number, first)?;
    let started_at = clock::now();
    let mut patience = Patience::default();
    let ended = match begin(&mut launch) {
        Ok(Begun { mut log, signals, agent, secret_files, guard }) => {
            let pid = agent.pid.as_raw_pid();
            // It cannot be gone before we have waited for it.
            let unknown = Identity { pid, start_time: 0, boot_id: boot_id.clone() };
            let identity = Identity::of(pid, &boot_id).unwrap_or(unknown);
            // It only helps to explain a death; the sweep does without.
            drop(files::name_agent(&mut shim_file, &AgentRecord { agent: identity.clone() }));
            servers.send(&Report::Started(identity.clone()));
            log.write_apart();
            let mut ended = Watch::new(&launch, identity, agent, guard, &mut servers, &mut log, &signals).run()?;
            patience = std::mem::take(&mut ended.patience);
            drop(secret_files);
            let record = exit_record(started_at, pid, ended, LogSummary::default());
            let summary = beside(&mut servers, &mut patience, &[], || log.finish());
            (ExitRecord { log: summary, ..record }, Some(log))
        }
        Err(failure) => {
            servers.send(&Report::StartFailed(failure.clone()));
            (start_failed_record(started_at, failure, &launch), None)
        }
    };
    let (record, log) = ended;
    leave(&launch, record, log, servers, patience);
    Ok(())
}

/// Makes the launch ours; `None` if it is somebody else's.
fn take(launch: &Launch) -> io::Result<Option<(File, String)>> {
    std::env::set_current_dir(&launch.dir)?;
    set_child_subreaper(Some(getpid()))?;
    let boot_id = boot_id()?;
    let identity = Identity::of(getpid().as_raw_pid(), &boot_id).ok_or(io::ErrorKind::NotFound)?;
    let record = ShimRecord::Shim { run: launch.run.clone(), number: launch.number, identity };
    Ok(files::take_launch(launch.number, &record)?.map(|file| (file, boot_id)))
}

/// What a running launch consists of.
struct Begun {
    log: LogWriter,
    signals: SignalDescriptor,
    agent: agent::Agent,
    secret_files: SecretFiles,
    guard: Guard,
}

/// Everything that must stand before the first output, then the agent.
fn begin(launch: &mut Launch) -> Result<Begun, StartFailure> {
    let log = LogWriter::open(Path::new("."), launch.log).map_err(|error| spawn_failed("open the log", &error))?;
    let signals = SignalDescriptor::open().map_err(|error| spawn_failed("take signals", &error))?;
    let secrets = Secrets::new(&std::mem::take(&mut launch.secrets))
        .map_err(|error| spawn_failed("look for this many secrets", &io::Error::other(error)))?
        .map(Arc::new);
    let secret_files = secret_files::open(std::mem::take(&mut launch.secret_files))
        .map_err(|error| spawn_failed("keep a secret as a file in memory", &error))?;
    launch.env.extend(secret_files.variables.iter().cloned());
    let mut guard = Guard::create(launch);
    let agent = guard.around(clock::monotonic(), || agent::start(launch, secrets))?;
    // The token of the run is in there; we have no use for it any more.
    launch.env = Vec::new();
    Ok(Begun { log, signals, agent, secret_files, guard })
}

fn spawn_failed(what: &str, error: &io::Error) -> StartFailure {
    StartFailure { code: "spawn_failed".to_owned(), message: format!("the shim cannot {what}: {error}") }
}

fn exit_record(started_at: Timestamp, pid: i32, ended: Ended, log: LogSummary) -> ExitRecord {
    let signal = ended.status.and_then(WaitStatus::terminating_signal);
    let is_foreign_kill = signal == Some(libc::SIGKILL) && !ended.killed_by_us;
    ExitRecord {
        code: ended.status.and_then(WaitStatus::exit_status),
        signal,
        timed_out: ended.ending.limit == Some(Limit::WallTime),
        limit: ended.ending.limit,
        ended_after_finish: ended.ending.ended_after_finish,
        held_open: ended.held_open,
        stop: ended.ending.stop,
        out_of_memory: is_foreign_kill && kernel_log::says_out_of_memory(pid, boot_us_of(started_at)),
        ..blank_record(started_at, log)
    }
}

/// The point in time as the kernel's log counts it. A second is allowed for the clocks to differ.
fn boot_us_of(at: Timestamp) -> u64 {
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = uptime.split('.').next().and_then(|seconds| seconds.parse::<u64>().ok()).unwrap_or(0);
    let now_us = seconds.saturating_mul(1_000_000);
    let ago_us = u64::try_from(clock::now().since(at).as_micros()).unwrap_or(u64::MAX);
    now_us.saturating_sub(ago_us).saturating_sub(1_000_000)
}

fn start_failed_record(started_at: Timestamp, failure: StartFailure, launch: &Launch) -> ExitRecord {
    let log = LogWriter::open(Path::new("."), launch.log).map(|mut log| log.finish()).unwrap_or_default();
    ExitRecord { start_failed: Some(failure), ..blank_record(started_at, log) }
}

/// Of a launch that ends now, for reasons that are added.
fn blank_record(started_at: Timestamp, log: LogSummary) -> ExitRecord {
    ExitRecord {
        code: None,
        signal: None,
        timed_out: false,
        limit: None,
        ended_after_finish: false,
        held_open: None,
        stop: None,
        start_failed: None,
        started_at,
        ended_at: clock::now(),
        log,
        rusage: system::children_usage(),
        out_of_memory: false,
    }
}

/// Leaves the exit record, says so, and goes. A full disk is waited for: nobody else knows how it ended.
fn leave(
    launch: &Launch,
    mut record: ExitRecord,
    mut log: Option<LogWriter>,
    mut servers: Servers,
    mut patience: Patience,
) {
    let (mut is_told, mut had_room) = (false, false);
    for attempt in 0..EXIT_RECORD_ATTEMPTS_MAX {
        if let Some(log) = log.as_mut().filter(|_| !is_told && record.log.lost_bytes > 0) {
            // There may be room for the mark of what was lost by now.
            record.log = beside(&mut servers, &mut patience, &[], || log.finish());
        }
        let told = is_told.then(|| Report::Exited(Box::new(record.clone())));
        let left = || files::write_exit_record(launch.number, &record);
        match beside(&mut servers, &mut patience, told.as_slice(), left) {
            // Without its directory the run is beyond help.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                if !is_told && (record.log.lost_bytes == 0 || attempt >= MARK_ATTEMPTS_MAX) {
                    servers.send(&Report::Exited(Box::new(record.clone())));
                    is_told = true;
                }
                wait_for_newcomers(&servers, Duration::from_secs(1));
                let told = is_told.then(|| Report::Exited(Box::new(record.clone())));
                servers.accept(told.as_slice());
            }
            // The room that there is now may have come a moment behind the log's last try: it has another.
            Ok(()) if !had_room && !is_told && log.as_ref().is_some_and(LogWriter::has_unmarked_loss) => {
                had_room = true
            }
            Ok(()) | Err(_) => break,
        }
    }
    // Before the last word, so that whoever hears it finds the directory as it stays.
    servers.hide();
    if !is_told {
        servers.send(&Report::Exited(Box::new(record)));
    }
}

fn wait_for_newcomers(servers: &Servers, at_most: Duration) {
    let timeout = Timespec { tv_sec: i64::try_from(at_most.as_secs()).unwrap_or(1), tv_nsec: 0 };
    let mut waited = [PollFd::new(&servers.listener, PollFlags::IN)];
    // Whether it was the time or a newcomer makes no difference.
    poll(&mut waited, Some(&timeout)).ok();
}
