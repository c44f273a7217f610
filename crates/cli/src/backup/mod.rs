//! Backups of the embedded store: one file, a tar under zstd, that any such program opens. Its last member is the
//! manifest, so what has one is whole. What is not in it: the master key, the admin token, workspaces.
//!
//! [`make`] writes one beside a server that goes on working, [`read`] checks one, [`restore`] puts one in place.

pub mod make;
pub mod read;
pub mod restore;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wakeful_domain::time::Timestamp;

use crate::arguments::{BackupArguments, Global};
use crate::daemon::lives;
use crate::data_dir::DataDir;
use crate::failure::Failure;
use crate::output::Output;

/// The form of the manifest and of what it stands beside.
const FORMAT: u32 = 1;
const STORE: &str = "wakeful.db";
const MANIFEST: &str = "manifest.json";
const RUNS: &str = "runs";

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    /// The version of the program that wrote it.
    pub wakeful: String,
    pub schema: i64,
    /// Restores that led to the store.
    pub epoch: i64,
    pub taken_at: Timestamp,
    pub store: Part,
    /// Rows of each table.
    pub rows: BTreeMap<String, i64>,
    /// Logs of runs, if they were asked for.
    pub logs: Option<Logs>,
}

/// A file in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub bytes: u64,
    pub sha256: String,
}

/// The logs in it, taken together: what holds them has a sum of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logs {
    pub files: u64,
    pub bytes: u64,
}

/// Makes a backup, or checks one.
pub fn run(global: &Global, arguments: &BackupArguments) -> Result<(), Failure> {
    let output = Output::new(global);
    let (path, manifest) = match (&arguments.file, arguments.verify) {
        (Some(file), true) => {
            let scratch = tempfile::tempdir().map_err(|error| no_room(&error, &std::env::temp_dir()))?;
            (file.clone(), read::read(file, scratch.path())?.manifest)
        }
        (None, true) => return Err(Failure::usage("--verify wants the file to check: wakeful backup --verify FILE")),
        (file, false) => {
            let dir = DataDir::of(global.data_dir.as_deref())?;
            make::make(&dir, arguments.database.as_deref(), file.as_deref(), arguments.with_logs)?
        }
    };
    let said = if arguments.verify { "is whole and sound" } else { "is written and checked" };
    output.show(&document(&path, &manifest), || say(&path, &manifest, said));
    Ok(())
}

fn document(path: &Path, manifest: &Manifest) -> Value {
    json!({ "file": path.display().to_string(), "manifest": manifest })
}

fn say(path: &Path, manifest: &Manifest, said: &str) -> String {
    let rows = |table: &str| manifest.rows.get(table).copied().unwrap_or(0);
    let logs = match manifest.logs {
        Some(logs) => format!("{} logs of runs", logs.files),
        None => "no logs of runs (--with-logs)".into(),
    };
    format!(
        "{} {said}: the store of {}, schema {}, {} agents, {} tasks, {} wakeups, {} runs; {logs}\nnot in it: the master key, without which secrets cannot be opened",
        path.display(),
        manifest.taken_at,
        manifest.schema,
        rows("agents"),
        rows("tasks"),
        rows("wakeups"),
        rows("runs"),
    )
}

/// The database that the server of this directory keeps its store in, if that is not the embedded one: named, or as it
/// was started last.
fn database(dir: &DataDir, named: Option<&str>) -> Option<String> {
    let before =
        || lives::read(dir).options.into_iter().find_map(|option| Some(option.strip_prefix("--database=")?.to_owned()));
    named.map(str::to_owned).or_else(before)
}

/// Why a file could not be written, and what to do about it.
fn no_room(error: &std::io::Error, path: &Path) -> Failure {
    let failure = Failure::failed(format!("cannot write {}: {error}", path.display()));
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded | std::io::ErrorKind::FileTooLarge => {
            failure.hint(
                "make room there, or name a file on another disk; it takes the size of the store twice for a while",
            )
        }
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            failure.hint("name a file in a directory that may be written to")
        }
        _ => failure,
    }
}
