//! Reads a backup into a directory and checks all of it: the sums, every page and index of the store, that this program
//! knows its schema, that it holds what the manifest says, and the invariants.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};
use wakeful_domain::hex;
use wakeful_domain::id::RunId;
use wakeful_runner::process::record::{LOG_FILE, PACKED_LOG_FILE};
use wakeful_store::ops::invariants;
use wakeful_store::{Direct, Error, Refusal, SCHEMA, file};
use zstd::Decoder;

use super::{FORMAT, Logs, MANIFEST, Manifest, Part, RUNS, STORE, no_room};
use crate::failure::{Failure, NOT_FOUND};

/// A manifest is a few hundred bytes; what is longer is none.
const MANIFEST_BYTES_MAX: u64 = 1024 * 1024;
const CHUNK_BYTES: usize = 256 * 1024;
/// Broken invariants that are named; more would only say the same.
const NAMED_MAX: usize = 5;

/// A backup that has been unpacked and checked.
#[derive(Debug)]
pub struct Unpacked {
    pub manifest: Manifest,
    /// The store, of this program's schema.
    pub store: PathBuf,
    /// Below it, `<run>/log.ndjson` or its packed form.
    pub logs: PathBuf,
}

/// Unpacks a backup into an empty directory and checks it.
pub fn read(backup: &Path, into: &Path) -> Result<Unpacked, Failure> {
    let unpacked = unpack(backup, into)?;
    let damaged = |what: String| Failure::failed(format!("{} is not a sound backup: {what}", backup.display()));
    let manifest = &unpacked.manifest;
    if manifest.schema > SCHEMA {
        return Err(Failure::failed(Error::NewerSchema { found: manifest.schema, known: SCHEMA }.to_string()));
    }
    let said = |error: Error| match error {
        // Where it was unpacked to is of no interest.
        Error::Damaged { what, .. } => damaged(format!("the store in it is damaged: {what}")),
        other => damaged(other.to_string()),
    };
    file::check(&unpacked.store).map_err(said)?;
    let contents = file::contents(&unpacked.store).map_err(said)?;
    if contents.schema != manifest.schema || contents.rows != manifest.rows {
        return Err(damaged("its store does not hold what its manifest says".into()));
    }
    let violations = (|| -> Result<_, Refusal> {
        Direct::open(&unpacked.store)?.read("invariants.check", &(), |tx, ()| Box::pin(invariants::check(tx)))
    })();
    let violations = violations.map_err(|refusal| damaged(refusal.to_string()))?;
    if !violations.is_empty() {
        let named =
            violations.iter().take(NAMED_MAX).map(|found| format!("{} ({})", found.invariant.name, found.subject));
        return Err(damaged(format!("invariants do not hold: {}", named.collect::<Vec<_>>().join(", "))));
    }
    Ok(unpacked)
}

/// Why unpacking broke off.
enum Broken {
    /// The backup cannot be read, or is none.
    Backup(String),
    /// What it is unpacked to cannot be written.
    Target(io::Error),
}

fn unpack(backup: &Path, into: &Path) -> Result<Unpacked, Failure> {
    let file = File::open(backup).map_err(|error| {
        let code = if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { crate::failure::FAILED };
        Failure::new(code, format!("cannot read {}: {error}", backup.display()))
    })?;
    unpack_all(file, into).map_err(|broken| match broken {
        Broken::Target(error) => no_room(&error, into),
        Broken::Backup(what) => {
            Failure::failed(format!("{} is not a whole backup: {what}", backup.display())).hint("use another one")
        }
    })
}

fn unpack_all(file: File, into: &Path) -> Result<Unpacked, Broken> {
    let unreadable = |error: io::Error| Broken::Backup(error.to_string());
    let mut archive = tar::Archive::new(Decoder::new(file).map_err(unreadable)?);
    let (store, logs) = (into.join(STORE), into.join(RUNS));
    let (mut part, mut manifest, mut counted): (Option<Part>, Option<Manifest>, _) = (None, None, Logs::default());
    for entry in archive.entries().map_err(unreadable)? {
        let mut entry = entry.map_err(unreadable)?;
        let name = entry.path().map_err(unreadable)?.into_owned();
        if manifest.is_some() {
            return Err(Broken::Backup(format!("`{}` stands behind its end", name.display())));
        }
        match member(&name) {
            Member::Store if part.is_none() => part = Some(written(&mut entry, &store)?),
            Member::Manifest => {
                let mut text = Vec::new();
                entry.take(MANIFEST_BYTES_MAX).read_to_end(&mut text).map_err(unreadable)?;
                let read: Manifest = serde_json::from_slice(&text)
                    .map_err(|error| Broken::Backup(format!("its manifest cannot be read: {error}")))?;
                if read.format != FORMAT {
                    let told = format!("it has form {}, and this program knows {FORMAT}", read.format);
                    return Err(Broken::Backup(told));
                }
                manifest = Some(read);
            }
            Member::Log(run) => {
                fs::create_dir_all(logs.join(run.to_string())).map_err(Broken::Target)?;
                let written = written(&mut entry, &into.join(&name))?;
                counted = Logs { files: counted.files + 1, bytes: counted.bytes + written.bytes };
            }
            Member::Store | Member::Unknown => {
                return Err(Broken::Backup(format!("`{}` does not belong into one", name.display())));
            }
        }
    }
    // To the end, where the sum of it all stands.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(unreadable)?;
    let Some(manifest) = manifest else { return Err(Broken::Backup("its end is missing".into())) };
    if part.as_ref() != Some(&manifest.store) {
        return Err(Broken::Backup("the sum of its store is not the one in its manifest".into()));
    }
    if counted != manifest.logs.unwrap_or_default() {
        return Err(Broken::Backup("its logs are not those in its manifest".into()));
    }
    Ok(Unpacked { manifest, store, logs })
}

enum Member {
    Store,
    Manifest,
    Log(RunId),
    Unknown,
}

/// What a name in a backup stands for. Nothing but these is unpacked, so no name leads out of the directory.
fn member(name: &Path) -> Member {
    let parts: Option<Vec<&str>> = name.components().map(normal).collect();
    match parts.as_deref() {
        Some([STORE]) => Member::Store,
        Some([MANIFEST]) => Member::Manifest,
        Some([RUNS, run, LOG_FILE | PACKED_LOG_FILE]) => run.parse().map_or(Member::Unknown, Member::Log),
        Some(_) | None => Member::Unknown,
    }
}

fn normal(component: Component<'_>) -> Option<&str> {
    match component {
        Component::Normal(part) => part.to_str(),
        Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => None,
    }
}

fn written(from: &mut impl Read, path: &Path) -> Result<Part, Broken> {
    let mut file = File::options().write(true).create_new(true).open(path).map_err(Broken::Target)?;
    let (mut sum, mut bytes, mut chunk) = (Sha256::new(), 0, vec![0; CHUNK_BYTES]);
    loop {
        let count = from.read(&mut chunk).map_err(|error| Broken::Backup(error.to_string()))?;
        if count == 0 {
            break;
        }
        sum.update(&chunk[..count]);
        file.write_all(&chunk[..count]).map_err(Broken::Target)?;
        bytes += count as u64;
    }
    file.sync_all().map_err(Broken::Target)?;
    Ok(Part { bytes, sha256: hex::of(&sum.finalize()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_leads_elsewhere_is_no_part_of_a_backup() {
        let run = "run_01k9zz0000000000000000000a";
        let known = |name: &str| !matches!(member(Path::new(name)), Member::Unknown);
        assert!(known("wakeful.db") && known("manifest.json"));
        assert!(run.parse::<RunId>().is_err() || known(&format!("runs/{run}/log.ndjson")));
        for name in ["../wakeful.db", "/wakeful.db", "runs/../log.ndjson", "runs/x/log.ndjson", "master.key", ""] {
            assert!(!known(name), "{name}");
        }
    }
}
