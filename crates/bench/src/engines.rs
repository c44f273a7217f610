//! The stores that are measured: SQLite in a folder, and a PostgreSQL of our own with its durable defaults.

use anyhow::Result;
use tempfile::TempDir;
use wakeful_store::{Db, Location};
use wakeful_test_postgres::Cluster;

/// An engine that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

impl Engine {
    /// Both of them.
    pub const ALL: [Engine; 2] = [Engine::Sqlite, Engine::Postgres];

    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Sqlite => "SQLite",
            Engine::Postgres => "PostgreSQL",
        }
    }

    /// A place for an empty store.
    pub fn place(self) -> Result<Store> {
        Ok(match self {
            Engine::Sqlite => Store::File(tempfile::tempdir()?),
            Engine::Postgres => Store::Cluster(Cluster::start(&[])?),
        })
    }
}

/// A store that goes with this value.
#[derive(Debug)]
pub enum Store {
    File(TempDir),
    Cluster(Cluster),
}

impl Store {
    /// The store, opened.
    pub async fn db(&self) -> Result<Db> {
        let location = match self {
            Store::File(dir) => Location::File(dir.path().join("wakeful.db")),
            Store::Cluster(cluster) => Location::Postgres(cluster.address()),
        };
        Ok(Db::open(&location).await?)
    }
}
