//! How the lives of the server on this data directory have ended: kept in a file beside the store, since a crash leaves
//! no time to tell anybody. Three crashes in a row, each soon after its start, are a loop.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wakeful_domain::time::Timestamp;
use wakeful_engine::clock;

use super::logs;
use crate::data_dir::DataDir;
use crate::failure::Failure;

/// A life that was longer than this was no failed start.
pub const SETTLED_AFTER: Duration = Duration::from_secs(10);
/// So many crashes in a row, each before that, are a loop.
const LOOP: u32 = 3;
/// How the log of a unit is read.
pub const JOURNAL: &str = "journalctl --user -u wakeful.service (without --user if it is the system's)";
/// Last lines of the log that are kept of a crash.
const LINES_KEPT: usize = 20;

/// What is known of the lives so far.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Lives {
    /// The options of the last start, for a restart.
    pub options: Vec<String>,
    /// The variables that said settings then; what they said is not kept.
    pub variables: Vec<String>,
    /// Whether systemd has started it: then it is systemd that starts it again.
    pub is_unit: bool,
    /// The life that goes on, or that ended without a word.
    current: Option<Life>,
    /// Crashes in a row, each soon after its start.
    quick_crashes: u32,
    pub last_crash: Option<Crash>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Life {
    pid: u32,
    started_at: Timestamp,
    is_settled: bool,
}

/// A life that ended without being asked to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crash {
    /// When it was last seen at work.
    pub at: Timestamp,
    /// How it ended, as far as is known.
    pub exit: String,
    /// The last lines of its log.
    pub log: String,
}

fn last_words(dir: &DataDir, is_unit: bool) -> String {
    if is_unit { format!("in the journal: {JOURNAL}") } else { logs::last(dir, LINES_KEPT) }
}

/// What the file says; nothing if it cannot be read.
pub fn read(dir: &DataDir) -> Lives {
    let text = std::fs::read_to_string(dir.lives_file()).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

fn keep(dir: &DataDir, lives: &Lives) -> Result<(), Failure> {
    let text = serde_json::to_vec(lives).map_err(|error| Failure::failed(error.to_string()))?;
    dir.write(&dir.lives_file(), &text)
}

/// What a new life has to know of the ones before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Birth {
    /// The crash that ended the last one, if one did.
    pub crash: Option<Crash>,
    /// Why nothing should be started, if it should not.
    pub crash_loop: Option<String>,
}

/// A life begins; the caller holds the lock of the data directory.
pub fn begin(dir: &DataDir, options: Vec<String>, variables: Vec<String>, is_unit: bool) -> Result<Birth, Failure> {
    let mut lives = read(dir);
    let crash = lives.current.take().map(|life| {
        lives.quick_crashes = if life.is_settled { 0 } else { lives.quick_crashes + 1 };
        Crash {
            at: dir.last_written().unwrap_or(life.started_at).max(life.started_at),
            exit: format!("process {} ended without a word: killed, or the machine stopped", life.pid),
            log: last_words(dir, lives.is_unit),
        }
    });
    if crash.is_some() {
        lives.last_crash.clone_from(&crash);
    }
    (lives.options, lives.variables, lives.is_unit) = (options, variables, is_unit);
    lives.current = Some(Life { pid: std::process::id(), started_at: clock::now(), is_settled: false });
    keep(dir, &lives)?;
    let count = lives.quick_crashes;
    let crash_loop = (count >= LOOP)
        .then(|| format!("it crashed {count} times in a row, each within {} s of its start", SETTLED_AFTER.as_secs()));
    Ok(Birth { crash, crash_loop })
}

/// This life has gone on for long enough.
pub fn settle(dir: &DataDir) -> Result<(), Failure> {
    let mut lives = read(dir);
    lives.quick_crashes = 0;
    if let Some(life) = &mut lives.current {
        life.is_settled = true;
    }
    keep(dir, &lives)
}

/// This life ends as it was asked to, or with an error that it has told: neither is a crash of a loop. A store that is not
/// there yet is waited for by being started again.
pub fn end(dir: &DataDir, error: Option<&Failure>) -> Result<(), Failure> {
    let mut lives = read(dir);
    lives.current = None;
    match error {
        None => lives.quick_crashes = 0,
        Some(error) => {
            lives.last_crash =
                Some(Crash { at: clock::now(), exit: error.to_string(), log: last_words(dir, lives.is_unit) });
        }
    }
    keep(dir, &lives)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir() -> (tempfile::TempDir, DataDir) {
        let temporary = tempfile::tempdir().unwrap();
        let dir = DataDir::of(Some(temporary.path())).unwrap();
        (temporary, dir)
    }

    #[test]
    fn three_crashes_soon_after_the_start_are_a_loop_and_a_clean_end_breaks_it() {
        let (_temporary, dir) = dir();
        assert_eq!(begin(&dir, vec![], vec![], false).unwrap(), Birth { crash: None, crash_loop: None });
        for _ in 0..2 {
            let birth = begin(&dir, vec![], vec![], false).unwrap();
            assert!(birth.crash.is_some() && birth.crash_loop.is_none());
        }
        let birth = begin(&dir, vec![], vec![], false).unwrap();
        assert!(birth.crash_loop.unwrap().contains("3 times in a row"));
        end(&dir, None).unwrap();
        assert_eq!(begin(&dir, vec![], vec![], false).unwrap(), Birth { crash: None, crash_loop: None });
        assert!(read(&dir).last_crash.is_some(), "it stays told");
    }

    #[test]
    fn a_life_that_was_long_enough_was_no_failed_start() {
        let (_temporary, dir) = dir();
        for _ in 0..5 {
            assert_eq!(begin(&dir, vec![], vec![], false).unwrap().crash_loop, None);
            settle(&dir).unwrap();
        }
        assert!(begin(&dir, vec![], vec![], false).unwrap().crash.is_some());
    }

    #[test]
    fn a_start_that_fails_with_an_error_is_told_and_is_no_crash_of_a_loop() {
        let (_temporary, dir) = dir();
        for _ in 0..5 {
            assert_eq!(begin(&dir, vec![], vec![], false).unwrap().crash_loop, None);
            end(&dir, Some(&Failure::failed("the store is not there"))).unwrap();
        }
        assert_eq!(read(&dir).last_crash.unwrap().exit, "the store is not there");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_as_good_as_none() {
        let (_temporary, dir) = dir();
        std::fs::write(dir.lives_file(), "{\"current\": 5").unwrap();
        assert_eq!(begin(&dir, vec![], vec![], false).unwrap(), Birth { crash: None, crash_loop: None });
    }
}
