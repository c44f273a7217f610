//! The data directory: whether it is there and for us alone, what is in it, and the room for more.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use wakeful_store::{Error, file};

use super::{Finding, Fix, Verdict, finding};
use crate::arguments::SettingOptions;
use crate::config::settings;
use crate::data_dir::DataDir;

/// A log of the store that is longer than this is held open by a reader: it is cut at half of that otherwise.
const LOG_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// Less free space than this is worth a warning.
const FREE_BYTES_MIN: u64 = 1024 * 1024 * 1024;

pub(super) fn findings(dir: &DataDir) -> Vec<Finding> {
    let mut findings = vec![data_directory(dir.path()), disk(dir.path())];
    findings.extend(private_files(dir));
    findings.push(master_key(dir));
    findings.extend(store(dir));
    findings.push(configuration(dir));
    findings
}

fn data_directory(path: &Path) -> Finding {
    let subject = "data directory";
    let shown = path.display();
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => metadata,
        Ok(_) => {
            return finding(subject, Verdict::Failed, format!("{shown} is not a directory"))
                .remedy("name another one with --data-dir");
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return finding(
                subject,
                Verdict::Warning,
                format!("{shown} does not exist yet: `wakeful up` makes it, too"),
            )
            .fix(Fix::MakeDirectory(path.to_owned()));
        }
        Err(error) => {
            return finding(subject, Verdict::Failed, format!("{shown} cannot be looked at: {error}"))
                .remedy("name another one with --data-dir, or ask as its owner");
        }
    };
    let own = rustix::process::geteuid().as_raw();
    if metadata.uid() != own && own != 0 {
        return finding(subject, Verdict::Failed, format!("{shown} belongs to user {}", metadata.uid()))
            .remedy("run Wakeful as that user, or name another one with --data-dir");
    }
    if rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_err() {
        return finding(subject, Verdict::Failed, format!("{shown} cannot be written"))
            .remedy("mount its disk for writing, or name another one with --data-dir");
    }
    match metadata.permissions().mode() & 0o077 {
        0 => finding(subject, Verdict::Ok, shown.to_string()),
        _ => finding(subject, Verdict::Warning, format!("{shown} is open to other users of this machine"))
            .fix(Fix::SetMode(path.to_owned(), 0o700)),
    }
}

/// Files that hold what others must not read.
fn private_files(dir: &DataDir) -> Vec<Finding> {
    let files = [dir.token_file(), dir.store_file(), dir.log_file()];
    let is_open = |path: &Path| std::fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o077 != 0);
    let open = files.into_iter().filter(|path| is_open(path));
    open.map(|path| {
        let detail = format!("{} can be read by others", path.display());
        finding("private files", Verdict::Failed, detail).fix(Fix::SetMode(path, 0o600))
    })
    .collect()
}

/// Whether the key of the data directory is for us alone.
fn master_key(dir: &DataDir) -> Finding {
    let subject = "master key";
    let path = dir.master_key_file();
    match std::fs::metadata(&path) {
        Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
            finding(subject, Verdict::Failed, format!("{} can be read by others", path.display()))
                .remedy("set the secrets anew: they may have been read")
                .fix(Fix::SetMode(path, 0o600))
        }
        Ok(_) => finding(subject, Verdict::Ok, format!("{}: back it up apart from the store", path.display())),
        Err(_) => {
            finding(subject, Verdict::Ok, "not in the data directory: `wakeful up` makes it, or is told where it is")
        }
    }
}

/// The file and the variables that a server would be started with.
fn configuration(dir: &DataDir) -> Finding {
    let subject = "configuration";
    let path = settings::found(dir, None);
    let named =
        path.as_ref().map_or_else(|| "no file: defaults and variables".into(), |path| path.display().to_string());
    match settings::load(path, &SettingOptions::default()) {
        Ok(_) => finding(subject, Verdict::Ok, named),
        Err(failure) => finding(subject, Verdict::Failed, failure.message).remedy("`wakeful check` says every mistake"),
    }
}

fn disk(path: &Path) -> Finding {
    let subject = "disk";
    let existing = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
    match rustix::fs::statvfs(existing) {
        Ok(space) => {
            let free = space.f_bavail * space.f_frsize;
            let detail = format!("{} MiB free", free / (1024 * 1024));
            match free < FREE_BYTES_MIN {
                true => finding(subject, Verdict::Warning, detail).remedy("make room: a full disk stops new runs"),
                false => finding(subject, Verdict::Ok, detail),
            }
        }
        Err(error) => finding(subject, Verdict::Warning, format!("free space is not known: {error}")),
    }
}

/// The file of the embedded store, every page of it, and the log beside it.
fn store(dir: &DataDir) -> Vec<Finding> {
    let subject = "store";
    let path = dir.store_file();
    if !path.exists() {
        return Vec::new();
    }
    let mut findings = vec![match file::check(&path) {
        Ok(()) => finding(subject, Verdict::Ok, format!("every page of {} is in order", path.display())),
        Err(error @ Error::Damaged { .. }) => finding(subject, Verdict::Failed, error.to_string())
            .remedy("stop the server and put a backup in its place: wakeful restore FILE"),
        Err(error) => finding(subject, Verdict::Warning, error.to_string()),
    }];
    let log = file::log_bytes(&path);
    if log > LOG_BYTES_MAX {
        let detail = format!("{} MiB wait in the log beside it: somebody reads an old snapshot", log / (1024 * 1024));
        findings.push(
            finding(subject, Verdict::Warning, detail)
                .remedy("end the program that has the file open (a shell, a copy): it is cut once nobody reads it"),
        );
    }
    findings
}
