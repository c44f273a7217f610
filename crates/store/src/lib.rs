//! What Wakeful keeps. One SQL text on two engines: embedded SQLite and PostgreSQL.
//!
//! An operation is one `async fn op(tx: &mut Tx, …)` in one file of [`ops`], its SQL right
//! above it. [`Db::write`] runs it in a named transaction: on SQLite the single writer thread
//! commits many operations at once (group commit, `synchronous=FULL`), on PostgreSQL a pooled
//! connection does, retried when the engine asks for it. In both cases the answer comes after
//! the commit. Operations await nothing but their [`Tx`].
//!
//! Not here: decisions (`wakeful-domain`) and anything that leaves the database.

pub mod dialect;
mod direct;
pub mod file;
mod migrate;
pub mod ops;
mod postgres;
mod refusal;
mod sqlite;
mod tx;
mod value;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;

pub use direct::{Commit, Direct};
pub use migrate::KNOWN as SCHEMA;
pub use refusal::Refusal;
pub use tx::Tx;
pub use value::{Row, Value};

/// What an operation returns while it runs.
pub type Running<'a, T> = Pin<Box<dyn Future<Output = Result<T, Refusal>> + Send + 'a>>;

/// An operation over its arguments. It captures nothing, so that it can be run again.
pub type Operation<A, T> = for<'a> fn(&'a mut Tx, &'a A) -> Running<'a, T>;

/// Why the database could not do what it was asked to.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    #[error("the store could not {what}: {source_text}")]
    Engine {
        what: &'static str,
        source_text: String,
        /// Whether the same transaction may succeed when it is run again.
        is_retryable: bool,
    },
    #[error(
        "the store was written by a newer Wakeful (schema {found}; this binary knows {known}): use that version, or restore a backup made before the upgrade"
    )]
    NewerSchema { found: i64, known: i64 },
    #[error(
        "migration {version} of the store is not the one this binary knows: the store was changed by another build"
    )]
    ChangedMigration { version: i64 },
    #[error("column {place} of an answer cannot be read: {what}")]
    Column { place: usize, what: String },
    #[error("the operation `{name}` broke off; nothing of it was kept")]
    Panicked { name: &'static str },
    #[error("the database is in use by another server ({owner}): stop that one first")]
    Owned { owner: String },
    #[error("the store in {} is damaged: {what}", path.display())]
    Damaged { path: PathBuf, what: String },
    #[error("the disk did not keep what was written to the store: {source_text}")]
    Unsynced { source_text: String },
    #[error("the disk of the store is full: {source_text}; make room on it, and the same can be done again")]
    Full { source_text: String },
    #[error("the store has been closed")]
    Closed,
}

impl Error {
    /// What an operation had to lock first has changed while it waited for the locks: it is run again.
    pub(crate) fn changed_meanwhile(what: &str) -> Error {
        let source_text = format!("{what} changed meanwhile");
        Error::Engine { what: "lock all that an operation concerns", source_text, is_retryable: true }
    }
}

/// Where the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// An SQLite file.
    File(PathBuf),
    /// `postgres://…`
    Postgres(String),
}

/// The store. Cheap to clone; all clones are the same store.
#[derive(Debug, Clone)]
pub struct Db {
    engine: Engine,
}

#[derive(Debug, Clone)]
enum Engine {
    Sqlite(sqlite::Sqlite),
    Postgres(postgres::Postgres),
}

impl Db {
    /// Opens the store and brings its schema up to date.
    pub async fn open(location: &Location) -> Result<Db, Error> {
        let engine = match location {
            Location::File(path) => Engine::Sqlite(sqlite::Sqlite::open(path)?),
            Location::Postgres(url) => Engine::Postgres(postgres::Postgres::open(url).await?),
        };
        Ok(Db { engine })
    }

    /// Opens an SQLite store in `path`.
    pub async fn open_file(path: &Path) -> Result<Db, Error> {
        Db::open(&Location::File(path.to_owned())).await
    }

    /// Runs `operation` in a transaction and answers once it is durable.
    /// A refusal leaves no trace.
    pub async fn write<A, T>(&self, name: &'static str, arguments: A, operation: Operation<A, T>) -> Result<T, Refusal>
    where
        A: Send + Sync + 'static,
        T: Send + 'static,
    {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.write(name, arguments, operation).await,
            Engine::Postgres(postgres) => postgres.write(name, &arguments, operation).await,
        }
    }

    /// Runs `operation` on a consistent snapshot; it must not write.
    pub async fn read<A, T>(&self, name: &'static str, arguments: A, operation: Operation<A, T>) -> Result<T, Refusal>
    where
        A: Send + Sync + 'static,
        T: Send + 'static,
    {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.read(name, arguments, operation).await,
            Engine::Postgres(postgres) => postgres.read(name, &arguments, operation).await,
        }
    }

    /// Makes sure that no other server works on this store, for as long as this `Db` lives; `owner` is what another
    /// one is told. The file of SQLite is guarded by the lock on its data directory.
    pub async fn hold_alone(&self, owner: &str) -> Result<(), Error> {
        match &self.engine {
            Engine::Sqlite(_) => Ok(()),
            Engine::Postgres(postgres) => postgres.hold_alone(owner).await,
        }
    }

    /// Returns once the store takes no more writes, since the disk did not keep what was written ([`Error::Unsynced`]):
    /// what the system believes to be on the disk may not be. Only opening it anew shows what is there.
    pub async fn given_up(&self) {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.given_up().await,
            // PostgreSQL looks after its own disk.
            Engine::Postgres(_) => std::future::pending().await,
        }
    }

    /// How much of an SQLite store stands in its log and not in the file yet. It grows while somebody reads an old
    /// snapshot, as a shell or a backup may.
    pub fn log_bytes(&self) -> u64 {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.log_bytes(),
            Engine::Postgres(_) => 0,
        }
    }

    /// `sqlite` or `postgres`.
    pub fn engine_name(&self) -> &'static str {
        match self.engine {
            Engine::Sqlite(_) => "sqlite",
            Engine::Postgres(_) => "postgres",
        }
    }
}
