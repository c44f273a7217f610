//! Reading a live run's log as it grows, and keeping what it means: each record becomes events
//! exactly once, over restarts too, because the number of the last one read is kept with them.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use wakeful_domain::outcome::Outcome;
use wakeful_domain::run::{LogSummary, Run};
use wakeful_domain::time::Timestamp;
use wakeful_runner::adapters::{Adapter, Reader, Signal, Step, Stream};
use wakeful_runner::process::log::{Lines, LogRecord, LogStream, read_log};
use wakeful_runner::process::{Found, find};
use wakeful_runner::scrub::Scrubber;
use wakeful_store::Refusal;
use wakeful_store::ops::run_events::NewRunEvent;
use wakeful_store::ops::runs;

use super::conversation::id_of;
use super::follow::report;
use crate::clock;
use crate::context::RunContext;
use crate::engine::Engine;

/// Bytes of log read at a time.
const READ_BYTES: usize = 256 * 1024;
/// Events kept in one transaction.
const EVENTS_MAX: usize = 500;
/// Between two tries to reach the store.
const PAUSE: Duration = Duration::from_secs(1);
/// Output alone is noted this often; what has a meaning is noted at once.
const NOTE_EVERY: Duration = Duration::from_secs(1);

/// The place in a run's log, and the reader that has been given everything before it.
pub(super) struct LogFollower {
    dir: PathBuf,
    adapter: Adapter,
    pub reader: Box<dyn Reader>,
    /// Records up to here are of earlier launches: another agent's words.
    foreign_seq: u64,
    offset: u64,
    /// Of the last record read.
    seq: u64,
    /// Records up to here are in the store, with their events.
    known_seq: u64,
    /// The same as an earlier server left it.
    inherited_seq: u64,
    lines: Lines,
    /// When the last line was.
    seen_at: Timestamp,
    unwritten: Vec<NewRunEvent>,
    /// The ids of texts that the agent has confirmed since they were asked for.
    taken: Vec<String>,
    scrubber: Scrubber,
    /// Whether what the agent does is kept for a trace.
    is_traced: bool,
    /// What it did since that was handed over.
    steps: Vec<(Timestamp, Step)>,
    is_dirty: bool,
    written_at: Instant,
}

impl LogFollower {
    /// Starts at the beginning of the log: the reader needs all of its launch. A store that does not answer is
    /// asked again, for a run that nobody follows is held for ever.
    pub async fn begin(engine: &Engine, run: &Run, adapter: Adapter, context: &RunContext, number: u32) -> LogFollower {
        let dir = engine.run_dir(run.id);
        let known = loop {
            match engine.db().read("run.read_seq", run.id, |tx, run| Box::pin(runs::read_seq(tx, *run))).await {
                Ok(known) => break known,
                Err(refusal) => tracing::error!(run.id = %run.id, "run {} cannot be followed yet: {refusal}", run.id),
            }
            tokio::time::sleep(PAUSE).await;
        };
        let foreign_seq = match number {
            1 => 0,
            number => match find(&dir, number - 1).await {
                Ok(Found::Ended(record)) => record.log.lines,
                Ok(Found::NeverStarted | Found::Running(_) | Found::Died(_)) | Err(_) => 0,
            },
        };
        engine.begin_course(run.id);
        LogFollower {
            adapter,
            reader: adapter.reader(&context.adapter, context.session.as_ref(), Path::new(&context.workspace.cwd)),
            dir,
            foreign_seq,
            offset: 0,
            seq: 0,
            known_seq: u64::try_from(known).unwrap_or(0),
            inherited_seq: u64::try_from(known).unwrap_or(0),
            lines: Lines::default(),
            seen_at: run.created_at,
            unwritten: Vec::new(),
            taken: Vec::new(),
            scrubber: engine.scrubber(run.id),
            is_traced: engine.courses_are_wanted(),
            steps: Vec::new(),
            is_dirty: false,
            written_at: clock::monotonic(),
        }
    }

    /// What stands at last, given what the agent itself reported.
    pub fn heard(&self, outcome: Outcome, report: Option<&str>) -> Outcome {
        self.adapter.heard(outcome, report)
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
            self.hand_steps_over(engine, run);
            if let Some(live) = engine.live().get_mut(&run.id) {
                live.may_be_silent = self.reader.is_in_tool() || self.reader.has_ended();
                live.log.send_replace(self.offset);
            }
            if self.unwritten.len() >= EVENTS_MAX {
                self.write(engine, run).await;
            }
        }
    }

    fn take(&mut self, record: &LogRecord) {
        self.seq = record.seq;
        self.seen_at = record.ts;
        self.is_dirty = true;
        if record.seq <= self.foreign_seq {
            return;
        }
        let Some((stream, line)) = self.lines.push(record) else { return };
        self.mean(stream, &line, record.ts, record.seq > self.inherited_seq);
    }

    /// Draws from a line what it means.
    fn mean(&mut self, stream: LogStream, line: &str, at: Timestamp, is_news: bool) {
        let signals = give(self.reader.as_mut(), stream, line);
        if self.is_traced {
            self.seen_at = at;
            self.steps.extend(self.reader.steps().into_iter().map(|step| (at, step)));
        }
        let confirmed = signals.iter().filter(|signal| signal.kind == "steered");
        self.taken.extend(confirmed.filter_map(|signal| id_of(&signal.message)).map(str::to_owned));
        if is_news {
            self.unwritten.extend(signals.into_iter().map(|signal| event(signal, &self.scrubber)));
        }
    }

    fn hand_steps_over(&mut self, engine: &Engine, run: &Run) {
        if let Some(live) = engine.live().get_mut(&run.id) {
            self.steps.drain(..).for_each(|(at, step)| live.course.take(at, step));
        }
    }

    /// The ids of texts that the agent has confirmed since this was asked.
    pub fn taken(&mut self) -> Vec<String> {
        std::mem::take(&mut self.taken)
    }

    /// When output has waited long enough to be noted; `None` if none waits.
    pub fn note_at(&self) -> Option<Instant> {
        self.is_dirty.then(|| self.written_at + NOTE_EVERY)
    }

    /// Notes what has been read so far. What the store does not take now is offered again.
    pub async fn write(&mut self, engine: &Engine, run: &Run) {
        self.is_dirty = false;
        self.written_at = clock::monotonic();
        if self.seq <= self.known_seq && self.unwritten.is_empty() {
            return;
        }
        let so_far = self.reader.so_far();
        let seen = runs::Observed {
            now: clock::now(),
            run: run.id,
            fence: run.fence,
            log_bytes: i64::try_from(self.offset).unwrap_or(i64::MAX),
            log_lines: i64::try_from(self.seq).unwrap_or(i64::MAX),
            read_seq: i64::try_from(self.seq).unwrap_or(i64::MAX),
            events: self.unwritten.clone(),
            usage: so_far.usage,
            cost_micros: so_far.cost_micros,
        };
        let written = engine.write("run.observed", seen, |tx, seen| Box::pin(runs::observed(tx, seen))).await;
        match written {
            Err(Refusal::Store(_)) => self.is_dirty = true,
            written => {
                self.unwritten.clear();
                self.known_seq = self.seq;
                if let Ok(spent) = &written {
                    engine.after_spending(run.id, spent);
                }
                report(run, "its output", written.map(drop));
            }
        }
    }

    /// Reads to the end of a log that is complete. A last line without an end counts.
    pub async fn read_to_end(&mut self, engine: &Engine, run: &Run) {
        self.read_on(engine, run).await;
        for (stream, line) in std::mem::take(&mut self.lines).finish() {
            self.mean(stream, &line, self.seen_at, self.seq > self.inherited_seq);
        }
        self.hand_steps_over(engine, run);
        if self.is_dirty || !self.unwritten.is_empty() {
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

/// The log has no secret as it was written; what a CLI wrote with escapes is only seen here.
fn event(signal: Signal, scrubber: &Scrubber) -> NewRunEvent {
    let signal = signal.kept(scrubber);
    let level = if signal.kind == "error" { "error" } else { "info" };
    NewRunEvent { kind: signal.kind.to_owned(), level, message: signal.message, data: signal.data }
}
