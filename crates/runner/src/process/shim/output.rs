//! One of the agent's two output pipes on its way into the log, without the secrets. Reads never block; one read is one
//! pipe's worth, so that both streams and everything else get their turn.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::pipe::fcntl_setpipe_size;

use super::super::clock;
use super::super::log::LogStream;
use super::super::log::secrets::{Scrub, Secrets};
use super::super::log::split::Splitter;
use super::super::log::write::LogWriter;

/// Four times what a pipe holds by default.
pub const READ_BYTES: usize = 256 * 1024;
/// A pipe that has brought this much is a flood, and gets a larger one: fewer turns for the same output. Not before,
/// because the system allows a user only so much.
const FLOOD_BYTES: u64 = 4 * 1024 * 1024;
const FLOOD_PIPE_BYTES: usize = 1024 * 1024;
/// Beyond the cap no more than this is read: a fraction of a processor on both ends of the pipe, and 10 GB in 40 s.
const SPILL_BYTES_PER_S: f64 = 250e6;
/// The pipe rests when it is ahead of that by so much, a pipe's worth, rather than after each read.
const SPILL_AHEAD: Duration = Duration::from_millis(4);
/// What a busy machine kept it from reading may be caught up on, of so long.
const SPILL_BEHIND_MAX: Duration = Duration::from_millis(100);
/// What is read after the tree is gone: no pipe holds more, unless a stranger goes on writing to it.
const DRAIN_BYTES_MAX: usize = 4 * 1024 * 1024;

/// An unfinished line is logged as such after this long: a prompt or a row of dots is output, too.
const HELD_MAX: Duration = Duration::from_secs(1);

/// A pipe and the unfinished line that came through it.
pub struct Output {
    stream: LogStream,
    /// `None` once it has ended.
    pub pipe: Option<OwnedFd>,
    secrets: Option<Arc<Secrets>>,
    scrub: Scrub,
    splitter: Splitter,
    came_bytes: u64,
    /// When what was read beyond the cap would have come at the speed allowed.
    spilt_until: Option<Instant>,
    /// Nothing is read before this.
    pub rests_until: Option<Instant>,
    /// When to log what is held of an unfinished line.
    pub release_at: Option<Instant>,
}

impl Output {
    pub fn new(stream: LogStream, pipe: Option<OwnedFd>, secrets: Option<Arc<Secrets>>) -> Output {
        let (scrub, splitter) = (Scrub::default(), Splitter::default());
        Output {
            stream,
            pipe,
            secrets,
            scrub,
            splitter,
            came_bytes: 0,
            spilt_until: None,
            rests_until: None,
            release_at: None,
        }
    }

    /// Whether what comes through it is wanted now.
    pub fn is_open_at(&self, now: Instant) -> bool {
        self.pipe.is_some() && self.rests_until.is_none_or(|until| until <= now)
    }

    /// Moves what is there into the log; gives the number of bytes, none if there is nothing (more).
    pub fn read(&mut self, log: &mut LogWriter, buffer: &mut [u8]) -> usize {
        let Some(pipe) = &self.pipe else { return 0 };
        self.rests_until = None;
        let read = loop {
            match rustix::io::read(pipe, &mut *buffer) {
                Err(rustix::io::Errno::INTR) => {}
                other => break other.map_err(io::Error::from),
            }
        };
        match read {
            Ok(count) if count > 0 => {
                let before = self.came_bytes;
                self.came_bytes += count as u64;
                if before < FLOOD_BYTES && self.came_bytes >= FLOOD_BYTES {
                    // Refused, it stays as it is.
                    fcntl_setpipe_size(pipe, FLOOD_PIPE_BYTES).ok();
                }
                let at = clock::now();
                let Output { stream, scrub, splitter, .. } = self;
                let mut split = |bytes: &[u8]| splitter.push(bytes, |piece| log.append(*stream, piece, at));
                match &self.secrets {
                    Some(secrets) => scrub.push(secrets, &buffer[..count], split),
                    None => split(&buffer[..count]),
                }
                if log.is_full() {
                    self.spill(count as u64);
                }
                if self.splitter.is_holding() {
                    self.release_at.get_or_insert_with(|| clock::monotonic() + HELD_MAX);
                } else {
                    self.release_at = None;
                }
                count
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Ok(_) | Err(_) => {
                self.finish(log);
                0
            }
        }
    }

    /// Of output beyond the cap all but the end is thrown away: the agent may wait, so that others need not.
    fn spill(&mut self, bytes: u64) {
        let now = clock::monotonic();
        let from = self.spilt_until.map_or(now, |until| until.max(now.checked_sub(SPILL_BEHIND_MAX).unwrap_or(now)));
        let until = from + Duration::from_secs_f64(bytes as f64 / SPILL_BYTES_PER_S);
        self.spilt_until = Some(until);
        if until > now + SPILL_AHEAD {
            self.rests_until = Some(until);
        }
    }

    /// Moves an unfinished line into the log, if it has waited long enough for its end; but nothing that may yet
    /// turn out to be a secret.
    pub fn release(&mut self, log: &mut LogWriter, now: Instant) {
        if self.release_at.is_some_and(|at| at <= now) {
            self.release_at = None;
            let at = clock::now();
            self.splitter.release(|piece| log.append(self.stream, piece, at));
        }
    }

    /// Moves all that is left into the log, once nothing of the tree can write any more. Waits for the disk.
    pub fn drain(&mut self, log: &mut LogWriter) {
        let mut buffer = vec![0; READ_BYTES];
        let mut total = 0;
        while total < DRAIN_BYTES_MAX {
            let count = self.read(log, &mut buffer);
            if count == 0 {
                break;
            }
            total += count;
            log.flush();
            log.wait();
        }
        self.finish(log);
    }

    fn finish(&mut self, log: &mut LogWriter) {
        self.release_at = None;
        if self.pipe.take().is_some() {
            let at = clock::now();
            let Output { stream, scrub, splitter, .. } = self;
            scrub.finish(|bytes| splitter.push(bytes, |piece| log.append(*stream, piece, at)));
            splitter.finish(|piece| log.append(*stream, piece, at));
        }
    }
}
