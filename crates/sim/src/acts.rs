//! What an agent does while it runs, with its run's token: output, progress, acknowledging, waking. And what comes
//! late: writes with a fence that is not the live run's, which must change nothing.

use wakeful_domain::id::{RunId, WakeupId};
use wakeful_domain::outcome::{End, Outcome};
use wakeful_domain::run::RunFence;
use wakeful_domain::wakeup::WakeupStatus;
use wakeful_store::ops::finish::{FinishRequest, finish};
use wakeful_store::ops::holds::{self, HoldRequest};
use wakeful_store::ops::inbox::{self, AcknowledgeRequest};
use wakeful_store::ops::run_events::NewRunEvent;
use wakeful_store::ops::runs::{self, Observed, Progress};

use crate::deed::Deed;
use crate::follow::started;
use crate::invariants::Broken;
use crate::shim::State;
use crate::world::World;
use crate::{letters, operators, subscribers, wakes};

/// An agent that runs does one thing, or ends.
pub fn act(world: &mut World, run: RunId) -> Result<(), Broken> {
    if world.shim_moves(run) {
        return Ok(());
    }
    let Some(fence) = world.shim(run).filter(|shim| shim.state == State::Running).map(|shim| shim.fence) else {
        return Ok(());
    };
    if let Some(shim) = world.shim(run) {
        shim.acts_left = shim.acts_left.saturating_sub(1);
    }
    let is_live = world.mirror.runs.get(&run).is_some_and(|row| row.status.is_live());
    let Some(node) = world.one_of(&world.awake()) else { return Ok(()) };
    if is_live && world.is_about_subscriptions() {
        return subscribers::act(world, node, Some(run));
    }
    match world.chance.u32(0..10) {
        0 => {
            if let Some(shim) = world.shim(run) {
                shim.lines += 1;
            }
            let told = format!("{} writes a line", world.name(run));
            world.tell(&told);
            Ok(())
        }
        _ if !is_live => late(world, node, run, fence),
        1 => progress(world, node, run, fence, Deed::Tell),
        2 => operators::change_task(world, node, Some(run)),
        3 if world.chance.bool() => hold(world, node, run, fence, None),
        3 if world.chance.bool() => letters::comment(world, node, Some(run)),
        3 => letters::send(world, node, Some(run)),
        4..6 => {
            let batch = to_acknowledge(world, run);
            acknowledge(world, node, run, fence, batch, None)
        }
        _ => wakes::wake(world, node, Some(run)),
    }
}

/// Some of what waits in the lane, and now and then what has no business there.
fn to_acknowledge(world: &mut World, run: RunId) -> Vec<WakeupId> {
    let lane = world.mirror.runs.get(&run).map(|run| run.lane());
    let of_lane = world.mirror.wakeups.iter().filter(|(_, row)| Some(row.lane()) == lane);
    let waiting: Vec<WakeupId> =
        of_lane.filter(|(_, row)| row.status == WakeupStatus::Pending).map(|(id, _)| *id).collect();
    let mut batch: Vec<WakeupId> = waiting.into_iter().filter(|_| world.chance.u32(0..4) > 0).collect();
    if world.chance.u32(0..4) == 0 {
        let all: Vec<WakeupId> = world.mirror.wakeups.keys().copied().collect();
        batch.extend(world.one_of(&all));
    }
    batch
}

fn acknowledge(
    world: &mut World,
    node: usize,
    run: RunId,
    fence: i64,
    wakeups: Vec<WakeupId>,
    deed: Option<Deed>,
) -> Result<(), Broken> {
    let messages = letters::to_read(world, run);
    let request = AcknowledgeRequest { now: world.clock(node), run, fence, wakeups, messages };
    let names: Vec<String> = request.wakeups.iter().map(|id| world.trace.name(*id)).collect();
    let told = format!("{} acknowledges {}", world.name(run), names.join(" "));
    let deed = deed.unwrap_or_else(|| Deed::Acknowledge(request.clone()));
    world.write(&told, deed, &request, |tx, request| Box::pin(inbox::acknowledge(tx, request)))?;
    Ok(())
}

/// A run checks a task out, or lets one go: its own, a colleague's, anybody's.
fn hold(world: &mut World, node: usize, run: RunId, fence: i64, deed: Option<Deed>) -> Result<(), Broken> {
    let company = world.mirror.runs.get(&run).map(|run| run.company);
    let all = world.mirror.tasks.iter().filter(|(_, task)| Some(task.company) == company);
    let mut tasks: Vec<_> = all.map(|(id, _)| *id).collect();
    let held = world.mirror.tasks.iter().find(|(_, task)| task.held_by == Some(run)).map(|(id, _)| *id);
    if world.chance.u32(0..10) == 0 {
        tasks = world.town.tasks.clone();
    }
    let lets_go = world.chance.u32(0..3) == 0;
    let Some(task) = world.one_of(&tasks) else { return Ok(()) };
    let task = held.filter(|_| lets_go).unwrap_or(task);
    let request = HoldRequest { now: world.clock(node), run, fence, task };
    let (run, task) = (world.name(run), world.name(task));
    if lets_go {
        let deed = deed.unwrap_or_else(|| Deed::LetGo(request.clone()));
        let told = format!("{run} lets {task} go");
        world.write(&told, deed, &request, |tx, request| Box::pin(holds::release(tx, request))).map(drop)
    } else {
        let deed = deed.unwrap_or_else(|| Deed::CheckOut(request.clone()));
        let told = format!("{run} checks {task} out");
        world.write(&told, deed, &request, |tx, request| Box::pin(holds::check_out(tx, request))).map(drop)
    }
}

fn progress(world: &mut World, node: usize, run: RunId, fence: i64, deed: Deed) -> Result<(), Broken> {
    let progress = Progress { now: world.clock(node), run, fence, message: None, usage: None, data: None };
    let told = format!("{} reports progress", world.name(run));
    world.write(&told, deed, &progress, |tx, progress| Box::pin(runs::progress(tx, progress)))?;
    Ok(())
}

/// A write of a run that is over, or under a fence that never was.
pub fn late_write(world: &mut World, node: usize) -> Result<(), Broken> {
    let all: Vec<RunId> = world.mirror.runs.keys().copied().collect();
    let Some(run) = world.one_of(&all) else { return Ok(()) };
    let row = &world.mirror.runs[&run];
    let fence = match row.status.is_live() {
        true if world.chance.bool() => row.fence - 1,
        true => row.fence + 1,
        false => row.fence,
    };
    late(world, node, run, fence)
}

fn late(world: &mut World, node: usize, run: RunId, fence: i64) -> Result<(), Broken> {
    let now = world.clock(node);
    let told = format!("late, fence {fence}: {}", world.name(run));
    if world.is_about_subscriptions() {
        return subscribers::late(world, node, RunFence { run, fence });
    }
    match world.chance.u32(0..8) {
        6 => hold(world, node, run, fence, Some(Deed::Late)),
        0 => progress(world, node, run, fence, Deed::Late),
        1 => {
            let mut batch = to_acknowledge(world, run);
            let all: Vec<WakeupId> = world.mirror.wakeups.keys().copied().collect();
            batch.extend(world.one_of(&all));
            acknowledge(world, node, run, fence, batch, Some(Deed::Late))
        }
        2 => {
            let start = started(now, run, fence);
            let told = format!("{told} notes its start");
            world.write(&told, Deed::Late, &start, |tx, start| Box::pin(runs::started(tx, start))).map(drop)
        }
        3 => {
            let event = NewRunEvent::plain("output", "late", serde_json::json!({}));
            let told = format!("{told} notes an event");
            world
                .write(&told, Deed::Late, &(now, run, fence, event), |tx, (now, run, fence, event)| {
                    Box::pin(runs::note(tx, *now, *run, *fence, event))
                })
                .map(drop)
        }
        4 => {
            let events = vec![NewRunEvent::plain("output", "late", serde_json::json!({}))];
            let seen = Observed {
                now,
                run,
                fence,
                log_bytes: 1_000,
                log_lines: 1_000,
                read_seq: 1_000,
                events,
                usage: None,
                cost_micros: None,
            };
            let told = format!("{told} reads its log");
            world.write(&told, Deed::Late, &seen, |tx, seen| Box::pin(runs::observed(tx, seen))).map(drop)
        }
        5 => {
            let arguments = (run, fence, world.chance.u64(..).to_string());
            let told = format!("{told} renews its token");
            world
                .write(&told, Deed::Late, &arguments, |tx, (run, fence, hash)| {
                    Box::pin(runs::renew_token(tx, *run, *fence, hash))
                })
                .map(drop)
        }
        _ => {
            let outcome = match world.chance.bool() {
                true => Outcome::succeeded(),
                false => Outcome::ended(End::Lost, "process_lost", "late"),
            };
            let (draw, id_seed) = (world.chance.f64(), world.chance.u64(..));
            let request =
                FinishRequest { now, draw, id_seed, run, fence, outcome, exit_code: None, signal: None, log: None };
            let told = format!("{told} ends {:?}", request.outcome.end);
            world.write(&told, Deed::Late, &request, |tx, request| Box::pin(finish(tx, request))).map(drop)
        }
    }
}
