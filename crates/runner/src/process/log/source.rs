//! The bytes of a log, be it plain or compressed, whichever is there at the moment.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::super::record::{LOG_FILE, PACKED_LOG_FILE};
use super::packed::Packed;

/// An open log; what was opened can be read on, whatever becomes of its name.
#[derive(Debug)]
pub enum Source {
    /// There is no output yet.
    None,
    Plain(File),
    Packed(Packed),
}

impl Source {
    /// Opens the log in `dir`.
    pub fn open(dir: &Path) -> io::Result<Source> {
        if let Some(file) = open(&dir.join(LOG_FILE))? {
            return Ok(Source::Plain(file));
        }
        if let Some(file) = open(&dir.join(PACKED_LOG_FILE))? {
            let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", dir.display()));
            return Packed::open(file).map(Source::Packed).map_err(named);
        }
        // One is there before the other goes: if neither was, the plain one has come back in between, or there is none.
        Ok(open(&dir.join(LOG_FILE))?.map_or(Source::None, Source::Plain))
    }

    /// Bytes of the plain log at the moment.
    pub fn length(&self) -> io::Result<u64> {
        match self {
            Source::None => Ok(0),
            Source::Plain(file) => Ok(file.metadata()?.len()),
            Source::Packed(packed) => Ok(packed.length()),
        }
    }

    /// A part of the plain log, shorter where the log ends.
    pub fn read_range(&self, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        match self {
            Source::None => Ok(Vec::new()),
            Source::Plain(file) => read_range(file, offset, length),
            Source::Packed(packed) => packed.read_range(offset, length),
        }
    }
}

/// Opens a file; `None` if there is none.
pub fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_range(file: &File, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
