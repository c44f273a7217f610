//! The file of the embedded store as a whole: copied while it is in use, looked through for damage, counted.
//! What a backup is made of and how it is kept is not in here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use crate::Error;
use crate::ops::restore::Life;

/// The file behind a place in memory (`-shm`) and the log of what is not in the file yet (`-wal`).
pub const COMPANIONS: &[&str] = &["-wal", "-shm"];
/// All pages in one step: a single snapshot. Writers go on meanwhile; what they write stays in the log for as long.
const ALL_PAGES: i32 = -1;
/// Problems that are told of a damaged file; more would only say the same.
const PROBLEMS_MAX: u32 = 5;

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    pub schema: i64,
    /// Restores that led to it.
    pub epoch: i64,
    /// Rows of each table.
    pub rows: BTreeMap<String, i64>,
}

/// Copies the store in `source`, whoever uses it, as it is at one moment. `target` must not be there.
pub fn copy(source: &Path, target: &Path) -> Result<(), Error> {
    let what = "copy its file";
    let failed = |error: rusqlite::Error| failed(what, &error);
    let from = open_source(source)?;
    let mut to = open(target, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
    let backup = Backup::new(&from, &mut to).map_err(failed)?;
    let step = backup.step(ALL_PAGES).map_err(failed)?;
    if step != StepResult::Done {
        return Err(Error::Engine { what, source_text: format!("{step:?}: it is locked"), is_retryable: true });
    }
    drop(backup);
    // One file, without a log beside it.
    to.execute_batch("pragma journal_mode = delete").map_err(failed)
}

/// Looks through every page and index; names what is damaged.
pub fn check(path: &Path) -> Result<(), Error> {
    let damaged = |what: String| Error::Damaged { path: path.to_owned(), what };
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let checked = || -> rusqlite::Result<Vec<String>> {
        let mut statement = connection.prepare(&format!("pragma integrity_check({PROBLEMS_MAX})"))?;
        statement.query_map([], |row| row.get(0))?.collect()
    };
    // A page that cannot be read at all is an error, not a problem in the list.
    let found = checked().map_err(|error| damaged(error.to_string()))?;
    match found.iter().all(|line| line == "ok") {
        true => Ok(()),
        false => Err(damaged(found.join("; "))),
    }
}

/// Which schema the file has, and how many rows.
pub fn contents(path: &Path) -> Result<Contents, Error> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let counted = || -> rusqlite::Result<Contents> {
        let schema = connection.query_row("select max(version) from schema_migrations", [], |row| row.get(0))?;
        let epoch =
            connection.query_row("select max(cast(value as integer)) from meta where key = 'epoch'", [], |row| {
                row.get::<_, Option<i64>>(0)
            })?;
        let mut statement =
            connection.prepare("select name from sqlite_master where type = 'table' and name not like 'sqlite_%'")?;
        let tables: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        let mut rows = BTreeMap::new();
        for table in tables {
            let count = connection.query_row(&format!("select count(*) from \"{table}\""), [], |row| row.get(0))?;
            rows.insert(table, count);
        }
        Ok(Contents { schema, epoch: epoch.unwrap_or(0), rows })
    };
    counted().map_err(|error| failed("count what it holds", &error))
}

/// How far the store in `path` has come, what stands in its log alone included. Nobody may be writing to it.
pub fn life(path: &Path) -> Result<Life, Error> {
    let connection = open_source(path)?;
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, Option<i64>>(0));
    let read = || -> rusqlite::Result<Life> {
        Ok(Life {
            epoch: number("select max(cast(value as integer)) from meta where key = 'epoch'")?.unwrap_or(0),
            last_event: number("select max(seq) from sqlite_sequence where name = 'events'")?.unwrap_or(0),
        })
    };
    read().map_err(|error| failed("read how far it has come", &error))
}

/// How much of the store in `path` stands in its log and not in the file yet.
pub fn log_bytes(path: &Path) -> u64 {
    std::fs::metadata(beside(path, "-wal")).map_or(0, |metadata| metadata.len())
}

/// What stands beside the file under the same name with this ending.
pub fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Opens a store to be copied. On a disk that cannot be written no place in memory can be shared, and nobody can change
/// the file either: then it is read as it stands, if all of it stands there.
fn open_source(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let usable = |connection: Connection| -> Result<Connection, Error> {
        let read = connection.query_row("select count(*) from sqlite_master", [], |_| Ok(()));
        read.map(|()| connection).map_err(|error| failed("read its file", &error))
    };
    match open(path, flags).and_then(usable) {
        Err(_) if log_bytes(path) == 0 && is_on_read_only_disk(path) => {
            let text = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
            let address = PathBuf::from(format!("file:{text}?immutable=1"));
            open(&address, flags | OpenFlags::SQLITE_OPEN_URI).and_then(usable)
        }
        opened => opened,
    }
}

fn is_on_read_only_disk(path: &Path) -> bool {
    std::fs::OpenOptions::new()
        .append(true)
        .open(path)
        .is_err_and(|error| error.kind() == std::io::ErrorKind::ReadOnlyFilesystem)
}

fn open(path: &Path, flags: OpenFlags) -> Result<Connection, Error> {
    Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(|error| failed("open its file", &error))
}

fn failed(what: &'static str, error: &rusqlite::Error) -> Error {
    Error::Engine { what, source_text: error.to_string(), is_retryable: false }
}
