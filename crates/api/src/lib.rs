//! Wakeful over HTTP: routes, errors, tokens, event streams, OpenAPI, metrics.
//! A handler parses, authorises, makes one call to the engine or the store, and maps the answer.
//!
//! Not here: decisions, SQL, processes. Only this crate (and the web pages) knows axum.

mod access;
mod body;
pub mod checks;
mod errors;
mod feed;
mod idempotency;
mod metrics;
mod named;
mod observe;
mod openapi;
mod parameters;
mod routes;
mod session;
mod sse;
mod standing;
mod sums;
pub mod wire;

use std::sync::Arc;

use axum::Router;
use tokio::sync::Semaphore;
use wakeful_engine::Engine;

pub use access::ADMIN_TOKEN_NAME;
pub use errors::{FieldError, Problem};
pub use openapi::document;
pub use session::Sessions;
pub use standing::{ConfigurationView, Standing};

/// What every handler can reach.
#[derive(Debug, Clone)]
pub struct Api {
    engine: Engine,
    /// SHA-256 of the instance's admin token: checked without asking the store.
    admin_hash: Arc<str>,
    standing: Arc<Standing>,
    http: observe::HttpMeters,
    kept: Arc<metrics::Kept>,
    sessions: Sessions,
    sums: Arc<sums::KeptSums>,
    feeds: Arc<feed::Feeds>,
    /// Whoever reads a whole log at once takes a turn.
    large_reads: Arc<Semaphore>,
}

/// As many whole logs are read at once; each needs a core, or some ten MiB.
const LARGE_READS_MAX: usize = 4;

impl Api {
    /// An API over an engine. `admin_hash` is the hash of the instance's admin token.
    pub fn new(engine: Engine, admin_hash: &str, standing: Arc<Standing>) -> Api {
        // Under the admin token as well: another one ends every session.
        let key = engine.config().vault.key().derive(&format!("sessions of {admin_hash}"));
        let sessions = Sessions::new(key, engine.config().public_url.as_deref());
        let http = observe::HttpMeters::default();
        let (kept, sums, feeds) = (Arc::default(), Arc::default(), Arc::default());
        let large_reads = Arc::new(Semaphore::new(LARGE_READS_MAX));
        Api { engine, admin_hash: admin_hash.into(), standing, http, kept, sessions, sums, feeds, large_reads }
    }

    /// The sessions of the console.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Counts what happens from here on.
    pub async fn begin(&self) -> Result<(), wakeful_store::Refusal> {
        self.kept.begin(&self.engine).await
    }

    /// What `/metrics` answers, in OpenMetrics text.
    pub async fn metrics(&self) -> Result<String, Problem> {
        metrics::text(self).await
    }
}

/// All routes.
pub fn router(api: Api) -> Router {
    routes::router(api)
}
