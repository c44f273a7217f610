//! Appends to a log: records in batches, how much is kept, and what to do when the run writes more than that or the
//! disk takes no more. Only one writer at a time has a log. The file itself is written by `file`, on a thread of its
//! own where that was asked for.
//!
//! Invariant: what is on disk is a gapless sequence of whole records; a record that cannot be
//! written whole is taken back, and the loss is marked by the next one that can.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use wakeful_domain::time::Timestamp;

use super::super::clock;
use super::super::launch::LogLimits;
use super::super::record::{LOG_FILE, LogSummary};
use super::encode::Encoder;
use super::file::{Apart, Batch, LogFile, Taken, lock};
use super::in_place::{Loss, mark_in_place, output_of};
use super::resume::{Resumed, resume};
use super::split::Piece;
use super::tail::{Tail, TailEntry};
use super::{LogRecord, LogStream, Missing};

/// A batch is given away when it is this long, even within a round.
const BATCH_BYTES_MAX: usize = 256 * 1024;
/// No more output is wanted while so many batches are being written: enough to keep the disk busy.
const BATCHES_MAX: usize = 8;
/// What was read already may make more batches than that: 80 times as much, if it is all line ends. The disk is
/// waited for this long, once; then they take memory until it comes back.
const PATIENCE: Duration = Duration::from_millis(20);

/// The log of a run, open for appending.
pub struct LogWriter {
    limits: LogLimits,
    file: Arc<Mutex<LogFile>>,
    /// What writes it; by itself the caller does, and waits for the disk.
    apart: Option<Apart>,
    /// What the thread has been given and has not answered.
    in_flight: VecDeque<Flight>,
    /// Since when the disk is busy with the first of them.
    busy_since: Option<Instant>,
    /// It was waited for in vain.
    is_behind: bool,
    /// What is on disk.
    on_disk: Position,
    /// The same with what is on its way there.
    lines: u64,
    /// Output of the agent that is kept.
    text_bytes: u64,
    is_truncated: bool,
    encoder: Encoder,
    /// Encoded records that nobody writes yet.
    batch: Vec<u8>,
    batch_lines: u64,
    failures: u64,
    /// Output beyond the cap, if there is any.
    tail: Option<Tail>,
    lost_bytes: u64,
    /// Lost, and without a mark in the log or on its way there.
    unmarked: Loss,
}

/// How far a log can be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    pub bytes: u64,
    pub lines: u64,
}

struct Flight {
    bytes: u64,
    lines: u64,
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
        let (resumed, torn_bytes) = match &file {
            Some(file) => resume(file)?,
            None => (Resumed::default(), 0),
        };
        let Resumed { sum, lines, text_bytes, is_truncated } = resumed;
        let on_disk = Position { bytes: sum.bytes, lines };
        let mut writer = LogWriter::on(LogFile::new(&path, file, sum), limits);
        (writer.on_disk, writer.lines, writer.text_bytes, writer.is_truncated) =
            (on_disk, lines, text_bytes, is_truncated);
        if torn_bytes > 0 {
            let text = format!("{torn_bytes} bytes of a record that was never finished were removed here");
            writer.mark(&text, Missing::default());
        }
        Ok(writer)
    }

    /// An empty log in this file.
    fn on(file: LogFile, limits: LogLimits) -> LogWriter {
        LogWriter {
            limits,
            file: Arc::new(Mutex::new(file)),
            apart: None,
            in_flight: VecDeque::new(),
            busy_since: None,
            is_behind: false,
            on_disk: Position::default(),
            lines: 0,
            text_bytes: 0,
            is_truncated: false,
            encoder: Encoder::default(),
            batch: Vec::new(),
            batch_lines: 0,
            failures: 0,
            tail: None,
            lost_bytes: 0,
            unmarked: Loss::default(),
        }
    }

    /// From now on a thread writes, and [`LogWriter::flush`] waits for nothing. Without one it is as before.
    pub fn write_apart(&mut self) {
        if self.apart.is_none() {
            self.apart = Apart::start(Arc::clone(&self.file)).ok();
        }
    }

    /// Adds a piece of output; it is given to the file by the next [`LogWriter::flush`], unless it is beyond the cap.
    pub fn append(&mut self, stream: LogStream, piece: Piece<'_>, at: Timestamp) {
        if let Some(tail) = &mut self.tail {
            tail.push(TailEntry { stream, bytes: piece.bytes.into(), partial: piece.partial, at });
            return;
        }
        let text_total = self.text_bytes.saturating_add(length_of(piece));
        if text_total > self.limits.text_bytes_max || self.file_bytes() > self.file_bytes_max() {
            let mut tail = Tail::new(self.limits.tail_bytes_max);
            tail.push(TailEntry { stream, bytes: piece.bytes.into(), partial: piece.partial, at });
            self.tail = Some(tail);
            return;
        }
        self.put(stream, piece, at);
    }

    /// Whether the run has written more than is kept from its beginning.
    pub fn is_full(&self) -> bool {
        self.tail.is_some()
    }

    /// Whether more output may be given without taking more memory.
    pub fn has_room(&self) -> bool {
        self.in_flight.len() < BATCHES_MAX
    }

    /// Since when the disk is busy with one batch.
    pub fn busy_since(&self) -> Option<Instant> {
        self.busy_since
    }

    /// Readable when [`LogWriter::collect`] has something to do.
    pub fn bell(&self) -> Option<BorrowedFd<'_>> {
        self.apart.as_ref().map(Apart::bell)
    }

    /// Adds a record of Wakeful's own.
    pub fn mark(&mut self, text: &str, missing: Missing) {
        self.is_truncated = true;
        self.encode(LogStream::Wakeful, Piece { bytes: text.as_bytes(), partial: false }, clock::now(), Some(missing));
    }

    /// Gives what was added to the file, unless that is busy: then it goes with what comes until the file is done, which
    /// [`LogWriter::bell`] tells. A disk that does not take it costs the output, never the agent.
    pub fn flush_if_idle(&mut self) {
        if self.in_flight.is_empty() {
            self.flush();
        }
    }

    /// Gives what was added to the file.
    pub fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let flight = Flight { bytes: self.batch.len() as u64, lines: std::mem::take(&mut self.batch_lines) };
        let Some(apart) = &self.apart else {
            let bytes = std::mem::take(&mut self.batch);
            let mut batch = Batch { bytes, failures: self.failures };
            let taken = lock(&self.file).append(&batch);
            batch.bytes.clear();
            self.batch = batch.bytes;
            self.settle(&flight, taken);
            return;
        };
        let bytes = std::mem::replace(&mut self.batch, apart.spare());
        apart.give(Batch { bytes, failures: self.failures });
        // One record may be far longer than the usual batch; that memory is given back.
        self.batch.shrink_to(2 * BATCH_BYTES_MAX);
        if self.in_flight.is_empty() {
            self.busy_since = Some(clock::monotonic());
        }
        self.in_flight.push_back(flight);
    }

    /// Takes note of what has been written meanwhile.
    pub fn collect(&mut self) {
        while let Some(taken) = self.apart.as_ref().and_then(Apart::answer) {
            self.answered(taken);
        }
    }

    /// Waits until all that was given to the file is written or refused.
    pub fn wait(&mut self) {
        while !self.in_flight.is_empty() {
            match self.apart.as_ref().and_then(Apart::await_answer) {
                Some(taken) => self.answered(taken),
                None => self.in_flight.clear(),
            }
        }
        self.busy_since = None;
    }

    /// Bytes and lines that can be read.
    pub fn position(&self) -> Position {
        self.on_disk
    }

    /// Whether something was lost of which the log says nothing yet.
    pub fn has_unmarked_loss(&self) -> bool {
        self.unmarked.bytes > 0
    }

    /// Writes the tail, syncs the file and sums up. Waits for the disk.
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
        self.wait();
        self.mark_loss();
        self.flush();
        self.wait();
        if self.unmarked.bytes > 0 {
            self.mark_in_place();
        }
        let mut file = lock(&self.file);
        let (bytes, sha256) = file.summed();
        self.is_truncated |= file.sync().is_err();
        LogSummary { bytes, lines: self.lines, sha256, truncated: self.is_truncated, lost_bytes: self.lost_bytes }
    }

    fn put(&mut self, stream: LogStream, piece: Piece<'_>, at: Timestamp) {
        if self.batch.is_empty() {
            self.mark_loss();
        }
        self.text_bytes += length_of(piece);
        self.encode(stream, piece, at, None);
        if self.batch.len() >= BATCH_BYTES_MAX {
            self.flush();
            self.hold_on();
        }
    }

    /// Waits a little for a disk that is slower than what was read already.
    fn hold_on(&mut self) {
        while self.in_flight.len() >= BATCHES_MAX && !self.is_behind {
            match self.apart.as_ref().and_then(|apart| apart.answer_within(PATIENCE)) {
                Some(taken) => self.answered(taken),
                None => self.is_behind = true,
            }
        }
    }

    fn answered(&mut self, taken: Taken) {
        self.is_behind = false;
        let Some(flight) = self.in_flight.pop_front() else { return };
        self.busy_since = (!self.in_flight.is_empty()).then(clock::monotonic);
        self.settle(&flight, taken);
    }

    fn settle(&mut self, flight: &Flight, taken: Taken) {
        self.on_disk.bytes += taken.bytes as u64;
        let Some(torn) = taken.torn else {
            self.on_disk.lines += flight.lines;
            return;
        };
        self.on_disk.lines += flight.lines - self.lose(&torn[taken.bytes..]);
        self.failures += 1;
        // The numbers of those behind it are wrong now: they are refused without a look at the disk.
        while let Some(_stale) = self.in_flight.pop_front() {
            let refused = self.apart.as_ref().and_then(Apart::await_answer);
            if let Some(torn) = refused.and_then(|refused| refused.torn) {
                self.lose(&torn);
            }
        }
        self.busy_since = None;
        // And of those that wait to go after it.
        let waiting = std::mem::take(&mut self.batch);
        self.batch_lines = 0;
        self.lose(&waiting);
        self.lines = self.on_disk.lines;
    }

    /// Counts encoded records that are not on disk as lost; gives how many they are.
    fn lose(&mut self, records: &[u8]) -> u64 {
        let mut count = 0;
        for line in records.split_inclusive(|byte| *byte == b'\n') {
            count += 1;
            let Ok(record) = serde_json::from_slice::<LogRecord>(line) else { continue };
            let output = output_of(&record);
            self.unmarked.bytes += output.bytes;
            self.unmarked.lines += output.lines;
            if record.stream != LogStream::Wakeful {
                self.text_bytes -= output.bytes.min(self.text_bytes);
                self.lost_bytes += output.bytes;
            }
        }
        self.is_truncated |= count > 0;
        count
    }

    fn mark_loss(&mut self) {
        let lost = std::mem::take(&mut self.unmarked);
        if lost.bytes > 0 {
            self.mark(&loss_in_words(lost), missing(lost));
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
        let mut file = lock(&self.file);
        // Without a place for it the summary alone says that something is missing.
        if let Ok(Some((Resumed { sum, lines, text_bytes, is_truncated }, given_up))) =
            mark_in_place(&file.path, self.unmarked, mark)
        {
            (self.on_disk, self.lines) = (Position { bytes: sum.bytes, lines }, lines);
            (self.text_bytes, self.is_truncated) = (text_bytes, is_truncated);
            file.replace_sum(sum);
            self.lost_bytes += given_up;
            self.unmarked = Loss::default();
        }
    }

    fn encode(&mut self, stream: LogStream, piece: Piece<'_>, at: Timestamp, missing: Option<Missing>) {
        self.lines += 1;
        self.batch_lines += 1;
        self.encoder.encode(&mut self.batch, self.lines, stream, piece, at, missing);
    }

    /// Bytes of the file once all is written.
    fn file_bytes(&self) -> u64 {
        let in_flight: u64 = self.in_flight.iter().map(|flight| flight.bytes).sum();
        self.on_disk.bytes + in_flight + self.batch.len() as u64
    }

    fn file_bytes_max(&self) -> u64 {
        self.limits.text_bytes_max.saturating_mul(LogLimits::FRAMING_MAX)
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

#[cfg(test)]
mod tests;
