//! The git command line: each call with a limit on time and output, no prompts, no hooks, nothing of the
//! caller's `GIT_*`.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, copy, sink};
use tokio::process::{Child, Command};

/// For commands that only look: a large repository on a slow disk takes seconds.
pub(super) const LOOK_MAX: Duration = Duration::from_secs(60);
/// For commands that write a working tree.
pub(super) const CHECKOUT_MAX: Duration = Duration::from_secs(5 * 60);
/// For commands that may fetch a whole repository.
pub(super) const FETCH_MAX: Duration = Duration::from_secs(10 * 60);
/// Between the request to stop and the kill; git takes away what it has half made.
const STOP_MAX: Duration = Duration::from_secs(5);
/// More output than this is read but not kept.
const OUTPUT_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// The end of what git said, as far as it goes into an error.
const MESSAGE_CHARS_MAX: usize = 1_000;

/// Set for every command: nothing that a repository or its user configured runs by the way.
const SETTINGS: &[&str] = &[
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "gc.auto=0",
    "-c",
    "maintenance.auto=false",
    "-c",
    "advice.detachedHead=false",
];

/// No terminal, no window, no editor, no pager; English; locks only where something is written.
const VARIABLES: &[(&str, &str)] = &[
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_OPTIONAL_LOCKS", "0"),
    ("GIT_EDITOR", "false"),
    ("GIT_PAGER", "cat"),
    ("GCM_INTERACTIVE", "never"),
    // ssh asks this program instead of the terminal, and it has no answer.
    ("SSH_ASKPASS", "false"),
    ("SSH_ASKPASS_REQUIRE", "force"),
    ("LC_ALL", "C"),
];

/// Why a git command did not do what it was asked to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GitError {
    #[error("git is not installed, or not where the server's PATH looks")]
    NotInstalled,
    #[error("`{command}` took longer than {limit_s} s and was stopped")]
    TooLong { command: String, limit_s: u64 },
    /// Git itself says why.
    #[error("`{command}` failed: {message}")]
    Failed { command: String, message: String },
    #[error("{what}")]
    Other { what: String },
}

impl GitError {
    pub(super) fn other(what: impl Into<String>) -> GitError {
        GitError::Other { what: what.into() }
    }
}

/// How git is called.
#[derive(Debug, Clone)]
pub struct Git {
    environment: Vec<(String, String)>,
}

/// What a command said.
#[derive(Debug)]
struct Said {
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

impl Git {
    /// Git with this environment, `GIT_*` taken out of it.
    pub fn new(environment: &[(String, String)]) -> Git {
        let kept = environment.iter().filter(|(name, _)| !name.starts_with("GIT_"));
        Git { environment: kept.cloned().collect() }
    }

    /// What a command prints; it must succeed.
    pub(super) async fn text(&self, dir: &Path, arguments: &[&str], limit: Duration) -> Result<String, GitError> {
        let said = self.say(dir, arguments, limit).await?;
        match said.status.success() {
            true => Ok(said.stdout.trim_end_matches('\n').to_owned()),
            false => Err(failed(arguments, &said)),
        }
    }

    /// What a command prints, if it succeeds; `None` if it answers with status 1, as git's questions do.
    pub(super) async fn answer(&self, dir: &Path, arguments: &[&str]) -> Result<Option<String>, GitError> {
        let said = self.say(dir, arguments, LOOK_MAX).await?;
        match said.status.code() {
            Some(0) => Ok(Some(said.stdout.trim_end_matches('\n').to_owned())),
            Some(1) => Ok(None),
            Some(_) | None => Err(failed(arguments, &said)),
        }
    }

    async fn say(&self, dir: &Path, arguments: &[&str], limit: Duration) -> Result<Said, GitError> {
        let mut command = Command::new("git");
        command
            .args(SETTINGS)
            .args(arguments)
            .current_dir(dir)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .envs(VARIABLES.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Of its own, so that a stop reaches ssh and the other helpers too.
            .process_group(0);
        let child = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound if dir.is_dir() => GitError::NotInstalled,
            io::ErrorKind::NotFound => GitError::other(format!("there is no directory {}", dir.display())),
            _ => GitError::other(format!("git could not be started in {}: {error}", dir.display())),
        })?;
        let mut group = Group { leader: child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) };
        let running = run(child);
        tokio::pin!(running);
        let said = match tokio::time::timeout(limit, &mut running).await {
            Ok(said) => said,
            Err(_) => {
                group.signal(Signal::TERM);
                if tokio::time::timeout(STOP_MAX, &mut running).await.is_err() {
                    group.signal(Signal::KILL);
                }
                group.leader = None;
                return Err(GitError::TooLong { command: spoken(arguments), limit_s: limit.as_secs() });
            }
        };
        group.leader = None;
        said.map_err(|error| GitError::other(format!("what `{}` said cannot be read: {error}", spoken(arguments))))
    }
}

/// A command's processes. Dropped while they run, it stops them: nobody waits for the answer any more.
struct Group {
    leader: Option<Pid>,
}

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(leader) = self.leader {
            // They may just have ended.
            kill_process_group(leader, signal).ok();
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::TERM);
    }
}

async fn run(mut child: Child) -> io::Result<Said> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (stdout, stderr) = tokio::try_join!(read(stdout), read(stderr))?;
    Ok(Said { status: child.wait().await?, stdout, stderr })
}

/// Reads to the end and keeps the beginning.
async fn read(stream: Option<impl AsyncRead + Unpin>) -> io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        (&mut stream).take(OUTPUT_BYTES_MAX).read_to_end(&mut bytes).await?;
        copy(&mut stream, &mut sink()).await?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn spoken(arguments: &[&str]) -> String {
    without_passwords(&format!("git {}", arguments.join(" ")))
}

fn failed(arguments: &[&str], said: &Said) -> GitError {
    let lines = said.stderr.lines().map(str::trim).filter(|line| !line.is_empty());
    // Progress and hints stand before what went wrong.
    let told: Vec<&str> =
        lines.filter(|line| !line.starts_with("hint:") && !line.starts_with("Cloning into")).collect();
    let message = match (told.is_empty(), said.status.signal()) {
        (false, _) => told.join("; "),
        (true, Some(signal)) => format!("it was killed by signal {signal}"),
        (true, None) => format!("it ended with status {} and said nothing", said.status.code().unwrap_or_default()),
    };
    let message = match message.char_indices().nth_back(MESSAGE_CHARS_MAX) {
        Some((start, _)) => format!("…{}", &message[start..]),
        None => message,
    };
    GitError::Failed { command: spoken(arguments), message: without_passwords(&message) }
}

/// Takes `user:password@` out of addresses: an error is read by more people than may know it.
fn without_passwords(text: &str) -> String {
    let mut parts = text.split("://");
    let mut clean = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let host_end = part.find(|c: char| c == '/' || c == '\'' || c.is_whitespace()).unwrap_or(part.len());
        let kept = match part[..host_end].rfind('@') {
            Some(at) if part[..at].contains(':') => &part[at + 1..],
            Some(_) | None => part,
        };
        clean.push_str("://");
        clean.push_str(kept);
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_do_not_stand_in_errors() {
        let check = |text: &str, expected: &str| assert_eq!(without_passwords(text), expected);
        check("git clone https://ann:secret@example.com/a x", "git clone https://example.com/a x");
        check("fatal: 'https://a:b@c/d' and ssh://git@e/f", "fatal: 'https://c/d' and ssh://git@e/f");
        check("user@host:path", "user@host:path");
    }

    #[tokio::test]
    async fn a_command_that_takes_too_long_is_stopped_with_all_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let git = Git::new(&[("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())]);
        let slow = ["-c", "alias.wait=!sleep 600; true", "wait"];
        let error = git.text(dir.path(), &slow, Duration::from_millis(50)).await.unwrap_err();
        assert!(matches!(error, GitError::TooLong { .. }), "{error}");
    }

    #[tokio::test]
    async fn what_is_missing_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let nowhere = Git::new(&[("PATH".into(), dir.path().to_str().unwrap().to_owned())]);
        assert_eq!(nowhere.text(dir.path(), &["status"], LOOK_MAX).await.unwrap_err(), GitError::NotInstalled);
        let git = Git::new(&[("PATH".into(), "/usr/bin:/bin".into())]);
        let error = git.text(&dir.path().join("gone"), &["status"], LOOK_MAX).await.unwrap_err();
        assert!(error.to_string().contains("there is no directory"), "{error}");
    }
}
