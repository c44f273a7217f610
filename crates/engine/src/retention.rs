//! Removes what is old: rows in bites with a pause after each, then the files that the rows named. It comes every hour, and
//! when somebody asks; a dry run says what would go, and what keeps the rest.
//!
//! Invariant: a row says that a file is gone before it is, and a file whose removal was cut short is removed the next time.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use wakeful_domain::id::RunId;
use wakeful_domain::retention::cutoff;
use wakeful_domain::run::Run;
use wakeful_domain::time::Timestamp;
use wakeful_runner::process::record::{LOG_FILE, PACKED_LOG_FILE};
use wakeful_store::Refusal;
use wakeful_store::ops::retention::kinds::{self, Key, Kind};
use wakeful_store::ops::retention::{self, BITE, events, logs};

use crate::clock;
use crate::engine::Engine;

/// After a start, when there is other work to do.
const FIRST_AFTER: Duration = Duration::from_secs(5 * 60);
const EVERY: Duration = Duration::from_secs(60 * 60);

/// What was removed of one kind, or would be.
#[derive(Debug, Clone, Default)]
pub struct Gone {
    pub kind: &'static str,
    pub removed: u64,
    /// Of files.
    pub bytes: u64,
    /// Old ones that stay, by what keeps them.
    pub kept: BTreeMap<String, u64>,
    /// When the oldest of those was made.
    pub oldest_kept: Option<Timestamp>,
}

/// What a collection did, or would do.
#[derive(Debug, Clone)]
pub struct GcReport {
    pub is_dry: bool,
    pub gone: Vec<Gone>,
    /// The longest that one transaction took, its wait for the writer included.
    pub slowest_bite: Duration,
}

impl GcReport {
    fn count(&self) -> u64 {
        self.gone.iter().map(|gone| gone.removed).sum()
    }
}

/// Collects until the engine stops.
pub(crate) async fn run(engine: &Engine) {
    if engine.config().is_in_safe_mode {
        return engine.stopping().await;
    }
    let mut rhythm = Rhythm::begin();
    loop {
        tokio::select! {
            () = engine.stopping() => return,
            () = rhythm.next(engine.inner.room.is_wanted()) => collect(engine).await,
        }
    }
}

/// When a collection is due.
struct Rhythm {
    wait: Duration,
}

impl Rhythm {
    fn begin() -> Rhythm {
        Rhythm { wait: FIRST_AFTER }
    }

    /// Resolves when the next one is due by the clock, or at once when it is wanted; an hour is counted from there.
    async fn next(&mut self, wanted: impl Future<Output = ()>) {
        tokio::select! {
            () = tokio::time::sleep(self.wait) => {}
            () = wanted => {}
        }
        self.wait = EVERY;
    }
}

async fn collect(engine: &Engine) {
    match engine.gc(false).await {
        Ok(report) if report.count() > 0 => {
            let told: Vec<String> = report
                .gone
                .iter()
                .filter(|gone| gone.removed > 0)
                .map(|gone| format!("{} {}", gone.removed, gone.kind))
                .collect();
            tracing::info!(
                slowest_bite_ms = report.slowest_bite.as_millis() as u64,
                "old and removed: {}",
                told.join(", ")
            );
        }
        Ok(_) => {}
        Err(refusal) => tracing::error!("what is old could not be removed, and is later: {refusal}"),
    }
}

impl Engine {
    /// Removes what is old, or says what would go.
    pub async fn gc(&self, is_dry: bool) -> Result<GcReport, Refusal> {
        let _alone = self.inner.collecting.lock().await;
        let mut collection = Collection {
            engine: self,
            now: clock::now(),
            report: GcReport { is_dry, gone: Vec::new(), slowest_bite: Duration::ZERO },
        };
        collection.logs().await?;
        for kind in Kind::ALL {
            collection.kind(*kind).await?;
        }
        collection.events().await?;
        collection.directories().await?;
        Ok(collection.report)
    }

    /// Keeps a run whatever its age, or lets it go with the others again.
    pub async fn pin_run(&self, id: RunId, is_pinned: bool) -> Result<Run, Refusal> {
        let arguments = (clock::now(), id, is_pinned);
        self.write("run.pin", arguments, |tx, (now, id, is_pinned)| Box::pin(retention::pin(tx, *now, *id, *is_pinned)))
            .await
    }
}

struct Collection<'a> {
    engine: &'a Engine,
    now: Timestamp,
    report: GcReport,
}

impl Collection<'_> {
    /// Notes how long a bite took, and leaves the writer to the others for as long.
    async fn rest(&mut self, began: std::time::Instant) {
        let took = clock::monotonic().saturating_duration_since(began);
        self.report.slowest_bite = self.report.slowest_bite.max(took);
        tokio::time::sleep(took).await;
    }

    async fn kind(&mut self, kind: Kind) -> Result<(), Refusal> {
        let (engine, policy) = (self.engine, self.engine.config().retention);
        let number = policy.rows_max;
        let beyond = engine
            .db()
            .read("gc.beyond", (kind, number), |tx, (kind, number)| Box::pin(kinds::beyond(tx, *kind, *number)));
        let beyond = beyond.await?;
        let cut = match kind {
            Kind::Keys => cutoff(self.now, policy.keys, None),
            // As long as there is a key whose repetition is answered with it.
            _ => cutoff(self.now, policy.rows, beyond).min(cutoff(self.now, policy.keys, None)),
        };
        let mut gone = Gone { kind: kind.as_str(), ..Gone::default() };
        let mut after: Option<Key> = None;
        loop {
            let arguments = (kind, cut, after.take());
            let look = engine
                .db()
                .read("gc.look", arguments, |tx, (kind, cut, after)| {
                    Box::pin(kinds::look(tx, *kind, *cut, after.as_ref()))
                })
                .await?;
            for (reason, count) in look.kept {
                *gone.kept.entry(reason).or_default() += count;
            }
            gone.oldest_kept = gone.oldest_kept.into_iter().chain(look.oldest_kept).min();
            if self.report.is_dry {
                gone.removed += look.free.len() as u64;
            } else {
                for bite in look.free.chunks(BITE) {
                    gone.removed += self.remove(kind, cut, bite).await?;
                }
            }
            after = look.next;
            if after.is_none() {
                self.report.gone.push(gone);
                return Ok(());
            }
        }
    }

    async fn remove(&mut self, kind: Kind, cut: Timestamp, bite: &[Key]) -> Result<u64, Refusal> {
        let mut rows = 0;
        loop {
            let began = clock::monotonic();
            let arguments = (kind, cut, bite.to_vec());
            let removed = self
                .engine
                .db()
                .write("gc.remove", arguments, |tx, (kind, cut, bite)| Box::pin(kinds::remove(tx, *kind, *cut, bite)))
                .await?;
            rows += removed.rows;
            self.rest(began).await;
            if !removed.is_partial {
                return Ok(rows);
            }
        }
    }

    async fn events(&mut self) -> Result<(), Refusal> {
        let (db, policy) = (self.engine.db(), self.engine.config().retention);
        let beyond =
            db.read("gc.events_beyond", policy.rows_max, |tx, number| Box::pin(events::beyond(tx, *number))).await?;
        let cut = cutoff(self.now, policy.events, beyond);
        let (count, oldest_kept) = db
            .read("gc.count_events", (self.now, cut), |tx, (now, cut)| Box::pin(events::count(tx, *now, *cut)))
            .await?;
        let mut gone = Gone { kind: "events", oldest_kept, ..Gone::default() };
        if self.report.is_dry {
            gone.removed = count;
        } else {
            loop {
                let began = clock::monotonic();
                let bite = db
                    .write("gc.remove_events", (self.now, cut), |tx, (now, cut)| {
                        Box::pin(events::remove(tx, *now, *cut))
                    })
                    .await?;
                gone.removed += bite;
                if bite == 0 {
                    break;
                }
                self.rest(began).await;
            }
        }
        self.report.gone.push(gone);
        Ok(())
    }

    /// Bodies of logs. The rows say that they are gone before they are.
    async fn logs(&mut self) -> Result<(), Refusal> {
        let cut = cutoff(self.now, self.engine.config().retention.logs, None);
        let mut gone = Gone { kind: "logs", ..Gone::default() };
        self.logs_left(&mut gone).await?;
        let mut after = None;
        loop {
            let arguments = (cut, after);
            let found = self
                .engine
                .db()
                .read("gc.logs", arguments, |tx, (cut, after)| Box::pin(logs::old(tx, *cut, *after)))
                .await?;
            let Some(last) = found.last() else { break };
            after = Some(*last);
            for bite in found.chunks(BITE) {
                let marked = match self.report.is_dry {
                    true => bite.to_vec(),
                    false => self.mark(bite).await?,
                };
                gone.removed += marked.len() as u64;
                gone.bytes += self.remove_logs(marked).await?;
            }
        }
        self.report.gone.push(gone);
        Ok(())
    }

    /// Those that an earlier collection did not get to: their rows say since then that they are gone.
    async fn logs_left(&mut self, gone: &mut Gone) -> Result<(), Refusal> {
        let mut after: Option<RunId> = None;
        loop {
            let read = self.engine.db().read("gc.logs_left", after, |tx, after| Box::pin(logs::left(tx, *after)));
            let found = read.await?;
            let Some(last) = found.last() else { return Ok(()) };
            after = Some(*last);
            gone.bytes += self.remove_logs(found).await?;
        }
    }

    /// Removes the files; one that could not be removed stays named for the next collection.
    async fn remove_logs(&mut self, runs: Vec<RunId>) -> Result<u64, Refusal> {
        let mut bytes = 0;
        let mut removed = Vec::with_capacity(runs.len());
        for run in runs {
            let (found, is_gone) = self.remove_files(&self.engine.run_dir(run), &[LOG_FILE, PACKED_LOG_FILE]);
            bytes += found;
            removed.extend(is_gone.then_some(run));
        }
        if !self.report.is_dry {
            let began = clock::monotonic();
            self.engine.db().write("gc.forget", removed, |tx, runs| Box::pin(logs::forget(tx, runs))).await?;
            self.rest(began).await;
        }
        Ok(bytes)
    }

    async fn mark(&mut self, bite: &[RunId]) -> Result<Vec<RunId>, Refusal> {
        let began = clock::monotonic();
        let arguments = (self.now, bite.to_vec());
        let marked = self
            .engine
            .db()
            .write("gc.mark_logs", arguments, |tx, (now, runs)| Box::pin(logs::mark(tx, *now, runs)))
            .await?;
        self.rest(began).await;
        Ok(marked)
    }

    /// Directories of runs whose rows are gone, also those that an earlier collection left.
    async fn directories(&mut self) -> Result<(), Refusal> {
        let mut gone = Gone { kind: "directories", ..Gone::default() };
        let mut after: Option<RunId> = None;
        loop {
            let read = self.engine.db().read("gc.directories", after, |tx, after| Box::pin(logs::removed(tx, *after)));
            let found = read.await?;
            let Some(last) = found.last() else { break };
            after = Some(*last);
            // One that could not be removed stays for the next collection.
            let mut removed = Vec::with_capacity(found.len());
            for run in found {
                let dir = self.engine.run_dir(run);
                let (is_there, bytes) = (dir.exists(), bytes_in(&dir));
                match if self.report.is_dry { Ok(()) } else { std::fs::remove_dir_all(&dir) } {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        tracing::warn!(run.id = %run, "the directory {} could not be removed: {error}", dir.display());
                    }
                    Ok(()) | Err(_) => {
                        gone.removed += u64::from(is_there);
                        gone.bytes += bytes;
                        removed.push(run);
                    }
                }
            }
            if self.report.is_dry {
                continue;
            }
            let began = clock::monotonic();
            self.engine.db().write("gc.forget", removed, |tx, runs| Box::pin(logs::forget(tx, runs))).await?;
            self.rest(began).await;
        }
        self.report.gone.push(gone);
        Ok(())
    }

    /// How many bytes there were, and whether none are left.
    fn remove_files(&self, dir: &Path, names: &[&str]) -> (u64, bool) {
        let (mut bytes, mut is_gone) = (0, true);
        for path in names.iter().map(|name| dir.join(name)) {
            let Ok(metadata) = std::fs::metadata(&path) else { continue };
            bytes += metadata.len();
            if !self.report.is_dry
                && let Err(error) = std::fs::remove_file(&path)
            {
                tracing::warn!("the log {} could not be removed: {error}", path.display());
                is_gone = false;
            }
        }
        (bytes, is_gone)
    }
}

/// Bytes of the files in a directory of a run, which has no others below it.
fn bytes_in(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn it_comes_five_minutes_after_the_start_then_an_hour_after_the_last_and_at_once_when_it_is_wanted() {
        let mut rhythm = Rhythm::begin();
        assert_eq!(rhythm.wait, Duration::from_secs(300));
        assert_eq!(rhythm.next(pending()).now_or_never(), None, "not before it is due");
        assert_eq!(rhythm.wait, Duration::from_secs(300), "looking changes nothing");
        // As if the time had passed.
        rhythm.wait = Duration::ZERO;
        rhythm.next(pending()).await;
        assert_eq!(rhythm.wait, Duration::from_secs(3_600));
        assert_eq!(rhythm.next(pending()).now_or_never(), None);
        assert_eq!(rhythm.next(ready(())).now_or_never(), Some(()), "a full disk does not wait for the hour");
        assert_eq!(rhythm.wait, Duration::from_secs(3_600));
    }
}
