//! What became of a launch that this server is not connected to, as after its own restart.
//! The order of the questions matters: the exit record first, then who owns the launch, then whether it lives.

use std::fs;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::super::identity::{Identity, boot_id};
use super::super::record::{AgentRecord, ExitRecord, ShimRecord, control_socket, exit_file, shim_file};
use super::attach::Attached;
use super::launch::create_private_dir;

/// A live shim listens within microseconds of its first file; longer silence is reported, not waited out.
const ATTEMPTS_MAX: u32 = 250;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(20);

/// What became of a launch.
#[derive(Debug)]
pub enum Found {
    /// No shim took it, and none can any more: it has just been marked as abandoned, durably.
    NeverStarted,
    /// Its shim lives; the present state comes as the first updates.
    Running(Attached),
    /// It ended and the tree was proven empty.
    Ended(Box<ExitRecord>),
    /// Its shim is gone without an exit record: [`super::sweep`] what it left.
    Died(Death),
}

/// A shim that is gone without an exit record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// `None` if it died before its identity was written: then it started nothing.
    pub shim: Option<Identity>,
    pub agent: Option<Identity>,
    /// Whether the machine was started anew since: then nothing of it can be left.
    pub rebooted: bool,
}

/// Why that cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    #[error("cannot read the records of launch {number} in {dir}")]
    Unreadable { dir: PathBuf, number: u32, source: io::Error },
    #[error("the shim {pid} of launch {number} in {dir} lives but does not answer on its socket")]
    Silent { dir: PathBuf, number: u32, pid: i32 },
}

/// Says what became of launch `number` of the run in `dir`. If no shim has taken it, none will after this call.
pub async fn find(dir: &Path, number: u32) -> Result<Found, FindError> {
    let unreadable = |source| FindError::Unreadable { dir: dir.to_owned(), number, source };
    let boot = boot_id().map_err(unreadable)?;
    let mut alive = None;
    for _ in 0..ATTEMPTS_MAX {
        match look(dir, number, &boot).map_err(unreadable)? {
            Sight::Ended(record) => return Ok(Found::Ended(Box::new(record))),
            Sight::NeverStarted => return Ok(Found::NeverStarted),
            Sight::Died(death) => return Ok(Found::Died(death)),
            Sight::Unwritten => {}
            Sight::Alive(pid) => {
                if let Ok(stream) = connect(dir, number).await {
                    return Ok(Found::Running(Attached::new(stream, dir.to_owned(), number, None)));
                }
                alive = Some(pid);
            }
        }
        tokio::time::sleep(BETWEEN_ATTEMPTS).await;
    }
    match alive {
        Some(pid) => Err(FindError::Silent { dir: dir.to_owned(), number, pid }),
        None => Ok(Found::Died(Death { shim: None, agent: None, rebooted: false })),
    }
}

/// One look at the disk and at `/proc`.
enum Sight {
    Ended(ExitRecord),
    NeverStarted,
    /// The shim file is there but not whole: being written, or its writer died over it.
    Unwritten,
    Alive(i32),
    Died(Death),
}

fn look(dir: &Path, number: u32, boot: &str) -> io::Result<Sight> {
    if let Some(record) = read_exit_record(dir, number)? {
        return Ok(Sight::Ended(record));
    }
    let Some(text) = read_if_there(&dir.join(shim_file(number)))? else {
        return if abandon(dir, number)? { Ok(Sight::NeverStarted) } else { Ok(Sight::Unwritten) };
    };
    let mut lines = text.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    let identity = match lines.next().and_then(parse::<ShimRecord>) {
        None => return Ok(Sight::Unwritten),
        Some(ShimRecord::Abandoned) => return Ok(Sight::NeverStarted),
        Some(ShimRecord::Shim { identity, .. }) => identity,
    };
    if identity.is_alive(boot) {
        return Ok(Sight::Alive(identity.pid));
    }
    // It may have ended well between the first question and the last.
    if let Some(record) = read_exit_record(dir, number)? {
        return Ok(Sight::Ended(record));
    }
    let agent = lines.next().and_then(parse::<AgentRecord>).map(|record| record.agent);
    let rebooted = identity.boot_id != boot;
    Ok(Sight::Died(Death { shim: Some(identity), agent, rebooted }))
}

/// Marks the launch as one that no shim may start. False if a shim was there first.
fn abandon(dir: &Path, number: u32) -> io::Result<bool> {
    create_private_dir(dir)?;
    let created = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(dir.join(shim_file(number)));
    let mut file = match created {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(error),
    };
    let line = super::super::protocol::encode(&ShimRecord::Abandoned)?;
    file.write_all(&line)?;
    file.sync_all()?;
    fs::File::open(dir)?.sync_all()?;
    Ok(true)
}

/// The exit record of a launch; `None` while there is none.
pub(super) fn read_exit_record(dir: &Path, number: u32) -> io::Result<Option<ExitRecord>> {
    let Some(bytes) = read_if_there(&dir.join(exit_file(number)))? else { return Ok(None) };
    Ok(Some(serde_json::from_slice(&bytes)?))
}

fn read_if_there(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn parse<T: DeserializeOwned>(line: &[u8]) -> Option<T> {
    serde_json::from_slice(line).ok()
}

async fn connect(dir: &Path, number: u32) -> io::Result<UnixStream> {
    let opened = fs::File::open(dir)?;
    // The path of a socket may be 107 bytes long; through the descriptor it always is shorter.
    UnixStream::connect(format!("/proc/self/fd/{}/{}", opened.as_raw_fd(), control_socket(number))).await
}
