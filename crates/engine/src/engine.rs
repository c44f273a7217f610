//! The engine's handle: everything the API asks for goes through here, so that each commit is
//! followed by its effects. It owns the only place where tasks are spawned.

use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wakeful_domain::actor::Actor;
use wakeful_domain::agent::{Agent, AgentEvent};
use wakeful_domain::company::{Company, CompanyState};
use wakeful_domain::id::{AgentId, CompanyId, Id, IdSource, Kind, RunId, WakeupId};
use wakeful_domain::retention::Retention;
use wakeful_domain::run::{Run, RunFence, StopRequest};
use wakeful_domain::waiting::{Waiting, why_waiting};
use wakeful_domain::wakeup::{Wakeup, WakeupStatus};
use wakeful_runner::http::Guard;
use wakeful_runner::process::Shims;
use wakeful_runner::workspace::Git;
use wakeful_store::ops::origin::Origin;
use wakeful_store::ops::restore::Restored;
use wakeful_store::ops::wake::{Accepted, Wake};
use wakeful_store::ops::{agents, companies, finish, inbox, runs, standing, wake, wakeups};
use wakeful_store::{Db, Error, Operation, Refusal};

use crate::archive::Archive;
use crate::course::EndedRun;
use crate::live::LiveRun;
use crate::locks::DirectoryLocks;
use crate::meters::{Meter, Meters};
use crate::nudge::Nudge;
use crate::pressure::{Pressure, Reserve};
use crate::recovery::Recovering;
use crate::restored::Hold;
use crate::room::Room;
use crate::secrets::{Vault, scrub_outcome};
use crate::{archive, beat, clock, clock_watch, delivery, questions, recovery, retention, room, run, worktrees};

/// What an engine needs to know of its surroundings.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Runs and agents' homes are kept below it.
    pub data_dir: PathBuf,
    /// The binary that has the `shim` subcommand: this one.
    pub program: PathBuf,
    /// The environment that runs inherit; `WAKEFUL_*` is taken out of it.
    pub environment: Vec<(String, String)>,
    /// Live runs on this host, until [`Engine::set_limits`] says otherwise; so too the reserve.
    pub live_runs_max: usize,
    /// Whether runs are started as root.
    pub is_root: bool,
    /// Nothing is started while less than this is left of the host.
    pub reserve: Reserve,
    /// Where services elsewhere reach this server, if not where runs do.
    pub public_url: Option<String>,
    /// Which addresses services may be called at.
    pub guard: Guard,
    /// Seals and opens secrets.
    pub vault: Vault,
    /// Whether nothing is started, so that a person can look first.
    pub is_in_safe_mode: bool,
    /// The restore of the store that nobody has said yes to so far.
    pub held: Option<Restored>,
    /// How long what is kept.
    pub retention: Retention,
}

/// The engine. Cheap to clone; all clones are the same engine.
#[derive(Debug, Clone)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub db: Db,
    pub config: EngineConfig,
    pub nudge: Nudge,
    pub meters: Meters,
    pub shims: Shims,
    pub pressure: Pressure,
    pub git: Git,
    pub directories: DirectoryLocks,
    pub archive: Archive,
    pub hold: Hold,
    pub recovering: Recovering,
    pub room: Room,
    /// Held by whoever removes what is old.
    pub collecting: tokio::sync::Mutex<()>,
    address: OnceLock<String>,
    /// Who wants to know how runs went.
    pub ends: OnceLock<mpsc::Sender<EndedRun>>,
    ids: Mutex<IdSource>,
    live: Mutex<HashMap<RunId, LiveRun>>,
    tasks: TaskTracker,
    pub stopping: CancellationToken,
    pub live_runs_max: AtomicUsize,
    pub is_draining: AtomicBool,
    has_recovered: AtomicBool,
}

/// Follows the growth of a live run's log.
pub type LogWatch = watch::Receiver<u64>;

impl Engine {
    /// An engine over a store. Nothing moves before [`Engine::start`].
    pub fn new(db: Db, config: EngineConfig) -> Engine {
        let shims = Shims::new(&config.program, &["shim"]);
        let pressure = Pressure::new(config.reserve, &config.data_dir.join("runs"));
        let git = Git::new(&config.environment);
        let live_runs_max = AtomicUsize::new(config.live_runs_max);
        let hold = Hold::new(config.held.clone());
        let room = Room::new(&config.data_dir);
        let inner = Inner {
            db,
            config,
            nudge: Nudge::new(),
            meters: Meters::default(),
            shims,
            pressure,
            git,
            directories: DirectoryLocks::default(),
            archive: Archive::default(),
            hold,
            recovering: Recovering::default(),
            room,
            collecting: tokio::sync::Mutex::default(),
            address: OnceLock::new(),
            ends: OnceLock::new(),
            ids: Mutex::new(IdSource::new(clock::seed())),
            live: Mutex::default(),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
            live_runs_max,
            is_draining: AtomicBool::new(false),
            has_recovered: AtomicBool::new(false),
        };
        Engine { inner: Arc::new(inner) }
    }

    /// Finds again what was running, then dispatches. Call it once the API listens on `address`.
    pub fn start(&self, address: &str) {
        // Set once: a second start would only name the same address.
        self.inner.address.set(address.to_owned()).ok();
        let engine = self.clone();
        self.spawn(async move {
            engine.inner.shims.prepare();
            run::recover(&engine).await;
            if engine.held().is_some() {
                run::end_strays(&engine).await;
            }
            engine.inner.has_recovered.store(true, Ordering::Release);
            engine.inner.nudge.changed();
            let asks = async {
                questions::sweep(&engine).await;
                engine.released().await;
                tokio::join!(questions::run(&engine), delivery::run(&engine));
            };
            tokio::join!(beat::run(&engine), archive::run(&engine), asks, recovery::report(&engine));
        });
        let engine = self.clone();
        self.spawn(async move {
            engine.released().await;
            tokio::join!(worktrees::run(&engine), retention::run(&engine));
        });
        let engine = self.clone();
        self.spawn(async move { clock_watch::run(&engine).await });
        let engine = self.clone();
        self.spawn(async move { room::run(&engine).await });
    }

    /// Stops following; runs go on with their shims. Returns once every task has let go.
    pub async fn stop(&self, patience: Duration) {
        self.inner.is_draining.store(true, Ordering::Release);
        self.inner.stopping.cancel();
        self.inner.tasks.close();
        if tokio::time::timeout(patience, self.inner.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = self.inner.tasks.len(), "some tasks did not stop in time; their runs go on");
        }
    }

    /// The store.
    pub fn db(&self) -> &Db {
        &self.inner.db
    }

    /// The counters of this process.
    pub fn meters(&self) -> &Meters {
        &self.inner.meters
    }

    /// How this engine was set up.
    pub fn config(&self) -> &EngineConfig {
        &self.inner.config
    }

    /// Whether everything that was running has been found again.
    pub fn has_recovered(&self) -> bool {
        self.inner.has_recovered.load(Ordering::Acquire)
    }

    /// A new id, greater than all that this engine has given.
    pub fn new_id<K: Kind>(&self) -> Id<K> {
        let now = clock::now();
        self.ids().next(now)
    }

    /// A place to wait for new events.
    pub fn event_watch(&self) -> watch::Receiver<u64> {
        self.inner.nudge.events()
    }

    /// Follows the log of a live run; `None` once it is over.
    pub fn log_watch(&self, run: RunId) -> Option<LogWatch> {
        self.live().get(&run).map(|live| live.log.subscribe())
    }

    /// Resolves when the server is to stop.
    pub async fn stopping(&self) {
        self.inner.stopping.cancelled().await;
    }

    /// Spawns a task that a stop waits for.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.inner.tasks.spawn(task);
    }

    /// Runs an operation and tells whoever waits for events. It is carried out whole even if the caller
    /// goes away meanwhile, as a handler does when its client hangs up.
    pub async fn write<A, T>(&self, name: &'static str, arguments: A, operation: Operation<A, T>) -> Result<T, Refusal>
    where
        A: Send + Sync + 'static,
        T: Send + 'static,
    {
        let engine = self.clone();
        self.whole(name, async move {
            let result = engine.inner.db.write(name, arguments, operation).await;
            // After a refusal too: the look of the dispatcher may have stumbled over our lock.
            engine.inner.nudge.changed();
            if let Err(refusal @ Refusal::Store(error)) = &result {
                engine.inner.meters.count(Meter::StoreErrors);
                engine.inner.room.after(refusal);
                tracing::error!(operation = name, "{error}");
            }
            result
        })
        .await
    }

    /// Carries out a commit and its effects to the end, whether or not the caller waits for it.
    pub(crate) async fn whole<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.inner.tasks.spawn(work).await.unwrap_or(Err(Error::Panicked { name }.into()))
    }

    /// Accepts a wake; it is durable when this returns. Why it waits comes with it.
    pub async fn accept(&self, request: Wake) -> Result<(Accepted, Option<Waiting>), Refusal> {
        let now = request.now;
        let (accepted, standing) = self
            .write("wake.accept", request, |tx, wake| {
                Box::pin(async move {
                    let accepted = wake::accept(tx, wake).await?;
                    let standing = match accepted.wakeup.status {
                        WakeupStatus::Pending => Some(standing::of(tx, &accepted.wakeup).await?),
                        _ => None,
                    };
                    Ok((accepted, standing))
                })
            })
            .await?;
        let waiting = standing.map(|standing| why_waiting(&standing, self.host(), now));
        Ok((accepted, waiting))
    }

    /// Accepts many wakes in one transaction; each has its own answer.
    pub async fn accept_all(&self, requests: Vec<Wake>) -> Result<Vec<Result<Accepted, Refusal>>, Refusal> {
        self.write("wake.accept_all", requests, |tx, wakes| Box::pin(wake::accept_all(tx, wakes))).await
    }

    /// Cancels a pending wakeup.
    pub async fn cancel_wakeup(&self, id: WakeupId) -> Result<Wakeup, Refusal> {
        let arguments = (clock::now(), id);
        self.write("wakeup.cancel", arguments, |tx, (now, id)| Box::pin(wakeups::cancel(tx, *now, *id))).await
    }

    /// Brings a dead letter back.
    pub async fn retry_wakeup(&self, id: WakeupId) -> Result<Wakeup, Refusal> {
        let arguments = (clock::now(), id);
        self.write("wakeup.retry", arguments, |tx, (now, id)| Box::pin(wakeups::retry(tx, *now, *id))).await
    }

    /// Gives wakeups that came while a run was live to that run.
    pub async fn acknowledge(&self, request: inbox::AcknowledgeRequest) -> Result<inbox::Acknowledgement, Refusal> {
        self.write("inbox.acknowledge", request, |tx, request| Box::pin(inbox::acknowledge(tx, request))).await
    }

    /// Runs an operation that also says which runs are to stop, and stops them once that is durable.
    async fn write_and_stop<A, T>(
        &self,
        name: &'static str,
        told: &str,
        arguments: A,
        operation: Operation<A, (T, Vec<RunId>)>,
    ) -> Result<T, Refusal>
    where
        A: Send + Sync + 'static,
        T: Send + 'static,
    {
        let (engine, told) = (self.clone(), told.to_owned());
        self.whole(name, async move {
            let (answer, stopped) = engine.write(name, arguments, operation).await?;
            stopped.into_iter().for_each(|run| engine.signal_stop(run, &told));
            Ok(answer)
        })
        .await
    }

    /// Asks a live run to stop: durably first, then in fact.
    pub async fn stop_run(&self, id: RunId, reason: &str) -> Result<Run, Refusal> {
        self.request_stop(id, StopRequest::cancel(reason, clock::now())).await
    }

    pub(crate) async fn request_stop(&self, id: RunId, stop: StopRequest) -> Result<Run, Refusal> {
        let told = stop.reason.clone();
        self.write_and_stop("run.request_stop", &told, (id, stop), |tx, (id, stop)| {
            Box::pin(async move { Ok((runs::request_stop(tx, *id, stop).await?, vec![*id])) })
        })
        .await
    }

    /// Changes an agent's state; stops its live runs if asked, or if it is terminated.
    pub async fn change_agent_state(
        &self,
        id: AgentId,
        event: AgentEvent,
        reason: Option<String>,
        cancel_runs: bool,
    ) -> Result<Agent, Refusal> {
        let told = "the state of the agent was changed";
        let stop = (cancel_runs || event == AgentEvent::Terminate).then(|| StopRequest {
            reason: reason.clone().unwrap_or_else(|| told.into()),
            at: clock::now(),
            puts_back: event == AgentEvent::Pause,
            stalled: false,
            spent: false,
        });
        let arguments = (clock::now(), id, event, reason, stop);
        self.write_and_stop("agent.state", told, arguments, |tx, (now, id, event, reason, stop)| {
            Box::pin(async move {
                let agent = agents::set_state(tx, *now, *id, *event, reason.as_deref()).await?;
                let stopped = match stop {
                    Some(stop) => runs::stop_all_of_agent(tx, *id, stop).await?,
                    None => Vec::new(),
                };
                Ok((agent, stopped))
            })
        })
        .await
    }

    /// Terminates and hides an agent.
    pub async fn delete_agent(&self, id: AgentId) -> Result<Agent, Refusal> {
        let told = "the agent was deleted";
        let stop = StopRequest::cancel(told, clock::now());
        self.write_and_stop("agent.delete", told, (id, stop), |tx, (id, stop)| {
            Box::pin(async move {
                let agent = agents::delete(tx, stop.at, *id).await?;
                Ok((agent, runs::stop_all_of_agent(tx, *id, stop).await?))
            })
        })
        .await
    }

    /// Pauses or resumes a company; stops its live runs if asked.
    pub async fn change_company_state(
        &self,
        id: CompanyId,
        state: CompanyState,
        reason: Option<String>,
        cancel_runs: bool,
    ) -> Result<Company, Refusal> {
        let told = "the state of the company was changed";
        let stop = cancel_runs.then(|| StopRequest {
            reason: reason.clone().unwrap_or_else(|| told.into()),
            at: clock::now(),
            puts_back: state == CompanyState::Paused,
            stalled: false,
            spent: false,
        });
        let arguments = (clock::now(), id, state, reason, stop);
        self.write_and_stop("company.state", told, arguments, |tx, (now, id, state, reason, stop)| {
            Box::pin(async move {
                // Runs before their company, as everywhere; and once more for what was claimed in between.
                let mut stopped = Vec::new();
                if let Some(stop) = stop {
                    stopped.extend(runs::stop_all_of_company(tx, *id, stop).await?);
                }
                let company = companies::set_state(tx, *now, *id, *state, reason.as_deref()).await?;
                if let Some(stop) = stop {
                    stopped.extend(runs::stop_all_of_company(tx, *id, stop).await?);
                }
                Ok((company, stopped))
            })
        })
        .await
    }

    /// Ends a run with this outcome, once.
    pub(crate) async fn finish(&self, request: finish::FinishRequest) -> Result<Run, Refusal> {
        let mut request = request;
        scrub_outcome(&self.scrubber(request.run), &mut request.outcome);
        let engine = self.clone();
        self.whole("run.finish", async move {
            let run = engine.write("run.finish", request, |tx, request| Box::pin(finish::finish(tx, request))).await?;
            engine.inner.meters.runs.ended(&run);
            engine.tell_end(&run);
            if let Some(live) = engine.live().get(&run.id) {
                live.over.cancel();
            }
            Ok(run)
        })
        .await
    }

    /// Where a change comes from that is made now.
    pub fn origin(&self, actor: Actor, by_run: Option<RunFence>) -> Origin {
        Origin { now: clock::now(), actor, by_run, id_seed: self.seed() }
    }

    /// A seed for ids that are made within an operation.
    pub(crate) fn seed(&self) -> u64 {
        self.ids().rng().u64(..)
    }

    pub(crate) fn draw(&self) -> f64 {
        self.ids().rng().f64()
    }

    pub(crate) fn signal_stop(&self, run: RunId, reason: &str) {
        if let Some(live) = self.live().get(&run) {
            live.stop.send_replace(Some(reason.to_owned()));
        }
    }

    /// The base URL under which services elsewhere reach this server.
    pub(crate) fn public_url(&self) -> &str {
        self.inner.config.public_url.as_deref().unwrap_or_else(|| self.address())
    }

    /// The base URL under which runs reach this server.
    pub(crate) fn address(&self) -> &str {
        self.inner.address.get().map(String::as_str).unwrap_or_default()
    }

    pub(crate) fn live(&self) -> MutexGuard<'_, HashMap<RunId, LiveRun>> {
        self.inner.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ids(&self) -> MutexGuard<'_, IdSource> {
        self.inner.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
