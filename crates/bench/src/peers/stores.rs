//! What a peer keeps its jobs in: made empty for each measure, with durable settings, gone afterwards.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use wakeful_test_postgres::Cluster;

use super::table::Kind;

/// How long a Redis may take to answer.
const REDIS_READY_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A store that ends with this value.
#[derive(Debug)]
pub enum Store {
    Postgres(Cluster),
    File(TempDir),
    Redis(Redis),
}

impl Store {
    pub fn make(kind: Kind) -> Result<Store> {
        Ok(match kind {
            Kind::Postgres => Store::Postgres(Cluster::start(&[])?),
            Kind::File => Store::File(tempfile::tempdir()?),
            Kind::Redis => Store::Redis(Redis::start()?),
        })
    }

    /// Tells a harness where its store is.
    pub fn tell(&self, command: &mut Command) {
        match self {
            Store::Postgres(cluster) => command.env("DATABASE_URL", cluster.url()),
            Store::File(home) => command.arg(home.path().join("queue.db")),
            Store::Redis(redis) => command.env("REDIS_PORT", redis.port.to_string()),
        };
    }
}

/// A Redis that syncs every write before it answers.
#[derive(Debug)]
pub struct Redis {
    server: Child,
    port: u16,
    _home: TempDir,
}

impl Redis {
    fn start() -> Result<Redis> {
        let home = tempfile::tempdir()?;
        // Free at this moment; if somebody takes it before Redis does, Redis says so and ends.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let server = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--appendonly", "yes", "--appendfsync", "always"])
            // No snapshots: the log is what makes it durable.
            .args(["--save", "", "--dir"])
            .arg(home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("`redis-server` cannot be started (Debian: apt-get install redis-server)")?;
        let mut redis = Redis { server, port, _home: home };
        let start = Instant::now();
        while !redis.answers() {
            if let Some(status) = redis.server.try_wait()? {
                bail!("redis-server ended at once: {status}");
            }
            if start.elapsed() > REDIS_READY_WITHIN {
                bail!("redis-server does not answer within {} s", REDIS_READY_WITHIN.as_secs());
            }
            sleep(LOOK_EVERY);
        }
        Ok(redis)
    }

    fn answers(&self) -> bool {
        let asked = || -> std::io::Result<[u8; 5]> {
            let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
            connection.set_read_timeout(Some(Duration::from_secs(1)))?;
            connection.write_all(b"PING\r\n")?;
            let mut answer = [0; 5];
            connection.read_exact(&mut answer)?;
            Ok(answer)
        };
        asked().is_ok_and(|answer| &answer == b"+PONG")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}
