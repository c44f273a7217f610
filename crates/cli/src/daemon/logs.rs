//! The log of a server in the background: its last lines, and what comes.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::time::Duration;

use crate::data_dir::DataDir;
use crate::failure::{Failure, NOT_FOUND};

/// Read from the end for the last lines; no line of ours is nearly as long.
const TAIL_BYTES: u64 = 256 * 1024;
/// Between two looks at a log that is followed.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The last lines, as far as they can be read.
pub fn last(dir: &DataDir, count: usize) -> String {
    let Ok(mut file) = File::open(dir.log_file()) else { return String::new() };
    let bytes = tail(&mut file).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

fn tail(file: &mut File) -> std::io::Result<Vec<u8>> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Prints the last lines, and if wanted what comes, over the log's rotation.
pub async fn show(dir: &DataDir, count: usize, follow: bool) -> Result<(), Failure> {
    let path = dir.log_file();
    let missing = || Failure::new(NOT_FOUND, format!("there is no log at {}", path.display()));
    let mut file = File::open(&path).map_err(|_| missing())?;
    let mut out = std::io::stdout();
    let lines = last(dir, count);
    if !lines.is_empty() {
        writeln!(out, "{lines}")?;
    }
    let mut at = file.metadata()?.len();
    if !follow {
        return Ok(());
    }
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let length = std::fs::metadata(&path).map_or(at, |found| found.len());
        if length < at {
            (file, at) = (File::open(&path).map_err(|_| missing())?, 0);
        }
        file.seek(SeekFrom::Start(at))?;
        let mut bytes = Vec::new();
        at += u64::try_from(file.read_to_end(&mut bytes)?).unwrap_or(0);
        out.write_all(&bytes)?;
        out.flush()?;
    }
}
