//! The invariants of `wakeful_domain::invariant`, each as a query for the rows that break it.
//! Property tests, the simulator and `wakeful doctor` call the same code.

use wakeful_domain::invariant::{self, Invariant, Violation};

use crate::{Refusal, Tx};

/// Rows shown per invariant; more would only say the same.
const SHOWN_MAX: i64 = 20;

const ONE_FATE: &str = "
    select id
    from wakeups
    where (status = 'pending' and (run_id is not null or finished_at is not null))
      or (status = 'claimed' and not exists (
        select 1 from runs where runs.id = wakeups.run_id and runs.status in ('starting', 'running')))
      or (status not in ('pending', 'claimed') and finished_at is null)
    limit $1";
const ONE_LIVE_RUN_PER_LANE: &str = "
    select runs.id
    from runs
    left join lanes on lanes.agent_id = runs.agent_id and lanes.task_id = runs.task_id
    where runs.status in ('starting', 'running')
      and (lanes.live_run_id is null or lanes.live_run_id <> runs.id)
    union all
    select lanes.live_run_id
    from lanes
    left join runs on runs.id = lanes.live_run_id
    where lanes.live_run_id is not null
      and (runs.id is null or runs.status not in ('starting', 'running'))
    limit $1";
const ONE_LIVE_RUN_PER_TASK: &str = "
    select runs.id
    from runs
    left join tasks on tasks.id = runs.task_id
    where runs.status in ('starting', 'running')
      and runs.task_id <> ''
      and (tasks.held_by_run is null or tasks.held_by_run <> runs.id)
    union all
    select tasks.id
    from tasks
    left join runs on runs.id = tasks.held_by_run
    where tasks.held_by_run is not null
      and (runs.id is null or runs.status not in ('starting', 'running'))
    limit $1";
const CAPS_HOLD: &str = "
    select id
    from agents
    where live_runs <> (
      select count(*) from runs where runs.agent_id = agents.id and runs.status in ('starting', 'running'))
    union all
    select id
    from companies
    where live_runs <> (
      select count(*) from runs where runs.company_id = companies.id and runs.status in ('starting', 'running'))
    limit $1";
const FENCES_RISE: &str = "
    select min(runs.id)
    from runs
    group by runs.agent_id, runs.task_id, runs.fence
    having count(*) > 1
    union all
    select runs.id
    from runs
    join lanes on lanes.agent_id = runs.agent_id and lanes.task_id = runs.task_id
    where runs.fence > lanes.fence
    limit $1";
const EVENTS_GAPLESS: &str = "
    select runs.id
    from runs
    where event_seq <> (select count(*) from run_events where run_events.run_id = runs.id)
      or event_seq <> (select coalesce(max(seq), 0) from run_events where run_events.run_id = runs.id)
    limit $1";
const READY_INDEX_TRUE: &str = "
    select subject
    from (
      select lanes.agent_id as subject, lanes.ready_rank as kept, case
        when lanes.live_run_id is not null or lanes.budget_id is not null then null
        when lanes.circuit_opened_at is not null then null
        when exists (select 1 from tasks where tasks.id = lanes.task_id and tasks.held_by_run is not null) then null
        else (
          select min(rank) from wakeups
          where wakeups.agent_id = lanes.agent_id and wakeups.task_id = lanes.task_id
            and wakeups.status = 'pending' and wakeups.eligible = 1)
        end as found
      from lanes
      union all
      select agents.id, agents.ready_rank, case
        when agents.state = 'active' and agents.quota_until is null and agents.budget_id is null
          and agents.live_runs < agents.max_concurrent_runs
        then (select min(ready_rank) from lanes where lanes.agent_id = agents.id)
        else null
        end
      from agents
      union all
      select companies.id, companies.ready_rank, case
        when companies.state = 'active' and companies.budget_id is null
          and companies.live_runs < companies.max_concurrent_runs
        then (select min(ready_rank) from agents where agents.company_id = companies.id)
        else null
        end
      from companies) as compared
    where coalesce(kept, -1) <> coalesce(found, -1)
    limit $1";

// Slots go after a while, and their schedule's count stays.
const FIRED_ONCE: &str = "
    select min(schedule_id)
    from slots
    where status = 'fired'
      and wakeup_id is not null
    group by wakeup_id
    having count(*) > 1
    union all
    select min(schedule_id)
    from slots
    where status = 'fired'
      and task_id is not null
    group by task_id
    having count(*) > 1
    union all
    select schedule_id
    from slots
    where wakeup_id is not null
      and task_id is not null
    limit $1";
const FIRES_COUNTED: &str = "
    select schedules.id
    from schedules
    join (select schedule_id, count(*) as count from slots where status = 'fired' group by schedule_id) as fired
      on fired.schedule_id = schedules.id
    where schedules.fires < fired.count
    limit $1";
const DUE_IS_ACTIVE: &str = "
    select id
    from schedules
    where (due_at is not null and state <> 'active')
      or (due_at is null) <> (next_slot_at is null)
    limit $1";
const WAITS_ARE_TIMED: &str = "
    select id
    from subscriptions
    where (ended_at is not null and (due_at is not null or window_at is not null or timeout_at is not null))
      or coalesce(due_at, -1) <> coalesce(
        case
          when window_at is null then timeout_at
          when timeout_at is null or window_at < timeout_at then window_at
          else timeout_at
        end, -1)
      or (window_at is null) <> not exists (
        select 1 from subscription_matches where subscription_matches.subscription_id = subscriptions.id)
    union all
    select subscription_id
    from subscription_matches
    where not exists (select 1 from subscriptions where subscriptions.id = subscription_matches.subscription_id)
    limit $1";
const SUBSCRIPTIONS_COUNTED: &str = "
    select id
    from companies
    where open_subscriptions <> (
      select count(*) from subscriptions where subscriptions.company_id = companies.id and ended_at is null)
    limit $1";

/// Which query finds the rows that break which invariant.
const CHECKS: &[(Invariant, &str)] = &[
    (invariant::ONE_FATE, ONE_FATE),
    (invariant::ONE_LIVE_RUN_PER_LANE, ONE_LIVE_RUN_PER_LANE),
    (invariant::ONE_LIVE_RUN_PER_TASK, ONE_LIVE_RUN_PER_TASK),
    (invariant::CAPS_HOLD, CAPS_HOLD),
    (invariant::FENCES_RISE, FENCES_RISE),
    (invariant::EVENTS_GAPLESS, EVENTS_GAPLESS),
    (invariant::READY_INDEX_TRUE, READY_INDEX_TRUE),
    (invariant::FIRED_ONCE, FIRED_ONCE),
    (invariant::FIRES_COUNTED, FIRES_COUNTED),
    (invariant::DUE_IS_ACTIVE, DUE_IS_ACTIVE),
    (invariant::WAITS_ARE_TIMED, WAITS_ARE_TIMED),
    (invariant::SUBSCRIPTIONS_COUNTED, SUBSCRIPTIONS_COUNTED),
];

/// Everything in the store that breaks an invariant; empty when all hold.
pub async fn check(tx: &mut Tx) -> Result<Vec<Violation>, Refusal> {
    let mut violations = Vec::new();
    for (invariant, sql) in CHECKS {
        for mut row in tx.query(sql, &[SHOWN_MAX.into()]).await? {
            let subject: Option<String> = row.get()?;
            violations.push(Violation { invariant: *invariant, subject: subject.unwrap_or_default() });
        }
    }
    Ok(violations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_invariant_has_its_query() {
        for named in invariant::ALL {
            assert!(CHECKS.iter().any(|(checked, _)| checked == named), "{}", named.name);
        }
    }
}
