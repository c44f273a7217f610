//! OTLP: traces of ended runs and the metrics of `/metrics`, sent to a receiver over HTTP as protobuf. Off unless a
//! receiver is named. Nothing here holds a run up or fails it: runs are told through a queue with a bound, what has no
//! room is dropped and counted, and a stop waits two seconds at most.
//!
//! Not here: what a run did (`wakeful_engine::Course`), and what is measured (`wakeful_api::Api::metrics`).

mod attributes;
mod client_metrics;
mod exposition;
mod ids;
mod metrics;
mod receiver;
mod steps;
mod target;
mod trace;
mod traces;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use wakeful_api::Api;
use wakeful_domain::time::Timestamp;
use wakeful_engine::Engine;

use crate::config::settings::Otlp;
use crate::data_dir::DataDir;
use crate::failure::Failure;
use crate::otlp::client_metrics::ClientMetrics;

pub use target::{Target, authority};

/// How long a stop waits for what is left to be sent.
const CLOSE_MAX: Duration = Duration::from_secs(2);
/// Metrics are not sent more often.
const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// What is being sent, until it is closed.
#[derive(Debug)]
pub struct Exporter {
    closing: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Exporter {
    /// Begins to send what the settings or the standard variables ask for; nothing if they name no receiver.
    pub fn begin(
        settings: &Otlp,
        dir: &DataDir,
        engine: &Engine,
        api: &Api,
        since: Timestamp,
    ) -> Result<Option<Exporter>, Failure> {
        let Some(target) = Target::of(settings, dir)? else { return Ok(None) };
        let target = Arc::new(target);
        tracing::info!(endpoint = target.shown, "traces and metrics are sent to {}", target.shown);
        let (closing, closed) = watch::channel(false);
        let measured = Arc::new(ClientMetrics::new(since));
        let mut tasks = Vec::new();
        if let Some(ends) = engine.listen_to_ends() {
            let sending = traces::run(engine.clone(), Arc::clone(&target), ends, Arc::clone(&measured), closed.clone());
            tasks.push(spawn(sending));
        }
        let every = settings.interval.max(INTERVAL_MIN);
        tasks.push(spawn(metrics::run(engine.clone(), api.clone(), target, measured, since, every, closed)));
        Ok(Some(Exporter { closing, tasks }))
    }

    /// Sends what is left, for as long as a stop may take.
    pub async fn close(self) {
        self.closing.send_replace(true);
        let sent = async {
            for task in self.tasks {
                if let Err(error) = task.await {
                    tracing::error!("a task that sends telemetry failed: {error}");
                }
            }
        };
        if tokio::time::timeout(CLOSE_MAX, sent).await.is_err() {
            tracing::warn!("not all traces and metrics were sent within {CLOSE_MAX:?}; the rest is dropped");
        }
    }
}

/// Resolves once the exporter is closed, or gone.
async fn closed(closing: &mut watch::Receiver<bool>) {
    closing.wait_for(|is_closing| *is_closing).await.ok();
}

#[expect(
    clippy::disallowed_methods,
    reason = "it sends how the engine's own tasks ended, so it outlives them; `close` waits"
)]
fn spawn(task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(task)
}
