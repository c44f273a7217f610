//! The file of a log, and the thread that writes it: a disk that takes its time keeps nobody from watching the agent's
//! tree. Of what is in a batch it knows only that each record ends with a line end.
//!
//! Invariant: once a batch was not taken whole, none that was encoded before the caller knew of it is written: the
//! numbers of its records would leave a gap.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use rustix::process::setpriority_process;

use super::resume::Sum;

/// It writes and sums, nothing else.
const STACK_BYTES: usize = 128 * 1024;
/// Larger batches come from a flood: they are summed when it is over, so that it is not held up.
const SUMMED_AT_ONCE_BYTES_MAX: usize = 32 * 1024;
/// It is over, or pauses, when nothing came for this long.
const FLOOD_PAUSE: Duration = Duration::from_millis(20);
/// What is summed then before looking whether something came.
const SUMMED_BYTES: u64 = 4 * 1024 * 1024;
/// Read at a time for that.
const READ_BYTES: usize = 64 * 1024;

/// The file of a log, open for appending.
pub struct LogFile {
    pub path: PathBuf,
    /// `None` until there is something to write.
    file: Option<File>,
    /// Of what is on disk.
    length: u64,
    /// Of its beginning.
    sum: Sum,
    /// How many batches were not taken whole.
    failures: u64,
    /// It could not be brought back to whole records: nothing more is written.
    is_broken: bool,
    has_written: bool,
}

/// Encoded records, and how many failures whoever numbered them knew of.
pub struct Batch {
    pub bytes: Vec<u8>,
    pub failures: u64,
}

/// What became of a batch: bytes of whole records on disk, and all of it if that was not everything.
pub struct Taken {
    pub bytes: usize,
    pub torn: Option<Vec<u8>>,
}

impl LogFile {
    pub fn new(path: &Path, file: Option<File>, sum: Sum) -> LogFile {
        let length = sum.bytes;
        LogFile { path: path.to_owned(), file, length, sum, failures: 0, is_broken: false, has_written: false }
    }

    /// Writes a batch, all at once if the disk takes it.
    pub fn append(&mut self, batch: &Batch) -> Taken {
        let bytes = self.write(batch);
        Taken { bytes, torn: (bytes < batch.bytes.len()).then(|| batch.bytes.clone()) }
    }

    /// Gives the bytes of its whole records that are on disk.
    fn write(&mut self, batch: &Batch) -> usize {
        let is_stale = batch.failures != self.failures;
        let taken = if is_stale || self.is_broken { 0 } else { self.write_bytes(&batch.bytes) };
        if taken == batch.bytes.len() {
            self.has_written = true;
            self.length += taken as u64;
            return taken;
        }
        let whole = batch.bytes[..taken].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        if taken > whole && !self.take_back(whole) {
            self.is_broken = true;
        }
        self.failures += u64::from(!is_stale);
        self.has_written |= whole > 0;
        self.length += whole as u64;
        whole
    }

    /// The file was changed otherwise.
    pub fn replace_sum(&mut self, sum: Sum) {
        (self.length, self.sum) = (sum.bytes, sum);
    }

    /// The length of what is on disk, and its sum in hexadecimal; empty if the disk does not give it back.
    pub fn summed(&mut self) -> (u64, String) {
        let is_whole = self.sum_on(u64::MAX).is_ok() && self.is_summed();
        (self.length, if is_whole { self.sum.in_hexadecimal() } else { String::new() })
    }

    fn is_summed(&self) -> bool {
        self.sum.bytes == self.length
    }

    /// Sums what was just written, if that is little and nothing before it is missing.
    fn sum_at_once(&mut self, bytes: &[u8]) {
        let is_next = self.sum.bytes + bytes.len() as u64 == self.length;
        if is_next && bytes.len() <= SUMMED_AT_ONCE_BYTES_MAX {
            self.sum.add(bytes);
        }
    }

    /// Sums what is not summed yet, so much of it at most. It was written a moment ago and is still in memory.
    fn sum_on(&mut self, bytes_max: u64) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let end = self.length.min(self.sum.bytes.saturating_add(bytes_max));
        let mut bytes = vec![0; READ_BYTES];
        while self.sum.bytes < end {
            let wanted = usize::try_from(end - self.sum.bytes).unwrap_or(READ_BYTES).min(READ_BYTES);
            let count = file.read_at(&mut bytes[..wanted], self.sum.bytes)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.sum.add(&bytes[..count]);
        }
        Ok(())
    }

    /// The next batch is refused, as by a full disk.
    #[cfg(test)]
    pub fn fail_next(&mut self) {
        self.failures += 1;
    }

    /// Syncs what was written.
    pub fn sync(&self) -> io::Result<()> {
        match &self.file {
            Some(file) if self.has_written => file.sync_data(),
            Some(_) | None => Ok(()),
        }
    }

    fn write_bytes(&mut self, bytes: &[u8]) -> usize {
        if self.file.is_none() {
            let mut options = OpenOptions::new();
            self.file = options.read(true).append(true).create(true).mode(0o600).open(&self.path).ok();
        }
        let Some(mut file) = self.file.as_ref() else { return 0 };
        let mut taken = 0;
        while taken < bytes.len() {
            match file.write(&bytes[taken..]) {
                Ok(count) if count > 0 => taken += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => break,
            }
        }
        taken
    }

    /// Removes the torn record that a failed write left. Shrinking needs no space.
    fn take_back(&self, whole: usize) -> bool {
        let Some(file) = &self.file else { return true };
        file.set_len(self.length + whole as u64).is_ok()
    }
}

/// The file, for one at a time.
pub fn lock(file: &Mutex<LogFile>) -> MutexGuard<'_, LogFile> {
    file.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread that writes, seen from outside. It ends with this.
pub struct Apart {
    batches: Sender<Batch>,
    answers: Receiver<Taken>,
    spares: Receiver<Vec<u8>>,
    /// Readable when there are answers.
    bell: Arc<OwnedFd>,
}

impl Apart {
    /// Starts the thread.
    pub fn start(file: Arc<Mutex<LogFile>>) -> io::Result<Apart> {
        let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (batches, to_write) = channel();
        let (answer, answers) = channel();
        let (spare, spares) = channel();
        let ring = Arc::clone(&bell);
        let work = move || {
            // Where the shim takes precedence over its tree, that is for ending it.
            setpriority_process(None, 0).ok();
            let mut may_sum = true;
            loop {
                let is_summed = !may_sum || lock(&file).is_summed();
                let next = match is_summed {
                    true => to_write.recv().map_err(|_| RecvTimeoutError::Disconnected),
                    false => to_write.recv_timeout(FLOOD_PAUSE),
                };
                let batch: Batch = match next {
                    Ok(batch) => batch,
                    Err(RecvTimeoutError::Timeout) => {
                        // What cannot be read is tried once more at the end.
                        may_sum = lock(&file).sum_on(SUMMED_BYTES).is_ok();
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => return,
                };
                let mut file = lock(&file);
                let taken = file.append(&batch);
                let whole = taken.bytes;
                // Nobody listens any more when the shim ends.
                answer.send(taken).ok();
                rustix::io::write(&*ring, &1_u64.to_ne_bytes()).ok();
                file.sum_at_once(&batch.bytes[..whole]);
                drop(file);
                spare.send(batch.bytes).ok();
            }
        };
        thread::Builder::new().name("log".into()).stack_size(STACK_BYTES).spawn(work)?;
        Ok(Apart { batches, answers, spares, bell })
    }

    /// Gives it a batch; the answers come in the same order.
    pub fn give(&self, batch: Batch) {
        // It does not end before we do.
        self.batches.send(batch).ok();
    }

    /// The next answer, if there is one. The bell is silent until the next.
    pub fn answer(&self) -> Option<Taken> {
        // Nothing to read means that nothing came meanwhile.
        rustix::io::read(&self.bell, &mut [0; 8]).ok();
        self.answers.try_recv().ok()
    }

    /// The next answer, however long it takes; `None` if there can be none.
    pub fn await_answer(&self) -> Option<Taken> {
        self.answers.recv().ok()
    }

    /// The next answer, if it comes within this time.
    pub fn answer_within(&self, patience: Duration) -> Option<Taken> {
        self.answers.recv_timeout(patience).ok()
    }

    /// The memory of a batch that was written, to be used again.
    pub fn spare(&self) -> Vec<u8> {
        let mut spare = self.spares.try_recv().unwrap_or_default();
        spare.clear();
        spare
    }

    /// Readable when there are answers.
    pub fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}
