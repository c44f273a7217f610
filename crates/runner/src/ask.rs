//! A short program that is asked something: text on its standard input, the answer on its standard
//! output. Gates, actions and channels of a company are such programs. Each runs under a shim like
//! any run, so that its whole tree is gone when the answer is there or its time is over.
//!
//! It is not a run: it has no row, no token and no log that anybody keeps.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::adapters::StopSignal;
use crate::process::log::{LogStream, bytes_of, read_log};
use crate::process::{ExitRecord, Launch, LaunchError, Limit, LogLimits, ProcessLimits, Shims, Update, sweep};

/// A longer answer is refused: what is asked for is a verdict, not a report.
pub const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// So much of what it says on standard error is told on.
const COMPLAINT_CHARS_MAX: usize = 500;
/// How long it may take to stop before it is killed.
const GRACE: Duration = Duration::from_secs(2);
/// How long what it left behind may take to end by itself.
const LINGER: Duration = Duration::from_millis(500);

/// What is asked of a program.
#[derive(Debug)]
pub struct Question<'a> {
    /// Names what is asked; of lower-case letters, digits, `_` and `-`. It stands in `WAKEFUL_RUN`, by which what is
    /// left of the program after a crash is found.
    pub id: &'a str,
    /// The program and its arguments.
    pub command: &'a [String],
    /// On its standard input.
    pub input: String,
    /// Its environment.
    pub env: Vec<(String, String)>,
    /// Where questions have their directories; it works in one of its own, which is removed afterwards.
    pub below: &'a Path,
    pub timeout: Duration,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("it cannot be started: {0}")]
    NotStarted(String),
    #[error("it took longer than {} s and was stopped", .0.as_secs_f64())]
    TimedOut(Duration),
    #[error("it ended with {how}{complaint}")]
    Failed { how: String, complaint: String },
    #[error("its answer is longer than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
    #[error("what it wrote cannot be read: {0}")]
    Unreadable(io::Error),
    #[error("the process that watched over it was killed")]
    Unwatched,
    #[error("it outlives KILL: processes {0:?}")]
    Stuck(Vec<i32>),
}

/// Asks, and waits for the answer: all that was written to standard output, if the program ended well.
/// Dropping the future leaves it to its time limit.
pub async fn ask(shims: &Shims, question: Question<'_>) -> Result<Vec<u8>, AskError> {
    let dir = question.below.join(question.id);
    let answer = asked(shims, &question, &dir).await;
    if matches!(answer, Err(AskError::Stuck(_))) {
        return answer;
    }
    // The next look at what is left behind removes it.
    if let Err(error) = fs::remove_dir_all(&dir) {
        tracing::debug!("cannot remove {}: {error}", dir.display());
    }
    answer
}

async fn asked(shims: &Shims, question: &Question<'_>, dir: &Path) -> Result<Vec<u8>, AskError> {
    let launch = launch_of(question, dir);
    let mut attached = shims.launch(&launch).await.map_err(|error| AskError::NotStarted(told(&error)))?;
    let record = loop {
        match attached.next().await {
            Update::Exited(record) => break record,
            Update::Gone => {
                // Nobody watches it any more: what it started ends here.
                if let Err(error) = sweep(question.id).await {
                    tracing::error!("{error}");
                }
                return Err(AskError::Unwatched);
            }
            // Its shim goes on trying; whoever asked does not wait for it.
            Update::Stuck { pids } => return Err(AskError::Stuck(pids)),
            Update::StartFailed(_)
            | Update::Started(_)
            | Update::Output { .. }
            | Update::InputTaken { .. }
            | Update::InputRefused { .. }
            | Update::LogSlow { .. }
            | Update::LogCaughtUp { .. } => {}
        }
    };
    let log = read_log(dir, 0, 2 * ANSWER_BYTES_MAX * LogLimits::FRAMING_MAX as usize).await;
    let records = log.map_err(AskError::Unreadable)?.records;
    match failure(&record, question.timeout, &bytes_of(&records, LogStream::Stderr)) {
        Some(error) => Err(error),
        None if record.log.truncated => Err(AskError::TooLong),
        None => Ok(bytes_of(&records, LogStream::Stdout)),
    }
}

fn launch_of(question: &Question<'_>, dir: &Path) -> Launch {
    let mut env = question.env.clone();
    env.retain(|(name, _)| name != "WAKEFUL_RUN");
    env.push(("WAKEFUL_RUN".into(), question.id.to_owned()));
    Launch {
        run: question.id.to_owned(),
        number: 1,
        dir: dir.to_owned(),
        argv: question.command.to_vec(),
        cwd: dir.to_owned(),
        env,
        stdin: question.input.clone(),
        keeps_stdin_open: false,
        stop_signal: StopSignal::Terminate,
        grace_ms: ms_of(GRACE),
        max_duration_ms: Some(ms_of(question.timeout)),
        first_output_ms: None,
        limits: ProcessLimits::default(),
        linger_ms: ms_of(LINGER),
        log: LogLimits { text_bytes_max: ANSWER_BYTES_MAX as u64, tail_bytes_max: 0 },
        secrets: Vec::new(),
        secret_files: Vec::new(),
    }
}

fn failure(record: &ExitRecord, timeout: Duration, complaint: &[u8]) -> Option<AskError> {
    if let Some(failed) = &record.start_failed {
        return Some(AskError::NotStarted(failed.message.clone()));
    }
    if record.limit_hit() == Some(Limit::WallTime) {
        return Some(AskError::TimedOut(timeout));
    }
    let how = match (record.code, record.signal) {
        (Some(0), _) => return None,
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no exit code".into(),
    };
    let complaint = String::from_utf8_lossy(complaint);
    let complaint: String = complaint.trim().chars().take(COMPLAINT_CHARS_MAX).collect();
    let complaint = if complaint.is_empty() { complaint } else { format!(": {complaint}") };
    Some(AskError::Failed { how, complaint })
}

fn told(error: &LaunchError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn ms_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Ends what a server that died had asked, and removes the directories. For the start of a server, before it asks.
pub async fn sweep_asked(below: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(below) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let id = entry.file_name().to_string_lossy().into_owned();
        let path: PathBuf = entry.path();
        // The shim of it ends by itself once its tree has.
        sweep(&id).await.map_err(io::Error::other)?;
        fs::remove_dir_all(path)?;
    }
    Ok(())
}
