//! The agent's standard input: what it was given at the start, and what servers add while it works.
//! Bounded, and never waited for.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::process::ChildStdin;

use super::super::protocol::{INPUT_BYTES_MAX, Report};

/// Ids of inputs that are remembered, so that one that is given again is not written again.
const IDS_MAX: usize = 1024;

/// What is still to be written, and where.
pub struct Input {
    /// `None` once it is closed, or if the agent was given none.
    pipe: Option<ChildStdin>,
    waiting: VecDeque<Text>,
    /// Of what was added; the text at the start does not count.
    added_bytes: usize,
    /// Closed once nothing waits any more.
    is_closing: bool,
    /// What was taken, oldest first.
    taken: VecDeque<String>,
}

struct Text {
    /// `None` for the text at the start, which nobody asks about.
    id: Option<String>,
    bytes: Vec<u8>,
    written: usize,
}

impl Input {
    /// `first` is written at once; `stays_open` keeps the pipe open after it.
    pub fn new(pipe: Option<ChildStdin>, first: Vec<u8>, stays_open: bool) -> Input {
        let first = Text { id: None, bytes: first, written: 0 };
        let waiting = VecDeque::from([first]);
        Input { pipe, waiting, added_bytes: 0, is_closing: !stays_open, taken: VecDeque::new() }
    }

    /// The pipe, while it is open.
    pub fn pipe(&self) -> Option<&ChildStdin> {
        self.pipe.as_ref()
    }

    /// Whether something is to be written.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Writes what the agent takes now; says which inputs were taken, or never will be.
    pub fn proceed(&mut self) -> Vec<Report> {
        let mut reports = Vec::new();
        while let (Some(pipe), Some(text)) = (&mut self.pipe, self.waiting.front_mut()) {
            if text.written == text.bytes.len() {
                let done = self.waiting.pop_front().and_then(|text| text.id.map(|id| (id, text.bytes.len())));
                if let Some((id, length)) = done {
                    self.added_bytes -= length;
                    self.remember(&id);
                    reports.push(Report::InputTaken { id });
                }
                continue;
            }
            match pipe.write(&text.bytes[text.written..]) {
                Ok(count) => text.written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return reports,
                // The agent does not want to know: its right.
                Err(_) => break,
            }
        }
        // Either all is written, or the agent has closed its end.
        if self.is_closing || self.is_waiting() {
            reports.extend(self.close("the agent has closed its standard input"));
        }
        reports
    }

    /// The pipe takes more; or the agent has closed its end, which is all that an idle pipe has to say.
    pub fn hung_up_or_ready(&mut self) -> Vec<Report> {
        if self.is_waiting() { self.proceed() } else { self.close("the agent has closed its standard input") }
    }

    /// Adds text, unless it was added before. What can be said about it now is the answer.
    pub fn add(&mut self, id: String, text: String) -> Vec<Report> {
        if self.taken.contains(&id) {
            return vec![Report::InputTaken { id }];
        }
        if self.waiting.iter().any(|text| text.id.as_ref() == Some(&id)) {
            return Vec::new();
        }
        let refused = |reason: &str| vec![Report::InputRefused { id: id.clone(), reason: reason.to_owned() }];
        if self.pipe.is_none() || self.is_closing {
            return refused("the agent's standard input is closed");
        }
        if self.added_bytes + text.len() > INPUT_BYTES_MAX {
            return refused("more than 1 MiB of input waits for the agent");
        }
        self.added_bytes += text.len();
        self.waiting.push_back(Text { id: Some(id), bytes: text.into_bytes(), written: 0 });
        self.proceed()
    }

    /// Closes the pipe once the agent has taken what waits.
    pub fn close_when_written(&mut self) -> Vec<Report> {
        self.is_closing = true;
        self.proceed()
    }

    /// Closes the pipe now; what waits is refused.
    pub fn close(&mut self, reason: &str) -> Vec<Report> {
        self.pipe = None;
        self.added_bytes = 0;
        let left = self.waiting.drain(..).filter_map(|text| text.id);
        left.map(|id| Report::InputRefused { id, reason: reason.to_owned() }).collect()
    }

    fn remember(&mut self, id: &str) {
        if self.taken.len() == IDS_MAX {
            self.taken.pop_front();
        }
        self.taken.push_back(id.to_owned());
    }
}
