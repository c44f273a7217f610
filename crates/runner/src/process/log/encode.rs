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
/// As many bytes as the processor looks at at once.
const BLOCK_BYTES: usize = 16;

/// Encodes records one after another.
#[derive(Debug, Default)]
pub struct Encoder {
    /// What stands between the number and the text: all records of one read have the same.
    frame: Vec<u8>,
    frame_of: Option<(Timestamp, LogStream)>,
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
        if self.frame_of != Some((at, stream)) {
            self.put_frame(at, stream)?;
        }
        let special = special(piece.bytes);
        let text = if special < NOT_ASCII { Some(piece.bytes) } else { utf8(piece.bytes) };
        out.reserve(piece.bytes.len() + FRAME_BYTES);
        out.extend_from_slice(br#"{"seq":"#);
        put_number(out, seq);
        out.extend_from_slice(&self.frame);
        match text {
            Some(text) => {
                out.extend_from_slice(br#""text":""#);
                match special & !NOT_ASCII {
                    0 => out.extend_from_slice(text),
                    QUOTE => put_quoted(out, text),
                    _ => put_escaped(out, text)?,
                }
                out.push(b'"');
            }
            None => write!(out, r#""base64":"{}""#, STANDARD.encode(piece.bytes))?,
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

    fn put_frame(&mut self, at: Timestamp, stream: LogStream) -> io::Result<()> {
        let name = match stream {
            LogStream::Stdout => "stdout",
            LogStream::Stderr => "stderr",
            LogStream::Wakeful => "wakeful",
        };
        self.frame.clear();
        write!(self.frame, r#","ts":"{at}","stream":"{name}","#)?;
        self.frame_of = Some((at, stream));
        Ok(())
    }
}

/// Which of [`QUOTE`], [`CONTROL`] and [`NOT_ASCII`] occur. Looks at all bytes in any case, a block at a time, which is
/// quicker than to stop early: most lines have none.
fn special(bytes: &[u8]) -> u8 {
    let mut found = [0; BLOCK_BYTES];
    let mut look = |block: &[u8; BLOCK_BYTES]| {
        for (found, byte) in found.iter_mut().zip(block) {
            *found |= if (*byte == b'"') | (*byte == b'\\') { QUOTE } else { 0 };
            *found |= if *byte < b' ' { CONTROL } else { 0 };
            *found |= *byte & NOT_ASCII;
        }
    };
    let (blocks, rest) = bytes.as_chunks::<BLOCK_BYTES>();
    blocks.iter().for_each(&mut look);
    if !rest.is_empty() {
        // Some of it twice rather than byte by byte.
        let mut short = [b' '; BLOCK_BYTES];
        short[..rest.len()].copy_from_slice(rest);
        look(bytes.last_chunk().unwrap_or(&short));
    }
    found.iter().fold(0, |all, one| all | one)
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
