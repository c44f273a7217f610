//! A run whose agent is a service: it is called, and then either its answer is the end or a
//! callback is waited for. No process and no shim: what a later server needs to know is whether the
//! service was asked, and whether it took the work on.
//!
//! A request that may have been sent before a crash is sent again only in mode `callback`, under
//! the same id, run and token, so that a service that has it already can tell.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::json;
use wakeful_domain::outcome::{End, Outcome};
use wakeful_domain::run::Run;
use wakeful_domain::signature::key_of;
use wakeful_runner::adapters::Adapter;
use wakeful_runner::adapters::http::{Meaning, Service, body, judge};
use wakeful_runner::http::{Answer, Call, CallError, call};
use wakeful_runner::process::log::keep_exchange;
use wakeful_store::ops::claim::Claimed;
use wakeful_store::ops::run_events::NewRunEvent;

use super::adopt::{claimed_again, known};
use super::files::{SETTINGS_NOT_KEPT, write_durable};
use super::follow::{note, note_started, reached};
use super::start::{Prepared, adapter_of, asked_to_stop, refused};
use super::{Refused, conclude};
use crate::clock;
use crate::context::RunContext;
use crate::engine::Engine;
use crate::live::Lines;
use crate::secrets::{SealedText, keep, resolve};

/// How far the service was asked, in the directory of the run.
const STANDING_FILE: &str = "http.json";
/// What a service that was asked to stop may take, unless the agent's limits say.
const GRACE_S: u32 = 15;

#[derive(Debug, Serialize, Deserialize)]
struct Standing {
    /// Whether the service has said that the work has begun.
    has_begun: bool,
    /// The run's token, sealed: the same one is sent again.
    token: SealedText,
}

/// What a request is made of.
struct Request {
    service: Service,
    key: Vec<u8>,
    body: Vec<u8>,
    standing: Standing,
}

/// How long things may take.
#[derive(Clone, Copy)]
struct Patience {
    grace: Duration,
    /// When the run is over in any case.
    deadline: Option<Instant>,
}

/// Calls the service of a claimed run and follows the run to its end.
pub(super) async fn serve(engine: &Engine, prepared: &Prepared, lines: &mut Lines) {
    let run = &prepared.run;
    let request = match request(engine, prepared).await {
        Ok(request) => request,
        Err(outcome) => return conclude::end(engine, run, *outcome, None).await,
    };
    note_started(engine, run, &prepared.context, None).await;
    let patience = Patience::of(prepared.claimed.agent.limits, run);
    ask(engine, run, request, patience, lines).await;
}

/// Finds out how far the service of a live run was asked, and follows the run to its end.
pub(super) async fn adopt(engine: &Engine, run: Run, mut lines: Lines) {
    let dir = engine.run_dir(run.id);
    let Some(standing) = standing(&dir) else {
        let told = "the server stopped before the service was called; it is called in the next run";
        return conclude::end(engine, &run, Outcome::ended(End::Lost, "launch_interrupted", told), None).await;
    };
    let lost = |told: String| Outcome::ended(End::Lost, "process_lost", told);
    let context = match known(&dir).await {
        Ok((context, _)) => context,
        Err(error) => {
            let told = format!("what the run was started with cannot be read any more: {error}");
            return conclude::end(engine, &run, lost(told), None).await;
        }
    };
    if !Service::read(&context.adapter).calls_back {
        let told = "the server stopped while the service was at work, so its answer is not known";
        return conclude::end(engine, &run, lost(told.into()), None).await;
    }
    let claimed = match claimed_again(engine, run.id).await {
        Ok(claimed) => claimed,
        Err(refusal) => {
            let told = format!("the run could not be taken up again: {refusal}");
            return conclude::end_service(engine, &run, lost(told)).await;
        }
    };
    let patience = Patience::of(claimed.agent.limits, &run);
    // What has begun needs nothing of what it was asked with.
    if standing.has_begun {
        return wait_for_callback(engine, &run, patience, &lines).await;
    }
    match renewed(engine, claimed, context, standing).await {
        Ok(request) => ask(engine, &run, request, patience, &mut lines).await,
        Err(outcome) => conclude::end_service(engine, &run, *outcome).await,
    }
}

/// Whether the run in this directory is one of a service, which has no process here.
pub(super) fn is_of_service(dir: &Path) -> bool {
    dir.join(STANDING_FILE).exists()
}

fn standing(dir: &Path) -> Option<Standing> {
    serde_json::from_slice(&std::fs::read(dir.join(STANDING_FILE)).ok()?).ok()
}

/// The request of a run that an earlier server has prepared.
async fn renewed(
    engine: &Engine,
    claimed: Claimed,
    mut context: RunContext,
    standing: Standing,
) -> Result<Request, Refused> {
    let run = claimed.run.clone();
    let opened = engine.config().vault.open(&token_place(&run), &standing.token.into());
    let token = opened.map_err(|error| refused("spawn_failed", format!("the run's token is not known: {error}")))?;
    // The kept configuration has no headers; the agent's present one has.
    let present = adapter_of(&claimed);
    for name in SETTINGS_NOT_KEPT {
        if let Some(setting) = present.get(*name) {
            context.adapter[*name] = setting.clone();
        }
    }
    let dir = engine.run_dir(run.id);
    let prepared = Prepared { run, claimed, adapter: Adapter::Http, context, token: token.to_string(), dir };
    request(engine, &prepared).await
}

fn token_place(run: &Run) -> String {
    format!("token {}", run.id)
}

async fn request(engine: &Engine, prepared: &Prepared) -> Result<Request, Refused> {
    let run = &prepared.run;
    let resolved = resolve(engine, run.company, &prepared.context.adapter).await?;
    let failed = |error: String| refused("spawn_failed", error);
    let values: Vec<String> = resolved.values.into_iter().chain([prepared.token.clone()]).collect();
    keep(engine, run.id, &values).map_err(|error| failed(format!("the run's secrets cannot be kept: {error}")))?;
    let service = Service::read(&resolved.config);
    let key = match &service.signing_secret {
        Some(secret) => key_of(secret),
        None => engine.signing_key(run.agent).to_vec(),
    };
    let context = serde_json::to_value(&prepared.context).map_err(|error| failed(error.to_string()))?;
    let callback_url = format!("{}/api/v1/runs/{}/finish", engine.public_url(), run.id);
    let token = engine.config().vault.seal(&token_place(run), &prepared.token);
    let token = token.map_err(|error| failed(format!("the run's token cannot be kept: {error}")))?.into();
    let standing = Standing { has_begun: false, token };
    Ok(Request { service, key, body: body(&context, run.fence, &prepared.token, &callback_url), standing })
}

impl Patience {
    fn of(limits: wakeful_domain::agent::Limits, run: &Run) -> Patience {
        let grace = Duration::from_secs(u64::from(limits.grace_s.unwrap_or(GRACE_S)));
        // An earlier server may have begun to count.
        let ran_for = run.started_at.map_or(Duration::ZERO, |at| clock::now().since(at));
        let left = limits.max_duration_s.map(|limit| Duration::from_secs(u64::from(limit)).saturating_sub(ran_for));
        Patience { grace, deadline: left.and_then(|left| clock::monotonic().checked_add(left)) }
    }
}

/// How waiting ended.
enum Waited<T> {
    Done(T),
    /// The run has been ended by somebody else, as by its callback.
    Over,
    /// It was asked to stop, and has had its time to.
    Stopped(String),
    TooLong,
}

async fn wait<T>(work: impl Future<Output = T>, patience: Patience, lines: &Lines) -> Waited<T> {
    let stopped = async {
        let reason = asked_to_stop(lines).await;
        tokio::time::sleep(patience.grace).await;
        reason
    };
    tokio::select! {
        biased;
        () = lines.over.cancelled() => Waited::Over,
        done = work => Waited::Done(done),
        reason = stopped => Waited::Stopped(reason),
        () = reached(patience.deadline) => Waited::TooLong,
    }
}

/// Calls the service, and does what follows from its answer.
async fn ask(engine: &Engine, run: &Run, mut request: Request, patience: Patience, lines: &mut Lines) {
    let path = engine.run_dir(run.id).join(STANDING_FILE);
    if let Err(error) = write_standing(&path, &request.standing) {
        let told = format!("cannot write {}: {error}", path.display());
        return conclude::end(engine, run, Outcome::failed("spawn_failed", told), None).await;
    }
    let asked_at = clock::monotonic();
    let service = &request.service;
    let asked = Call {
        url: &service.url,
        method: &service.method,
        headers: &service.headers,
        body: &request.body,
        id: &run.id.to_string(),
        at: clock::now(),
        key: &request.key,
        timeout: service.timeout,
    };
    lines.in_flight.send_replace(true);
    let answered = wait(call(&engine.config().guard, &asked), patience, lines).await;
    let answer = match answered {
        Waited::Over => return,
        Waited::Stopped(reason) => return stopped(engine, run, reason).await,
        Waited::TooLong => return too_long(engine, run).await,
        Waited::Done(answer) => answer,
    };
    let answer = answer.map(|answer| scrubbed(engine, run, answer));
    let took = clock::monotonic().saturating_duration_since(asked_at);
    keep_answer(engine, run, service, &answer, took).await;
    match answer.map(|answer| judge(service, &answer, clock::now())) {
        Err(error) => over(engine, run, Outcome::failed(error.code(), error.to_string())).await,
        Ok(Meaning::Over(outcome)) => over(engine, run, *outcome).await,
        Ok(Meaning::Begun) => {
            request.standing.has_begun = true;
            if let Err(error) = write_standing(&path, &request.standing) {
                // After a crash it would be asked again, which a service can tell by the id.
                tracing::warn!(run.id = %run.id, "cannot write {}: {error}", path.display());
            }
            let told = "the service has taken the work on; its callback ends the run";
            note(engine, run, NewRunEvent::plain("begun", told, json!({ "url": service.url }))).await;
            lines.in_flight.send_replace(false);
            wait_for_callback(engine, run, patience, lines).await;
        }
    }
}

fn write_standing(path: &Path, standing: &Standing) -> std::io::Result<()> {
    write_durable(path, &serde_json::to_vec(standing)?)
}

async fn wait_for_callback(engine: &Engine, run: &Run, patience: Patience, lines: &Lines) {
    match wait(std::future::pending::<()>(), patience, lines).await {
        Waited::Over | Waited::Done(()) => {}
        Waited::Stopped(reason) => stopped(engine, run, reason).await,
        Waited::TooLong => too_long(engine, run).await,
    }
}

async fn stopped(engine: &Engine, run: &Run, reason: String) {
    over(engine, run, Outcome::ended(End::Cancelled, "cancelled", reason)).await;
}

async fn too_long(engine: &Engine, run: &Run) {
    let told = "the run took longer than limits.max_duration_s allows; what the service still sends is refused";
    over(engine, run, Outcome::ended(End::TimedOut, "timed_out", told)).await;
}

async fn over(engine: &Engine, run: &Run, outcome: Outcome) {
    conclude::end_service(engine, run, outcome).await;
}

/// The answer without secrets, before anything of it is cut or told.
fn scrubbed(engine: &Engine, run: &Run, answer: Answer) -> Answer {
    match String::from_utf8(answer.body) {
        Ok(text) => Answer { body: engine.scrubber(run.id).text(&text).into_owned().into_bytes(), ..answer },
        Err(error) => Answer { body: error.into_bytes(), ..answer },
    }
}

/// What was asked and answered, as the log of the run.
async fn keep_answer(
    engine: &Engine,
    run: &Run,
    service: &Service,
    answer: &Result<Answer, CallError>,
    took: Duration,
) {
    let scrubber = engine.scrubber(run.id);
    let url = scrubber.text(service.url.split('?').next().unwrap_or_default()).into_owned();
    let (told, output) = match answer {
        Ok(answer) => {
            let cut = if answer.is_cut { ", cut at 1 MiB" } else { "" };
            let told = format!("{} {url} answered {} in {} ms{cut}", service.method, answer.status, took.as_millis());
            (told, scrubber.text(&String::from_utf8_lossy(&answer.body)).into_owned())
        }
        Err(error) => (format!("{} {url}: {error}", service.method), String::new()),
    };
    let dir = engine.run_dir(run.id);
    let kept = tokio::task::spawn_blocking(move || keep_exchange(&dir, &told, output.as_bytes())).await;
    match kept.map_err(std::io::Error::other).flatten() {
        Ok(_) => {}
        Err(error) => tracing::warn!(run.id = %run.id, "the answer to run {} could not be logged: {error}", run.id),
    }
}
