//! The engine for several nodes: a pool of connections to PostgreSQL, transactions retried
//! when the server asks for it. No word of the domain in here.

use std::panic::AssertUnwindSafe;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime, Timeouts};
use futures_util::FutureExt;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{IsNull, ToSql, Type, private::BytesMut, to_sql_checked};
use tokio_postgres::{Config, NoTls};

use crate::dialect::{self, Translations};
use crate::{Error, Operation, Refusal, Row, Tx, Value, migrate};

/// Connections of one node. PostgreSQL's default limit is 100 for all.
const CONNECTIONS_MAX: usize = 16;
/// How long a caller waits for a free connection, or for a new one to be made.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Tries of one transaction before its error is given on.
const TRIES_MAX: u32 = 8;
/// First pause between tries; it doubles.
const PAUSE_MIN: Duration = Duration::from_millis(2);

/// Tries to take the lock on the whole store, and the pause between two: three seconds in all.
const HOLD_TRIES: u32 = 30;
const HOLD_PAUSE: Duration = Duration::from_millis(100);
const TRY_HOLD: &str = "select pg_try_advisory_lock(7382911)";
const HOLDER: &str = "
    select application_name
    from pg_locks
    join pg_stat_activity using (pid)
    where locktype = 'advisory'
      and objid = 7382911
      and granted
      and pg_locks.database = (select oid from pg_database where datname = current_database())";

/// A PostgreSQL store. Clones share the pool.
#[derive(Debug, Clone)]
pub struct Postgres {
    pool: Pool,
    /// The connection whose session holds the lock on the whole store.
    alone: Arc<Mutex<Option<Object>>>,
}

/// An open transaction. Dropped before its end, it closes its connection, which rolls it back.
#[derive(Debug)]
pub struct PostgresTx {
    client: Option<Object>,
    translations: Translations,
}

impl Postgres {
    /// Connects and brings the schema up to date.
    pub async fn open(url: &str) -> Result<Postgres, Error> {
        let config = Config::from_str(url).map_err(|error| failed("read its address", &error))?;
        let manager = Manager::from_config(config, NoTls, ManagerConfig { recycling_method: RecyclingMethod::Fast });
        let timeouts = Timeouts { wait: Some(WAIT_MAX), create: Some(WAIT_MAX), recycle: Some(WAIT_MAX) };
        let pool = Pool::builder(manager)
            .max_size(CONNECTIONS_MAX)
            .runtime(Runtime::Tokio1)
            .timeouts(timeouts)
            .build()
            .map_err(|error| unreachable_server(&error))?;
        let store = Postgres { pool, alone: Arc::default() };
        let mut client = store.pool.get().await.map_err(|error| unreachable_server(&error))?;
        migrate::postgres(&mut client).await?;
        Ok(store)
    }

    /// Takes the lock on the whole store, or says who has it.
    pub async fn hold_alone(&self, owner: &str) -> Result<(), Error> {
        let client = self.pool.get().await.map_err(|error| unreachable_server(&error))?;
        let named = "select set_config('application_name', $1, false)";
        client.execute(named, &[&format!("wakeful {owner}")]).await.map_err(|error| failed("name itself", &error))?;
        // The server notices a killed owner within moments.
        for _ in 0..HOLD_TRIES {
            let row = client.query_one(TRY_HOLD, &[]).await.map_err(|error| failed("take its lock", &error))?;
            if row.get(0) {
                *self.alone.lock().unwrap_or_else(PoisonError::into_inner) = Some(client);
                return Ok(());
            }
            tokio::time::sleep(HOLD_PAUSE).await;
        }
        let found = client.query_opt(HOLDER, &[]).await.map_err(|error| failed("read its lock", &error))?;
        let owner = found.map_or_else(|| "unknown".to_owned(), |row| row.get(0));
        Err(Error::Owned { owner })
    }

    pub async fn write<A, T>(&self, name: &'static str, arguments: &A, operation: Operation<A, T>) -> Result<T, Refusal>
    where
        A: Send + Sync,
        T: Send,
    {
        let mut pause = PAUSE_MIN;
        let mut tries = 1;
        loop {
            match self.once(name, "begin", arguments, operation).await {
                Err(refusal) if refusal.is_retryable() && tries < TRIES_MAX => {
                    tracing::debug!(operation = name, tries, "transaction is tried again: {refusal}");
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                    tries += 1;
                }
                ended => return ended,
            }
        }
    }

    pub async fn read<A, T>(&self, name: &'static str, arguments: &A, operation: Operation<A, T>) -> Result<T, Refusal>
    where
        A: Send + Sync,
        T: Send,
    {
        self.once(name, "begin isolation level repeatable read read only", arguments, operation).await
    }

    async fn once<A, T>(
        &self,
        name: &'static str,
        begin: &'static str,
        arguments: &A,
        operation: Operation<A, T>,
    ) -> Result<T, Refusal>
    where
        A: Send + Sync,
        T: Send,
    {
        let client = self.pool.get().await.map_err(|error| unreachable_server(&error))?;
        let mut tx = Tx::Postgres(PostgresTx { client: Some(client), translations: Translations::default() });
        control(&mut tx, begin).await?;
        // As on SQLite: an operation that breaks off is an error. Its connection is closed with it.
        let running = AssertUnwindSafe(async { operation(&mut tx, arguments).await }).catch_unwind();
        let Ok(result) = running.await else { return Err(Error::Panicked { name }.into()) };
        match &result {
            Ok(_) => control(&mut tx, "commit").await?,
            Err(_) => control(&mut tx, "rollback").await?,
        }
        if let Tx::Postgres(tx) = &mut tx {
            // Ended cleanly: the connection goes back to the pool.
            drop(tx.client.take());
        }
        result
    }
}

async fn control(tx: &mut Tx, sql: &'static str) -> Result<(), Error> {
    match tx {
        Tx::Postgres(tx) => tx.client()?.batch_execute(sql).await.map_err(|error| failed(sql, &error)),
        Tx::Sqlite(_) => Err(Error::Closed),
    }
}

impl Drop for PostgresTx {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            drop(Object::take(client));
        }
    }
}

impl PostgresTx {
    fn client(&self) -> Result<&Object, Error> {
        self.client.as_ref().ok_or(Error::Closed)
    }

    pub async fn query(&mut self, sql: &str, parameters: &[Value<'_>]) -> Result<Vec<Row>, Error> {
        let own = self.translations.of(sql, dialect::postgres).to_owned();
        let client = self.client()?;
        let statement = client.prepare_cached(&own).await.map_err(|error| failed("read", &error))?;
        let rows = client.query(&statement, &borrowed(parameters)).await.map_err(|error| failed("read", &error))?;
        rows.iter().map(own_row).collect()
    }

    pub async fn execute(&mut self, sql: &str, parameters: &[Value<'_>]) -> Result<u64, Error> {
        let own = self.translations.of(sql, dialect::postgres).to_owned();
        let client = self.client()?;
        let statement = client.prepare_cached(&own).await.map_err(|error| failed("write", &error))?;
        client.execute(&statement, &borrowed(parameters)).await.map_err(|error| failed("write", &error))
    }
}

fn borrowed<'a>(parameters: &'a [Value<'_>]) -> Vec<&'a (dyn ToSql + Sync)> {
    parameters.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

fn own_row(row: &tokio_postgres::Row) -> Result<Row, Error> {
    let mut values = Vec::with_capacity(row.len());
    for (place, column) in row.columns().iter().enumerate() {
        let kind = column.type_();
        let unread = |error: tokio_postgres::Error| Error::Column { place: place + 1, what: error.to_string() };
        values.push(if *kind == Type::INT8 {
            row.try_get::<_, Option<i64>>(place).map_err(unread)?.map_or(Value::Null, Value::Int)
        } else if *kind == Type::INT4 {
            row.try_get::<_, Option<i32>>(place).map_err(unread)?.map_or(Value::Null, |n| Value::Int(n.into()))
        } else if *kind == Type::FLOAT8 {
            row.try_get::<_, Option<f64>>(place).map_err(unread)?.map_or(Value::Null, Value::Real)
        } else {
            row.try_get::<_, Option<String>>(place).map_err(unread)?.map_or(Value::Null, |t| Value::Text(t.into()))
        });
    }
    Ok(Row::new(values))
}

impl ToSql for Value<'_> {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Value::Null => Ok(IsNull::Yes),
            Value::Int(number) if *kind == Type::INT4 => i32::try_from(*number)?.to_sql(kind, out),
            Value::Int(number) => number.to_sql(kind, out),
            Value::Real(number) => number.to_sql(kind, out),
            // PostgreSQL keeps no NUL in a text; what an agent prints may well hold one.
            Value::Text(text) if text.contains('\0') => text.replace('\0', "\u{fffd}").to_sql(kind, out),
            Value::Text(text) => text.as_ref().to_sql(kind, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// Errors after which the very same transaction may succeed.
fn is_retryable(error: &tokio_postgres::Error) -> bool {
    let states = [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED, SqlState::UNIQUE_VIOLATION];
    error.code().is_some_and(|code| states.contains(code))
}

pub fn failed(what: &'static str, error: &tokio_postgres::Error) -> Error {
    let is_full = error.code() == Some(&SqlState::DISK_FULL);
    let source_text =
        error.as_db_error().map_or_else(|| error.to_string(), |db| format!("{} ({})", db.message(), db.code().code()));
    match is_full {
        true => Error::Full { source_text },
        false => Error::Engine { what, source_text, is_retryable: is_retryable(error) },
    }
}

fn unreachable_server(error: &dyn std::fmt::Display) -> Error {
    Error::Engine { what: "reach PostgreSQL", source_text: error.to_string(), is_retryable: false }
}
