//! Appends to a log: records in batches, a running sum of the file, and what to do when the run
//! writes more than is kept or the disk takes no more. Only one writer at a time has a log.
//!
//! Invariant: what is on disk is a gapless sequence of whole records; a record that cannot be
//! written whole is taken back, and the loss is marked by the next one that can.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use wakeful_domain::time::Timestamp;

use super::super::clock;
use super::super::launch::LogLimits;
use super::super::record::{LOG_FILE, LogSummary};
use super::encode::Encoder;
use super::in_place::{Loss, mark_in_place};
use super::resume::{Resumed, resume};
use super::split::Piece;
use super::tail::{Tail, TailEntry};
use super::{LogStream, Missing};

/// A batch is written when it is this long, even within a round.
const BATCH_BYTES_MAX: usize = 256 * 1024;

/// The log of a run, open for appending.
pub struct LogWriter {
    path: PathBuf,
    /// `None` until there is something to write.
    file: Option<File>,
    limits: LogLimits,
    /// What is on disk.
    written: Resumed,
    encoder: Encoder,
    /// Encoded records that are not on disk yet.
    batch: Vec<u8>,
    batched: Vec<Batched>,
    /// Output beyond the cap, if there is any.
    tail: Option<Tail>,
    lost_bytes: u64,
    /// Lost, and not yet marked in the log.
    unmarked: Loss,
    /// The file could not be brought back to whole records: nothing more is written.
    is_broken: bool,
    has_written: bool,
}

/// A record in the batch: where it ends and what it stands for.
struct Batched {
    end: usize,
    output: Loss,
    marks: Loss,
}

impl LogWriter {
    /// Opens the log in `dir` and reads what earlier launches left, which may end in a torn record or be compressed.
    pub fn open(dir: &Path, limits: LogLimits) -> io::Result<LogWriter> {
        super::compress::restore(dir)?;
        let path = dir.join(LOG_FILE);
        let file = match OpenOptions::new().read(true).append(true).open(&path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let (written, torn_bytes) = match &file {
            Some(file) => resume(file)?,
            None => (Resumed::default(), 0),
        };
        let mut writer = LogWriter {
            path,
            file,
            limits,
            written,
            encoder: Encoder::default(),
            batch: Vec::new(),
            batched: Vec::new(),
            tail: None,
            lost_bytes: 0,
            unmarked: Loss::default(),
            is_broken: false,
            has_written: false,
        };
        if torn_bytes > 0 {
            let text = format!("{torn_bytes} bytes of a record that was never finished were removed here");
            writer.mark(&text, Missing::default());
        }
        Ok(writer)
    }

    /// Adds a piece of output; it is on disk after the next [`LogWriter::flush`], unless it is beyond the cap.
    pub fn append(&mut self, stream: LogStream, piece: Piece<'_>, at: Timestamp) {
        if let Some(tail) = &mut self.tail {
            tail.push(TailEntry { stream, bytes: piece.bytes.into(), partial: piece.partial, at });
            return;
        }
        let text_bytes = length_of(piece);
        let text_total = self.written.text_bytes.saturating_add(text_bytes);
        let file_bytes_max = self.limits.text_bytes_max.saturating_mul(LogLimits::FRAMING_MAX);
        if text_total > self.limits.text_bytes_max || self.written.bytes + self.batch.len() as u64 > file_bytes_max {
            let mut tail = Tail::new(self.limits.tail_bytes_max);
            tail.push(TailEntry { stream, bytes: piece.bytes.into(), partial: piece.partial, at });
            self.tail = Some(tail);
            return;
        }
        self.put(stream, piece, at);
    }

    /// Adds a record of Wakeful's own.
    pub fn mark(&mut self, text: &str, missing: Missing) {
        self.written.is_truncated = true;
        self.encode(LogStream::Wakeful, Piece { bytes: text.as_bytes(), partial: false }, clock::now(), Some(missing));
        self.batched.push(Batched { end: self.batch.len(), output: Loss::default(), marks: Loss::default() });
    }

    /// Writes what was added. A disk that does not take it costs the output, never the agent.
    pub fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let taken = if self.is_broken { 0 } else { self.write_batch() };
        let kept = self.batched.iter().take_while(|record| record.end <= taken).count();
        let kept_bytes = kept.checked_sub(1).map_or(0, |last| self.batched[last].end);
        if taken > kept_bytes && !self.take_back(kept_bytes) {
            self.is_broken = true;
        }
        for (index, record) in self.batched.drain(..).enumerate() {
            if index < kept {
                self.unmarked.bytes -= record.marks.bytes.min(self.unmarked.bytes);
                self.unmarked.lines -= record.marks.lines.min(self.unmarked.lines);
            } else {
                self.written.lines -= 1;
                self.written.text_bytes -= record.output.bytes.min(self.written.text_bytes);
                self.written.is_truncated = true;
                self.lost_bytes += record.output.bytes;
                self.unmarked.bytes += record.output.bytes;
                self.unmarked.lines += record.output.lines;
            }
        }
        self.written.add(&self.batch[..kept_bytes]);
        self.has_written |= kept > 0;
        self.batch.clear();
        // One record may be far longer than the usual batch; that memory is given back.
        self.batch.shrink_to(BATCH_BYTES_MAX);
    }

    /// Bytes and lines that can be read, and the bytes of output held back or lost.
    pub fn position(&self) -> (u64, u64) {
        (self.written.bytes, self.written.lines - self.batched.len() as u64)
    }

    /// Writes the tail, syncs the file and sums up.
    pub fn finish(&mut self) -> LogSummary {
        if let Some(tail) = self.tail.take() {
            if let Some(dropped) = tail.dropped() {
                let text = format!(
                    "{} bytes of output ({} lines) were cut here: the log keeps the first {} bytes of a run and the last {}",
                    dropped.bytes.unwrap_or(0),
                    dropped.lines.unwrap_or(0),
                    self.limits.text_bytes_max,
                    self.limits.tail_bytes_max
                );
                self.mark(&text, dropped);
            }
            for entry in tail.into_entries() {
                self.put(entry.stream, Piece { bytes: &entry.bytes, partial: entry.partial }, entry.at);
            }
        }
        self.flush();
        self.mark_loss();
        self.flush();
        if self.unmarked.bytes > 0 {
            self.mark_in_place();
        }
        if let (Some(file), true) = (&self.file, self.has_written)
            && file.sync_data().is_err()
        {
            self.written.is_truncated = true;
        }
        self.written.summary(self.lost_bytes)
    }

    fn put(&mut self, stream: LogStream, piece: Piece<'_>, at: Timestamp) {
        if self.batch.is_empty() {
            self.mark_loss();
        }
        let output = Loss { bytes: length_of(piece), lines: u64::from(!piece.partial) };
        self.written.text_bytes += output.bytes;
        self.encode(stream, piece, at, None);
        self.batched.push(Batched { end: self.batch.len(), output, marks: Loss::default() });
        if self.batch.len() >= BATCH_BYTES_MAX {
            self.flush();
        }
    }

    fn mark_loss(&mut self) {
        let marks = self.unmarked;
        if marks.bytes == 0 {
            return;
        }
        self.mark(&loss_in_words(marks), missing(marks));
        if let Some(last) = self.batched.last_mut() {
            last.marks = marks;
        }
    }

    /// Nothing is appended any more, so the mark takes the place of what is there.
    fn mark_in_place(&mut self) {
        let at = clock::now();
        let mark = |seq, lost| {
            let mut record = Vec::new();
            let text = loss_in_words(lost);
            let piece = Piece { bytes: text.as_bytes(), partial: false };
            Encoder::default().encode(&mut record, seq, LogStream::Wakeful, piece, at, Some(missing(lost)));
            record
        };
        // Without a place for it the summary alone says that something is missing.
        if let Ok(Some((marked, given_up))) = mark_in_place(&self.path, self.unmarked, mark) {
            self.written = marked;
            self.lost_bytes += given_up;
            self.unmarked = Loss::default();
        }
    }

    fn encode(&mut self, stream: LogStream, piece: Piece<'_>, at: Timestamp, missing: Option<Missing>) {
        self.written.lines += 1;
        self.encoder.encode(&mut self.batch, self.written.lines, stream, piece, at, missing);
    }

    /// How many bytes of the batch the file took.
    fn write_batch(&mut self) -> usize {
        if self.file.is_none() {
            let mut options = OpenOptions::new();
            self.file = options.read(true).append(true).create(true).mode(0o600).open(&self.path).ok();
        }
        let Some(mut file) = self.file.as_ref() else { return 0 };
        let mut taken = 0;
        while taken < self.batch.len() {
            match file.write(&self.batch[taken..]) {
                Ok(count) if count > 0 => taken += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => break,
            }
        }
        taken
    }

    /// Removes the torn record that a failed write left. Shrinking needs no space.
    fn take_back(&self, kept_bytes: usize) -> bool {
        let Some(file) = &self.file else { return true };
        file.set_len(self.written.bytes + kept_bytes as u64).is_ok()
    }
}

/// Closes the log of a run whose shim died: removes a torn record, marks that output may be missing, sums up.
/// Blocks on the file. Only for a run that has no live shim.
pub fn close_after_death(dir: &Path, reason: &str) -> io::Result<LogSummary> {
    let mut writer = LogWriter::open(dir, LogLimits::default())?;
    writer.mark(reason, Missing::default());
    Ok(writer.finish())
}

fn loss_in_words(lost: Loss) -> String {
    format!("{} bytes of output ({} lines) were lost here: the disk did not take them", lost.bytes, lost.lines)
}

fn missing(lost: Loss) -> Missing {
    Missing { bytes: Some(lost.bytes), lines: Some(lost.lines) }
}

/// The output that a piece stands for, its line end included.
fn length_of(piece: Piece<'_>) -> u64 {
    piece.bytes.len() as u64 + u64::from(!piece.partial)
}
