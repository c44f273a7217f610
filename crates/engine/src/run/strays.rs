//! Processes of runs that a restored store does not know, or knows as ended: they belong to the life before. Each is
//! found by the record that its shim has left, and ended with its whole tree; nothing else is signalled.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::join_all;
use wakeful_domain::id::RunId;
use wakeful_runner::process::record::exit_file;
use wakeful_runner::process::{Found, find, sweep};

use super::adopt::{has_exited, last_launch};
use super::http::is_of_service;
use crate::engine::Engine;

/// Told to the trees, and kept in their exit records.
const REASON: &str = "the store was restored from a backup that does not know this run as live";
/// What a tree may take to end by itself.
const GRACE: Duration = Duration::from_secs(5);
/// Between two tries to end a tree.
const PAUSE: Duration = Duration::from_secs(1);
/// Tries to end one tree; then a person is told, and the start goes on.
const TRIES_MAX: u32 = 30;

/// Ends every tree on this machine whose run is not live in the store. Returns once all are gone.
pub(crate) async fn end_strays(engine: &Engine) {
    let runs = engine.config().data_dir.join("runs");
    let listed = tokio::task::spawn_blocking(move || unfinished(&runs)).await;
    let found = match listed.map_err(std::io::Error::other).flatten() {
        Ok(found) => found,
        Err(error) => {
            tracing::error!("the runs of before the restore cannot be listed, so none of them is ended: {error}");
            return;
        }
    };
    let strays = found.into_iter().filter(|(run, _)| !engine.live().contains_key(run));
    join_all(strays.map(|(run, dir)| end_stray(engine, run, dir))).await;
}

/// Runs whose newest launch has left no exit record.
fn unfinished(runs: &Path) -> std::io::Result<Vec<(RunId, PathBuf)>> {
    let mut found = Vec::new();
    let entries = match std::fs::read_dir(runs) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let dir = entry?.path();
        let Some(run) = dir.file_name().and_then(|name| name.to_str()?.parse().ok()) else { continue };
        if !is_of_service(&dir) && !dir.join(exit_file(last_launch(&dir))).exists() {
            found.push((run, dir));
        }
    }
    Ok(found)
}

async fn end_stray(engine: &Engine, run: RunId, dir: PathBuf) {
    let number = last_launch(&dir);
    for _ in 0..TRIES_MAX {
        match find(&dir, number).await {
            Ok(Found::NeverStarted | Found::Ended(_)) => return,
            Ok(Found::Running(mut attached)) => {
                if let Err(error) = attached.stop(REASON, Some(GRACE)) {
                    tracing::warn!(run.id = %run, "run {run} of before the restore could not be told to stop: {error}");
                }
                if has_exited(&mut attached).await {
                    tracing::warn!(run.id = %run, "run {run} is not live in the restored store; its tree was ended");
                    return engine.inner.hold.note_ended(run.to_string());
                }
            }
            // Of an earlier boot nothing is left.
            Ok(Found::Died(death)) if death.rebooted => return,
            Ok(Found::Died(_)) => match sweep(&run.to_string()).await {
                Ok(swept) => {
                    if !swept.pids.is_empty() {
                        tracing::warn!(run.id = %run, "run {run} is not live in the restored store; what its shim had left was ended: {:?}", swept.pids);
                        engine.inner.hold.note_ended(run.to_string());
                    }
                    return;
                }
                Err(error) => tracing::error!(run.id = %run, "run {run} is not proven gone: {error}"),
            },
            Err(error) => tracing::error!(run.id = %run, "run {run} of before the restore cannot be found: {error}"),
        }
        tokio::time::sleep(PAUSE).await;
    }
    tracing::error!(run.id = %run, "run {run} of before the restore could not be ended: end its processes yourself");
}
