//! Writes records as JSON. It is done for every line an agent writes, so what is the same for many is kept, and text is
//! copied but for what is to be escaped.

use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memchr2_iter;
use wakeful_domain::time::Timestamp;

use super::split::Piece;
use super::{LogStream, Missing};

/// What most records need around their text.
const FRAME_BYTES: usize = 128;

/// Encodes records one after another.
#[derive(Debug, Default)]
pub struct Encoder {
    /// The time as text: all records of one read have the same.
    stamp: Option<(Timestamp, String)>,
}

impl Encoder {
    /// Appends a record, its line end included.
    pub fn encode(
        &mut self,
        out: &mut Vec<u8>,
        seq: u64,
        stream: LogStream,
        piece: Piece<'_>,
        at: Timestamp,
        missing: Option<Missing>,
    ) {
        // Writing to memory cannot fail; were it to, the line would be refused by every reader, not glued to another.
        let outcome = self.write(out, seq, stream, piece, at, missing);
        debug_assert!(outcome.is_ok());
    }

    fn write(
        &mut self,
        out: &mut Vec<u8>,
        seq: u64,
        stream: LogStream,
        piece: Piece<'_>,
        at: Timestamp,
        missing: Option<Missing>,
    ) -> io::Result<()> {
        let stream: &[u8] = match stream {
            LogStream::Stdout => br#"","stream":"stdout","#,
            LogStream::Stderr => br#"","stream":"stderr","#,
            LogStream::Wakeful => br#"","stream":"wakeful","#,
        };
        if self.stamp.as_ref().is_none_or(|(of, _)| *of != at) {
            self.stamp = Some((at, at.to_string()));
        }
        let stamp = self.stamp.as_ref().map_or("", |(_, text)| text);
        out.reserve(piece.bytes.len() + FRAME_BYTES);
        out.extend_from_slice(br#"{"seq":"#);
        put_number(out, seq);
        out.extend_from_slice(br#","ts":""#);
        out.extend_from_slice(stamp.as_bytes());
        out.extend_from_slice(stream);
        match std::str::from_utf8(piece.bytes) {
            Ok(_) if !has_control(piece.bytes) => {
                out.extend_from_slice(br#""text":""#);
                put_quoted(out, piece.bytes);
                out.push(b'"');
            }
            Ok(text) => {
                out.extend_from_slice(br#""text":"#);
                serde_json::to_writer(&mut *out, text)?;
            }
            Err(_) => write!(out, r#""base64":"{}""#, STANDARD.encode(piece.bytes))?,
        }
        if piece.partial {
            out.extend_from_slice(br#","partial":true"#);
        }
        if let Some(missing) = missing {
            out.extend_from_slice(br#","missing":"#);
            serde_json::to_writer(&mut *out, &missing)?;
        }
        out.extend_from_slice(b"}\n");
        Ok(())
    }
}

/// Whether anything but quotes and backslashes is to be escaped. Looks at all bytes in any case, which is quicker than
/// to stop early.
fn has_control(bytes: &[u8]) -> bool {
    bytes.iter().fold(0_u8, |found, byte| found | u8::from(*byte < 0x20)) != 0
}

/// Copies what stands between quotes and backslashes, which get a backslash each.
fn put_quoted(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut from = 0;
    for at in memchr2_iter(b'"', b'\\', bytes) {
        out.extend_from_slice(&bytes[from..at]);
        out.push(b'\\');
        from = at;
    }
    out.extend_from_slice(&bytes[from..]);
}

/// In decimal.
fn put_number(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let (mut from, mut rest) = (digits.len(), number);
    loop {
        from -= 1;
        digits[from] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[from..]);
}

#[cfg(test)]
mod tests {
    use super::super::{Content, LogRecord};
    use super::*;

    #[test]
    fn every_record_reads_back_as_it_was_written() {
        let mut encoder = Encoder::default();
        let mut check = |bytes: &[u8], at: i64, partial: bool, missing: Option<Missing>| {
            let mut out = Vec::new();
            let at = Timestamp::from_millis(at);
            encoder.encode(&mut out, 7, LogStream::Stderr, Piece { bytes, partial }, at, missing);
            let content = match std::str::from_utf8(bytes) {
                Ok(text) => Content::Text(text.to_owned()),
                Err(_) => Content::Base64(STANDARD.encode(bytes)),
            };
            let expected = LogRecord { seq: 7, ts: at, stream: LogStream::Stderr, content, partial, missing };
            assert!(out.ends_with(b"}\n"));
            assert_eq!(serde_json::from_slice::<LogRecord>(&out).unwrap(), expected);
        };
        check(b"", 0, false, None);
        check(b"plain", 1_000, true, None);
        check(b"plain", 1_001, false, None);
        for byte in 0..=255_u8 {
            check(&[b'a', byte, b'b'], 1_001, false, None);
        }
        check("\u{2028}\u{7f}ä€😀".as_bytes(), 5, false, None);
        check(br#""q" \\ and """#, 5, false, None);
        check(b"cut", 5, false, Some(Missing { bytes: Some(3), lines: None }));
    }
}
