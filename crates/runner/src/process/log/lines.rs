//! Puts the records of a log together into the lines that the agent wrote, for whoever reads lines.
//! Memory is bounded: the rest of a line that is too long is left out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Content, LogRecord, LogStream};

/// Longer lines are cut.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;

/// The unfinished lines of both streams.
#[derive(Debug, Default)]
pub struct Lines {
    stdout: Option<Vec<u8>>,
    stderr: Option<Vec<u8>>,
}

impl Lines {
    /// Takes the next record; gives the line that it finishes, without its end. What is not UTF-8 is replaced.
    pub fn push(&mut self, record: &LogRecord) -> Option<(LogStream, String)> {
        let held = match record.stream {
            LogStream::Stdout => &mut self.stdout,
            LogStream::Stderr => &mut self.stderr,
            LogStream::Wakeful => return None,
        };
        let line = held.get_or_insert_default();
        let room = LINE_BYTES_MAX.saturating_sub(line.len());
        match &record.content {
            Content::Text(text) => line.extend(text.bytes().take(room)),
            Content::Base64(text) => line.extend(STANDARD.decode(text).unwrap_or_default().into_iter().take(room)),
        }
        if record.partial {
            return None;
        }
        held.take().map(|line| (record.stream, text_of(&line)))
    }

    /// The lines that never ended, once the log is complete.
    pub fn finish(self) -> Vec<(LogStream, String)> {
        let held = [(LogStream::Stdout, self.stdout), (LogStream::Stderr, self.stderr)];
        held.into_iter().filter_map(|(stream, line)| line.map(|line| (stream, text_of(&line)))).collect()
    }
}

fn text_of(line: &[u8]) -> String {
    String::from_utf8_lossy(line).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use wakeful_domain::time::Timestamp;

    fn record(stream: LogStream, text: &str, partial: bool) -> LogRecord {
        let content = Content::Text(text.to_owned());
        LogRecord { seq: 1, ts: Timestamp::from_millis(0), stream, content, partial, missing: None }
    }

    #[test]
    fn pieces_become_lines_stream_by_stream() {
        use LogStream::{Stderr, Stdout, Wakeful};
        let mut lines = Lines::default();
        assert_eq!(lines.push(&record(Stdout, "a", true)), None);
        assert_eq!(lines.push(&record(Stderr, "err", false)), Some((Stderr, "err".into())));
        assert_eq!(lines.push(&record(Wakeful, "cut", false)), None);
        assert_eq!(lines.push(&record(Stdout, "b", false)), Some((Stdout, "ab".into())));
        assert_eq!(lines.push(&record(Stdout, "", false)), Some((Stdout, String::new())));
        assert_eq!(lines.push(&record(Stdout, "end", true)), None);
        assert_eq!(lines.finish(), [(Stdout, "end".into())]);
    }

    #[test]
    fn a_line_without_end_is_bounded() {
        let mut lines = Lines::default();
        let piece = "x".repeat(60_000);
        for _ in 0..100 {
            assert_eq!(lines.push(&record(LogStream::Stdout, &piece, true)), None);
        }
        assert_eq!(lines.finish()[0].1.len(), LINE_BYTES_MAX);
    }
}
