//! The log of a server in the background: its last lines, and what comes, over its turns from one file to the next.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::data_dir::DataDir;
use crate::failure::{Failure, NOT_FOUND};
use crate::logging::numbered;

/// Read from the end of a file for the last lines; no line of ours is nearly as long.
const TAIL_BYTES: u64 = 256 * 1024;
/// Between two looks at a log that is followed.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Turns of the log between opening a file and looking whether it is the right one.
const TURNS_MAX: u32 = 100;

/// The last lines, as far as they can be read.
pub fn last(dir: &DataDir, count: usize) -> String {
    let log = dir.log_file();
    let newest = File::open(&log).map(|mut file| tail(&mut file).unwrap_or_default()).unwrap_or_default();
    lines_of(&log, newest, count)
}

/// The last lines of the log, of which `newest` is what its newest file ends with.
fn lines_of(log: &Path, newest: String, count: usize) -> String {
    let mut text = newest;
    let older = (1..).map_while(|number| File::open(numbered(log, number)).ok());
    for mut file in older {
        if text.lines().count() >= count {
            break;
        }
        text.insert_str(0, &tail(&mut file).unwrap_or_default());
    }
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

fn tail(file: &mut File) -> std::io::Result<String> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Prints the last lines, and if wanted what comes.
pub async fn show(dir: &DataDir, count: usize, follow: bool) -> Result<(), Failure> {
    let log = dir.log_file();
    let missing = |_| Failure::new(NOT_FOUND, format!("there is no log at {}", log.display()));
    let mut following = Following { file: File::open(&log).map_err(missing)?, log: log.clone() };
    let mut out = std::io::stdout();
    let newest = tail(&mut following.file)?;
    let lines = lines_of(&log, newest, count);
    if !lines.is_empty() {
        writeln!(out, "{lines}")?;
    }
    if !follow {
        return Ok(());
    }
    loop {
        out.flush()?;
        tokio::time::sleep(LOOK_EVERY).await;
        following.copy_to(&mut out)?;
    }
}

/// A log that is read on, file after file.
struct Following {
    log: PathBuf,
    file: File,
}

impl Following {
    /// Gives all that has come.
    fn copy_to(&mut self, out: &mut impl Write) -> std::io::Result<()> {
        loop {
            // What is newer is looked for first: once it is there, this file is at its end.
            let newer = self.newer()?;
            std::io::copy(&mut self.file, out)?;
            match newer {
                Some(file) => self.file = file,
                None => return Ok(()),
            }
        }
    }

    /// The file after this one, if there is one. If this one has gone meanwhile, it is the oldest that is left.
    fn newer(&self) -> std::io::Result<Option<File>> {
        let own = self.file.metadata()?;
        let place = || {
            let files = (0..).map_while(|number| fs::metadata(numbered(&self.log, number)).ok());
            let kept: Vec<bool> = files.map(|file| (file.dev(), file.ino()) == (own.dev(), own.ino())).collect();
            kept.iter().position(|is_own| *is_own).unwrap_or(kept.len()) as u64
        };
        // While one file is opened, all of them may move on.
        for _ in 0..TURNS_MAX {
            let at = place();
            if at == 0 {
                return Ok(None);
            }
            let file = File::open(numbered(&self.log, at - 1)).ok();
            if place() == at {
                return Ok(file);
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(log: &Path, kept: u64) {
        for number in (0..kept - 1).rev() {
            fs::rename(numbered(log, number), numbered(log, number + 1)).ok();
        }
    }

    #[test]
    fn what_is_followed_over_many_turns_is_whole_and_what_is_gone_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("wakeful.log");
        fs::write(&log, "a\n").unwrap();
        let mut following = Following { file: File::open(&log).unwrap(), log: log.clone() };
        let mut seen = Vec::new();
        following.copy_to(&mut seen).unwrap();
        for line in ["b\n", "c\n", "d\n"] {
            turn(&log, 10);
            fs::write(&log, line).unwrap();
        }
        // A late word in the first file, as a panic may leave there.
        fs::write(numbered(&log, 3), "a\nlate\n").unwrap();
        following.copy_to(&mut seen).unwrap();
        assert_eq!(String::from_utf8(std::mem::take(&mut seen)).unwrap(), "a\nlate\nb\nc\nd\n");
        for line in ["e\n", "f\n", "g\n"] {
            turn(&log, 2);
            fs::write(&log, line).unwrap();
        }
        following.copy_to(&mut seen).unwrap();
        let seen = String::from_utf8(seen).unwrap();
        assert!(seen.ends_with("f\ng\n"), "{seen}");
        assert_eq!(lines_of(&log, "g\n".into(), 2), "f\ng");
    }
}
