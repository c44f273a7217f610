//! Worktrees that nothing works in any more: removed if nothing in them would be lost, else kept with the reason.
//! A tick looks at those whose task is closed; it comes when something has happened, and now and then.

use std::path::Path;
use std::time::Duration;

use wakeful_domain::time::Timestamp;
use wakeful_domain::worktree::{Unsaved, Worktree, WorktreeState};
use wakeful_runner::workspace::GitError;
use wakeful_runner::workspace::worktree::{Known, contents, remove};
use wakeful_store::Refusal;
use wakeful_store::ops::worktrees;

use crate::clock;
use crate::engine::Engine;

/// Worktrees looked at in one tick; each costs a few git commands.
const LOOKS_MAX: i64 = 20;
/// One that is kept is looked at again after this: what was in it may have been merged meanwhile.
const KEPT_LOOK_EVERY: Duration = Duration::from_secs(10 * 60);
/// Between two ticks however much happens.
const PAUSE: Duration = Duration::from_secs(1);
/// Between two ticks though nothing happens: merges are not told to us.
const PAUSE_IDLE: Duration = Duration::from_secs(5 * 60);

/// What a tick did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub looked: usize,
    pub removed: usize,
}

/// Ticks until the engine stops.
pub(crate) async fn run(engine: &Engine) {
    let mut happened = engine.event_watch();
    loop {
        happened.borrow_and_update();
        let is_full = match tick(engine, clock::now()).await {
            Ok(report) => report.looked >= usize::try_from(LOOKS_MAX).unwrap_or(usize::MAX),
            Err(refusal) => {
                tracing::error!("the worktrees could not be looked at, and are later: {refusal}");
                false
            }
        };
        tokio::select! {
            () = engine.stopping() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
        if is_full {
            continue;
        }
        tokio::select! {
            () = engine.stopping() => return,
            changed = happened.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(PAUSE_IDLE) => {}
        }
    }
}

/// Looks at worktrees whose task is closed, at most [`LOOKS_MAX`] of them.
pub(crate) async fn tick(engine: &Engine, now: Timestamp) -> Result<Report, Refusal> {
    let kept_before = Timestamp::from_micros(now.as_micros() - i64::try_from(KEPT_LOOK_EVERY.as_micros()).unwrap_or(0));
    let unused = engine
        .db()
        .read("worktree.unused", kept_before, |tx, before| Box::pin(worktrees::unused(tx, *before, LOOKS_MAX)))
        .await?;
    let mut report = Report::default();
    for worktree in unused {
        report.looked += 1;
        report.removed += usize::from(settle(engine, &worktree).await?);
    }
    Ok(report)
}

/// Removes a worktree or notes why it is kept; tells whether it was removed.
async fn settle(engine: &Engine, worktree: &Worktree) -> Result<bool, Refusal> {
    let path = Path::new(&worktree.path);
    let _alone = engine.inner.directories.lock(path).await;
    // A run that was claimed meanwhile waits for the lock, or has had it: then this is none of ours.
    let lane = (worktree.agent, worktree.task);
    let found = engine
        .db()
        .read("worktree.still_unused", lane, |tx, (agent, task)| Box::pin(worktrees::still_unused(tx, *agent, *task)))
        .await?;
    let Some(worktree) = found else { return Ok(false) };
    let reason = match removed(engine, &worktree).await {
        Ok(reason) => reason,
        Err(error) => Some(error.to_string()),
    };
    let state = if reason.is_some() { WorktreeState::Kept } else { WorktreeState::Removed };
    let is_news = worktree.state != state || worktree.state_reason != reason;
    match &reason {
        Some(reason) if is_news => tracing::info!(worktree.path = %worktree.path, "a worktree is kept: {reason}"),
        Some(_) => {}
        None => tracing::info!(worktree.path = %worktree.path, "a worktree was removed: nothing in it would be lost"),
    }
    let change = (clock::now(), worktree, state, reason, is_news);
    let written = engine.db().write("worktree.settle", change, |tx, (now, worktree, state, reason, is_news)| {
        Box::pin(worktrees::set_state(tx, *now, worktree, *state, reason.as_deref(), *is_news))
    });
    written.await?;
    if is_news {
        engine.inner.nudge.told();
    }
    Ok(state == WorktreeState::Removed)
}

/// Removes the worktree unless something would be lost with it; then tells what.
async fn removed(engine: &Engine, worktree: &Worktree) -> Result<Option<String>, GitError> {
    let known = Known {
        repository: Path::new(&worktree.repository),
        path: Path::new(&worktree.path),
        branch: &worktree.branch,
        base_branch: worktree.base.branch.as_deref(),
    };
    let found = contents(&engine.inner.git, known).await?;
    let unsaved = Unsaved { files: found.files, stashes: found.stashes, commits: found.commits };
    if let Some(reason) = unsaved.reason() {
        return Ok(Some(reason));
    }
    remove(&engine.inner.git, known).await?;
    Ok(None)
}
