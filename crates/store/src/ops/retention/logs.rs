//! Bodies of logs, which go before their runs, and directories of runs that are gone. The rows say so first; the files are
//! the engine's. `removed_runs` names both until the files are gone: of a run that is still there it means the log.

use wakeful_domain::id::RunId;
use wakeful_domain::time::Timestamp;

use super::PAGE;
use crate::{Error, Refusal, Row, Tx};

const OLD: &str = "
    select id
    from runs
    where log_removed_at is null
      and finished_at is not null
      and finished_at < $1
      and pinned_at is null
      and id > $2
    order by id
    limit $3";
const MARK: &str = "
    update runs
    set log_removed_at = $2
    where id = $1
      and pinned_at is null
      and finished_at is not null";
const NAME: &str = "insert into removed_runs (run_id) values ($1) on conflict do nothing";
const LEFT: &str = "
    select run_id
    from removed_runs
    where run_id > $1
      and exists (select 1 from runs where runs.id = run_id)
    order by run_id
    limit $2";
const REMOVED: &str = "
    select run_id
    from removed_runs
    where run_id > $1
      and not exists (select 1 from runs where runs.id = run_id)
    order by run_id
    limit $2";
const FORGET: &str = "delete from removed_runs where run_id = $1";

fn ids(rows: Vec<Row>) -> Result<Vec<RunId>, Error> {
    rows.into_iter().map(|mut row| row.get()).collect()
}

/// Runs behind `after` that ended before `cut` and still have their log.
pub async fn old(tx: &mut Tx, cut: Timestamp, after: Option<RunId>) -> Result<Vec<RunId>, Refusal> {
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    Ok(ids(tx.query(OLD, &[cut.into(), after.into(), PAGE.into()]).await?)?)
}

/// Notes that the logs of these runs are gone; gives those of which it is so. Each is named until [`forget`] is told that
/// its file is gone too.
pub async fn mark(tx: &mut Tx, now: Timestamp, runs: &[RunId]) -> Result<Vec<RunId>, Refusal> {
    let mut marked = Vec::with_capacity(runs.len());
    for run in runs {
        if tx.execute(MARK, &[(*run).into(), now.into()]).await? > 0 {
            tx.execute(NAME, &[(*run).into()]).await?;
            marked.push(*run);
        }
    }
    Ok(marked)
}

/// Runs behind `after` that are there, and whose logs are gone by their rows and may still lie there.
pub async fn left(tx: &mut Tx, after: Option<RunId>) -> Result<Vec<RunId>, Refusal> {
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    Ok(ids(tx.query(LEFT, &[after.into(), PAGE.into()]).await?)?)
}

/// Runs behind `after` that are gone and whose directories may still be there.
pub async fn removed(tx: &mut Tx, after: Option<RunId>) -> Result<Vec<RunId>, Refusal> {
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    Ok(ids(tx.query(REMOVED, &[after.into(), PAGE.into()]).await?)?)
}

/// Notes that the files of these runs are gone, as far as they were to go.
pub async fn forget(tx: &mut Tx, runs: &[RunId]) -> Result<(), Refusal> {
    for run in runs {
        tx.execute(FORGET, &[(*run).into()]).await?;
    }
    Ok(())
}
