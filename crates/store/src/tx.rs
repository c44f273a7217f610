//! The handle that operations work on: an open transaction of either engine.

use crate::postgres::PostgresTx;
use crate::sqlite::SqliteTx;
use crate::{Error, Row, Value};

/// An open transaction.
#[derive(Debug)]
pub enum Tx {
    Sqlite(SqliteTx),
    Postgres(PostgresTx),
}

impl Tx {
    /// All rows of a query.
    pub async fn query(&mut self, sql: &str, parameters: &[Value<'_>]) -> Result<Vec<Row>, Error> {
        match self {
            Tx::Sqlite(tx) => tx.query(sql, parameters),
            Tx::Postgres(tx) => tx.query(sql, parameters).await,
        }
    }

    /// The first row of a query, if there is one.
    pub async fn query_first(&mut self, sql: &str, parameters: &[Value<'_>]) -> Result<Option<Row>, Error> {
        Ok(self.query(sql, parameters).await?.into_iter().next())
    }

    /// The only row of a query that always has one.
    pub async fn query_one(&mut self, sql: &str, parameters: &[Value<'_>]) -> Result<Row, Error> {
        self.query_first(sql, parameters).await?.ok_or(Error::Column { place: 0, what: "no row".into() })
    }

    /// Locks the rows of a query until the transaction ends. SQLite has one writer, to which all rows belong.
    ///
    /// A statement of PostgreSQL sees what was committed when it began; one that then waits for a row computes its
    /// sub-queries over the old rows all the same. So whatever is derived from other rows is locked first and derived
    /// in a statement of its own.
    pub async fn lock(&mut self, sql: &str, parameters: &[Value<'_>]) -> Result<(), Error> {
        match self {
            Tx::Sqlite(_) => Ok(()),
            Tx::Postgres(tx) => tx.query(sql, parameters).await.map(|_| ()),
        }
    }

    /// Whether nobody else writes until the transaction ends, so that nothing has to be looked at twice.
    pub fn is_alone(&self) -> bool {
        matches!(self, Tx::Sqlite(_))
    }

    /// Carries out a statement and tells how many rows it changed.
    pub async fn execute(&mut self, sql: &str, parameters: &[Value<'_>]) -> Result<u64, Error> {
        match self {
            Tx::Sqlite(tx) => tx.execute(sql, parameters),
            Tx::Postgres(tx) => tx.execute(sql, parameters).await,
        }
    }
}
