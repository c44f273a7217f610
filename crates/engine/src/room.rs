//! Room on the disk of the data directory: a file that is held in reserve, given up when the disk is full so that runs can
//! end, rows can be removed and requests be answered, and made again once there is room. Nothing starts meanwhile.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate};
use tokio::sync::Notify;

use crate::engine::Engine;
use crate::pressure::disk_free;

const RESERVE_FILE: &str = "reserve";
/// What is held in reserve: enough for the log of the store and the ends of many runs.
const RESERVE_BYTES: u64 = 32 * 1024 * 1024;
/// With less than this free the disk counts as full.
const FULL_BYTES: u64 = 4 * 1024 * 1024;
/// The reserve is made again with this much beside it, so that it is not made and given up by turns.
const ROOM_BYTES: u64 = RESERVE_BYTES;
/// Between two looks; each is one question to the file system.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The reserve, and whether it is given up.
#[derive(Debug)]
pub(crate) struct Room {
    file: PathBuf,
    is_short: AtomicBool,
    /// Whether there was one in this life.
    was_held: AtomicBool,
    full: Notify,
    wanted: Notify,
}

impl Room {
    pub fn new(data_dir: &Path) -> Room {
        let file = data_dir.join(RESERVE_FILE);
        Room {
            file,
            is_short: AtomicBool::new(false),
            was_held: AtomicBool::new(false),
            full: Notify::new(),
            wanted: Notify::new(),
        }
    }

    /// Whether the reserve is given up.
    pub fn is_short(&self) -> bool {
        self.is_short.load(Ordering::Acquire)
    }

    /// Something could not be written for lack of room.
    pub fn is_full(&self) {
        self.full.notify_one();
    }

    /// Resolves when old things should go now.
    pub async fn is_wanted(&self) {
        self.wanted.notified().await;
    }

    /// Gives the reserve up, or makes it again, as the disk stands.
    fn look(&self, was_refused: bool) {
        let free = self.file.parent().and_then(disk_free).unwrap_or(u64::MAX);
        let is_full = was_refused || free < FULL_BYTES;
        if is_held(&self.file) {
            self.was_held.store(true, Ordering::Release);
            if is_full {
                self.give_up();
            }
        } else if is_full {
            self.is_short.store(true, Ordering::Release);
        } else if free >= RESERVE_BYTES + ROOM_BYTES {
            if let Err(error) = held(&self.file) {
                // Without one all goes on as it is; it is tried again.
                tracing::debug!("the reserve could not be made: {error}");
            }
            self.has_room();
        } else if !self.was_held.load(Ordering::Acquire) && free >= 2 * FULL_BYTES {
            // A disk that never had room for a reserve.
            self.has_room();
        }
    }

    fn give_up(&self) {
        self.is_short.store(true, Ordering::Release);
        match fs::remove_file(&self.file) {
            Ok(()) => tracing::error!(
                "the disk of the data directory is full: nothing more is started, and the reserve of {} MiB is given up so that runs can end; make room",
                RESERVE_BYTES / (1024 * 1024)
            ),
            Err(error) => tracing::error!("the disk is full, and the reserve could not be given up: {error}"),
        }
        self.wanted.notify_one();
    }

    fn has_room(&self) {
        if self.is_short.swap(false, Ordering::AcqRel) {
            tracing::info!("there is room on the disk of the data directory again");
        }
    }
}

/// Gives the reserve up before a start on a disk that is full, which could not write a word otherwise.
pub fn before_start(data_dir: &Path) {
    let file = data_dir.join(RESERVE_FILE);
    if disk_free(data_dir).is_some_and(|free| free < FULL_BYTES) && is_held(&file) {
        // If it fails, so does the start, which says why.
        fs::remove_file(file).ok();
    }
}

fn is_held(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|metadata| metadata.len() == RESERVE_BYTES)
}

/// Allocates the file for us alone, not as a hole; whatever was there of it goes first.
fn held(path: &Path) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    let allocated = fallocate(&file, FallocateFlags::empty(), 0, RESERVE_BYTES);
    match allocated.map_err(io::Error::from).and_then(|()| fs::rename(&temporary, path)) {
        Ok(()) => Ok(()),
        Err(error) => {
            fs::remove_file(&temporary).ok();
            Err(error)
        }
    }
}

/// Watches the disk until the engine stops.
pub(crate) async fn run(engine: &Engine) {
    let room = &engine.inner.room;
    let mut was_refused = false;
    loop {
        let before = room.is_short();
        room.look(was_refused);
        if before && !room.is_short() {
            engine.inner.nudge.changed();
        }
        was_refused = tokio::select! {
            () = engine.stopping() => return,
            () = room.full.notified() => true,
            () = tokio::time::sleep(LOOK_EVERY) => false,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_allocated_given_up_when_something_was_refused_and_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let room = Room::new(dir.path());
        room.look(false);
        let metadata = fs::metadata(&room.file).unwrap();
        let blocks = std::os::unix::fs::MetadataExt::blocks(&metadata);
        assert_eq!((metadata.len(), blocks * 512 >= RESERVE_BYTES), (RESERVE_BYTES, true), "not a hole");
        room.look(true);
        assert!(room.is_short() && !room.file.exists());
        room.look(false);
        assert!(!room.is_short() && room.file.exists());
    }
}
