//! Finding live runs again after a restart: attached to if their shim lives, ended by their exit
//! record if they ended meanwhile, swept and called lost if the shim died, put back if it never came.

use std::path::Path;
use std::time::Duration;

use wakeful_domain::id::RunId;
use wakeful_domain::outcome::{End, Outcome};
use wakeful_domain::run::Run;
use wakeful_runner::adapters::Adapter;
use wakeful_runner::process::record::shim_file;
use wakeful_runner::process::{Attached, Found, Update};
use wakeful_store::Refusal;
use wakeful_store::ops::claim::{Claimed, place};
use wakeful_store::ops::{agents, companies, runs, wakeups};

use super::files::kept_claim;
use super::follow::{Followed, follow, found_again};
use super::reading::LogFollower;
use super::start::{Prepared, adapter_of, keep_claim, launch_and_follow};
use super::{conclude, http, spawn_adopted};
use crate::context::RunContext;
use crate::engine::Engine;
use crate::live::Lines;
use crate::meters::Meter;
use crate::recovery::FoundAgain;
use crate::token::{TokenKind, hash_of, mint};

/// Gives every live run of the store a task that follows it.
pub(crate) async fn recover(engine: &Engine) {
    let live = loop {
        match engine.db().read("run.live", (), |tx, ()| Box::pin(runs::live(tx))).await {
            Ok(live) => break live,
            Err(refusal) => tracing::error!("the live runs cannot be read yet: {refusal}"),
        }
        tokio::select! {
            () = engine.stopping() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    };
    engine.inner.recovering.begin(live.len());
    if !live.is_empty() {
        tracing::info!(runs = live.len(), "finding {} live runs again", live.len());
    }
    for run in live {
        engine.inner.meters.count(Meter::RunsAdopted);
        spawn_adopted(engine, run);
    }
}

/// The number of the run's newest launch.
pub(crate) fn last_launch(dir: &Path) -> u32 {
    (1..).take_while(|number| dir.join(shim_file(*number)).exists()).last().unwrap_or(1)
}

/// Finds out what became of a run, and follows it to its end.
pub(super) async fn adopt(engine: &Engine, run: Run, mut lines: Lines) {
    let dir = engine.run_dir(run.id);
    engine.set_scrubber(run.id, engine.scrubber(run.id));
    let recovering = &engine.inner.recovering;
    if run.adapter == "http" {
        recovering.found(FoundAgain::Service);
        return http::adopt(engine, run, lines).await;
    }
    let number = last_launch(&dir);
    let found = found_again(engine, &run, number).await;
    recovering.found(match &found {
        Found::Running(_) => FoundAgain::Attached,
        Found::Ended(_) => FoundAgain::EndedMeanwhile,
        Found::Died(_) => FoundAgain::Died,
        Found::NeverStarted => FoundAgain::NeverStarted,
    });
    let never_started = "the server stopped before the agent was started; it starts in the next run";
    if let Found::NeverStarted = found {
        let outcome = Outcome::ended(End::Lost, "launch_interrupted", never_started);
        return conclude::end(engine, &run, outcome, None).await;
    }
    let (context, adapter) = match known(&dir).await {
        Ok(known) => known,
        Err(error) => {
            let told = format!("what the run was started with cannot be read any more: {error}");
            end_tree(engine, &run, found, number).await;
            return conclude::end(engine, &run, Outcome::ended(End::Lost, "process_lost", told), None).await;
        }
    };
    let followed = match found {
        Found::Running(attached) => follow(engine, &run, adapter, &context, attached, number, &mut lines).await,
        Found::Ended(record) => {
            let log = LogFollower::begin(engine, &run, adapter, &context, number).await;
            conclude::conclude(engine, &run, *record, log).await
        }
        Found::Died(_) | Found::NeverStarted => {
            let log = LogFollower::begin(engine, &run, adapter, &context, number).await;
            conclude::lost(engine, &run, log).await;
            Followed::Ended
        }
    };
    if let Followed::SessionUnknown { error } = followed {
        start_afresh(engine, run, adapter, context, &error, number + 1, lines).await;
    }
}

/// Tries to read what a run was started with; the disk may be busy with all the others.
const READS_MAX: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);

pub(super) async fn known(dir: &Path) -> Result<(RunContext, Adapter), String> {
    let mut tries = 0;
    loop {
        tries += 1;
        let known = kept_claim(dir).map_err(|error| error.to_string()).and_then(|context| {
            let adapter = Adapter::of(&context.adapter).map_err(|error| error.to_string())?;
            Ok((context, adapter))
        });
        if known.is_ok() || tries == READS_MAX {
            return known;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Stops a tree that lives; returns once it is gone. Nothing is handed on before.
async fn end_tree(engine: &Engine, run: &Run, mut found: Found, number: u32) {
    while let Found::Running(mut attached) = found {
        if let Err(error) = attached.stop("what it was started with cannot be read any more", None) {
            tracing::warn!(run.id = %run.id, "run {} could not be told to stop: {error}", run.id);
        }
        if has_exited(&mut attached).await {
            return;
        }
        found = found_again(engine, run, number).await;
    }
}

/// Waits for the end; false if the shim went away instead of telling it.
pub(super) async fn has_exited(attached: &mut Attached) -> bool {
    loop {
        match attached.next().await {
            Update::Exited(_) => return true,
            Update::Gone => return false,
            Update::Started(_)
            | Update::Output { .. }
            | Update::StartFailed(_)
            | Update::InputTaken { .. }
            | Update::InputRefused { .. }
            | Update::LogSlow { .. }
            | Update::LogCaughtUp { .. }
            | Update::Stuck { .. } => {}
        }
    }
}

/// The one fresh start within a run, by a server that has never had the run's token.
async fn start_afresh(
    engine: &Engine,
    run: Run,
    adapter: Adapter,
    mut context: RunContext,
    error: &str,
    number: u32,
    lines: Lines,
) {
    conclude::note_fresh_start(engine, &run, error).await;
    context.forget_session();
    let renewed = match (renewed_token(engine, &run).await, claimed_again(engine, run.id).await) {
        (Ok(token), Ok(claimed)) => Ok((token, claimed)),
        (Err(error), _) => Err(error),
        (_, Err(refusal)) => Err(refusal.to_string()),
    };
    let (token, claimed) = match renewed {
        Ok(renewed) => renewed,
        Err(error) => {
            let told = format!("the run could not be started afresh after a restart: {error}");
            return conclude::end(engine, &run, Outcome::failed("spawn_failed", told), None).await;
        }
    };
    let dir = engine.run_dir(run.id);
    // The kept configuration has no variables; the agent's present one has.
    context.adapter = adapter_of(&claimed);
    let prepared = Prepared { run, claimed, adapter, context, token, dir };
    if let Err(outcome) = keep_claim(&prepared) {
        return conclude::end(engine, &prepared.run, *outcome, None).await;
    }
    launch_and_follow(engine, prepared, number, lines).await;
}

async fn renewed_token(engine: &Engine, run: &Run) -> Result<String, String> {
    let token = mint(TokenKind::Run).map_err(|error| error.to_string())?;
    engine
        .write("run.renew_token", (run.id, run.fence, hash_of(&token)), |tx, (run, fence, hash)| {
            Box::pin(runs::renew_token(tx, *run, *fence, hash))
        })
        .await
        .map_err(|refusal| refusal.to_string())?;
    Ok(token)
}

pub(super) async fn claimed_again(engine: &Engine, run: RunId) -> Result<Claimed, Refusal> {
    engine
        .db()
        .read("run.claimed_again", run, |tx, run| {
            Box::pin(async move {
                let run = runs::get(tx, *run).await?;
                let wakeups = wakeups::of_run(tx, run.id).await?;
                let place = place(tx, run.id, run.agent, run.task, &wakeups).await?;
                Ok(Claimed {
                    agent: agents::get(tx, run.agent).await?,
                    company: companies::get(tx, run.company).await?,
                    task: place.task,
                    comments: place.comments,
                    ancestors: place.ancestors,
                    goals: place.goals,
                    project: place.project,
                    worktree: place.worktree,
                    wakeups,
                    session: None,
                    checkpoint: None,
                    run,
                })
            })
        })
        .await
}
