//! What earlier launches left in a log: its length, last `seq`, text and sum. A torn last record,
//! left by a shim that was killed or by a full disk, is removed.

use std::fs::File;
use std::io::{self, BufRead, BufReader};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use wakeful_domain::hex;

use super::super::record::LogSummary;
use super::{Content, LogRecord, LogStream};

/// A log file as it stands on disk.
#[derive(Default)]
pub struct Resumed {
    pub bytes: u64,
    /// Records, those that are being written included.
    pub lines: u64,
    /// Output of the agent in them.
    pub text_bytes: u64,
    pub is_truncated: bool,
    sum: Sha256,
}

impl Resumed {
    /// Counts bytes that were appended to the file.
    pub fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.sum.update(bytes);
    }

    pub fn summary(&self, lost_bytes: u64) -> LogSummary {
        let sha256 = hex::of(&self.sum.clone().finalize());
        LogSummary { bytes: self.bytes, lines: self.lines, sha256, truncated: self.is_truncated, lost_bytes }
    }

    fn add_record(&mut self, line: &[u8]) {
        self.add(line);
        let Ok(record) = serde_json::from_slice::<LogRecord>(line) else {
            // Damaged from outside. It is kept: what follows it may be whole.
            self.is_truncated = true;
            return;
        };
        self.lines = record.seq;
        self.is_truncated |= record.missing.is_some();
        if record.stream != LogStream::Wakeful {
            let length = match &record.content {
                Content::Text(text) => text.len(),
                Content::Base64(text) => STANDARD.decode(text).map_or(0, |bytes| bytes.len()),
            };
            self.text_bytes += length as u64 + u64::from(!record.partial);
        }
    }
}

/// Reads a log from its beginning and removes what follows its last whole record; gives the bytes removed.
pub fn resume(file: &File) -> io::Result<(Resumed, u64)> {
    let mut resumed = Resumed::default();
    let mut reader = BufReader::with_capacity(64 * 1024, file);
    let mut line = Vec::new();
    loop {
        line.clear();
        let count = reader.read_until(b'\n', &mut line)?;
        if count == 0 {
            return Ok((resumed, 0));
        }
        if !line.ends_with(b"\n") {
            break;
        }
        resumed.add_record(&line);
    }
    let torn_bytes = file.metadata()?.len().saturating_sub(resumed.bytes);
    file.set_len(resumed.bytes)?;
    Ok((resumed, torn_bytes))
}
