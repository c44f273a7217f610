//! Starts the agent: its own process group, exactly its environment, pipes that never block us.
//! When it cannot be started, says why in words that a person can act on.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustix::io::ioctl_fionbio;
use rustix::process::Pid;

use super::super::launch::Launch;
use super::super::log::LogStream;
use super::super::log::secrets::Secrets;
use super::super::record::StartFailure;
use super::input::Input;
use super::output::Output;

/// The agent's main process and our ends of its pipes.
pub struct Agent {
    pub pid: Pid,
    pub stdin: Input,
    pub outputs: [Output; 2],
}

/// Starts the agent of a launch.
pub fn start(launch: &mut Launch, secrets: Option<Arc<Secrets>>) -> Result<Agent, StartFailure> {
    let program = resolve(launch)?;
    let mut command = Command::new(program);
    command.arg0(&launch.argv[0]).args(&launch.argv[1..]).current_dir(&launch.cwd);
    command.env_clear().envs(launch.env.iter().map(|(name, value)| (name, value)));
    command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
    let has_input = launch.keeps_stdin_open || !launch.stdin.is_empty();
    command.stdin(if has_input { Stdio::piped() } else { Stdio::null() });
    let mut child = command.spawn().map_err(|error| explain(launch, &error))?;
    let text = std::mem::take(&mut launch.stdin).into_bytes();
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    // Only our own ends: the agent's are other descriptions and stay blocking. It cannot fail on a pipe.
    let failed = |error: rustix::io::Errno| explain(launch, &error.into());
    stdin.as_ref().map_or(Ok(()), |pipe| ioctl_fionbio(pipe, true)).map_err(failed)?;
    stdout.as_ref().map_or(Ok(()), |pipe| ioctl_fionbio(pipe, true)).map_err(failed)?;
    stderr.as_ref().map_or(Ok(()), |pipe| ioctl_fionbio(pipe, true)).map_err(failed)?;
    let stdin = Input::new(stdin, text, launch.keeps_stdin_open);
    let stdout = Output::new(LogStream::Stdout, stdout.map(OwnedFd::from), secrets.clone());
    let stderr = Output::new(LogStream::Stderr, stderr.map(OwnedFd::from), secrets);
    Ok(Agent { pid: Pid::from_child(&child), stdin, outputs: [stdout, stderr] })
}

/// The file to execute, found as a shell would find it in the agent's own directory and `PATH`.
fn resolve(launch: &Launch) -> Result<PathBuf, StartFailure> {
    if !launch.cwd.is_dir() {
        return Err(failure(launch, "working_directory_missing", "the working directory does not exist"));
    }
    let Some(name) = launch.argv.first().filter(|name| !name.is_empty()) else {
        return Err(failure(launch, "command_not_found", "no command is configured"));
    };
    if name.contains('/') {
        // Relative to the agent's directory, not to ours.
        let program = launch.cwd.join(name);
        return match program.symlink_metadata() {
            Ok(_) if is_executable(&program) => Ok(program),
            Ok(_) => Err(failure(launch, "not_executable", "the file is not executable")),
            Err(_) => Err(failure(launch, "command_not_found", "the file does not exist")),
        };
    }
    let candidates = path_of(launch).split(':').map(|dir| launch.cwd.join(dir).join(name));
    let existing: Vec<PathBuf> = candidates.filter(|candidate| candidate.is_file()).collect();
    match existing.iter().find(|candidate| is_executable(candidate)) {
        Some(program) => Ok(program.clone()),
        None if existing.is_empty() => Err(failure(launch, "command_not_found", "it is in no directory of the PATH")),
        None => Err(failure(launch, "not_executable", "the file in the PATH is not executable")),
    }
}

fn is_executable(program: &Path) -> bool {
    program.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

fn path_of(launch: &Launch) -> &str {
    launch.env.iter().rev().find(|(name, _)| name == "PATH").map_or("/usr/bin:/bin", |(_, value)| value)
}

/// What a failed start means: the file was there a moment ago.
fn explain(launch: &Launch, error: &io::Error) -> StartFailure {
    match error.raw_os_error() {
        Some(libc::ENOENT) => {
            failure(launch, "command_not_found", "the interpreter that its first line names does not exist")
        }
        Some(libc::EACCES | libc::ENOEXEC) => {
            failure(launch, "not_executable", &format!("the system refuses to execute it: {error}"))
        }
        Some(libc::E2BIG) => {
            failure(launch, "spawn_failed", "arguments and environment are longer than the system allows")
        }
        _ => failure(launch, "spawn_failed", &format!("the system cannot start it: {error}")),
    }
}

fn failure(launch: &Launch, code: &str, why: &str) -> StartFailure {
    let command = launch.argv.first().map_or("", String::as_str);
    let command = OsStr::new(command).display();
    let message = format!(
        "cannot start `{command}`: {why} (working directory {}, PATH {})",
        launch.cwd.display(),
        path_of(launch)
    );
    StartFailure { code: code.to_owned(), message }
}
