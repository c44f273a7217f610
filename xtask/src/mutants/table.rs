//! The breakages, each as exact text. Kept in the order of a wakeup's life.

/// One way to break the product.
pub struct Mutant {
    pub name: &'static str,
    pub file: &'static str,
    pub old: &'static str,
    pub new: &'static str,
}

const WAKE: &str = "crates/store/src/ops/wake.rs";
const CLAIM: &str = "crates/store/src/ops/claim.rs";
const FINISH: &str = "crates/store/src/ops/finish.rs";
const RUNS: &str = "crates/store/src/ops/runs.rs";
const TIMERS: &str = "crates/store/src/ops/timers.rs";
const INBOX: &str = "crates/store/src/ops/inbox.rs";
const READY: &str = "crates/store/src/ops/ready.rs";
const DELIVER: &str = "crates/store/src/ops/subscriptions/deliver.rs";
const GUARDS: &str = "crates/store/src/ops/guards.rs";
const SETTLE: &str = "crates/domain/src/settle.rs";
const LANE: &str = "crates/domain/src/lane.rs";

pub const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "any wake is folded into the live run of its lane",
        file: WAKE,
        old: "    if wake.source == Source::Timer {\n        if let Some(waiting)",
        new: "    if wake.source != Source::Goal {\n        if let Some(waiting)",
    },
    Mutant {
        name: "a key is forgotten as soon as its wakeup has its fate",
        file: "crates/store/src/ops/wake_keys.rs",
        old: "at + KEY_KEPT <= wake.now",
        new: "at <= wake.now",
    },
    Mutant {
        name: "a timer that is due does not enter the hot index",
        file: WAKE,
        old: "    if stands_first && eligible_at <= wake.now {",
        new: "    if stands_first && wake.source != Source::Timer && eligible_at <= wake.now {",
    },
    Mutant {
        name: "what is caused by a run does not come closer to the loop limit",
        file: WAKE,
        old: "(row.get()?, row.get::<i64>()? + 1)",
        new: "(row.get()?, row.get::<i64>()?)",
    },
    Mutant {
        name: "what is in back-off joins a run that others start",
        file: CLAIM,
        old: "      and status = 'pending'\n      and eligible = 1\n      and (expires_at is null or expires_at > $3)\n      and (rank < $6",
        new: "      and status = 'pending'\n      and (expires_at is null or expires_at > $3)\n      and (rank < $6",
    },
    Mutant {
        name: "a claim does not raise the fence",
        file: CLAIM,
        old: "    set fence = fence + 1,\n",
        new: "    set fence = fence + 0,\n",
    },
    Mutant {
        name: "an attempt is counted twice",
        file: CLAIM,
        old: "      attempt = attempt + 1,\n      lead =",
        new: "      attempt = attempt + 2,\n      lead =",
    },
    Mutant {
        name: "the cap of a company lets one too many in",
        file: READY,
        old: "      when state = 'active' and budget_id is null and live_runs < max_concurrent_runs then (\n        select ready_rank\n        from agents",
        new: "      when state = 'active' and budget_id is null and live_runs <= max_concurrent_runs then (\n        select ready_rank\n        from agents",
    },
    Mutant {
        name: "the company with the most live runs goes first",
        file: CLAIM,
        old: "    order by live_runs, ready_rank, id\n",
        new: "    order by live_runs desc, ready_rank, id\n",
    },
    Mutant {
        name: "expired wakeups are started",
        file: TIMERS,
        old: "        and expires_at <= $1\n      order by expires_at\n      limit $2\n      {skip_locked})\n    returning id",
        new: "        and expires_at <= $1 - 60000000\n      order by expires_at\n      limit $2\n      {skip_locked})\n    returning id",
    },
    Mutant {
        name: "an account whose limit has lifted stays parked",
        file: TIMERS,
        old: "    set quota_until = null\n    where quota_until is not null\n      and quota_until <= $1\"",
        new: "    set quota_until = null\n    where quota_until is not null\n      and quota_until < $1 - 600000000\"",
    },
    Mutant {
        name: "what is not due can be acknowledged",
        file: INBOX,
        old: "      attempt = attempt + 1\n    where id = $1\n      and status = 'pending'\n      and eligible = 1\n",
        new: "      attempt = attempt + 1\n    where id = $1\n      and status = 'pending'\n",
    },
    Mutant {
        name: "an acknowledged wakeup does not join the batch",
        file: INBOX,
        old: "    tx.execute(JOIN_BATCH, &[run.id.into(), id.into()]).await?;\n",
        new: "",
    },
    Mutant {
        name: "the check of the fence is skipped",
        file: RUNS,
        old: "    if run.fence == fence && run.status.is_live() {",
        new: "    if run.fence >= fence && run.status.is_live() {",
    },
    Mutant {
        name: "a run that has ended takes writes",
        file: RUNS,
        old: "    if run.fence == fence && run.status.is_live() {",
        new: "    if run.fence == fence {",
    },
    Mutant {
        name: "a pause beats a cancel",
        file: RUNS,
        old: "(standing.puts_back || standing.stalled) && is_cancel",
        new: "!standing.puts_back && !standing.stalled && !is_cancel",
    },
    Mutant {
        name: "a success completes what waits in the lane, too",
        file: FINISH,
        old: "    where run_id = $1\n      and status = 'claimed'\";\nconst TELL_COMPLETED",
        new: "    where (run_id = $1\n      and status = 'claimed') or (status = 'pending' and (agent_id, task_id) in \\\n      (select agent_id, task_id from runs where id = $1))\";\nconst TELL_COMPLETED",
    },
    Mutant {
        name: "the hold on a task is not released",
        file: FINISH,
        old: "        tasks::release(tx, *task, run.id).await?;\n",
        new: "",
    },
    Mutant {
        name: "a result beats a stop that was asked for",
        file: FINISH,
        old: "        Some(stop) if outcome.end != End::Cancelled => Outcome {",
        new: "        Some(stop) if outcome.end == End::Lost => Outcome {",
    },
    Mutant {
        name: "a run's place under the cap of its agent is not given back",
        file: FINISH,
        old: "    update agents\n    set live_runs = live_runs - 1,",
        new: "    update agents\n    set live_runs = live_runs - 0,",
    },
    Mutant {
        name: "a usage limit costs an attempt",
        file: SETTLE,
        old: "QUOTA_SPREAD_MAX.mul_f64(self.draw), false)",
        new: "QUOTA_SPREAD_MAX.mul_f64(self.draw), true)",
    },
    Mutant {
        name: "one retry too many",
        file: SETTLE,
        old: "        if wakeup.attempt >= attempts_max {",
        new: "        if wakeup.attempt > attempts_max {",
    },
    Mutant {
        name: "a permanent failure is tried again",
        file: SETTLE,
        old: "Some(FailureClass::Permanent | FailureClass::Uncertain) => Fate::Failed,",
        new: "Some(FailureClass::Permanent | FailureClass::Uncertain) => self.retried(wakeup, wakeup.max_attempts),",
    },
    Mutant {
        name: "what a reassigned run puts back stays with the former agent",
        file: FINISH,
        old: "                hand_on(tx, run, &wakeup, task, ending, ids).await?;\n                settled.goes_on |= task",
        new: "                settle_wakeup(tx, run, &wakeup, fate, ending).await?;\n                settled.goes_on |= task",
    },
    Mutant {
        name: "a child's run ends and its parent is not told",
        file: "crates/store/src/ops/children.rs",
        old: "WakeParent::Each => !goes_on || closed.is_some(),",
        new: "WakeParent::Each => closed.is_some(),",
    },
    Mutant {
        name: "a run that closes its own task tells at once and at its end",
        file: "crates/store/src/ops/children.rs",
        old: "        tx.execute(NOTE_CLOSE, &[own.into(), how.into()]).await?;\n        return Ok(());",
        new: "        tx.execute(NOTE_CLOSE, &[own.into(), how.into()]).await?;",
    },
    Mutant {
        name: "a child's retry that is called off is nobody's business",
        file: "crates/store/src/ops/late_ends.rs",
        old: "    set is_due = 1\n    where is_due = 0",
        new: "    set is_due = 0\n    where is_due = 0",
    },
    Mutant {
        name: "a child's end is told twice when another run has spoken for it",
        file: "crates/store/src/ops/late_ends.rs",
        old: "        where batches.run_id = $1)\";\nconst KEEP",
        new: "        where batches.run_id = $1 and $1 = '')\";\nconst KEEP",
    },
    Mutant {
        name: "what is said of a task that nobody has is never issued",
        file: "crates/store/src/ops/assignments.rs",
        old: "        kept_wakes::issue(tx, origin.now, &mut ids, new, assignee).await?;\n",
        new: "",
    },
    Mutant {
        name: "those who wait for a blocker that was given up are not told",
        file: FINISH,
        old: "    if settled.is_given_up {",
        new: "    if settled.is_given_up && settled.goes_on {",
    },
    Mutant {
        name: "a comment wakes its author",
        file: "crates/store/src/ops/comment_wakes.rs",
        old: "    let author = |agent: AgentId| comment.actor == Actor::agent(agent);",
        new: "    let author = |agent: AgentId| comment.actor == Actor::agent(agent) && task.assignee.is_none();",
    },
    Mutant {
        name: "mail stays read though the run that has read it fails",
        file: "crates/store/src/ops/mail.rs",
        old: "            tx.execute(UNREAD_AGAIN, &[run.id.into()]).await?;\n",
        new: "",
    },
    Mutant {
        name: "mail is acknowledged and what would wake its reader waits on",
        file: INBOX,
        old: "        && let Err(reason) = take(tx, now, run, wakeup).await?\n",
        new: "        && let Some(reason) = None\n",
    },
    Mutant {
        name: "a closed task leaves its assignments waiting",
        file: "crates/store/src/ops/assignments.rs",
        old: "        call_off(tx, origin, new).await?;\n",
        new: "",
    },
    Mutant {
        name: "a circuit opens one failure late",
        file: LANE,
        old: "pub const CIRCUIT_FAILURES: usize = 5;",
        new: "pub const CIRCUIT_FAILURES: usize = 6;",
    },
    Mutant {
        name: "an open circuit starts all the same",
        file: READY,
        old: "      when circuit_opened_at is not null then null\n",
        new: "",
    },
    Mutant {
        name: "the runs of a root are counted without end",
        file: GUARDS,
        old: "    where root_id = $1\n      and at > $2\";",
        new: "    where root_id = $1\n      and at > $2 - 3600000000\";",
    },
    Mutant {
        name: "the end of a run is told to nobody",
        file: FINISH,
        old: "    subscriptions::happening::run_ended(tx, request.now, &ended).await?;\n",
        new: "",
    },
    Mutant {
        name: "a subscription for once is used up only if it has a key",
        file: DELIVER,
        old: "        wake_up(tx, subscription, wake).await?;\n        if subscription.once {\n",
        new: "        wake_up(tx, subscription, wake).await?;\n        if subscription.once && subscription.key.is_some() {\n",
    },
    Mutant {
        name: "a match does not cancel the timeout",
        file: DELIVER,
        old: "    subscription.timeout_at = None;\n    let waits",
        new: "    let waits",
    },
    Mutant {
        name: "whoever waits for what cannot come any more is not told",
        file: DELIVER,
        old: "    if name.is_none() && !seen.is_last {",
        new: "    if name.is_none() {",
    },
    Mutant {
        name: "what is over already is not told",
        file: "crates/store/src/ops/subscriptions/declare.rs",
        old: "    if !is_told && let Some",
        new: "    if !is_told && !is_new && let Some",
    },
    Mutant {
        name: "a window stays open as long as its first match asked for",
        file: "crates/domain/src/subscription/mod.rs",
        old: "closes_at: (now + width).min(last) }",
        new: "closes_at: (since + width).min(last) }",
    },
    Mutant {
        name: "what a lane does itself uses up its wait for others",
        file: DELIVER,
        old: "    if !seen.is_last && !is_asked_now && is_its_own_doing(tx, subscription, happening).await? {\n",
        new: "    if !seen.is_last && !is_asked_now && is_its_own_doing(tx, subscription, happening).await? && false {\n",
    },
];

const FIRING: &str = "crates/store/src/ops/firing.rs";
const SLOTS: &str = "crates/store/src/ops/slots.rs";
const DUE: &str = "crates/domain/src/schedule/due.rs";

/// Those that lives of schedules are to find.
pub const OF_SCHEDULES: &[Mutant] = &[
    Mutant {
        name: "a schedule does not note how far it has come",
        file: FIRING,
        old: "    schedule.last_slot = due.last_slot().or(schedule.last_slot);\n",
        new: "",
    },
    Mutant {
        name: "a slot fires and has no row",
        file: FIRING,
        old: "    slots::insert(tx, now, schedule.id, decision, &fate).await?;\n",
        new: "    if fate.wakeup.is_none() {\n        slots::insert(tx, now, schedule.id, decision, &fate).await?;\n    }\n",
    },
    Mutant { name: "a fire is not counted", file: FIRING, old: "        schedule.fires += 1;\n", new: "" },
    Mutant {
        name: "an answer is taken, whoever asks by now",
        file: "crates/store/src/ops/questions.rs",
        old: "      and asked_until = $3\n",
        new: "      and asked_until > 0 * $3\n",
    },
    Mutant {
        name: "what was missed while a clock was ahead stays so",
        file: SLOTS,
        old: "    tx.execute(FORGET_MISSED, &[schedule.id.into(), now.into()]).await?;\n",
        new: "",
    },
    Mutant {
        name: "a row for many stands for slots that have their own",
        file: SLOTS,
        old: "    if found.is_empty() {\n",
        new: "    if found.is_empty() || decision.count > 1 {\n",
    },
    Mutant {
        name: "a schedule that goes on makes up for its pause",
        file: "crates/store/src/ops/schedules.rs",
        old: "    schedule.last_slot = Some(schedule.settled_until().max(now));\n    let next",
        new: "    schedule.last_slot = Some(schedule.settled_until());\n    let next",
    },
    Mutant {
        name: "jitter is left out",
        file: DUE,
        old: "    let come = now - offset;\n",
        new: "    let come = now;\n",
    },
    Mutant {
        name: "what is older than can be decided one by one is left out",
        file: DUE,
        old: "    slots.splice(0..0, older);\n",
        new: "",
    },
    Mutant {
        name: "all that was missed is caught up with",
        file: DUE,
        old: "        CatchUp::All => CATCH_UP_MAX,\n",
        new: "        CatchUp::All => usize::MAX,\n",
    },
    Mutant {
        name: "what is stale is caught up with",
        file: DUE,
        old: "        let verdict = if is_stale(schedule, slot, now) {\n",
        new: "        let verdict = if false {\n",
    },
];
