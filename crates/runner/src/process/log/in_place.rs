//! Marks a loss on a disk that takes not one byte more: the last records give up their place for the
//! mark, which says that they are missing, too. What a file has already, it may be written over.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::resume::{Resumed, resume};
use super::{Content, LogRecord, LogStream};

/// The records that give up their place lie within this at the end of the log: none is longer than 64 KiB.
const END_BYTES_MAX: u64 = 256 * 1024;

/// Output that is lost: bytes with line ends, and lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Loss {
    pub bytes: u64,
    pub lines: u64,
}

/// Writes the mark that `mark` makes, given its `seq` and all that is lost with it, over the end of the log;
/// gives the log as it then stands, and the
/// bytes of output that gave up their place. `None` if the log has too little for it.
pub fn mark_in_place(
    path: &Path,
    lost: Loss,
    mark: impl Fn(u64, Loss) -> Vec<u8>,
) -> io::Result<Option<(Resumed, u64)>> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let length = file.metadata()?.len();
    let start = length.saturating_sub(END_BYTES_MAX);
    let mut bytes = vec![0; usize::try_from(length - start).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, start)?;
    let (mut lost, mut given_up, mut end) = (lost, 0, bytes.len());
    while end > 0 {
        // The first of what was read may be cut off.
        let begin = bytes[..end - 1].iter().rposition(|byte| *byte == b'\n').map(|at| at + 1);
        let Some(begin) = begin.or((start == 0).then_some(0)) else { return Ok(None) };
        let Ok(record) = serde_json::from_slice::<LogRecord>(&bytes[begin..end]) else { return Ok(None) };
        let output = output_of(&record);
        (lost.bytes, lost.lines) = (lost.bytes + output.bytes, lost.lines + output.lines);
        given_up += if record.stream == LogStream::Wakeful { 0 } else { output.bytes };
        end = begin;
        let written = mark(record.seq, lost);
        if written.len() <= bytes.len() - end {
            let at = start + end as u64;
            file.write_all_at(&written, at)?;
            file.set_len(at + written.len() as u64)?;
            file.sync_data()?;
            return resume(&file).map(|(resumed, _)| Some((resumed, given_up)));
        }
    }
    Ok(None)
}

/// The output that a record holds; marks hold none, but what they say is missing.
pub fn output_of(record: &LogRecord) -> Loss {
    if record.stream == LogStream::Wakeful {
        let missing = record.missing.unwrap_or_default();
        return Loss { bytes: missing.bytes.unwrap_or(0), lines: missing.lines.unwrap_or(0) };
    }
    let bytes = match &record.content {
        Content::Text(text) => text.len(),
        Content::Base64(text) => STANDARD.decode(text).map_or(0, |bytes| bytes.len()),
    };
    Loss { bytes: bytes as u64 + u64::from(!record.partial), lines: u64::from(!record.partial) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(seq: u64, text: &str) -> String {
        format!("{{\"seq\":{seq},\"ts\":\"2026-11-21T09:00:00.000Z\",\"stream\":\"stdout\",\"text\":\"{text}\"}}\n")
    }

    fn mark(seq: u64, lost: Loss) -> Vec<u8> {
        format!(
            "{{\"seq\":{seq},\"ts\":\"2026-11-21T09:00:00.000Z\",\"stream\":\"wakeful\",\"text\":\"lost {} {} and some words more to be longer than a line\"}}\n",
            lost.bytes, lost.lines
        )
        .into_bytes()
    }

    #[test]
    fn the_last_records_give_their_place_to_the_mark() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.ndjson");
        let text: String = (1..=10).map(|seq| line(seq, &format!("line {seq}"))).collect();
        std::fs::write(&path, &text).unwrap();
        let (marked, given_up) = mark_in_place(&path, Loss { bytes: 100, lines: 7 }, mark).unwrap().unwrap();
        let kept = std::fs::read_to_string(&path).unwrap();
        assert!(kept.len() <= text.len() && text.starts_with(&kept[..line(1, "line 1").len() * 8]));
        // Records 9 and 10 had to go: 7 and 8 bytes.
        assert!(kept.ends_with(&String::from_utf8(mark(9, Loss { bytes: 115, lines: 9 })).unwrap()), "{kept}");
        assert_eq!((marked.lines, marked.sum.bytes, given_up), (9, kept.len() as u64, 15));
    }

    #[test]
    fn a_log_with_too_little_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.ndjson");
        std::fs::write(&path, line(1, "x")).unwrap();
        assert!(mark_in_place(&path, Loss { bytes: 5, lines: 1 }, mark).unwrap().is_none());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), line(1, "x"));
    }
}
