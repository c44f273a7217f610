//! What runs have used, added up: of those that ended in a window, from an index that holds all that is asked. A run that
//! retention has removed counts no more; one that is live counts when it ends.

use wakeful_domain::id::CompanyId;
use wakeful_domain::time::Timestamp;

use crate::{Error, Refusal, Row, Tx};

/// Sums over some runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    pub runs: i64,
    pub input_tokens: i64,
    pub output_tokens: i64,
    pub cache_read_tokens: i64,
    pub cache_write_tokens: i64,
    /// Millionths of a US dollar; runs that do not say what they cost count as nothing.
    pub cost_micros: i64,
    /// From their starts to their ends.
    pub duration_ms: i64,
}

impl Sums {
    /// Those of two sets of runs together.
    pub fn and(self, more: Sums) -> Sums {
        Sums {
            runs: self.runs + more.runs,
            input_tokens: self.input_tokens + more.input_tokens,
            output_tokens: self.output_tokens + more.output_tokens,
            cache_read_tokens: self.cache_read_tokens + more.cache_read_tokens,
            cache_write_tokens: self.cache_write_tokens + more.cache_write_tokens,
            cost_micros: self.cost_micros + more.cost_micros,
            duration_ms: self.duration_ms + more.duration_ms,
        }
    }
}

/// What runs are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Group {
    /// Nothing: all runs are one group, without an id.
    All,
    Agent,
    Task,
    /// The schedule whose slot made the wakeup that leads the batch.
    Schedule,
}

/// Of which company, from when on and before when runs have ended.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    pub company: CompanyId,
    pub from: Timestamp,
    pub to: Timestamp,
}

const SUMS: &str = "
      count(*),
      cast(coalesce(sum(input_tokens), 0) as bigint),
      cast(coalesce(sum(output_tokens), 0) as bigint),
      cast(coalesce(sum(cache_read_tokens), 0) as bigint),
      cast(coalesce(sum(cache_write_tokens), 0) as bigint),
      cast(coalesce(sum(cost_micros), 0) as bigint),
      cast(coalesce(sum(finished_at - started_at), 0) / 1000 as bigint)
    from runs
    where company_id = $1
      and finished_at >= $2
      and finished_at < $3";

fn read(row: &mut Row) -> Result<Sums, Error> {
    Ok(Sums {
        runs: row.get()?,
        input_tokens: row.get()?,
        output_tokens: row.get()?,
        cache_read_tokens: row.get()?,
        cache_write_tokens: row.get()?,
        cost_micros: row.get()?,
        duration_ms: row.get()?,
    })
}

/// The sums of each group, the most expensive first. Runs without one are a group with an empty id.
pub async fn grouped(tx: &mut Tx, of: &Window, by: Group) -> Result<Vec<(String, Sums)>, Refusal> {
    let column = match by {
        Group::All => "''",
        Group::Agent => "agent_id",
        Group::Task => "task_id",
        Group::Schedule => "coalesce(schedule_id, '')",
    };
    let sql = format!("select {column}, {SUMS}\n    group by 1\n    order by 7 desc, 3 desc, 4 desc, 1");
    let mut groups = Vec::new();
    for mut row in tx.query(&sql, &[of.company.into(), of.from.into(), of.to.into()]).await? {
        groups.push((row.get()?, read(&mut row)?));
    }
    Ok(groups)
}
