//! Writes a backup: a copy of the store at one moment, packed, read back and checked, and only then given its name.
//! The server goes on meanwhile: the copy reads one snapshot and takes no lock that a writer waits for.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use wakeful_domain::hex;
use wakeful_domain::id::RunId;
use wakeful_engine::clock;
use wakeful_runner::process::record::{LOG_FILE, PACKED_LOG_FILE};
use wakeful_store::{Error, file};
use zstd::Encoder;

use super::{FORMAT, Logs, MANIFEST, Manifest, Part, RUNS, STORE, database, no_room, read};
use crate::data_dir::DataDir;
use crate::failure::{Failure, NOT_FOUND};

/// A little for much: more would take a processor from the server for little less.
const LEVEL: i32 = 3;
const CHUNK_BYTES: usize = 256 * 1024;

/// Makes a backup of the directory's store; gives the file, and what is in it.
pub fn make(
    dir: &DataDir,
    named_database: Option<&str>,
    file: Option<&Path>,
    with_logs: bool,
) -> Result<(PathBuf, Manifest), Failure> {
    if database(dir, named_database).is_some() {
        return Err(Failure::usage("the store is in PostgreSQL, which is backed up with its own tools")
            .hint("pg_dump --format=custom --file=wakeful.dump --dbname=\"$DATABASE\", with the URL that --database has; after pg_restore: wakeful restore --database \"$DATABASE\""));
    }
    let source = dir.store_file();
    if !source.exists() {
        let told = format!("there is no store in {}", dir.path().display());
        return Err(Failure::new(NOT_FOUND, told).hint("name its directory with --data-dir"));
    }
    let target = target(file)?;
    let folder = target.parent().unwrap_or(Path::new("/"));
    // For us alone, beside the file to be, so that the last step is a mere change of name.
    let scratch = tempfile::Builder::new().prefix(".wakeful-backup-").tempdir_in(folder);
    let scratch = scratch.map_err(|error| no_room(&error, folder))?;
    let store = scratch.path().join(STORE);
    let taken_at = clock::now();
    file::copy(&source, &store).map_err(|error| not_copied(&error, &source, folder))?;
    let contents = file::contents(&store).map_err(|error| not_copied(&error, &source, folder))?;
    let packed = scratch.path().join("packed");
    let written = || -> io::Result<Manifest> {
        let part = summed(&store)?;
        let manifest = Manifest {
            format: FORMAT,
            wakeful: env!("CARGO_PKG_VERSION").into(),
            schema: contents.schema,
            epoch: contents.epoch,
            taken_at,
            store: part,
            rows: contents.rows,
            logs: None,
        };
        let logs = with_logs.then(|| logs_below(&dir.path().join(RUNS))).transpose()?;
        let manifest = pack(&packed, &store, logs.as_deref(), manifest)?;
        fs::remove_file(&store)?;
        Ok(manifest)
    };
    let manifest = written().map_err(|error| no_room(&error, &target))?;
    let checked = scratch.path().join("checked");
    fs::create_dir(&checked).map_err(|error| no_room(&error, folder))?;
    read::read(&packed, &checked).map_err(|failure| {
        Failure::failed(format!("what was copied from {} is not sound, and is not kept: {failure}", source.display()))
            .hint("`wakeful restore` puts an earlier backup in its place")
    })?;
    fs::rename(&packed, &target)
        .and_then(|()| File::open(folder)?.sync_all())
        .map_err(|error| no_room(&error, &target))?;
    Ok((target, manifest))
}

/// Where the backup goes: the file, or one named for now in the directory.
fn target(file: Option<&Path>) -> Result<PathBuf, Failure> {
    let stamp = clock::now().to_string().replace([':', '-'], "");
    let name = format!("wakeful-{}.tar.zst", stamp.split('.').next().unwrap_or(&stamp));
    let named = match file {
        Some(file) if file.is_dir() => file.join(name),
        Some(file) => file.to_owned(),
        None => PathBuf::from(name),
    };
    std::path::absolute(&named).map_err(|error| no_room(&error, &named))
}

fn not_copied(error: &Error, source: &Path, folder: &Path) -> Failure {
    let failure = Failure::failed(format!("{} cannot be copied to {}: {error}", source.display(), folder.display()));
    match error.to_string().contains("malformed") {
        true => failure.hint("the store is damaged: `wakeful restore` puts an earlier backup in its place"),
        false => failure.hint("see whether both disks have room and may be read and written"),
    }
}

fn summed(path: &Path) -> io::Result<Part> {
    let (mut file, mut sum, mut bytes) = (File::open(path)?, Sha256::new(), 0);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let count = file.read(&mut chunk)?;
        if count == 0 {
            return Ok(Part { bytes, sha256: hex::of(&sum.finalize()) });
        }
        sum.update(&chunk[..count]);
        bytes += count as u64;
    }
}

/// The logs of all runs: their names in the backup, and where they are.
fn logs_below(runs: &Path) -> io::Result<Vec<(PathBuf, PathBuf)>> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(runs) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.parse::<RunId>().is_ok()) {
            let of = |log: &str| (Path::new(RUNS).join(&name).join(log), entry.path().join(log));
            found.extend([LOG_FILE, PACKED_LOG_FILE].map(of));
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn pack(packed: &Path, store: &Path, logs: Option<&[(PathBuf, PathBuf)]>, manifest: Manifest) -> io::Result<Manifest> {
    let mut encoder = Encoder::new(File::options().write(true).create_new(true).open(packed)?, LEVEL)?;
    encoder.include_checksum(true)?;
    let mut archive = tar::Builder::new(encoder);
    let at = manifest.taken_at.as_millis().unsigned_abs() / 1_000;
    let length = manifest.store.bytes;
    archive.append_data(&mut header(length, at), STORE, File::open(store)?)?;
    let logs = match logs {
        Some(logs) => Some(pack_logs(&mut archive, logs, at)?),
        None => None,
    };
    let manifest = Manifest { logs, ..manifest };
    let text = serde_json::to_vec_pretty(&manifest)?;
    archive.append_data(&mut header(text.len() as u64, at), MANIFEST, text.as_slice())?;
    let file = archive.into_inner()?.finish()?;
    set_private(&file)?;
    file.sync_all()?;
    Ok(manifest)
}

fn pack_logs(archive: &mut tar::Builder<impl Write>, logs: &[(PathBuf, PathBuf)], at: u64) -> io::Result<Logs> {
    let mut packed = Logs::default();
    for (name, path) in logs {
        // Packed or removed meanwhile: then it stands under its other name, or nowhere.
        let Ok(file) = File::open(path) else { continue };
        let bytes = file.metadata()?.len();
        // One that is live may be cut while it is read.
        let exactly = file.chain(io::repeat(b'\n')).take(bytes);
        archive.append_data(&mut header(bytes, at), name, exactly)?;
        packed = Logs { files: packed.files + 1, bytes: packed.bytes + bytes };
    }
    Ok(packed)
}

fn header(bytes: u64, at: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes);
    header.set_mode(0o600);
    header.set_mtime(at);
    header
}

fn set_private(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(0o600))
}
