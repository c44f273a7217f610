//! The task that sends traces: it takes ended runs as they come, whatever the receiver does, and sends them in batches.
//! What waits is bounded; what has no room is dropped, counted, and told once the receiver takes something again.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tokio::sync::{mpsc, watch};
use wakeful_engine::{EndedRun, Engine, Meter, clock};
use wakeful_store::Refusal;
use wakeful_store::ops::{agents, companies, tasks, wakeups};

use super::attributes::scope;
use super::client_metrics::ClientMetrics;
use super::closed;
use super::receiver::{Receiver, Sent};
use super::target::Target;
use super::trace::{Told, Trace};

/// Spans that wait to be sent: some twenty megabytes.
const WAITING_MAX: usize = 20_000;
/// Spans of one request, but for the last of its traces.
const BATCH_SPANS: usize = 512;
/// For so long more is waited for before a batch is sent.
const GATHER: Duration = Duration::from_secs(1);
/// Between tries; it doubles.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// The spans of one run.
type Spans = Vec<Span>;
type Sending = Pin<Box<dyn Future<Output = Sent> + Send>>;

/// Takes ended runs and sends their traces until it is closed.
pub async fn run(
    engine: Engine,
    target: Arc<Target>,
    mut ends: mpsc::Receiver<EndedRun>,
    measured: Arc<ClientMetrics>,
    mut closing: watch::Receiver<bool>,
) {
    let receiver = match Receiver::new(engine.clone(), &target, "traces") {
        Ok(receiver) => receiver,
        Err(error) => return tracing::error!("no traces are sent: there is no HTTP client: {error}"),
    };
    let mut outbox = Outbox::new(engine, target, receiver);
    loop {
        let due_at = outbox.due_at();
        tokio::select! {
            Some(ended) = ends.recv() => outbox.put(ended, &measured).await,
            sent = finished(&mut outbox.sending) => outbox.after(sent),
            () = reached(due_at) => outbox.send(),
            () = closed(&mut closing) => break,
        }
    }
    while let Ok(ended) = ends.try_recv() {
        outbox.put(ended, &measured).await;
    }
    outbox.flush().await;
}

/// Traces on their way.
struct Outbox {
    engine: Engine,
    target: Arc<Target>,
    receiver: Receiver,
    waiting: VecDeque<Spans>,
    /// Spans in there.
    size: usize,
    /// What the request holds that is on its way.
    batch: Vec<Spans>,
    sending: Option<Sending>,
    send_at: Option<Instant>,
    pause: Duration,
    dropped: u64,
}

impl Outbox {
    fn new(engine: Engine, target: Arc<Target>, receiver: Receiver) -> Outbox {
        Outbox {
            engine,
            target,
            receiver,
            waiting: VecDeque::new(),
            size: 0,
            batch: Vec::new(),
            sending: None,
            send_at: None,
            pause: PAUSE_MIN,
            dropped: 0,
        }
    }

    /// Takes an ended run in, if there is room.
    async fn put(&mut self, ended: EndedRun, measured: &ClientMetrics) {
        let run = ended.run.id;
        let told = match told(&self.engine, ended).await {
            Ok(told) => told,
            Err(refusal) => {
                tracing::debug!(run.id = %run, "run {run} has no trace: {refusal}");
                return self.drop_traces(1);
            }
        };
        let trace = Trace::of(&told);
        measured.ended(&told.run, &trace);
        let spans = trace.spans();
        if self.size + spans.len() > WAITING_MAX {
            return self.drop_traces(1);
        }
        self.size += spans.len();
        self.waiting.push_back(spans);
        let gathered = clock::monotonic() + GATHER;
        self.send_at.get_or_insert(gathered);
    }

    /// When something is to be sent; `None` while nothing waits or something is on its way.
    fn due_at(&self) -> Option<Instant> {
        let is_idle = self.sending.is_none() && !self.waiting.is_empty();
        if is_idle { self.send_at } else { None }
    }

    fn send(&mut self) {
        let mut count = 0;
        while count < BATCH_SPANS
            && let Some(spans) = self.waiting.pop_front()
        {
            count += spans.len();
            self.batch.push(spans);
        }
        self.size -= count;
        let scope_spans = ScopeSpans { scope: Some(scope()), spans: self.batch.concat(), ..ScopeSpans::default() };
        let resource = Some(self.target.resource.clone());
        let of_resource = ResourceSpans { resource, scope_spans: vec![scope_spans], ..ResourceSpans::default() };
        let request = ExportTraceServiceRequest { resource_spans: vec![of_resource] };
        self.sending = Some(Box::pin(self.receiver.send(&self.target.traces, request.encode_to_vec())));
    }

    fn after(&mut self, sent: Sent) {
        self.sending = None;
        self.receiver.note(&sent);
        let batch = std::mem::take(&mut self.batch);
        let now = clock::monotonic();
        match sent {
            Sent::Taken | Sent::InPart(..) => {
                (self.pause, self.send_at) = (PAUSE_MIN, Some(now));
                if let Sent::InPart(..) = sent {
                    // Which of them is not told: none is known to be whole.
                    self.drop_traces(batch.len());
                }
                self.tell_dropped();
            }
            Sent::Refused(_) => {
                self.send_at = Some(now);
                self.drop_traces(batch.len());
            }
            Sent::Later(_, wait) => {
                self.size += batch.iter().map(Vec::len).sum::<usize>();
                batch.into_iter().rev().for_each(|spans| self.waiting.push_front(spans));
                self.send_at = Some(now + wait.unwrap_or(self.pause));
                self.pause = (self.pause * 2).min(PAUSE_MAX);
            }
        }
    }

    /// Sends what is there, for as long as it is taken.
    async fn flush(mut self) {
        loop {
            if self.sending.is_none() && !self.waiting.is_empty() {
                self.send();
            }
            if self.sending.is_none() {
                return;
            }
            let sent = finished(&mut self.sending).await;
            let goes_on = matches!(sent, Sent::Taken | Sent::InPart(..));
            self.after(sent);
            if !goes_on {
                let left = self.waiting.len();
                self.drop_traces(left);
                return self.tell_dropped();
            }
        }
    }

    fn drop_traces(&mut self, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.dropped += count;
        self.engine.meters().count_all(Meter::TracesDropped, count);
    }

    fn tell_dropped(&mut self) {
        let count = std::mem::take(&mut self.dropped);
        if count > 0 {
            tracing::warn!(count, "the traces of {count} runs were not sent: they had no room, or were refused");
        }
    }
}

/// What the store knows besides.
async fn told(engine: &Engine, EndedRun { run, course }: EndedRun) -> Result<Told, Refusal> {
    let asked = run.clone();
    let (agent, company, task, wakeups) = engine
        .db()
        .read("otlp.told", asked, |tx, run| {
            Box::pin(async move {
                let agent = agents::get(tx, run.agent).await?.name;
                let company = companies::get(tx, run.company).await?.slug;
                let task = match run.task {
                    Some(task) => tasks::find(tx, task).await?,
                    None => None,
                };
                Ok((agent, company, task, wakeups::of_run(tx, run.id).await?))
            })
        })
        .await?;
    Ok(Told { run, course, agent, company, task, wakeups })
}

/// What came of the request that is on its way; never, if none is.
async fn finished(sending: &mut Option<Sending>) -> Sent {
    match sending {
        Some(sending) => sending.await,
        None => std::future::pending().await,
    }
}

async fn reached(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
