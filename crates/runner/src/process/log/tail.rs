//! The end of output that is longer than the cap: held in memory, bounded, until the run is over.

use std::collections::VecDeque;

use wakeful_domain::time::Timestamp;

use super::{LogStream, Missing};

/// What an entry costs besides its bytes, so that a flood of empty lines is bounded as well.
const ENTRY_BYTES: u64 = 64;

/// A piece of output that is not on disk.
pub struct TailEntry {
    pub stream: LogStream,
    pub bytes: Box<[u8]>,
    pub partial: bool,
    pub at: Timestamp,
}

/// The last pieces, and how much was dropped before them.
pub struct Tail {
    entries: VecDeque<TailEntry>,
    held_bytes: u64,
    held_bytes_max: u64,
    dropped_bytes: u64,
    dropped_lines: u64,
}

impl Tail {
    pub fn new(held_bytes_max: u64) -> Tail {
        Tail { entries: VecDeque::new(), held_bytes: 0, held_bytes_max, dropped_bytes: 0, dropped_lines: 0 }
    }

    /// Adds a piece and drops the oldest ones that no longer fit.
    pub fn push(&mut self, entry: TailEntry) {
        self.held_bytes += cost(&entry);
        self.entries.push_back(entry);
        while self.held_bytes > self.held_bytes_max {
            let Some(oldest) = self.entries.pop_front() else { return };
            self.held_bytes -= cost(&oldest);
            self.dropped_bytes += oldest.bytes.len() as u64 + u64::from(!oldest.partial);
            self.dropped_lines += u64::from(!oldest.partial);
        }
    }

    /// What was dropped, if anything was.
    pub fn dropped(&self) -> Option<Missing> {
        let missing = Missing { bytes: Some(self.dropped_bytes), lines: Some(self.dropped_lines) };
        (self.dropped_bytes > 0).then_some(missing)
    }

    pub fn into_entries(self) -> VecDeque<TailEntry> {
        self.entries
    }
}

fn cost(entry: &TailEntry) -> u64 {
    entry.bytes.len() as u64 + ENTRY_BYTES
}
