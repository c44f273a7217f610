//! The environment and the clock, read in one place.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A variable that is set and not empty.
#[expect(clippy::disallowed_methods, reason = "the one place of xtask that reads the environment")]
pub fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

#[expect(clippy::disallowed_methods, reason = "the one place of xtask that reads the clock")]
pub fn now() -> Instant {
    Instant::now()
}

/// Where cargo builds.
pub fn target(root: &Path) -> PathBuf {
    root.join(variable("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// The program's file, as a shell would find it.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = variable("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}
