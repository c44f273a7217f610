//! Finding live runs again after a restart: attached to if their shim lives, ended by their exit
//! record if they ended meanwhile, swept and called lost if the shim died, put back if it never came.

use std::path::Path;

use wakeful_domain::id::RunId;
use wakeful_domain::outcome::{End, Outcome};
use wakeful_domain::run::Run;
use wakeful_runner::adapters::Adapter;
use wakeful_runner::process::Found;
use wakeful_runner::process::record::shim_file;
use wakeful_store::Refusal;
use wakeful_store::ops::claim::Claimed;
use wakeful_store::ops::{agents, companies, runs, tasks, wakeups};

use super::follow::{Followed, follow, follow_ended, found_again};
use super::reading::LogFollower;
use super::start::{Prepared, keep_claim, kept_claim, launch_and_follow};
use super::{Lines, conclude, spawn_adopted};
use crate::context::RunContext;
use crate::engine::Engine;
use crate::meters::Meter;
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
            () = tokio::time::sleep(std::time::Duration::from_secs(1)) => {}
        }
    };
    if !live.is_empty() {
        tracing::info!(runs = live.len(), "finding {} live runs again", live.len());
    }
    for run in live {
        engine.inner.meters.count(Meter::RunsAdopted);
        spawn_adopted(engine, run);
    }
}

/// Launches of a run, at most: the first, and one with a fresh session.
const LAUNCHES_MAX: u32 = 2;

fn last_launch(dir: &Path) -> u32 {
    (1..=LAUNCHES_MAX).rev().find(|number| dir.join(shim_file(*number)).exists()).unwrap_or(1)
}

/// Finds out what became of a run, and follows it to its end.
pub(super) async fn adopt(engine: &Engine, run: Run, mut lines: Lines) {
    let dir = engine.run_dir(run.id);
    let number = last_launch(&dir);
    let found = found_again(engine, &run, number).await;
    let never_started = "the server stopped before the agent was started; it starts in the next run";
    if let Found::NeverStarted = found {
        let outcome = Outcome::ended(End::Lost, "launch_interrupted", never_started);
        return conclude::end(engine, &run, outcome, None).await;
    }
    let kept = kept_claim(&dir).map_err(|error| error.to_string());
    let known = kept.and_then(|context| match Adapter::of(&context.adapter) {
        Ok(adapter) => Ok((context, adapter)),
        Err(error) => Err(error.to_string()),
    });
    let (context, adapter) = match known {
        Ok(known) => known,
        Err(error) => {
            let told = format!("what the run was started with cannot be read any more: {error}");
            return conclude::end(engine, &run, Outcome::ended(End::Lost, "process_lost", told), None).await;
        }
    };
    let followed = match found {
        Found::Running(attached) => follow(engine, &run, adapter, &context, attached, number, &mut lines).await,
        Found::Ended(record) => follow_ended(engine, &run, adapter, &context, *record).await,
        Found::Died(_) | Found::NeverStarted => {
            let reader = adapter.reader(&context.adapter, context.session.as_ref(), Path::new(&context.workspace.cwd));
            match LogFollower::begin(engine, &run, &dir, reader).await {
                Ok(log) => conclude::lost(engine, &run, log).await,
                Err(refusal) => tracing::error!(run.id = %run.id, "run {} cannot be ended: {refusal}", run.id),
            }
            Followed::Ended
        }
    };
    if let Followed::SessionUnknown { error } = followed {
        start_afresh(engine, run, adapter, context, &error, number + 1, lines).await;
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
    context.session = None;
    context.session_choice.choice = "fresh".into();
    context.session_choice.reason = "the session to be resumed does not exist any more".into();
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
    let prepared = Prepared { run, claimed, adapter, context, token, dir };
    if let Err(error) = keep_claim(&prepared) {
        let told = format!("cannot write to {}: {error}", prepared.dir.display());
        return conclude::end(engine, &prepared.run, Outcome::failed("spawn_failed", told), None).await;
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

async fn claimed_again(engine: &Engine, run: RunId) -> Result<Claimed, Refusal> {
    engine
        .db()
        .read("run.claimed_again", run, |tx, run| {
            Box::pin(async move {
                let run = runs::get(tx, *run).await?;
                Ok(Claimed {
                    agent: agents::get(tx, run.agent).await?,
                    company: companies::get(tx, run.company).await?,
                    task: match run.task {
                        Some(task) => tasks::find(tx, task).await?,
                        None => None,
                    },
                    wakeups: wakeups::of_run(tx, run.id).await?,
                    session: None,
                    checkpoint: None,
                    run,
                })
            })
        })
        .await
}
