//! The data directory's own log file, kept within bounds: what is full is renamed, `wakeful.log.1` is newer than
//! `wakeful.log.2`, and the oldest goes. Standard error is moved to the new file, so that a panic and whatever else is
//! written there lands in it too; what is written between the two is in the old file. No line is torn or lost.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The file that standard error goes to.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    bytes: u64,
    bytes_max: u64,
    /// The one that is written included.
    files_max: u64,
}

/// The file that was the log so many turns ago; the log itself is 0.
pub fn numbered(log: &Path, number: u64) -> PathBuf {
    match number {
        0 => log.to_owned(),
        number => {
            let mut name = log.as_os_str().to_owned();
            name.push(format!(".{number}"));
            name.into()
        }
    }
}

/// Opens the log to write at its end; for us alone.
pub fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

impl LogFile {
    /// The log, if standard error is this file: whoever has started the process has seen to it.
    pub fn of_standard_error(path: &Path, bytes_max: u64, files_max: u64) -> Option<LogFile> {
        let ours = rustix::fs::fstat(io::stderr().as_fd()).ok()?;
        let log = fs::metadata(path).ok()?;
        let is_it = (ours.st_dev, ours.st_ino) == (log.dev(), log.ino());
        is_it.then(|| LogFile { path: path.to_owned(), bytes: log.len(), bytes_max, files_max })
    }

    /// Begins a new file before what is to be written would be too much for this one.
    pub fn make_room(&mut self, bytes: usize) -> io::Result<()> {
        if let Some(file) = self.turned(bytes)? {
            rustix::stdio::dup2_stderr(file)?;
        }
        Ok(())
    }

    /// The new file, if one is begun. If that fails, the old one is written on, and it is tried again when as much
    /// again has been written.
    fn turned(&mut self, bytes: usize) -> io::Result<Option<File>> {
        let bytes = bytes as u64;
        let is_full = self.bytes > 0 && self.bytes + bytes > self.bytes_max;
        self.bytes = if is_full { bytes } else { self.bytes + bytes };
        if !is_full {
            return Ok(None);
        }
        // As many more as there were once.
        let beyond = (self.files_max - 1..).map(|number| numbered(&self.path, number));
        for file in beyond.take_while(|file| file.exists()) {
            fs::remove_file(file)?;
        }
        for number in (0..self.files_max - 1).rev() {
            match fs::rename(numbered(&self.path, number), numbered(&self.path, number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        open(&self.path).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn files_turn_before_they_are_too_large_and_no_more_are_kept_than_wanted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wakeful.log");
        let mut file = open(&path).unwrap();
        // More are there than are wanted now.
        (1..7).for_each(|number| fs::write(numbered(&path, number), "old").unwrap());
        let mut log = LogFile { path: path.clone(), bytes: 0, bytes_max: 100, files_max: 4 };
        for number in 0..60 {
            let line = format!("line {number:04}\n");
            if let Some(next) = log.turned(line.len()).unwrap() {
                file = next;
            }
            file.write_all(line.as_bytes()).unwrap();
        }
        let read = |number| fs::read_to_string(numbered(&path, number)).unwrap();
        let kept: String = (0..4).rev().map(read).collect();
        let expected: String = (20..60).map(|number| format!("line {number:04}\n")).collect();
        assert_eq!(kept, expected);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4);
        assert!((0..4).all(|number| read(number).len() <= 100));
    }

    #[test]
    fn what_is_not_the_log_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wakeful.log");
        assert!(LogFile::of_standard_error(&path, 1, 2).is_none());
        fs::write(&path, "of another").unwrap();
        assert!(LogFile::of_standard_error(&path, 1, 2).is_none());
    }
}
