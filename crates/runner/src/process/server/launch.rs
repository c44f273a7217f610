//! Starts a shim and hands it the description. An error here means that no agent was started and none will be.

use std::fs::DirBuilder;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

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

/// Starts `program` with `arguments` as the shim of `launch`.
///
/// Returns once the shim has the whole description; whether the agent started comes as an update.
/// Dropping the future before that starts nothing. Blocks for a `posix_spawn`, well under a millisecond.
pub async fn launch(program: &Path, arguments: &[&str], launch: &Launch) -> Result<Attached, LaunchError> {
    let description = encode(launch).map_err(LaunchError::Describe)?;
    if description.len() > Launch::BYTES_MAX {
        return Err(LaunchError::TooLong { bytes: description.len() });
    }
    create_private_dir(&launch.dir).map_err(|source| LaunchError::Directory { path: launch.dir.clone(), source })?;
    let (stream, child) =
        spawn(program, arguments).map_err(|source| LaunchError::Spawn { program: program.to_owned(), source })?;
    write_all(&stream, &description).await.map_err(LaunchError::Interrupted)?;
    Ok(Attached::new(stream, launch.dir.clone(), launch.number, Some(child)))
}

/// Creates a directory that only we may enter, and its parents; one that exists is left as it is.
pub(super) fn create_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn spawn(program: &Path, arguments: &[&str]) -> io::Result<(UnixStream, Child)> {
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
