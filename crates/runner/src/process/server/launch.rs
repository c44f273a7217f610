//! Starts a shim and hands it the description. An error here means that no agent was started and none will be.

use std::fs::DirBuilder;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use super::super::launch::Launch;
use super::super::protocol::encode;
use super::attach::Attached;

/// Why no agent was started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    #[error("cannot create the directory {path} of the run")]
    Directory { path: PathBuf, source: io::Error },
    #[error("cannot write the launch description as JSON")]
    Describe(#[source] serde_json::Error),
    #[error("the launch description is {bytes} bytes long; at most {} are allowed", Launch::BYTES_MAX)]
    TooLong { bytes: usize },
    #[error("cannot start the shim {program}")]
    Spawn { program: PathBuf, source: io::Error },
    #[error("the shim ended before it had read the launch description")]
    Interrupted(#[source] io::Error),
}

/// Starts shims, and keeps one waiting for its launch, so that an agent need not wait for its shim to start.
#[derive(Debug)]
pub struct Shims {
    program: PathBuf,
    arguments: Vec<String>,
    waiting: Mutex<Option<Waiting>>,
}

/// A shim without a launch. When we die its socket closes, and it ends.
#[derive(Debug)]
struct Waiting {
    stream: UnixStream,
    child: Child,
}

impl Shims {
    /// Shims are `program` with `arguments`.
    pub fn new(program: &Path, arguments: &[&str]) -> Shims {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Shims { program: program.to_owned(), arguments, waiting: Mutex::new(None) }
    }

    /// Gives a shim its launch.
    ///
    /// Returns once it has the whole description; whether the agent started comes as an update.
    /// Dropping the future before that starts nothing. Blocks for a `posix_spawn` at most, well under a millisecond.
    pub async fn launch(&self, launch: &Launch) -> Result<Attached, LaunchError> {
        let description = encode(launch).map_err(LaunchError::Describe)?;
        if description.len() > Launch::BYTES_MAX {
            return Err(LaunchError::TooLong { bytes: description.len() });
        }
        create_private_dir(&launch.dir)
            .map_err(|source| LaunchError::Directory { path: launch.dir.clone(), source })?;
        let attached = |shim: Waiting| Attached::new(shim.stream, launch.dir.clone(), launch.number, Some(shim.child));
        let waiting = self.slot().take();
        if let Some(shim) = waiting {
            match write_all(&shim.stream, &description).await {
                Ok(()) => return Ok(attached(shim)),
                // It ended while it waited; a fresh one takes its place.
                Err(error) => tracing::debug!("the waiting shim was gone: {error}"),
            }
        }
        let shim = self.spawn()?;
        write_all(&shim.stream, &description).await.map_err(LaunchError::Interrupted)?;
        Ok(attached(shim))
    }

    /// Makes sure that a shim is waiting. Blocks for a `posix_spawn` if none is.
    pub fn prepare(&self) {
        let mut slot = self.slot();
        if slot.is_none() {
            match self.spawn() {
                Ok(shim) => *slot = Some(shim),
                // The next launch tries again, and reports it.
                Err(error) => tracing::debug!("no shim could be made to wait: {error}"),
            }
        }
    }

    fn spawn(&self) -> Result<Waiting, LaunchError> {
        let (stream, child) = spawn(&self.program, &self.arguments)
            .map_err(|source| LaunchError::Spawn { program: self.program.clone(), source })?;
        Ok(Waiting { stream, child })
    }

    fn slot(&self) -> MutexGuard<'_, Option<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Creates a directory that only we may enter, and its parents; one that exists is left as it is.
pub(super) fn create_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn spawn(program: &Path, arguments: &[String]) -> io::Result<(UnixStream, Child)> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let stream = UnixStream::from_std(ours)?;
    // No pre_exec, uid or changed PATH: std then uses posix_spawn, whose cost does not grow with our memory.
    // The environment is emptied so that a shim is never taken for a process of its run.
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok((stream, child))
}

async fn write_all(stream: &UnixStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
