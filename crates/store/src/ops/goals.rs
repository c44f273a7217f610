//! Goals: made, read, changed. They stay trees: whoever moves one holds all goals of the company meanwhile.

use wakeful_domain::goal::{DEPTH_MAX, Goal, parent_problem};
use wakeful_domain::id::{CompanyId, GoalId};
use wakeful_domain::time::Timestamp;

use crate::ops::filter::{List, Page};
use crate::{Error, Refusal, Row, Tx};

const COLUMNS: &str = "id, company_id, parent_id, title, description, created_at, updated_at";

fn read(mut row: Row) -> Result<Goal, Error> {
    Ok(Goal {
        id: row.get()?,
        company: row.get()?,
        parent: row.get()?,
        title: row.get()?,
        description: row.get()?,
        created_at: row.get()?,
        updated_at: row.get()?,
    })
}

const INSERT: &str = "
    insert into goals (id, company_id, parent_id, title, description, created_at, updated_at)
    values ($1, $2, $3, $4, $5, $6, $6)";

/// Makes a goal.
pub async fn insert(tx: &mut Tx, goal: &Goal) -> Result<(), Refusal> {
    if let Some(parent) = goal.parent {
        check_parent(tx, goal.company, None, parent).await?;
    }
    let parameters = [
        goal.id.into(),
        goal.company.into(),
        goal.parent.into(),
        (&goal.title).into(),
        (&goal.description).into(),
        goal.created_at.into(),
    ];
    tx.execute(INSERT, &parameters).await?;
    Ok(())
}

const LOCK_ALL: &str = "select id from companies where id = $1 {for_update}";
const CHILDREN_HEIGHT: &str = "
    with recursive below (id, height) as (
      select id, cast(1 as bigint) from goals where id = $1
      union all
      select goals.id, below.height + 1
      from goals
      join below on goals.parent_id = below.id
      where below.height <= $2
    )
    select max(height) from below";

/// Refuses a parent of another company, below the goal itself, or so deep that the tree would be too deep.
async fn check_parent(tx: &mut Tx, company: CompanyId, goal: Option<GoalId>, parent: GoalId) -> Result<(), Refusal> {
    tx.lock(LOCK_ALL, &[company.into()]).await?;
    let ancestors = chain(tx, parent).await?;
    if ancestors.first().is_none_or(|parent| parent.company != company) {
        return Err(Refusal::invalid("parent", format!("there is no goal `{parent}` in this company")));
    }
    let height: i64 = match goal {
        Some(goal) => tx.query_one(CHILDREN_HEIGHT, &[goal.into(), (DEPTH_MAX as i64).into()]).await?.get()?,
        None => 1,
    };
    let ids: Vec<GoalId> = ancestors.iter().map(|goal| goal.id).collect();
    match parent_problem(goal, usize::try_from(height).unwrap_or(1), &ids) {
        Some(problem) => Err(Refusal::invalid("parent", problem)),
        None => Ok(()),
    }
}

/// A goal and those it serves, up to the root; empty if there is no such goal.
pub async fn chain(tx: &mut Tx, id: GoalId) -> Result<Vec<Goal>, Error> {
    let mut chain = Vec::new();
    let mut next = Some(id);
    while let Some(id) = next
        && chain.len() < DEPTH_MAX
    {
        let Some(goal) = find(tx, id).await? else { break };
        next = goal.parent;
        chain.push(goal);
    }
    Ok(chain)
}

/// The goal with this id, if there is one.
pub async fn find(tx: &mut Tx, id: GoalId) -> Result<Option<Goal>, Error> {
    let sql = format!("select {COLUMNS} from goals where id = $1");
    tx.query_first(&sql, &[id.into()]).await?.map(read).transpose()
}

/// The goal with this id.
pub async fn get(tx: &mut Tx, id: GoalId) -> Result<Goal, Refusal> {
    find(tx, id).await?.ok_or_else(|| Refusal::not_found(id))
}

/// A page of a company's goals, newest first; of those below `parent` if it is given.
pub async fn list(
    tx: &mut Tx,
    company: CompanyId,
    parent: Option<GoalId>,
    cursor: Option<String>,
    limit: i64,
) -> Result<Page<Goal>, Refusal> {
    let list = List::of(COLUMNS, "goals").and("company_id = $", company).and_if("parent_id = $", parent);
    Ok(list.page(tx, cursor, limit, read, |goal| goal.id.to_string()).await?)
}

/// Changes to a goal; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct GoalChange {
    pub title: Option<String>,
    pub description: Option<Option<String>>,
    pub parent: Option<Option<GoalId>>,
}

const LOCK: &str = "select id from goals where id = $1 {for_update}";
const UPDATE: &str = "
    update goals
    set title = $2,
      description = $3,
      parent_id = $4,
      updated_at = $5
    where id = $1";

/// Changes a goal.
pub async fn change(tx: &mut Tx, now: Timestamp, id: GoalId, change: &GoalChange) -> Result<Goal, Refusal> {
    if let Some(Some(parent)) = change.parent {
        let company = get(tx, id).await?.company;
        check_parent(tx, company, Some(id), parent).await?;
    }
    tx.lock(LOCK, &[id.into()]).await?;
    let old = get(tx, id).await?;
    let parameters = [
        id.into(),
        change.title.as_ref().unwrap_or(&old.title).into(),
        change.description.as_ref().unwrap_or(&old.description).into(),
        change.parent.unwrap_or(old.parent).into(),
        now.into(),
    ];
    tx.execute(UPDATE, &parameters).await?;
    get(tx, id).await
}
