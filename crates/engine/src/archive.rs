//! Compresses the logs of runs that are over, one at a time and behind everything else. A log that
//! is not compressed, because the server stopped or the disk was full, is read all the same and
//! taken up at the next start.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;
use wakeful_domain::id::RunId;
use wakeful_runner::process::log::compress;

use crate::engine::Engine;

/// The runs whose logs wait to be compressed.
#[derive(Debug)]
pub struct Archive {
    over: mpsc::UnboundedSender<RunId>,
    waiting: Mutex<Option<mpsc::UnboundedReceiver<RunId>>>,
}

impl Default for Archive {
    fn default() -> Self {
        let (over, waiting) = mpsc::unbounded_channel();
        Archive { over, waiting: Mutex::new(Some(waiting)) }
    }
}

impl Archive {
    /// A run is over: nobody writes to its log any more.
    pub fn take(&self, run: RunId) {
        // It fails only once nobody compresses any more.
        self.over.send(run).ok();
    }
}

/// Compresses what is there and what comes, until the engine stops.
pub(crate) async fn run(engine: &Engine) {
    let waiting = engine.inner.archive.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(mut waiting) = waiting else { return };
    for run in left_plain(engine).await {
        engine.inner.archive.take(run);
    }
    loop {
        let run = tokio::select! {
            () = engine.stopping() => return,
            Some(run) = waiting.recv() => run,
            else => return,
        };
        let dir = engine.run_dir(run);
        match tokio::task::spawn_blocking(move || compress(&dir)).await.map_err(io::Error::other).flatten() {
            Ok(Some(done)) => {
                tracing::debug!(run.id = %run, "the log of run {run}: {} to {} bytes", done.bytes_before, done.bytes_after)
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(run.id = %run, "the log of run {run} stays as it is: {error}"),
        }
    }
}

/// Runs that are over and have a plain log, as an earlier server left them.
async fn left_plain(engine: &Engine) -> Vec<RunId> {
    let runs = engine.config().data_dir.join("runs");
    let found = tokio::task::spawn_blocking(move || plain_logs(&runs)).await.map_err(io::Error::other).flatten();
    let found = found.unwrap_or_else(|error| {
        tracing::warn!("the logs of earlier runs could not be looked through: {error}");
        Vec::new()
    });
    let live = engine.live();
    found.into_iter().filter(|run| !live.contains_key(run)).collect()
}

fn plain_logs(runs: &Path) -> io::Result<Vec<RunId>> {
    let entries = match fs::read_dir(runs) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let is_plain = |dir: &Path| dir.join(wakeful_runner::process::record::LOG_FILE).exists();
    let of = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok().filter(|_| is_plain(&entry.path()));
    Ok(entries.flatten().filter_map(of).collect())
}
