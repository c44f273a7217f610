//! What the machine can do without Wakeful: raw SQLite, bare processes.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use anyhow::Result;
use rusqlite::Connection;

/// How long each ceiling is measured.
pub const WINDOW: Duration = Duration::from_secs(3);

fn open(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.execute_batch(
        "create table if not exists jobs (id integer primary key, due bigint not null, payload text not null)",
    )?;
    Ok(connection)
}

const INSERT: &str = "insert into jobs (due, payload) values (?1, ?2)";
/// About as long as the payload of a wake.
const PAYLOAD: &str = "{\"reason\":\"a wake of about two hundred bytes, as the peers were measured with\",\"number\":1234567890,\"padding\":\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}";

/// Rows a second with one commit each.
pub fn sqlite_single(dir: &Path) -> Result<f64> {
    let connection = open(&dir.join("single.db"))?;
    let mut statement = connection.prepare(INSERT)?;
    let start = Instant::now();
    let mut rows = 0_u64;
    while start.elapsed() < WINDOW {
        statement.execute((1, PAYLOAD))?;
        rows += 1;
    }
    Ok(rows as f64 / start.elapsed().as_secs_f64())
}

/// Rows a second from `callers` threads through one writer that commits what waits at once.
pub fn sqlite_group(dir: &Path, callers: usize) -> Result<f64> {
    let mut connection = open(&dir.join("group.db"))?;
    let (send, receive) = mpsc::sync_channel::<mpsc::SyncSender<()>>(4_096);
    let writer = std::thread::spawn(move || -> Result<()> {
        while let Ok(first) = receive.recv() {
            let tx = connection.transaction()?;
            let mut waiting = vec![first];
            {
                let mut statement = tx.prepare_cached(INSERT)?;
                let mut done = 0;
                while done < waiting.len() {
                    statement.execute((1, PAYLOAD))?;
                    done += 1;
                    if done == waiting.len()
                        && let Ok(next) = receive.try_recv()
                    {
                        waiting.push(next);
                    }
                }
            }
            tx.commit()?;
            waiting.into_iter().for_each(|answer| {
                // The caller's window may be over.
                answer.send(()).ok();
            });
        }
        Ok(())
    });
    let rows = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let threads: Vec<_> = (0..callers)
        .map(|_| {
            let (send, rows) = (send.clone(), Arc::clone(&rows));
            std::thread::spawn(move || {
                while start.elapsed() < WINDOW {
                    let (answer, answered) = mpsc::sync_channel(1);
                    if send.send(answer).is_err() || answered.recv().is_err() {
                        return;
                    }
                    rows.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    drop(send);
    for thread in threads {
        thread.join().map_err(|_| anyhow::anyhow!("a caller panicked"))?;
    }
    let rate = rows.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64();
    writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
    Ok(rate)
}

fn bare_true() -> Result<()> {
    let mut child = Command::new("/bin/true").stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    child.wait()?;
    Ok(())
}

/// Milliseconds that starting `/bin/true` and waiting for it takes, one after the other.
pub fn spawn_latencies(count: usize) -> Result<Vec<f64>> {
    let mut figures = Vec::with_capacity(count);
    for _ in 0..count {
        let start = Instant::now();
        bare_true()?;
        figures.push(start.elapsed().as_secs_f64() * 1_000.0);
    }
    Ok(figures)
}

/// `/bin/true` a second, `threads` at once.
pub fn spawn_rate(threads: usize) -> Result<f64> {
    let count = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let workers: Vec<_> = (0..threads)
        .map(|_| {
            let count = Arc::clone(&count);
            std::thread::spawn(move || -> Result<()> {
                while start.elapsed() < WINDOW {
                    bare_true()?;
                    count.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            })
        })
        .collect();
    for worker in workers {
        worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))??;
    }
    Ok(count.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64())
}
