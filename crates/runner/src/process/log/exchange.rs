//! The log of a run without a process: what was asked and what was answered, written at once.

use std::io;
use std::path::Path;

use super::super::clock;
use super::super::launch::LogLimits;
use super::super::record::LogSummary;
use super::LogStream;
use super::split::{Piece, Splitter};
use super::write::LogWriter;

/// Adds a line of Wakeful's own and then output to the log of the run in `dir`. Blocks on the file.
pub fn keep_exchange(dir: &Path, told: &str, output: &[u8]) -> io::Result<LogSummary> {
    let mut writer = LogWriter::open(dir, LogLimits::default())?;
    let at = clock::now();
    writer.append(LogStream::Wakeful, Piece { bytes: told.as_bytes(), partial: false }, at);
    let mut splitter = Splitter::default();
    splitter.push(output, |piece| writer.append(LogStream::Stdout, piece, at));
    splitter.finish(|piece| writer.append(LogStream::Stdout, piece, at));
    Ok(writer.finish())
}

/// What the log in `dir` comes to, as it is. Blocks on the file, all of which it reads. Only for a run without a shim.
pub fn summary_of_log(dir: &Path) -> io::Result<LogSummary> {
    Ok(LogWriter::open(dir, LogLimits::default())?.finish())
}
