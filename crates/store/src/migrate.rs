//! Brings the schema up to date: numbered migrations, forward only, each with a checksum.
//! A schema newer than this binary knows is refused.

use sha2::{Digest, Sha256};
use wakeful_domain::hex;

use crate::dialect::{self, Engine};
use crate::sqlite::SqliteTx;
use crate::{Error, Value, postgres};

struct Migration {
    version: i64,
    sql: &'static str,
}

/// Every migration in order. Never change one that has been released: add another.
const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, sql: include_str!("../migrations/0001_first.sql") },
    Migration { version: 2, sql: include_str!("../migrations/0002_tasks_and_guards.sql") },
    Migration { version: 3, sql: include_str!("../migrations/0003_secrets_and_silence.sql") },
    Migration { version: 4, sql: include_str!("../migrations/0004_schedules.sql") },
    Migration { version: 5, sql: include_str!("../migrations/0005_notifications.sql") },
    Migration { version: 6, sql: include_str!("../migrations/0006_gates_and_actions.sql") },
    Migration { version: 7, sql: include_str!("../migrations/0007_declarations.sql") },
    Migration { version: 8, sql: include_str!("../migrations/0008_budgets.sql") },
    Migration { version: 9, sql: include_str!("../migrations/0009_subscriptions.sql") },
    Migration { version: 10, sql: include_str!("../migrations/0010_mail.sql") },
    Migration { version: 11, sql: include_str!("../migrations/0011_late_ends.sql") },
    Migration { version: 12, sql: include_str!("../migrations/0012_retention.sql") },
    Migration { version: 13, sql: include_str!("../migrations/0013_console.sql") },
    Migration { version: 14, sql: include_str!("../migrations/0014_attention.sql") },
];

const LEDGER: &str =
    "create table if not exists schema_migrations (version bigint primary key, checksum text not null)";
const APPLIED: &str = "select version, checksum from schema_migrations order by version";
const RECORD: &str = "insert into schema_migrations (version, checksum) values ($1, $2)";

/// Any number: whoever holds it migrates, the other nodes wait.
const ADVISORY_LOCK: &str = "select pg_advisory_xact_lock(7382910)";

/// The newest schema that this binary knows.
pub const KNOWN: i64 = MIGRATIONS.len() as i64;

fn checksum(sql: &str) -> String {
    hex::of(&Sha256::digest(sql.as_bytes()))
}

/// What is still to be applied, given what was.
fn outstanding(applied: &[(i64, String)]) -> Result<&'static [Migration], Error> {
    if let Some((found, _)) = applied.iter().rfind(|(version, _)| *version > KNOWN) {
        return Err(Error::NewerSchema { found: *found, known: KNOWN });
    }
    for (version, sum) in applied {
        let same = MIGRATIONS.iter().any(|migration| migration.version == *version && checksum(migration.sql) == *sum);
        if !same {
            return Err(Error::ChangedMigration { version: *version });
        }
    }
    Ok(&MIGRATIONS[applied.len()..])
}

pub fn sqlite(tx: &mut SqliteTx) -> Result<(), Error> {
    tx.batch("begin immediate")?;
    let result = sqlite_in_transaction(tx);
    tx.batch(if result.is_ok() { "commit" } else { "rollback" })?;
    result
}

fn sqlite_in_transaction(tx: &mut SqliteTx) -> Result<(), Error> {
    tx.batch(LEDGER)?;
    let mut applied = Vec::new();
    for mut row in tx.query(APPLIED, &[])? {
        applied.push((row.get()?, row.get()?));
    }
    for migration in outstanding(&applied)? {
        tx.batch(&dialect::migration(migration.sql, Engine::Sqlite))?;
        tx.execute(RECORD, &[Value::Int(migration.version), checksum(migration.sql).into()])?;
    }
    Ok(())
}

pub async fn postgres(client: &mut deadpool_postgres::Object) -> Result<(), Error> {
    let what = "migrate";
    let failed = |error: tokio_postgres::Error| postgres::failed(what, &error);
    let tx = client.transaction().await.map_err(failed)?;
    tx.batch_execute(ADVISORY_LOCK).await.map_err(failed)?;
    tx.batch_execute(LEDGER).await.map_err(failed)?;
    let rows = tx.query(APPLIED, &[]).await.map_err(failed)?;
    let applied: Vec<(i64, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    for migration in outstanding(&applied)? {
        tx.batch_execute(&dialect::migration(migration.sql, Engine::Postgres)).await.map_err(failed)?;
        tx.execute(RECORD, &[&migration.version, &checksum(migration.sql)]).await.map_err(failed)?;
    }
    tx.commit().await.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_numbered_without_a_gap() {
        for (place, migration) in MIGRATIONS.iter().enumerate() {
            assert_eq!(migration.version, place as i64 + 1);
        }
    }

    #[test]
    fn a_newer_schema_is_refused_and_names_both_versions() {
        let mut applied: Vec<_> = MIGRATIONS.iter().map(|m| (m.version, checksum(m.sql))).collect();
        assert!(outstanding(&applied).unwrap().is_empty());
        applied.push((99, "x".into()));
        let error = outstanding(&applied).err().unwrap().to_string();
        assert!(error.contains("99") && error.contains(&MIGRATIONS.len().to_string()), "{error}");
    }
}
