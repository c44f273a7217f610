//! What earlier launches left in a log: its length, last `seq`, text and sum. A torn last record,
//! left by a shim that was killed or by a full disk, is removed.

use std::fs::File;
use std::io::{self, BufRead, BufReader};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use wakeful_domain::hex;

use super::{Content, LogRecord, LogStream};

/// The length of a file and its running sum.
#[derive(Default)]
pub struct Sum {
    pub bytes: u64,
    sha256: Sha256,
}

/// A log file as it stands on disk.
#[derive(Default)]
pub struct Resumed {
    pub sum: Sum,
    /// Records; the `seq` of the last one.
    pub lines: u64,
    /// Output of the agent in them.
    pub text_bytes: u64,
    pub is_truncated: bool,
}

impl Sum {
    /// Counts bytes that were appended to the file.
    pub fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.sha256.update(bytes);
    }

    pub fn in_hexadecimal(&self) -> String {
        hex::of(&self.sha256.clone().finalize())
    }
}

impl Resumed {
    fn add_record(&mut self, line: &[u8]) {
        self.sum.add(line);
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
    let torn_bytes = file.metadata()?.len().saturating_sub(resumed.sum.bytes);
    file.set_len(resumed.sum.bytes)?;
    Ok((resumed, torn_bytes))
}
