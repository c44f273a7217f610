//! Reading a live run's log as it grows, and keeping what it means: each record becomes events
//! exactly once, over restarts too, because the number of the last one read is kept with them.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use wakeful_domain::run::{LogSummary, Run};
use wakeful_runner::adapters::{Reader, Signal, Stream};
use wakeful_runner::process::log::{Lines, LogRecord, LogStream, read_log};
use wakeful_store::Refusal;
use wakeful_store::ops::run_events::NewRunEvent;
use wakeful_store::ops::runs;

use super::follow::report;
use crate::clock;
use crate::engine::Engine;

/// Bytes of log read at a time.
const READ_BYTES: usize = 256 * 1024;
/// Output alone is noted this often; what has a meaning is noted at once.
const NOTE_EVERY: Duration = Duration::from_secs(1);

/// The place in a run's log, and the reader that has been given everything before it.
pub(super) struct LogFollower {
    dir: PathBuf,
    pub reader: Box<dyn Reader>,
    offset: u64,
    /// Of the last record read.
    seq: u64,
    /// Records up to here were turned into events by an earlier server.
    known_seq: u64,
    lines: Lines,
    unwritten: Vec<NewRunEvent>,
    is_dirty: bool,
    written_at: Instant,
}

impl LogFollower {
    /// Starts at the beginning of the log: the reader needs all of it.
    pub async fn begin(
        engine: &Engine,
        run: &Run,
        dir: &Path,
        reader: Box<dyn Reader>,
    ) -> Result<LogFollower, Refusal> {
        let known = engine.db().read("run.read_seq", run.id, |tx, run| Box::pin(runs::read_seq(tx, *run))).await?;
        Ok(LogFollower {
            dir: dir.to_owned(),
            reader,
            offset: 0,
            seq: 0,
            known_seq: u64::try_from(known).unwrap_or(0),
            lines: Lines::default(),
            unwritten: Vec::new(),
            is_dirty: false,
            written_at: clock::monotonic(),
        })
    }

    /// Reads what is new, and notes what has a meaning.
    pub async fn read_on(&mut self, engine: &Engine, run: &Run) {
        if let Err(error) = self.read_all(engine, run).await {
            tracing::error!(run.id = %run.id, "the log of run {} cannot be read: {error}", run.id);
        }
        if !self.unwritten.is_empty() {
            self.write(engine, run).await;
        }
    }

    async fn read_all(&mut self, engine: &Engine, run: &Run) -> io::Result<()> {
        loop {
            let chunk = read_log(&self.dir, self.offset, READ_BYTES).await?;
            if chunk.offset_next == self.offset {
                return Ok(());
            }
            self.offset = chunk.offset_next;
            for record in &chunk.records {
                self.take(record);
            }
            if let Some(live) = engine.live().get(&run.id) {
                live.log.send_replace(self.offset);
            }
        }
    }

    fn take(&mut self, record: &LogRecord) {
        self.seq = record.seq;
        self.is_dirty = true;
        let Some((stream, line)) = self.lines.push(record) else { return };
        let signals = give(self.reader.as_mut(), stream, &line);
        if record.seq > self.known_seq {
            self.unwritten.extend(signals.into_iter().map(event));
        }
    }

    /// When output has waited long enough to be noted; `None` if none waits.
    pub fn note_at(&self) -> Option<Instant> {
        self.is_dirty.then(|| self.written_at + NOTE_EVERY)
    }

    /// Notes what has been read so far.
    pub async fn write(&mut self, engine: &Engine, run: &Run) {
        self.is_dirty = false;
        self.written_at = clock::monotonic();
        if self.seq <= self.known_seq {
            return;
        }
        let seen = runs::Observed {
            now: clock::now(),
            run: run.id,
            fence: run.fence,
            log_bytes: i64::try_from(self.offset).unwrap_or(i64::MAX),
            log_lines: i64::try_from(self.seq).unwrap_or(i64::MAX),
            read_seq: i64::try_from(self.seq).unwrap_or(i64::MAX),
            events: std::mem::take(&mut self.unwritten),
        };
        let written = engine.write("run.observed", seen, |tx, seen| Box::pin(runs::observed(tx, seen))).await;
        report(run, "its output", written);
        self.known_seq = self.seq;
    }

    /// Reads to the end of a log that is complete. A last line without an end counts.
    pub async fn read_to_end(&mut self, engine: &Engine, run: &Run) {
        self.read_on(engine, run).await;
        for (stream, line) in std::mem::take(&mut self.lines).finish() {
            let signals = give(self.reader.as_mut(), stream, &line);
            self.unwritten.extend(signals.into_iter().map(event));
        }
        if self.is_dirty {
            self.write(engine, run).await;
        }
    }

    /// What is known of the log where there is no exit record.
    pub fn summary(&self) -> LogSummary {
        LogSummary {
            bytes: i64::try_from(self.offset).unwrap_or(i64::MAX),
            lines: i64::try_from(self.seq).unwrap_or(i64::MAX),
            sha256: None,
            truncated: false,
        }
    }
}

fn give(reader: &mut dyn Reader, stream: LogStream, line: &str) -> Vec<Signal> {
    match stream {
        LogStream::Stdout => reader.line(Stream::Stdout, line),
        LogStream::Stderr => reader.line(Stream::Stderr, line),
        LogStream::Wakeful => Vec::new(),
    }
}

fn event(signal: Signal) -> NewRunEvent {
    let level = if signal.kind == "error" { "error" } else { "info" };
    NewRunEvent { kind: signal.kind.to_owned(), level, message: signal.message, data: signal.data }
}
