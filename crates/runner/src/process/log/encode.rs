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

// What a text has that is not copied as it is.
const QUOTE: u8 = 0x01;
const CONTROL: u8 = 0x02;
const NOT_ASCII: u8 = 0x80;
/// As many bytes as are looked at at once.
const BLOCK_BYTES: usize = 8;

/// What a record begins with.
const HEAD: &str = r#"{"seq":"#;
/// What its text begins with.
const TEXT: &str = r#""text":""#;

/// Encodes records one after another.
#[derive(Debug, Default)]
pub struct Encoder {
    /// What stands before the text of the last record. In one read that of the next differs by its number alone.
    head: Vec<u8>,
    head_of: Option<(u64, Timestamp, LogStream)>,
    /// Where its number ends.
    digits_end: usize,
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
        let is_next = seq > 0 && self.head_of == Some((seq - 1, at, stream));
        if !is_next || !count_on(&mut self.head[HEAD.len()..self.digits_end]) {
            self.put_head(seq, at, stream)?;
        }
        self.head_of = Some((seq, at, stream));
        let special = special(piece.bytes);
        let text = if special < NOT_ASCII { Some(piece.bytes) } else { utf8(piece.bytes) };
        out.reserve(piece.bytes.len() + FRAME_BYTES);
        match text {
            Some(text) => {
                out.extend_from_slice(&self.head);
                match special & !NOT_ASCII {
                    0 => out.extend_from_slice(text),
                    QUOTE => put_quoted(out, text),
                    _ => put_escaped(out, text)?,
                }
                out.push(b'"');
            }
            None => {
                out.extend_from_slice(&self.head[..self.head.len() - TEXT.len()]);
                write!(out, r#""base64":"{}""#, STANDARD.encode(piece.bytes))?;
            }
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

    fn put_head(&mut self, seq: u64, at: Timestamp, stream: LogStream) -> io::Result<()> {
        let name = match stream {
            LogStream::Stdout => "stdout",
            LogStream::Stderr => "stderr",
            LogStream::Wakeful => "wakeful",
        };
        self.head.clear();
        write!(self.head, "{HEAD}{seq}")?;
        self.digits_end = self.head.len();
        write!(self.head, r#","ts":"{at}","stream":"{name}",{TEXT}"#)
    }
}

/// Which of [`QUOTE`], [`CONTROL`] and [`NOT_ASCII`] occur. Looks at all bytes in any case, a block at a time, which is
/// quicker than to stop early: most lines have none.
fn special(bytes: &[u8]) -> u8 {
    let (mut quotes, mut controls, mut not_ascii) = (0, 0, 0);
    let mut look = |block: [u8; BLOCK_BYTES]| {
        let block = u64::from_ne_bytes(block);
        quotes |= has_zero(block ^ every(b'"')) | has_zero(block ^ every(b'\\'));
        controls |= has_less(block, b' ');
        not_ascii |= block;
    };
    let (blocks, rest) = bytes.as_chunks();
    blocks.iter().for_each(|block| look(*block));
    if !rest.is_empty() {
        // Some of it twice rather than byte by byte.
        let last = bytes.last_chunk().copied().unwrap_or_else(|| {
            let mut short = [b' '; BLOCK_BYTES];
            short[..rest.len()].copy_from_slice(rest);
            short
        });
        look(last);
    }
    let any = |found: u64, what: u8| if found & every(NOT_ASCII) == 0 { 0 } else { what };
    any(quotes, QUOTE) | any(controls, CONTROL) | any(not_ascii, NOT_ASCII)
}

/// A block of nothing but this byte.
const fn every(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; BLOCK_BYTES])
}

/// Has the highest bit of some byte set if one is zero.
const fn has_zero(block: u64) -> u64 {
    has_less(block, 1)
}

/// The same if one is less than this, which is 128 at most.
const fn has_less(block: u64, than: u8) -> u64 {
    block.wrapping_sub(every(than)) & !block & every(NOT_ASCII)
}

fn utf8(bytes: &[u8]) -> Option<&[u8]> {
    std::str::from_utf8(bytes).is_ok().then_some(bytes)
}

/// Text with characters that have names of their own in JSON, without the quotes around it.
fn put_escaped(out: &mut Vec<u8>, text: &[u8]) -> io::Result<()> {
    let from = out.len();
    serde_json::to_writer(&mut *out, &String::from_utf8_lossy(text))?;
    out.pop();
    out.remove(from);
    Ok(())
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

/// Adds one to a number in decimal; false if it has too few digits for that.
fn count_on(digits: &mut [u8]) -> bool {
    for digit in digits.iter_mut().rev() {
        if *digit < b'9' {
            *digit += 1;
            return true;
        }
        *digit = b'0';
    }
    false
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
        for length in 0..40 {
            let mut text = vec![b'~'; length];
            check(&text, 1_001, false, None);
            for at in 0..length {
                for byte in [b'"', b'\\', b'\x1f', 0x80, 0] {
                    text[at] = byte;
                    check(&text, 1_001, false, None);
                    text[at] = b'~';
                }
            }
        }
        check("\u{2028}\u{7f}ä€😀".as_bytes(), 5, false, None);
        check(br#""q" \\ and """#, 5, false, None);
        check(b"cut", 5, false, Some(Missing { bytes: Some(3), lines: None }));
    }

    #[test]
    fn numbers_count_on_over_every_change_of_stream_time_and_length() {
        let mut encoder = Encoder::default();
        let mut out = Vec::new();
        for seq in 1..=1_200_u64 {
            let at = Timestamp::from_millis(i64::try_from(seq / 100).unwrap());
            let stream = if seq % 7 == 0 { LogStream::Stderr } else { LogStream::Stdout };
            let bytes: &[u8] = if seq % 5 == 0 { b"\xff" } else { b"x" };
            encoder.encode(&mut out, seq, stream, Piece { bytes, partial: false }, at, None);
        }
        let records = out.split_inclusive(|byte| *byte == b'\n');
        let records: Vec<LogRecord> = records.map(|line| serde_json::from_slice(line).unwrap()).collect();
        assert!(records.iter().map(|record| record.seq).eq(1..=1_200));
        let is_right =
            |record: &LogRecord| record.ts == Timestamp::from_millis(i64::try_from(record.seq / 100).unwrap());
        assert!(records.iter().all(is_right));
    }
}
