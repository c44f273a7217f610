//! The files that the server keeps in the directory of a run, beside its log: what the run was
//! started with, and what it reports about its end. Each is written whole or not at all.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use serde_json::Value as Json;

use super::start::Prepared;
use crate::context::RunContext;

pub(super) const CONTEXT_FILE: &str = "context.json";
pub(super) const RESULT_FILE: &str = "result.json";
const ADAPTER_FILE: &str = "adapter.json";

/// Settings that may hold keys in plain; reading what an agent says needs none of them.
pub(super) const SETTINGS_NOT_KEPT: &[&str] = &["env", "headers"];
/// More of a result file is not read.
const RESULT_BYTES_MAX: u64 = 1024 * 1024;

/// Writes what a later server needs in order to go on with this run. Nothing in it is secret.
pub(super) fn write_claim(prepared: &Prepared) -> io::Result<()> {
    private_dir(&prepared.dir)?;
    let context = serde_json::to_vec(&prepared.context)?;
    write_private(&prepared.dir.join(CONTEXT_FILE), &context)?;
    let mut adapter = prepared.context.adapter.clone();
    if let Some(settings) = adapter.as_object_mut() {
        settings.retain(|name, _| !SETTINGS_NOT_KEPT.contains(&name.as_str()));
    }
    write_private(&prepared.dir.join(ADAPTER_FILE), &serde_json::to_vec(&adapter)?)
}

/// The context and adapter configuration that a run was started with.
pub(super) fn kept_claim(dir: &Path) -> io::Result<RunContext> {
    let mut context: RunContext = serde_json::from_slice(&fs::read(dir.join(CONTEXT_FILE))?)?;
    context.adapter = serde_json::from_slice(&fs::read(dir.join(ADAPTER_FILE))?)?;
    Ok(context)
}

/// Writes a reported end where the run's result file is expected.
pub(crate) fn keep_report(dir: &Path, report: &Json) -> io::Result<()> {
    write_private(&dir.join(RESULT_FILE), report.to_string().as_bytes())
}

/// What the agent left as its result file. Anything but a plain file is none: opening a pipe would wait for ever.
/// Of one that is too long, the beginning, which is no JSON.
pub(super) fn result_file(dir: &Path) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = fs::File::from(rustix::fs::open(dir.join(RESULT_FILE), flags, Mode::empty()).ok()?);
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(RESULT_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Replaces the result file that an agent left by what was read of it, without secrets.
pub(super) fn scrub_result_file(dir: &Path, scrubbed: &str) -> io::Result<()> {
    let path = dir.join(RESULT_FILE);
    if fs::read(&path)? == scrubbed.as_bytes() {
        return Ok(());
    }
    write_private(&path, scrubbed.as_bytes())
}

pub(super) fn private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes a file for us alone: complete, or not at all, whatever stands in its place.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_with(path, bytes, |_| Ok(()))
}

/// The same, and it is still there after a loss of power.
pub(super) fn write_durable(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_with(path, bytes, fs::File::sync_all)?;
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::File::open(dir)?.sync_all()
}

fn write_with(path: &Path, bytes: &[u8], settle: impl Fn(&fs::File) -> io::Result<()>) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    settle(&file)?;
    fs::rename(&temporary, path)
}
