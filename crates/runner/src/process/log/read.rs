//! Reads a log by offset, by line, from its end, or as it grows, be it plain or compressed. Only whole records are
//! ever returned, so that reading on from `offset_next` is exact and gapless. [`LogReader`] blocks; [`read_log`],
//! [`read_log_lines`] and [`tail_log`] are for async callers.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::record::{ShimRecord, exit_file, shim_file};
use super::source::Source;
use super::{Content, LogRecord, LogStream, RECORD_BYTES_MAX};

/// Bytes taken at a time when reading from the end.
const STEP_BYTES: u64 = 64 * 1024;
/// A tail is at most this long, however many lines were asked for.
const TAIL_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Some whole records and where the next one starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogChunk {
    pub records: Vec<LogRecord>,
    /// Where to read on, in bytes from the beginning of the plain file.
    pub offset_next: u64,
    /// Nothing follows these records and no live launch can add any.
    pub is_complete: bool,
}

/// An open log. All calls block on the file.
#[derive(Debug)]
pub struct LogReader {
    source: Source,
    dir: PathBuf,
}

/// See [`LogReader::read`].
pub async fn read_log(dir: &Path, offset: u64, bytes_max: usize) -> io::Result<LogChunk> {
    in_background(dir, move |reader| reader.read(offset, bytes_max)).await
}

/// See [`LogReader::read_lines`].
pub async fn read_log_lines(dir: &Path, from_line: u64, bytes_max: usize) -> io::Result<LogChunk> {
    in_background(dir, move |reader| reader.read_lines(from_line, bytes_max)).await
}

/// See [`LogReader::tail`].
pub async fn tail_log(dir: &Path, lines: usize) -> io::Result<LogChunk> {
    in_background(dir, move |reader| reader.tail(lines)).await
}

async fn in_background<F>(dir: &Path, work: F) -> io::Result<LogChunk>
where
    F: FnOnce(LogReader) -> io::Result<LogChunk> + Send + 'static,
{
    let dir = dir.to_owned();
    tokio::task::spawn_blocking(move || LogReader::open(&dir).and_then(work)).await.map_err(io::Error::other)?
}

/// The bytes that a stream wrote, line ends included, as far as they are in `records`.
pub fn bytes_of(records: &[LogRecord], stream: LogStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    for record in records.iter().filter(|record| record.stream == stream) {
        match &record.content {
            Content::Text(text) => bytes.extend_from_slice(text.as_bytes()),
            Content::Base64(text) => bytes.extend(STANDARD.decode(text).unwrap_or_default()),
        }
        if !record.partial {
            bytes.push(b'\n');
        }
    }
    bytes
}

impl LogReader {
    /// Opens the log of the run in `dir`; a run without output has an empty one.
    pub fn open(dir: &Path) -> io::Result<LogReader> {
        Ok(LogReader { source: Source::open(dir)?, dir: dir.to_owned() })
    }

    /// The whole records from `offset` on, at most about `bytes_max` bytes of them but at least one if there is one.
    pub fn read(&self, offset: u64, bytes_max: usize) -> io::Result<LogChunk> {
        // Asked first: what a live launch adds in between is read below.
        let launches_ended = launches_ended(&self.dir)?;
        let length = self.source.length()?;
        let wanted = u64::try_from(bytes_max.max(RECORD_BYTES_MAX)).unwrap_or(u64::MAX);
        let bytes = self.source.read_range(offset, wanted.min(length.saturating_sub(offset)))?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let records = parse(&bytes[..whole])?;
        let offset_next = offset + whole as u64;
        // A torn record after the last launch will never be whole: it does not count.
        let is_complete = launches_ended && offset + bytes.len() as u64 >= length;
        Ok(LogChunk { records, offset_next, is_complete })
    }

    /// The same, as they are kept, and how long the whole log is.
    pub fn bytes(&self, offset: u64, bytes_max: usize) -> io::Result<(Vec<u8>, u64)> {
        let length = self.source.length()?;
        let wanted = u64::try_from(bytes_max.max(RECORD_BYTES_MAX)).unwrap_or(u64::MAX);
        let mut bytes = self.source.read_range(offset, wanted.min(length.saturating_sub(offset)))?;
        bytes.truncate(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
        Ok((bytes, length))
    }

    /// The whole records from the one whose `seq` is `from_line` on, as in [`LogReader::read`]; none if there are not
    /// so many yet.
    pub fn read_lines(&self, from_line: u64, bytes_max: usize) -> io::Result<LogChunk> {
        self.read(self.offset_of(from_line)?, bytes_max)
    }

    /// Where the record whose `seq` is `from_line` begins, or the end if there are not so many yet. Finds the place
    /// without reading what is before it.
    pub fn offset_of(&self, from_line: u64) -> io::Result<u64> {
        let (mut low, mut high) = (0, self.source.length()?);
        while high - low > STEP_BYTES {
            let middle = low + (high - low) / 2;
            // The first record after the middle says on which side we are. It is near: none is longer than a step.
            match self.first_record_after(middle)? {
                Some((at, seq)) if seq <= from_line => low = at,
                Some(_) | None => high = middle,
            }
        }
        // From `low` on there is at most one step, and a record that reaches beyond it.
        let bytes = self.source.read_range(low, 2 * STEP_BYTES)?;
        let mut at = low;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            // A torn record at the end may yet become whole.
            if !line.ends_with(b"\n") || seq_of(line).is_some_and(|seq| seq >= from_line) {
                break;
            }
            at += line.len() as u64;
        }
        Ok(at)
    }

    /// The `seq` of the record that begins at `offset`, if there is one.
    pub(super) fn line_at(&self, offset: u64) -> io::Result<Option<u64>> {
        let bytes = self.source.read_range(offset, 64)?;
        Ok(seq_of(&bytes))
    }

    /// Where the first record after `offset` begins, and its `seq`. Damaged ones are passed over.
    fn first_record_after(&self, offset: u64) -> io::Result<Option<(u64, u64)>> {
        let bytes = self.source.read_range(offset, 2 * STEP_BYTES)?;
        let mut at = offset;
        for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
            if let Some(seq) = seq_of(line).filter(|_| index > 0) {
                return Ok(Some((at, seq)));
            }
            at += line.len() as u64;
        }
        Ok(None)
    }

    /// The last `lines` lines of all streams; a continued line counts once. Reads from the end.
    pub fn tail(&self, lines: usize) -> io::Result<LogChunk> {
        let launches_ended = launches_ended(&self.dir)?;
        let length = self.source.length()?;
        let mut start = length;
        let mut step = STEP_BYTES;
        loop {
            start = start.saturating_sub(step);
            let bytes = self.source.read_range(start, length - start)?;
            let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            // Unless at the very beginning, the first record may be cut off.
            let first =
                if start == 0 { 0 } else { bytes.iter().position(|byte| *byte == b'\n').map_or(whole, |n| n + 1) };
            let mut records = parse(&bytes[first.min(whole)..whole])?;
            let from = start_of_last_lines(&records, lines);
            if from.is_some() || start == 0 || length - start >= TAIL_BYTES_MAX {
                records.drain(..from.unwrap_or(0));
                return Ok(LogChunk { records, offset_next: start + whole as u64, is_complete: launches_ended });
            }
            step = (length - start).max(STEP_BYTES);
        }
    }
}

/// Where the last `lines` lines begin, if a line end before them shows that they are whole.
fn start_of_last_lines(records: &[LogRecord], lines: usize) -> Option<usize> {
    let ends = records.iter().enumerate().rev().filter(|(_, record)| !record.partial).map(|(index, _)| index);
    // An unfinished line at the end counts as one.
    let open_end = usize::from(records.last().is_some_and(|record| record.partial));
    ends.skip(lines.saturating_sub(open_end)).map(|index| index + 1).next()
}

/// The `seq` of an encoded record; `None` if this is not the beginning of one.
fn seq_of(line: &[u8]) -> Option<u64> {
    let rest = line.strip_prefix(br#"{"seq":"#)?;
    let end = rest.iter().position(|byte| *byte == b',')?;
    std::str::from_utf8(&rest[..end]).ok()?.parse().ok()
}

fn parse(bytes: &[u8]) -> io::Result<Vec<LogRecord>> {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).map_err(io::Error::from)).collect()
}

/// Whether every launch that was begun has its exit record or was abandoned.
fn launches_ended(dir: &Path) -> io::Result<bool> {
    for number in 1.. {
        let Ok(begun) = fs::read(dir.join(shim_file(number))) else { return Ok(number > 1) };
        let first = begun.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let is_abandoned = matches!(serde_json::from_slice(first), Ok(ShimRecord::Abandoned));
        if !is_abandoned && !dir.join(exit_file(number)).try_exists()? {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wakeful_domain::time::Timestamp;

    fn record(partial: bool) -> LogRecord {
        let content = Content::Text(String::new());
        LogRecord { seq: 1, ts: Timestamp::from_millis(0), stream: LogStream::Stdout, content, partial, missing: None }
    }

    #[test]
    fn a_continued_line_counts_once_in_a_tail() {
        let check = |partials: &[bool], lines, expected| {
            let records: Vec<_> = partials.iter().map(|partial| record(*partial)).collect();
            assert_eq!(start_of_last_lines(&records, lines), expected, "{partials:?} {lines}");
        };
        check(&[false, false, false], 1, Some(2));
        check(&[false, false, false], 2, Some(1));
        check(&[false, true, true, false], 1, Some(1));
        check(&[false, false, true], 1, Some(2));
        check(&[false, false, true], 2, Some(1));
        check(&[true, false], 1, None);
        check(&[], 5, None);
    }
}
