//! From a claim to a running process: workspace, session, context, command, launch. Whatever
//! cannot work is an honest end of the run, not a panic and not a hang.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use wakeful_domain::actor::ActorType;
use wakeful_domain::outcome::{End, Outcome};
use wakeful_domain::run::{Run, SessionChoice};
use wakeful_domain::session::{Circumstances, Decision, Handover, KnownSession, LastRun, Start, decide};
use wakeful_domain::wakeup::{MODEL_KEY, Source, Wakeup};
use wakeful_runner::adapters::{Adapter, Command, Invocation};
use wakeful_runner::process::{Attached, Launch, LogLimits, ProcessLimits};
use wakeful_store::ops::claim::Claimed;
use wakeful_store::ops::runs;

use super::files::{CONTEXT_FILE, RESULT_FILE, private_dir, write_claim};
use super::follow::{Followed, follow};
use super::place::workspace;
use super::{conclude, http};
use crate::clock;
use crate::context::{Chosen, RunContext, prompt, variables};
use crate::engine::Engine;
use crate::live::Lines;
use crate::meters::Meter;
use crate::secrets::{self, Resolved};

const MIB: u64 = 1024 * 1024;

/// Variables that would make an agent believe it runs inside another one.
const NESTING_VARIABLES: &[&str] = &["CLAUDECODE", "CLAUDE_CODE_ENTRYPOINT", "CLAUDE_CODE_SESSION_ID"];

/// A run with all that launching it needs, now or once more.
pub(super) struct Prepared {
    pub run: Run,
    pub claimed: Claimed,
    pub adapter: Adapter,
    pub context: RunContext,
    pub token: String,
    pub dir: PathBuf,
}

/// Starts a claimed run and follows it to its end.
pub(super) async fn start(engine: &Engine, claimed: Claimed, token: String, mut lines: Lines) {
    let run = claimed.run.clone();
    // A clone may take minutes; a stop does not wait for it.
    let prepared = tokio::select! {
        prepared = prepare(engine, claimed, token) => prepared,
        reason = asked_to_stop(&lines) => Err(Box::new(Outcome::ended(End::Cancelled, "cancelled", reason))),
    };
    let prepared = match prepared {
        Ok(prepared) => prepared,
        Err(outcome) => return conclude::end(engine, &run, *outcome, None).await,
    };
    match prepared.adapter {
        Adapter::Http => http::serve(engine, &prepared, &mut lines).await,
        _ => launch_and_follow(engine, prepared, 1, lines).await,
    }
}

/// Resolves with the reason once a stop is asked for.
pub(super) async fn asked_to_stop(lines: &Lines) -> String {
    let mut stop = lines.stop.clone();
    let asked = match stop.wait_for(Option::is_some).await {
        Ok(reason) => reason.clone(),
        Err(_) => None,
    };
    match asked {
        Some(reason) => reason,
        // The engine forgot the run: nobody will ask any more.
        None => std::future::pending().await,
    }
}

/// Launches the run for the `number`th time, follows it, and does what follows from its end.
pub(super) async fn launch_and_follow(engine: &Engine, mut prepared: Prepared, mut number: u32, mut lines: Lines) {
    loop {
        let stop = lines.stop.borrow_and_update().clone();
        if let Some(reason) = stop {
            let outcome = Outcome::ended(End::Cancelled, "cancelled", reason);
            return conclude::end(engine, &prepared.run, outcome, None).await;
        }
        let attached = match launched(engine, &prepared, number).await {
            Ok(attached) => attached,
            Err(outcome) => return conclude::end(engine, &prepared.run, *outcome, None).await,
        };
        engine.inner.meters.count(Meter::RunsStarted);
        match follow(engine, &prepared.run, prepared.adapter, &prepared.context, attached, number, &mut lines).await {
            Followed::Ended => return,
            Followed::SessionUnknown { error } => {
                conclude::note_fresh_start(engine, &prepared.run, &error).await;
                prepared.context.forget_session();
                number += 1;
                if let Err(outcome) = keep_claim(&prepared) {
                    return conclude::end(engine, &prepared.run, *outcome, None).await;
                }
            }
        }
    }
}

/// How a run ends that cannot be started.
pub(crate) type Refused = Box<Outcome>;

pub(super) fn refused(code: &str, error: impl Into<String>) -> Refused {
    Box::new(Outcome::failed(code, error))
}

async fn prepare(engine: &Engine, claimed: Claimed, token: String) -> Result<Prepared, Refused> {
    let config = adapter_of(&claimed);
    let adapter = Adapter::of(&config).map_err(|error| refused("bad_config", error.to_string()))?;
    let home = engine.agent_home(claimed.agent.id);
    private_dir(&home)
        .map_err(|error| refused("spawn_failed", format!("cannot create {}: {error}", home.display())))?;
    let workspace = workspace(engine, &claimed, &config, &home).await?;
    let decision = session(adapter, &claimed, &workspace.cwd);
    let chosen = Chosen {
        session: claimed.session.as_ref().filter(|_| decision.start == Start::Resumed).map(|known| known.state.clone()),
        handover: handover(engine, &claimed, &decision).await,
        choice: SessionChoice { choice: decision.start, reason: decision.reason },
        adapter: config,
        workspace,
    };
    let context = RunContext::new(&claimed, chosen);
    let dir = engine.run_dir(claimed.run.id);
    let prepared = Prepared { run: claimed.run.clone(), claimed, adapter, context, token, dir };
    keep_claim(&prepared)?;
    Ok(prepared)
}

/// The agent's adapter configuration, with what the task lays over it for its assignee, and the model that the clock
/// has woken it for.
pub(super) fn adapter_of(claimed: &Claimed) -> Json {
    let overrides = claimed.task.as_ref().and_then(|task| task.overrides_for(claimed.agent.id));
    let mut config =
        overrides.map_or_else(|| claimed.agent.adapter.clone(), |overrides| overrides.over(&claimed.agent.adapter));
    if let (Some(model), Some(settings)) = (model_of(&claimed.wakeups), config.as_object_mut()) {
        settings.insert("model".into(), model.clone());
    }
    config
}

/// The model that the whole batch is for, as the clock has said: whoever else has something to say gets the agent's own.
fn model_of(wakeups: &[Wakeup]) -> Option<&Json> {
    let said = |wakeup: &Wakeup| match (wakeup.source, wakeup.actor.kind) {
        (Source::Timer | Source::Schedule, ActorType::System) => wakeup.context.get(MODEL_KEY).cloned(),
        _ => None,
    };
    let model = said(wakeups.first()?)?;
    let is_said_by_all = wakeups.iter().all(|wakeup| said(wakeup).as_ref() == Some(&model));
    wakeups.first()?.context.get(MODEL_KEY).filter(|_| is_said_by_all)
}

fn session(adapter: Adapter, claimed: &Claimed, cwd: &str) -> Decision {
    let known = claimed.session.as_ref();
    let refusal = known.and_then(|known| adapter.resumable(&known.state, Path::new(cwd)).err());
    let circumstances =
        Circumstances { now: clock::now(), policy: &claimed.agent.session, cwd, adapter_refuses: refusal.as_deref() };
    decide(known, &circumstances)
}

/// The note to a session that takes another's place.
async fn handover(engine: &Engine, claimed: &Claimed, decision: &Decision) -> Option<Handover> {
    let known: &KnownSession = claimed.session.as_ref().filter(|_| decision.hands_over)?;
    let last = engine.db().read("run.get", known.last_run, |tx, run| Box::pin(runs::get(tx, *run))).await;
    let last = last.ok().map(|run| LastRun::new(run.id, run.status, run.summary.as_deref(), run.error.as_deref()));
    Some(Handover::new(known, &decision.reason, last, claimed.checkpoint.as_ref()))
}

/// Keeps what a later server needs in order to go on with this run.
pub(super) fn keep_claim(prepared: &Prepared) -> Result<(), Refused> {
    write_claim(prepared)
        .map_err(|error| refused("spawn_failed", format!("cannot write to {}: {error}", prepared.dir.display())))
}

async fn launched(engine: &Engine, prepared: &Prepared, number: u32) -> Result<Attached, Refused> {
    let told = prompt(&prepared.claimed.agent, &prepared.context);
    let context_json =
        serde_json::to_string(&prepared.context).map_err(|error| refused("spawn_failed", error.to_string()))?;
    let Resolved { config, mut values, files } =
        secrets::resolve(engine, prepared.run.company, &prepared.context.adapter).await?;
    values.push(prepared.token.clone());
    secrets::keep(engine, prepared.run.id, &values)
        .map_err(|error| refused("spawn_failed", format!("the run's secrets cannot be kept: {error}")))?;
    let invocation = Invocation {
        config: &config,
        prompt: &told,
        context_json: &context_json,
        session: prepared.context.session.as_ref(),
        cwd: Path::new(&prepared.context.workspace.cwd),
        is_root: engine.config().is_root,
    };
    let command = prepared.adapter.command(&invocation).map_err(|error| refused("bad_config", error.to_string()))?;
    let description = Launch { secrets: values, secret_files: files, ..describe(engine, prepared, number, command) };
    engine
        .inner
        .shims
        .launch(&description)
        .await
        .map_err(|error| refused("spawn_failed", format!("{error}: {}", source_of(&error))))
}

fn source_of(error: &dyn std::error::Error) -> String {
    error.source().map(ToString::to_string).unwrap_or_default()
}

fn describe(engine: &Engine, prepared: &Prepared, number: u32, command: Command) -> Launch {
    let limits = prepared.claimed.agent.limits;
    let grace_s = limits.grace_s.unwrap_or(command.grace_s_default);
    Launch {
        run: prepared.run.id.to_string(),
        number,
        dir: prepared.dir.clone(),
        env: environment(engine, prepared, &command),
        argv: command.argv,
        cwd: PathBuf::from(&prepared.context.workspace.cwd),
        stdin: command.stdin,
        keeps_stdin_open: command.keeps_stdin_open,
        stop_signal: command.stop_signal,
        grace_ms: u64::from(grace_s) * 1_000,
        max_duration_ms: limits.max_duration_s.map(|seconds| u64::from(seconds) * 1_000),
        first_output_ms: limits.first_output_s.or(first_output_s_default(prepared)).map(|s| u64::from(s) * 1_000),
        limits: ProcessLimits {
            memory_bytes_max: limits.max_memory_mb.map(|mb| u64::from(mb) * MIB),
            pids_max: limits.max_processes.map(u64::from),
        },
        linger_ms: Launch::LINGER_MS_DEFAULT,
        log: limits.max_log_mb.map_or_else(LogLimits::default, |mb| LogLimits {
            text_bytes_max: u64::from(mb) * MIB,
            ..LogLimits::default()
        }),
        secrets: Vec::new(),
        secret_files: Vec::new(),
    }
}

/// An agent that reports as it works says at once that it is there; a command may be silent for as long as it likes.
fn first_output_s_default(prepared: &Prepared) -> Option<u32> {
    let is_stream = prepared.context.adapter.get("events").and_then(Json::as_str) == Some("json_lines");
    match prepared.adapter {
        Adapter::Process | Adapter::Http => None,
        Adapter::Cli if !is_stream => None,
        _ => Some(120),
    }
}

/// The server's own environment without what is not the run's business, the adapter's variables,
/// and what Wakeful tells the run: the latter wins.
fn environment(engine: &Engine, prepared: &Prepared, command: &Command) -> Vec<(String, String)> {
    let mut told = variables(&prepared.claimed, engine.address(), &prepared.token);
    let file = |name: &str| prepared.dir.join(name).to_string_lossy().into_owned();
    told.push(("WAKEFUL_CONTEXT_FILE".into(), file(CONTEXT_FILE)));
    told.push(("WAKEFUL_RESULT_FILE".into(), file(RESULT_FILE)));
    let is_removed = |name: &String| NESTING_VARIABLES.contains(&name.as_str()) || command.env_remove.contains(name);
    let inherited = engine.config().environment.iter().filter(|(name, _)| !is_removed(name));
    let mut all: std::collections::BTreeMap<String, String> = inherited.cloned().collect();
    all.extend(command.env.iter().cloned());
    if let Some(own) = engine.program_dir() {
        let path = all.get("PATH").cloned().unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
        all.insert("PATH".into(), format!("{}:{path}", own.display()));
    }
    all.extend(told);
    all.into_iter().collect()
}
