//! A compressed log: frames of zstd that can be read each by itself, and a table at the end that says where each
//! begins. It is zstd's "seekable format", so that `zstd -d` reads it as well.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use zstd::bulk::{Compressor, decompress};

use super::RECORD_BYTES_MAX;

/// A frame holds whole records of at most this much log.
pub const FRAME_BYTES_MAX: usize = 1024 * 1024;
/// zstd's own default: three quarters of a gigabyte a second are no burden for what happens once.
const LEVEL: i32 = 3;

/// What begins the table: a frame that decoders skip.
const TABLE_MAGIC: u32 = 0x184D_2A5E;
/// What ends it.
const END_MAGIC: u32 = 0x8F92_EAB1;
/// Magic and length of the table.
const HEAD_BYTES: u64 = 8;
/// Number of frames, a byte of flags, magic.
const END_BYTES: u64 = 9;
const ENTRY_BYTES: u64 = 8;

/// Where a frame lies in the file, and what of the log it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Frame {
    packed_at: u64,
    packed_bytes: u32,
    at: u64,
    bytes: u32,
}

/// Writes frames and remembers them for the table.
pub struct Packer<W> {
    out: W,
    compressor: Compressor<'static>,
    entries: Vec<(u32, u32)>,
}

impl<W: Write> Packer<W> {
    pub fn new(out: W) -> io::Result<Packer<W>> {
        let mut compressor = Compressor::new(LEVEL)?;
        // A reader then knows a damaged frame.
        compressor.include_checksum(true)?;
        Ok(Packer { out, compressor, entries: Vec::new() })
    }

    /// Adds a frame of at most [`FRAME_BYTES_MAX`].
    pub fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        let packed = self.compressor.compress(bytes)?;
        self.out.write_all(&packed)?;
        self.entries.push((length_of(&packed)?, length_of(bytes)?));
        Ok(())
    }

    /// Writes the table.
    pub fn finish(mut self) -> io::Result<W> {
        let count = u32::try_from(self.entries.len()).map_err(io::Error::other)?;
        let mut table = TABLE_MAGIC.to_le_bytes().to_vec();
        let length = u64::from(count) * ENTRY_BYTES + END_BYTES;
        table.extend(u32::try_from(length).map_err(io::Error::other)?.to_le_bytes());
        for (packed, plain) in &self.entries {
            table.extend(packed.to_le_bytes());
            table.extend(plain.to_le_bytes());
        }
        table.extend(count.to_le_bytes());
        // No checksums in the table: each frame has its own.
        table.push(0);
        table.extend(END_MAGIC.to_le_bytes());
        self.out.write_all(&table)?;
        Ok(self.out)
    }
}

fn length_of(bytes: &[u8]) -> io::Result<u32> {
    u32::try_from(bytes.len()).map_err(io::Error::other)
}

/// An open compressed log.
#[derive(Debug)]
pub struct Packed {
    file: File,
    frames: Vec<Frame>,
    /// The frame that was read last: whoever reads on needs it again.
    last: Mutex<Option<(usize, Arc<Vec<u8>>)>>,
}

impl Packed {
    /// Reads the table of a compressed log.
    pub fn open(file: File) -> io::Result<Packed> {
        let length = file.metadata()?.len();
        let frames = frames_of(&file, length)?;
        Ok(Packed { file, frames, last: Mutex::default() })
    }

    /// Bytes of the plain log.
    pub fn length(&self) -> u64 {
        self.frames.last().map_or(0, |frame| frame.at + u64::from(frame.bytes))
    }

    /// A part of the plain log, shorter where the log ends.
    pub fn read_range(&self, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let end = offset.saturating_add(length).min(self.length());
        let mut bytes = Vec::new();
        let first = self.frames.partition_point(|frame| frame.at + u64::from(frame.bytes) <= offset);
        for (index, frame) in self.frames.iter().enumerate().skip(first).take_while(|(_, frame)| frame.at < end) {
            let plain = self.frame(index, *frame)?;
            let from = usize::try_from(offset.saturating_sub(frame.at)).map_err(io::Error::other)?;
            let to = usize::try_from((end - frame.at).min(u64::from(frame.bytes))).map_err(io::Error::other)?;
            bytes.extend_from_slice(plain.get(from..to).unwrap_or_default());
        }
        Ok(bytes)
    }

    fn frame(&self, index: usize, frame: Frame) -> io::Result<Arc<Vec<u8>>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, plain)) = last.as_ref().filter(|(held, _)| *held == index) {
            return Ok(Arc::clone(plain));
        }
        let mut packed = vec![0; frame.packed_bytes as usize];
        self.file.read_exact_at(&mut packed, frame.packed_at)?;
        let plain = decompress(&packed, frame.bytes as usize)
            .map_err(|error| damaged(&format!("frame {index} at byte {}: {error}", frame.packed_at)))?;
        if plain.len() != frame.bytes as usize {
            return Err(damaged(&format!("frame {index} holds {} bytes, not {}", plain.len(), frame.bytes)));
        }
        let plain = Arc::new(plain);
        *last = Some((index, Arc::clone(&plain)));
        Ok(plain)
    }
}

/// The frames by the table at the end, which must account for every byte of the file.
fn frames_of(file: &File, length: u64) -> io::Result<Vec<Frame>> {
    let no_table = || damaged("it has no table at its end, as if it had been cut off");
    let end_at = length.checked_sub(END_BYTES + HEAD_BYTES).ok_or_else(no_table)? + HEAD_BYTES;
    let mut end = [0; END_BYTES as usize];
    file.read_exact_at(&mut end, end_at)?;
    let [c0, c1, c2, c3, flags, m0, m1, m2, m3] = end;
    if u32::from_le_bytes([m0, m1, m2, m3]) != END_MAGIC || flags != 0 {
        return Err(no_table());
    }
    let count = u64::from(u32::from_le_bytes([c0, c1, c2, c3]));
    let table_at = end_at.checked_sub(count * ENTRY_BYTES + HEAD_BYTES).ok_or_else(no_table)?;
    let mut table = vec![0; usize::try_from(count * ENTRY_BYTES + HEAD_BYTES).map_err(io::Error::other)?];
    file.read_exact_at(&mut table, table_at)?;
    let mut numbers = table.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes));
    let mut next = || numbers.next().unwrap_or(0);
    if (next(), u64::from(next())) != (TABLE_MAGIC, count * ENTRY_BYTES + END_BYTES) {
        return Err(no_table());
    }
    let (mut frames, mut packed_at, mut at) = (Vec::new(), 0, 0);
    for _ in 0..count {
        let (packed_bytes, bytes) = (next(), next());
        if bytes as usize > FRAME_BYTES_MAX + RECORD_BYTES_MAX {
            return Err(damaged("a frame is longer than any that is written"));
        }
        frames.push(Frame { packed_at, packed_bytes, at, bytes });
        packed_at += u64::from(packed_bytes);
        at += u64::from(bytes);
    }
    if packed_at != table_at {
        return Err(damaged("its table does not fit its length"));
    }
    Ok(frames)
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the compressed log is damaged: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(parts: &[&[u8]]) -> File {
        let mut packer = Packer::new(tempfile::tempfile().unwrap()).unwrap();
        parts.iter().for_each(|part| packer.add(part).unwrap());
        packer.finish().unwrap()
    }

    #[test]
    fn any_part_can_be_read_across_frames() {
        let parts: [&[u8]; 3] = [b"first\n", b"2\n", b"the third\n"];
        let whole = parts.concat();
        let log = Packed::open(packed(&parts)).unwrap();
        assert_eq!(log.length(), whole.len() as u64);
        for from in 0..=whole.len() + 2 {
            for length in 0..=whole.len() + 2 {
                let expected = &whole[from.min(whole.len())..(from + length).min(whole.len())];
                assert_eq!(log.read_range(from as u64, length as u64).unwrap(), expected, "{from} {length}");
            }
        }
        assert_eq!(Packed::open(packed(&[])).unwrap().read_range(0, 10).unwrap(), b"");
    }

    #[test]
    fn whatever_is_cut_or_changed_is_an_error_and_no_panic() {
        let file = packed(&[&b"one of many lines\n".repeat(100), b"the last\n"]);
        let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        let read = |bytes: &[u8]| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            Packed::open(file).and_then(|log| log.read_range(0, u64::MAX))
        };
        let whole = read(&bytes).unwrap();
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length]).is_err(), "cut to {length}");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x55;
            // A change of what means nothing to a decoder may go unnoticed, a change of the log may not.
            if let Ok(read) = read(&changed) {
                assert!(read == whole, "changed at {at}");
            }
        }
    }
}
