//! A model server for tests: it answers on loopback as the Messages, Responses, Chat Completions and
//! Gemini APIs do, with nothing behind it but a [`Script`]. Real agent CLIs are pointed at it, so that their whole
//! way (prompt, session, usage, errors) is tested without a network and without a bill.
//! It is not a mock of a CLI and it judges nothing: what arrived can be read from the script.

mod chat;
mod gemini;
mod messages;
mod responses;
mod script;
mod server;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use script::{Behaviour, Recorded, Script, USAGE, UsageNumbers};

/// A model server; it stops when this is dropped.
#[derive(Debug)]
pub struct StubModel {
    address: SocketAddr,
    script: Script,
    server: JoinHandle<io::Result<()>>,
}

impl StubModel {
    /// Starts one on a free port of 127.0.0.1, answering with [`Behaviour::answers`].
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let script = Script::default();
        let router = server::router(script.clone());
        #[expect(clippy::disallowed_methods, reason = "a test server: it ends with the test, there is no tracker")]
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { address, script, server })
    }

    /// Where it listens, as `http://127.0.0.1:49152`. The Responses and Chat Completions APIs are
    /// below `/v1`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it answers and what it was asked.
    pub fn script(&self) -> &Script {
        &self.script
    }
}

impl Drop for StubModel {
    fn drop(&mut self) {
        self.server.abort();
    }
}
