//! `daily-summary`: what was done and what it has cost since the last one, per agent. It always speaks.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;
use serde_json::{Value as Json, json as object};
use wakeful_domain::id::AgentId;
use wakeful_domain::notification::Level;
use wakeful_domain::schedule::{Action, SlotStatus};
use wakeful_domain::time::Timestamp;

use super::{notice, tell};
use crate::ops::fires::Moment;
use crate::ops::schedules;
use crate::ops::slots::Fate;
use crate::{Error, Refusal, Tx, Value};

/// What the first one looks back at.
const FIRST_LOOK_BACK: std::time::Duration = std::time::Duration::from_secs(86_400);
/// Agents that are named, those with most runs first.
const NAMED_MAX: usize = 50;

#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Sums {
    tasks_completed: i64,
    runs: i64,
    failures: i64,
    tokens: i64,
    cost_micros: i64,
    earned_micros: i64,
}

const DONE: &str = "
    select tasks.assignee_id, agents.name, count(*), cast(coalesce(sum(tasks.reward), 0) as bigint)
    from tasks
    join agents on agents.id = tasks.assignee_id
    where tasks.company_id = $1
      and tasks.closed_at > $2
      and tasks.closed_at <= $3
      and tasks.status = 'done'
      and ($4 = '' or tasks.assignee_id = $4)
    group by tasks.assignee_id, agents.name";

const RUNS: &str = "
    select runs.agent_id, agents.name, count(*),
      cast(sum(case when runs.status in ('failed', 'timed_out', 'lost') then 1 else 0 end) as bigint),
      cast(sum(runs.input_tokens + runs.output_tokens + runs.cache_read_tokens + runs.cache_write_tokens) as bigint),
      cast(coalesce(sum(runs.cost_micros), 0) as bigint)
    from runs
    join agents on agents.id = runs.agent_id
    where runs.company_id = $1
      and runs.finished_at > $2
      and runs.finished_at <= $3
      and ($4 = '' or runs.agent_id = $4)
    group by runs.agent_id, agents.name";

pub(super) async fn carry_out(tx: &mut Tx, moment: &Moment<'_>, action: &Action) -> Result<Fate, Refusal> {
    let schedule = moment.schedule;
    let (_, before) = schedules::states(tx, schedule.id).await?;
    let told_until = before.as_ref().and_then(|state| state.get("until")).and_then(Json::as_str);
    let since = told_until.and_then(|at| at.parse().ok()).unwrap_or(moment.now - FIRST_LOOK_BACK);
    let agents = sums(tx, moment, action.agent, since).await?;
    let mut all = Sums::default();
    for (_, sums) in agents.values() {
        all.tasks_completed += sums.tasks_completed;
        all.runs += sums.runs;
        all.failures += sums.failures;
        all.tokens += sums.tokens;
        all.cost_micros += sums.cost_micros;
        all.earned_micros += sums.earned_micros;
    }
    let text = text(moment, since, &all, agents.values());
    let each: Vec<Json> = agents
        .iter()
        .map(|(id, (name, sums))| {
            let mut told = object!(sums);
            told["agent"] = object!(id);
            told["name"] = object!(name);
            told
        })
        .collect();
    let metadata = object!({ "since": since, "until": moment.now, "total": all, "agents": each });
    let told = tell(tx, moment, notice(schedule, Level::Info, text, metadata), true).await?;
    schedules::keep_action_state(tx, schedule.id, &object!({ "until": moment.now })).await?;
    Ok(Fate { answer: Some(object!({ "action": told })), ..Fate::of(SlotStatus::Fired) })
}

type ByAgent = BTreeMap<AgentId, (String, Sums)>;

async fn sums(tx: &mut Tx, moment: &Moment<'_>, agent: Option<AgentId>, since: Timestamp) -> Result<ByAgent, Error> {
    let only = agent.map(|id| id.to_string()).unwrap_or_default();
    let parameters: [Value<'_>; 4] = [moment.schedule.company.into(), since.into(), moment.now.into(), (&only).into()];
    let mut found = ByAgent::new();
    for mut row in tx.query(RUNS, &parameters).await? {
        let (id, name) = (row.get()?, row.get()?);
        let sums = Sums {
            runs: row.get()?,
            failures: row.get()?,
            tokens: row.get()?,
            cost_micros: row.get()?,
            ..Sums::default()
        };
        found.insert(id, (name, sums));
    }
    for mut row in tx.query(DONE, &parameters).await? {
        let (id, name) = (row.get()?, row.get()?);
        let (_, sums) = found.entry(id).or_insert_with(|| (name, Sums::default()));
        sums.tasks_completed = row.get()?;
        sums.earned_micros = row.get()?;
    }
    Ok(found)
}

fn text<'a>(
    moment: &Moment<'_>,
    since: Timestamp,
    all: &Sums,
    agents: impl Iterator<Item = &'a (String, Sums)>,
) -> String {
    let zone = moment.schedule.trigger.zone(moment.zone);
    let local = |at: Timestamp| at.to_jiff().to_zoned(zone.rules().clone()).strftime("%Y-%m-%d %H:%M").to_string();
    let mut text = format!("{} to {} ({}): {}", local(since), local(moment.now), zone.name(), words(all));
    let mut named: Vec<&(String, Sums)> = agents.collect();
    named.sort_by(|(a, sums_a), (b, sums_b)| sums_b.runs.cmp(&sums_a.runs).then_with(|| a.cmp(b)));
    for (name, sums) in named.iter().take(NAMED_MAX) {
        // Writing to a text does not fail.
        write!(text, "\n- {name}: {}", words(sums)).ok();
    }
    if named.len() > NAMED_MAX {
        write!(text, "\nand {} more agents", named.len() - NAMED_MAX).ok();
    }
    text
}

fn words(sums: &Sums) -> String {
    let Sums { tasks_completed, runs, failures, tokens, .. } = sums;
    let (spent, earned) = (dollars(sums.cost_micros), dollars(sums.earned_micros));
    format!(
        "tasks completed {tasks_completed}, runs {runs}, failures {failures}, tokens {tokens}, spent {spent}, earned {earned}"
    )
}

fn dollars(micros: i64) -> String {
    let cents = (micros.unsigned_abs() + 5_000) / 10_000;
    format!("{}${}.{:02}", if micros < 0 { "-" } else { "" }, cents / 100, cents % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_said_in_cents() {
        assert_eq!([0, 4_999, 5_000, 1_234_567, -10_000].map(dollars), ["$0.00", "$0.00", "$0.01", "$1.23", "-$0.01"]);
    }
}
