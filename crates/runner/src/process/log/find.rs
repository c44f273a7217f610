//! Looks for a text in a log, record by record, without holding more of it than a step. A line that was cut into several
//! records is looked at piece by piece.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem::Finder;

use super::{Content, LogReader, LogRecord};

/// Read at a time.
const STEP_BYTES: usize = 1024 * 1024;
/// What a record has in place of text that is not UTF-8.
const ENCODED: &[u8] = br#""base64":"#;

/// Where a text occurs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Records that hold it, as far as was looked.
    pub count: u64,
    /// The `seq` of the first of them, at most as many as were asked for.
    pub lines: Vec<u64>,
    /// The `seq` to look on from, where the end was not reached.
    pub next_line: Option<u64>,
}

/// A text in either case. Of one in ASCII it is seen without decoding a record whether it can be there.
struct Sought {
    text: String,
    /// As it stands in an encoded record, if it stands there as it is.
    raw: Option<Finder<'static>>,
}

impl Sought {
    fn new(text: &str) -> Sought {
        let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\');
        let text = if text.is_ascii() { text.to_ascii_lowercase() } else { text.to_lowercase() };
        let raw = is_plain.then(|| Finder::new(text.as_bytes()).into_owned());
        Sought { text, raw }
    }

    /// Whether an encoded record may hold it; `lowered` is the record in lower case.
    fn may_be_in(&self, record: &[u8], lowered: &[u8]) -> bool {
        let Some(raw) = &self.raw else { return true };
        raw.find(lowered).is_some() || memchr::memmem::find(record, ENCODED).is_some()
    }

    fn is_in(&self, record: &LogRecord) -> bool {
        let lowered = |text: &str| if self.text.is_ascii() { text.to_ascii_lowercase() } else { text.to_lowercase() };
        match &record.content {
            Content::Text(text) => lowered(text).contains(&self.text),
            Content::Base64(text) => {
                let bytes = STANDARD.decode(text).unwrap_or_default();
                lowered(&String::from_utf8_lossy(&bytes)).contains(&self.text)
            }
        }
    }
}

impl LogReader {
    /// Counts the records that hold a text in either case, from the one whose `seq` is `from_line` on, and lists the first
    /// `lines_max` of them. `may_go_on` is told how many bytes were looked through, and ends the search with a no.
    pub fn find(
        &self,
        text: &str,
        from_line: u64,
        lines_max: usize,
        may_go_on: impl Fn(u64) -> bool,
    ) -> io::Result<Found> {
        let sought = Sought::new(text);
        let begin = self.offset_of(from_line)?;
        let (mut offset, mut found) = (begin, Found::default());
        loop {
            let (bytes, _) = self.bytes(offset, STEP_BYTES)?;
            if bytes.is_empty() {
                return Ok(found);
            }
            let lowered = bytes.to_ascii_lowercase();
            let mut at = 0;
            for record in bytes.split_inclusive(|byte| *byte == b'\n') {
                let end = at + record.len();
                if sought.may_be_in(record, &lowered[at..end])
                    && let Ok(record) = serde_json::from_slice::<LogRecord>(record)
                    && sought.is_in(&record)
                {
                    found.count += 1;
                    found.lines.extend((found.lines.len() < lines_max).then_some(record.seq));
                }
                at = end;
            }
            offset += bytes.len() as u64;
            if !may_go_on(offset - begin) {
                found.next_line = self.line_at(offset)?;
                return Ok(found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::compress;
    use super::super::keep_exchange;
    use super::*;

    fn log(text: &[u8]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        keep_exchange(dir.path(), "Begun", text).unwrap();
        dir
    }

    #[test]
    fn a_text_is_found_in_either_case_in_texts_and_in_bytes() {
        let dir = log(b"Paint\nthe \"fence\"\nGR\xc3\x96SSE paint\n\xff paint \xfe\nseq text\n");
        let check = |text: &str, expected: &[u64]| {
            let found = LogReader::open(dir.path()).unwrap().find(text, 1, 10, |_| true).unwrap();
            assert_eq!((found.lines.as_slice(), found.count), (expected, expected.len() as u64), "{text}");
        };
        check("PAINT", &[2, 4, 5]);
        check("\"Fence", &[3]);
        check("gr\u{f6}sse", &[4]);
        check("begun", &[1]);
        check("seq", &[6]);
        check("stream", &[]);
        check("\u{20ac}", &[]);
    }

    #[test]
    fn a_search_goes_on_from_where_it_was_ended_in_plain_and_compressed_logs() {
        let text: String = (0..60_000).map(|number| format!("line {number} of very many that fill a step\n")).collect();
        let dir = log(text.as_bytes());
        let all = || LogReader::open(dir.path()).unwrap().find("line 599", 1, 3, |_| true).unwrap();
        let whole = all();
        assert_eq!((whole.count, whole.lines.as_slice(), whole.next_line), (111, &[601, 5_992, 5_993][..], None));
        compress(dir.path()).unwrap();
        assert_eq!(all(), whole);
        let (mut from, mut count, mut calls) = (Some(1), 0, 0);
        while let Some(line) = from {
            let found = LogReader::open(dir.path()).unwrap().find("line 599", line, 3, |_| false).unwrap();
            (from, count, calls) = (found.next_line, count + found.count, calls + 1);
        }
        assert_eq!(count, 111);
        assert!(calls > 2);
    }
}
