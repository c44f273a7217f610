//! Cuts the output of one stream into the contents of records: at line ends, at characters, and so
//! that no encoded record is longer than the limit. Holds at most one unfinished line of that length.

use memchr::memchr;

use super::RECORD_BYTES_MAX;

/// Left for the fields around the content.
const FRAME_BYTES_MAX: usize = 256;
/// The longest encoded text in a record.
const TEXT_BYTES_MAX: usize = RECORD_BYTES_MAX - FRAME_BYTES_MAX;
/// A piece this short fits whatever it holds: one byte becomes six at most (`\u0000`).
const ALWAYS_FITS_BYTES: usize = TEXT_BYTES_MAX / 6;
/// The most bytes that fit as base64, which makes four of three.
const BINARY_BYTES_MAX: usize = TEXT_BYTES_MAX / 4 * 3;

/// A piece of output that makes one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    pub bytes: &'a [u8],
    /// No line end follows.
    pub partial: bool,
}

/// One stream between two reads.
#[derive(Debug, Default)]
pub struct Splitter {
    /// The unfinished line.
    held: Vec<u8>,
}

impl Splitter {
    /// Takes what was read and hands on every piece that is finished by it.
    pub fn push(&mut self, bytes: &[u8], mut emit: impl FnMut(Piece<'_>)) {
        let mut rest = bytes;
        while let Some(end) = memchr(b'\n', rest) {
            if self.held.is_empty() {
                emit_line(&rest[..end], &mut emit);
            } else {
                self.held.extend_from_slice(&rest[..end]);
                emit_line(&self.held, &mut emit);
                self.held.clear();
            }
            rest = &rest[end + 1..];
        }
        self.held.extend_from_slice(rest);
        // Keep what might still grow into the same record: a piece is cut only where more follows it.
        let mut cut = 0;
        while self.held.len() - cut > TEXT_BYTES_MAX {
            let length = piece_length(&self.held[cut..]);
            emit(Piece { bytes: &self.held[cut..cut + length], partial: true });
            cut += length;
        }
        self.held.drain(..cut);
    }

    /// Whether an unfinished line is held.
    pub fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// Hands on what is held of an unfinished line, but for an unfinished character.
    pub fn release(&mut self, emit: impl FnMut(Piece<'_>)) {
        let whole = match std::str::from_utf8(&self.held) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Ok(_) | Err(_) => self.held.len(),
        };
        let unfinished = self.held.split_off(whole);
        self.finish(emit);
        self.held = unfinished;
    }

    /// Hands on what is left, at the end of the stream.
    pub fn finish(&mut self, mut emit: impl FnMut(Piece<'_>)) {
        let held = std::mem::take(&mut self.held);
        let mut rest = &held[..];
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(piece_length(rest));
            emit(Piece { bytes: piece, partial: true });
            rest = after;
        }
    }
}

/// A whole line, in as many pieces as it needs; the last one carries the line end.
fn emit_line(line: &[u8], emit: &mut impl FnMut(Piece<'_>)) {
    let mut rest = line;
    loop {
        let length = piece_length(rest);
        let (bytes, after) = rest.split_at(length);
        emit(Piece { bytes, partial: !after.is_empty() });
        if after.is_empty() {
            return;
        }
        rest = after;
    }
}

/// How many bytes from the start of `bytes` fit in one record.
fn piece_length(bytes: &[u8]) -> usize {
    if bytes.len() <= ALWAYS_FITS_BYTES {
        return bytes.len();
    }
    let candidate = &bytes[..fitting_length(bytes)];
    match std::str::from_utf8(candidate) {
        Ok(_) => candidate.len(),
        // Cut inside a character: the character goes to the next piece.
        Err(error) if error.error_len().is_none() && candidate.len() < bytes.len() => error.valid_up_to(),
        Err(_) => candidate.len().min(BINARY_BYTES_MAX),
    }
}

/// How many bytes fit once they are escaped as JSON text.
fn fitting_length(bytes: &[u8]) -> usize {
    let mut encoded = 0;
    for (index, byte) in bytes.iter().enumerate() {
        encoded += match byte {
            b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
            0x00..=0x1f => 6,
            _ => 1,
        };
        if encoded > TEXT_BYTES_MAX {
            return index;
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(reads: &[&[u8]]) -> Vec<(Vec<u8>, bool)> {
        let mut splitter = Splitter::default();
        let mut found = Vec::new();
        for read in reads {
            splitter.push(read, |piece| found.push((piece.bytes.to_vec(), piece.partial)));
        }
        splitter.finish(|piece| found.push((piece.bytes.to_vec(), piece.partial)));
        found
    }

    fn joined(pieces: &[(Vec<u8>, bool)]) -> Vec<u8> {
        pieces.iter().flat_map(|(bytes, partial)| bytes.iter().copied().chain((!partial).then_some(b'\n'))).collect()
    }

    #[test]
    fn lines_are_cut_at_their_ends_wherever_the_reads_fall() {
        let check = |reads: &[&[u8]], expected: &[(&[u8], bool)]| {
            let expected: Vec<_> = expected.iter().map(|(bytes, partial)| (bytes.to_vec(), *partial)).collect();
            assert_eq!(pieces(reads), expected);
        };
        check(&[], &[]);
        check(&[b"\n"], &[(b"", false)]);
        check(&[b"a\nb"], &[(b"a", false), (b"b", true)]);
        check(&[b"a", b"b\n", b"\n"], &[(b"ab", false), (b"", false)]);
        check(&["€".as_bytes().split_at(1).0, "€\n".as_bytes().split_at(1).1], &[("€".as_bytes(), false)]);
    }

    #[test]
    fn long_lines_are_continued_within_the_limit_and_lose_nothing() {
        let check = |input: Vec<u8>| {
            let chunks: Vec<&[u8]> = input.chunks(7_777).collect();
            let found = pieces(&chunks);
            assert_eq!(joined(&found), input);
            for (bytes, _) in &found {
                let encoded = match std::str::from_utf8(bytes) {
                    Ok(text) => serde_json::to_string(text).unwrap().len(),
                    Err(_) => bytes.len().div_ceil(3) * 4,
                };
                assert!(encoded <= TEXT_BYTES_MAX + 2, "{encoded}");
            }
        };
        check("äöü€".repeat(100_000).into_bytes());
        check(vec![0; 300_000]);
        check(vec![0xff; 300_000]);
        check([vec![b'"'; 100_000], vec![b'\n'], vec![b'x'; 65_536]].concat());
        check((0..=255).cycle().take(1_000_000).collect());
    }

    #[test]
    fn an_unfinished_line_is_released_but_no_half_of_a_character() {
        let mut splitter = Splitter::default();
        let mut found = Vec::new();
        splitter.push(b"a\xe2\x82", |_| panic!("nothing is finished"));
        splitter.release(|piece| found.push((piece.bytes.to_vec(), piece.partial)));
        splitter.release(|_| panic!("half a character"));
        splitter.push(b"\xac\n", |piece| found.push((piece.bytes.to_vec(), piece.partial)));
        assert_eq!(found, [(b"a".to_vec(), true), ("€".as_bytes().to_vec(), false)]);
        assert!(!splitter.is_holding());
    }

    #[test]
    fn a_long_line_of_text_stays_text() {
        let found = pieces(&[&"€".repeat(100_000).into_bytes()]);
        assert!(found.iter().all(|(bytes, _)| std::str::from_utf8(bytes).is_ok()));
    }
}
