//! What a question of `/metrics` costs on a store that has seen much: it must not grow with what has ended.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rusqlite::Connection as Store;
use serde_json::json;

use crate::report::{Report, percentile};
use crate::runs::until;
use crate::server::Server;

/// Wakeups that have ended, and as many runs.
const ENDED: i64 = 1_000_000;
/// Questions of one measurement.
const QUESTIONS: usize = 50;

pub fn measure(binary: &Path, report: &mut Report) -> Result<()> {
    let server = Server::start(binary, 4)?;
    let agent = server.agent("ann", &json!(["/bin/true"]), &json!({}))?;
    let mut connection = server.connect()?;
    let woken = connection.json("POST", &format!("/api/v1/agents/{agent}/wake"), &json!({}))?;
    let path = format!("/api/v1/wakeups/{}", woken["id"].as_str().unwrap_or_default());
    until(Duration::from_millis(10), || {
        Ok(connection.json("GET", &path, &json!(null))?["status"] == json!("completed"))
    })?;
    let few = median_ms(&server)?;
    let store = Store::open(server.dir().join("wakeful.db"))?;
    store.busy_timeout(Duration::from_secs(60))?;
    for (table, prefix) in [("wakeups", "wak"), ("runs", "run")] {
        multiply(&store, table, prefix, ENDED)?;
    }
    let many = median_ms(&server)?;
    let beside = format!("{few:.2} ms with one of each");
    report.at_most("a question of /metrics, 1,000,000 wakeups and runs ended", many, "ms", beside, 20.0);
    Ok(())
}

/// Copies the one row that there is, so many times.
fn multiply(store: &Store, table: &str, prefix: &str, rows: i64) -> Result<()> {
    let mut named = store
        .prepare(&format!("select name from pragma_table_info('{table}') where name not in ('id', 'token_hash')"))?;
    let columns: Vec<String> = named.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let columns = columns.join(", ");
    let copied = store.execute(
        &format!(
            "with recursive numbers(number) as (select 1 union all select number + 1 from numbers where number < ?1)
            insert into {table} (id, {columns})
            select '{prefix}_' || printf('%026d', number), {columns}
            from numbers
            cross join (select {columns} from {table} limit 1)"
        ),
        [rows],
    )?;
    ensure!(copied as i64 == rows, "{copied} rows of {table} were made");
    Ok(())
}

fn median_ms(server: &Server) -> Result<f64> {
    let mut connection = server.connect()?;
    let mut took = Vec::with_capacity(QUESTIONS);
    for _ in 0..QUESTIONS {
        let began = Instant::now();
        let (status, _) = connection.request("GET", "/metrics", "")?;
        ensure!(status == 200, "/metrics answers {status}");
        took.push(began.elapsed().as_secs_f64() * 1_000.0);
    }
    Ok(percentile(&mut took, 50.0))
}
