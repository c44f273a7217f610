//! The small files that a shim leaves in the directory of its run, which is its working directory.
//! Here is how they become durable, not what is in them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;

use super::super::protocol::encode;
use super::super::record::{AgentRecord, ExitRecord, ShimRecord, exit_file, shim_file};

/// Takes the launch: creates the shim file, durably. `None` if someone was there first.
pub fn take_launch(number: u32, record: &ShimRecord) -> io::Result<Option<File>> {
    let mut file = match OpenOptions::new().append(true).create_new(true).mode(0o600).open(shim_file(number)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
        Err(error) => return Err(error),
    };
    file.write_all(&encode(record)?)?;
    file.sync_all()?;
    sync_dir()?;
    Ok(Some(file))
}

/// Adds the agent to the shim file. Not synced: after a reboot it means nothing any more.
pub fn name_agent(file: &mut File, record: &AgentRecord) -> io::Result<()> {
    file.write_all(&encode(record)?)
}

/// Writes the exit record so that it is there whole and durable, or not at all.
pub fn write_exit_record(number: u32, record: &ExitRecord) -> io::Result<()> {
    let name = exit_file(number);
    let unfinished = format!("{name}.unfinished");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(&encode(record)?)?;
    file.sync_data()?;
    fs::rename(&unfinished, &name)?;
    sync_dir()
}

fn sync_dir() -> io::Result<()> {
    File::open(".")?.sync_all()
}
