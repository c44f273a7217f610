//! Compresses a log once nobody writes to it any more, and brings the plain one back before somebody does again.
//! At every moment one of the two is there whole: the new one is complete, durable and read back before the old one goes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use sha2::{Digest, Sha256};
use wakeful_domain::hex;

use super::super::record::{LOG_FILE, PACKED_LOG_FILE};
use super::packed::{FRAME_BYTES_MAX, Packed, Packer};
use super::source::{Source, open};

/// Shorter logs stay as they are: a file takes a block of the disk in any case.
const PLAIN_BYTES_MAX: u64 = 16 * 1024;

/// What compressing a log has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compressed {
    pub bytes_before: u64,
    pub bytes_after: u64,
    /// Of the plain log, in hexadecimal.
    pub sha256: String,
}

/// Compresses the log of the run in `dir`; `None` if there is nothing to do, because it is short or compressed already.
///
/// Blocks for a second per some hundred megabytes. Only for a run that has no live shim and is not being started again.
/// After an error the plain log is there as before.
pub fn compress(dir: &Path) -> io::Result<Option<Compressed>> {
    let Some(plain) = open(&dir.join(LOG_FILE))? else { return Ok(None) };
    let plain = Source::Plain(plain);
    let length = plain.length()?;
    if length < PLAIN_BYTES_MAX {
        return Ok(None);
    }
    let unfinished = dir.join(format!("{PACKED_LOG_FILE}.unfinished"));
    let packed = pack(&plain, length, &unfinished).inspect_err(|_| drop(fs::remove_file(&unfinished)))?;
    if plain.length()? != length {
        fs::remove_file(&unfinished)?;
        return Err(io::Error::other("the log has grown meanwhile"));
    }
    fs::rename(&unfinished, dir.join(PACKED_LOG_FILE))?;
    sync(dir)?;
    fs::remove_file(dir.join(LOG_FILE))?;
    Ok(Some(packed))
}

/// Makes the compressed file, durable and proven to hold what the plain one holds.
fn pack(plain: &Source, length: u64, path: &Path) -> io::Result<Compressed> {
    let mut packer = Packer::new(create(path)?)?;
    let mut sum = Sha256::new();
    let mut at = 0;
    while at < length {
        let mut bytes = plain.read_range(at, (FRAME_BYTES_MAX as u64).min(length - at))?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(bytes.len(), |end| end + 1);
        // What was torn off at the very end stays as it is.
        bytes.truncate(if at + bytes.len() as u64 == length { bytes.len() } else { whole });
        if bytes.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the log has become shorter meanwhile"));
        }
        packer.add(&bytes)?;
        sum.update(&bytes);
        at += bytes.len() as u64;
    }
    packer.finish()?.sync_all()?;
    let sha256 = hex::of(&sum.finalize());
    let file = File::open(path)?;
    let bytes_after = file.metadata()?.len();
    let read_back = Packed::open(file)?;
    let mut proof = Sha256::new();
    copy(&read_back, |bytes| {
        proof.update(bytes);
        Ok(())
    })?;
    if read_back.length() != length || hex::of(&proof.finalize()) != sha256 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the compressed log does not read back as it was written",
        ));
    }
    Ok(Compressed { bytes_before: length, bytes_after, sha256 })
}

/// Brings a plain log back where there is a compressed one, because somebody is going to append to it.
pub(super) fn restore(dir: &Path) -> io::Result<()> {
    let packed_path = dir.join(PACKED_LOG_FILE);
    let Some(packed) = open(&packed_path)? else { return Ok(()) };
    let plain_path = dir.join(LOG_FILE);
    if !plain_path.try_exists()? {
        let unfinished = dir.join(format!("{LOG_FILE}.unfinished"));
        let mut file = create(&unfinished)?;
        copy(&Packed::open(packed)?, |bytes| file.write_all(bytes))?;
        file.sync_all()?;
        fs::rename(&unfinished, &plain_path)?;
        sync(dir)?;
    }
    // Both are whole. From here on only the plain one grows.
    fs::remove_file(&packed_path)?;
    sync(dir)
}

/// Hands on a whole log, piece by piece.
fn copy(packed: &Packed, mut write: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut at = 0;
    while at < packed.length() {
        let bytes = packed.read_range(at, FRAME_BYTES_MAX as u64)?;
        write(&bytes)?;
        at += bytes.len() as u64;
    }
    Ok(())
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
