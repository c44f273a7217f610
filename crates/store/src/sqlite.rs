//! The embedded engine: one writer thread with group commit, and readers on snapshots of
//! their own (WAL). No word of the domain in here.
//!
//! Invariant: an answer to a write leaves only after its commit has been synced.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use rusqlite::hooks::Wal;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, ErrorCode, OpenFlags, ToSql, ffi};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::dialect::{self, Translations};
use crate::{Error, Operation, Refusal, Row, Running, Tx, Value, file, migrate};

/// Operations that may wait for the writer; beyond it callers wait to hand theirs over.
const WAITING_WRITES_MAX: usize = 4_096;
/// Operations in one commit. More would make the first of them wait without gaining throughput.
const BATCH_MAX: usize = 512;
/// Reads at once. More would only compete for two cores.
const READERS_MAX: usize = 4;
/// Statements kept prepared per connection: more than there are.
const STATEMENTS_KEPT: usize = 256;
/// Pages in the log after which they are carried into the file; the number that SQLite takes by itself.
const LOG_PAGES: std::ffi::c_int = 1_000;
/// Another process (a backup, a shell) may hold the file this long before we give up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// An SQLite store. Clones share the writer and the readers.
#[derive(Debug, Clone)]
pub struct Sqlite {
    writes: mpsc::Sender<Box<dyn Job>>,
    readers: Arc<Readers>,
}

#[derive(Debug)]
struct Readers {
    idle: Mutex<Vec<Tx>>,
    permits: Semaphore,
    path: std::path::PathBuf,
}

/// An open transaction of the writer or of a reader.
#[derive(Debug)]
pub struct SqliteTx {
    connection: Connection,
    translations: Translations,
}

impl Sqlite {
    /// Opens the file, makes it if need be, brings the schema up to date and starts the writer.
    pub fn open(path: &Path) -> Result<Sqlite, Error> {
        let tx = SqliteTx::open(path)?;
        let (writes, jobs) = mpsc::channel(WAITING_WRITES_MAX);
        thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || serve(Tx::Sqlite(tx), jobs))
            .map_err(|error| failed("start its writer thread", error))?;
        let readers =
            Readers { idle: Mutex::new(Vec::new()), permits: Semaphore::new(READERS_MAX), path: path.to_owned() };
        Ok(Sqlite { writes, readers: Arc::new(readers) })
    }

    /// See [`crate::Db::log_bytes`].
    pub fn log_bytes(&self) -> u64 {
        file::log_bytes(&self.readers.path)
    }

    pub async fn write<A, T>(&self, name: &'static str, arguments: A, operation: Operation<A, T>) -> Result<T, Refusal>
    where
        A: Send + Sync + 'static,
        T: Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job = Box::new(Write { name, arguments, operation, result: None, answer });
        self.writes.send(job).await.map_err(|_| Error::Closed)?;
        answered.await.map_err(|_| Error::Closed)?
    }

    pub async fn read<A, T>(&self, name: &'static str, arguments: A, operation: Operation<A, T>) -> Result<T, Refusal>
    where
        A: Send + Sync + 'static,
        T: Send + 'static,
    {
        let _permit = self.readers.permits.acquire().await.map_err(|_| Error::Closed)?;
        let readers = Arc::clone(&self.readers);
        let reading = tokio::task::spawn_blocking(move || readers.run(name, &arguments, operation));
        reading.await.map_err(|_| Error::Panicked { name })?
    }
}

impl Sqlite {
    /// Returns once the writer takes nothing more.
    pub async fn given_up(&self) {
        self.writes.closed().await;
    }
}

impl Readers {
    fn run<A, T>(&self, name: &'static str, arguments: &A, operation: Operation<A, T>) -> Result<T, Refusal> {
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut tx = match kept {
            Some(tx) => tx,
            None => {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                Tx::Sqlite(SqliteTx::connect(&self.path, flags)?)
            }
        };
        control(&mut tx, "begin")?;
        let result = guarded(name, &mut tx, arguments, operation);
        // A connection that cannot end its transaction is not used again.
        control(&mut tx, "rollback")?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(tx);
        result
    }
}

/// A write on its way through the writer thread.
trait Job: Send {
    /// Runs the operation; tells whether it succeeded.
    fn run(&mut self, tx: &mut Tx) -> bool;
    /// Why the engine could not carry it out, if that is so.
    fn why(&self) -> Option<&Error>;
    /// Answers the caller once the commit has succeeded or failed.
    fn settle(self: Box<Self>, committed: Result<(), Error>);
}

struct Write<A, T> {
    name: &'static str,
    arguments: A,
    operation: Operation<A, T>,
    result: Option<Result<T, Refusal>>,
    answer: oneshot::Sender<Result<T, Refusal>>,
}

impl<A: Send + Sync, T: Send> Job for Write<A, T> {
    fn run(&mut self, tx: &mut Tx) -> bool {
        let result = guarded(self.name, tx, &self.arguments, self.operation);
        let succeeded = result.is_ok();
        self.result = Some(result);
        succeeded
    }

    fn why(&self) -> Option<&Error> {
        match &self.result {
            Some(Err(Refusal::Store(error))) => Some(error),
            Some(Ok(_) | Err(_)) | None => None,
        }
    }

    fn settle(self: Box<Self>, committed: Result<(), Error>) {
        let result = match (self.result, committed) {
            (Some(Err(refusal)), _) => Err(refusal),
            (Some(Ok(_)) | None, Err(error)) => Err(error.into()),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(Error::Closed.into()),
        };
        // The caller may have gone away; what was committed stays committed.
        self.answer.send(result).ok();
    }
}

/// Takes what waits, applies it, commits once, answers; until all senders are gone, or the disk cannot be trusted.
fn serve(mut tx: Tx, mut jobs: mpsc::Receiver<Box<dyn Job>>) {
    while let Some(first) = jobs.blocking_recv() {
        let mut batch = vec![first];
        let mut committed = apply(&mut tx, &mut batch, Some(&mut jobs));
        if matches!(committed, Ok(Batch::Spoiled)) {
            // One operation failed after it had written. Its neighbours must not suffer for it.
            committed = apply_apart(&mut tx, &mut batch);
        }
        let committed = committed.map(|_| ());
        for job in batch {
            job.settle(committed.clone());
        }
        if let Err(Error::Unsynced { source_text }) = committed {
            // Tried again it would seem to succeed: the system has forgotten what it could not write.
            tracing::error!("the disk did not keep what was written to the store; it takes no more: {source_text}");
            return;
        }
    }
}

enum Batch {
    Committed,
    Spoiled,
}

/// Runs the batch, and what else arrives meanwhile, in one transaction without savepoints.
fn apply(
    tx: &mut Tx,
    batch: &mut Vec<Box<dyn Job>>,
    mut more: Option<&mut mpsc::Receiver<Box<dyn Job>>>,
) -> Result<Batch, Error> {
    control(tx, "begin immediate")?;
    let mut place = 0;
    while place < batch.len() {
        let before = changes(tx);
        let succeeded = batch[place].run(tx);
        still_open(tx, batch[place].why())?;
        if !succeeded && changes(tx) != before {
            while let Some(job) =
                more.as_mut().filter(|_| batch.len() < BATCH_MAX).and_then(|jobs| jobs.try_recv().ok())
            {
                batch.push(job);
            }
            control(tx, "rollback")?;
            return Ok(Batch::Spoiled);
        }
        place += 1;
        if place == batch.len()
            && place < BATCH_MAX
            && let Some(job) = more.as_mut().and_then(|jobs| jobs.try_recv().ok())
        {
            batch.push(job);
        }
    }
    commit(tx)
}

/// Runs the batch again, each operation within a savepoint of its own.
fn apply_apart(tx: &mut Tx, batch: &mut [Box<dyn Job>]) -> Result<Batch, Error> {
    control(tx, "begin immediate")?;
    for job in batch.iter_mut() {
        control(tx, "savepoint operation")?;
        let succeeded = job.run(tx);
        still_open(tx, job.why())?;
        if !succeeded {
            control(tx, "rollback to operation")?;
        }
        control(tx, "release operation")?;
    }
    commit(tx)
}

/// On some errors (disk full, I/O) SQLite rolls back by itself. Nothing may run after that as if it had not.
fn still_open(tx: &Tx, why: Option<&Error>) -> Result<(), Error> {
    match tx {
        Tx::Sqlite(tx) if tx.connection.is_autocommit() => {
            Err(why.cloned().unwrap_or_else(|| failed("go on", "the engine rolled the transaction back")))
        }
        Tx::Sqlite(_) | Tx::Postgres(_) => Ok(()),
    }
}

fn commit(tx: &mut Tx) -> Result<Batch, Error> {
    let committed = match tx {
        Tx::Sqlite(tx) => tx.commit(),
        Tx::Postgres(_) => Err(Error::Closed),
    };
    if let Err(error) = committed {
        // After a failed commit (disk full) the transaction may still be open.
        control(tx, "rollback").ok();
        return Err(error);
    }
    Ok(Batch::Committed)
}

/// Runs an operation to its end; a panic in it becomes an error.
pub fn guarded<A, T>(name: &'static str, tx: &mut Tx, arguments: &A, operation: Operation<A, T>) -> Result<T, Refusal> {
    catch_unwind(AssertUnwindSafe(|| run_now(name, operation(tx, arguments))))
        .unwrap_or_else(|_| Err(Error::Panicked { name }.into()))
}

/// Every await of an operation is ready at once, since only the transaction is awaited.
fn run_now<T>(name: &'static str, running: Running<'_, T>) -> Result<T, Refusal> {
    let mut running = pin!(running);
    match running.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => {
            tracing::error!(operation = name, "a store operation awaited something other than its transaction");
            Err(Error::Panicked { name }.into())
        }
    }
}

/// Begins or ends a transaction.
pub fn control(tx: &mut Tx, sql: &'static str) -> Result<(), Error> {
    match tx {
        Tx::Sqlite(tx) => tx.control(sql),
        Tx::Postgres(_) => Err(Error::Closed),
    }
}

fn changes(tx: &Tx) -> u64 {
    match tx {
        Tx::Sqlite(tx) => tx.connection.total_changes(),
        Tx::Postgres(_) => 0,
    }
}

/// What SQLite calls a store that has no file.
pub(crate) const IN_MEMORY: &str = ":memory:";

impl SqliteTx {
    /// Opens the file for writing, makes it if need be, and brings the schema up to date.
    pub fn open(path: &Path) -> Result<SqliteTx, Error> {
        if path != Path::new(IN_MEMORY) {
            // For us alone; what stands beside it gets the same mode.
            OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(path)
                .map_err(|error| failed("open its file", error))?;
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut tx = SqliteTx::connect(path, flags)?;
        tx.batch("pragma journal_mode = wal; pragma synchronous = full; pragma journal_size_limit = 67108864;")?;
        tx.connection.wal_hook(Some(carry_over)).map_err(|error| failed("look after its log", error))?;
        migrate::sqlite(&mut tx)?;
        Ok(tx)
    }

    fn commit(&mut self) -> Result<(), Error> {
        let mut statement = self.connection.prepare_cached("commit").map_err(|error| refused("commit", &error))?;
        statement.execute([]).map(|_| ()).map_err(|error| match is_unsynced(&error) {
            true => Error::Unsynced { source_text: error.to_string() },
            // With a log, a disk that is full shows here and not before.
            false => refused("commit", &error),
        })
    }

    fn connect(path: &Path, flags: OpenFlags) -> Result<SqliteTx, Error> {
        let connection = Connection::open_with_flags(path, flags).map_err(|error| failed("open its file", error))?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(|error| failed("set its time-out", error))?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        Ok(SqliteTx { connection, translations: Translations::default() })
    }

    /// Carries out several statements without parameters.
    pub fn batch(&mut self, sql: &str) -> Result<(), Error> {
        self.connection.execute_batch(sql).map_err(|error| failed("change its settings", error))
    }

    fn control(&mut self, sql: &'static str) -> Result<(), Error> {
        let mut statement = self.connection.prepare_cached(sql).map_err(|error| refused(sql, &error))?;
        statement.execute([]).map_err(|error| refused(sql, &error))?;
        Ok(())
    }

    pub fn query(&mut self, sql: &str, parameters: &[Value<'_>]) -> Result<Vec<Row>, Error> {
        let own = self.translations.of(sql, dialect::sqlite);
        let what = "read";
        let mut statement = self.connection.prepare_cached(own).map_err(|error| refused(what, &error))?;
        let columns = statement.column_count();
        let mut found =
            statement.query(rusqlite::params_from_iter(parameters)).map_err(|error| refused(what, &error))?;
        let mut rows = Vec::new();
        while let Some(row) = found.next().map_err(|error| refused(what, &error))? {
            let mut values = Vec::with_capacity(columns);
            for column in 0..columns {
                values.push(owned(row.get_ref(column).map_err(|error| refused(what, &error))?)?);
            }
            rows.push(Row::new(values));
        }
        Ok(rows)
    }

    pub fn execute(&mut self, sql: &str, parameters: &[Value<'_>]) -> Result<u64, Error> {
        let own = self.translations.of(sql, dialect::sqlite);
        let mut statement = self.connection.prepare_cached(own).map_err(|error| refused("write", &error))?;
        let changed =
            statement.execute(rusqlite::params_from_iter(parameters)).map_err(|error| refused("write", &error))?;
        Ok(changed as u64)
    }
}

/// Carries a long log into the file. SQLite's own way of doing it keeps silent when the disk did not keep what was
/// carried over, and would then begin the log anew.
fn carry_over(log: &mut Wal, pages: std::ffi::c_int) -> rusqlite::Result<()> {
    if pages < LOG_PAGES {
        return Ok(());
    }
    match log.checkpoint_v2(CheckpointMode::PASSIVE) {
        Err(error) if is_unsynced(&error) => Err(error),
        // Somebody reads, or the disk is full: the log grows on, and the next commit tries again.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Whether the disk may have lost something that it was told to keep.
fn is_unsynced(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|error| error.extended_code);
    [ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_IOERR_DIR_FSYNC].map(Some).contains(&code)
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Null => ValueRef::Null,
            Value::Int(number) => ValueRef::Integer(*number),
            Value::Real(number) => ValueRef::Real(*number),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

fn owned(value: ValueRef<'_>) -> Result<Value<'static>, Error> {
    match value {
        ValueRef::Null => Ok(Value::Null),
        ValueRef::Integer(number) => Ok(Value::Int(number)),
        ValueRef::Real(number) => Ok(Value::Real(number)),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Value::Text(text.to_owned().into())),
            Err(error) => Err(failed("read a text", error)),
        },
    }
}

/// What the engine said to a statement.
fn refused(what: &'static str, error: &rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Error::Full { source_text: error.to_string() },
        Some(_) | None => failed(what, error),
    }
}

fn failed(what: &'static str, error: impl std::fmt::Display) -> Error {
    Error::Engine { what, source_text: error.to_string(), is_retryable: false }
}
