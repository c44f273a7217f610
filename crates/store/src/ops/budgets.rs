//! Budgets: made, read, changed, removed. What is counted on them is in `spending`.

use wakeful_domain::budget::{BUDGETS_MAX, Budget, Level, Metric, Scope, Window};
use wakeful_domain::id::{BudgetId, CompanyId};
use wakeful_domain::schedule::Zone;
use wakeful_domain::time::Timestamp;

use crate::ops::filter::{List, Page};
use crate::ops::schedules::{self, zone_of};
use crate::ops::{agents, budget_holds, budgets_due, companies, escalations, ready, tasks};
use crate::value::name;
use crate::{Error, Refusal, Row, Tx};

pub(crate) const COLUMNS: &str = "id, company_id, scope, scope_id, period, metric, most, reserve, spent, \
    period_starts_at, period_ends_at, told, created_at, updated_at";

pub(crate) fn read(mut row: Row) -> Result<Budget, Error> {
    let (id, company, kind): (_, _, String) = (row.get()?, row.get()?, row.get()?);
    let scope = match kind.as_str() {
        "agent" => Scope::Agent(row.get()?),
        "task" => Scope::Task(row.get()?),
        "schedule" => Scope::Schedule(row.get()?),
        _ => {
            let _: String = row.get()?;
            Scope::Company
        }
    };
    Ok(Budget {
        id,
        company,
        scope,
        window: row.name::<Window>()?,
        metric: row.name::<Metric>()?,
        limit: row.get()?,
        reserve: row.get()?,
        spent: row.get()?,
        window_started_at: row.get()?,
        window_ends_at: row.get()?,
        told: row.name::<Level>()?,
        created_at: row.get()?,
        updated_at: row.get()?,
    })
}

const COUNT: &str = "select count(*) from budgets where company_id = $1";
const SAME: &str = "
    select id
    from budgets
    where company_id = $1
      and scope = $2
      and scope_id = $3
      and period = $4
      and metric = $5";
const INSERT: &str = "
    insert into budgets (id, company_id, scope, scope_id, period, metric, most, reserve, spent, period_starts_at,
      period_ends_at, told, created_at, updated_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, $10, $11, $12, $12)";

/// Makes a budget. It counts from now on.
pub async fn insert(tx: &mut Tx, budget: &Budget) -> Result<Budget, Refusal> {
    refuse_unknown(tx, budget).await?;
    ready::lock_company(tx, budget.company).await?;
    let zone = zone(tx, budget.company).await?;
    let same = [
        budget.company.into(),
        budget.scope.kind().into(),
        budget.scope.id().into(),
        name(&budget.window),
        name(&budget.metric),
    ];
    if let Some(mut row) = tx.query_first(SAME, &same).await? {
        let there: BudgetId = row.get()?;
        let told = format!("there is one of this scope, window and metric: change the limit of `{there}`");
        return Err(Refusal::conflict("budget_exists", told, serde_json::json!({ "budget": there })));
    }
    let count: i64 = tx.query_one(COUNT, &[budget.company.into()]).await?.get()?;
    if count >= BUDGETS_MAX {
        return Err(Refusal::invalid("scope", format!("a company has at most {BUDGETS_MAX} budgets: remove one")));
    }
    let mut budget = budget.clone();
    budget.roll(&zone, budget.created_at);
    let parameters = [
        budget.id.into(),
        budget.company.into(),
        budget.scope.kind().into(),
        budget.scope.id().into(),
        name(&budget.window),
        name(&budget.metric),
        budget.limit.into(),
        budget.reserve.into(),
        budget.window_started_at.into(),
        budget.window_ends_at.into(),
        name(&budget.told),
        budget.created_at.into(),
    ];
    tx.execute(INSERT, &parameters).await?;
    Ok(budget)
}

async fn refuse_unknown(tx: &mut Tx, budget: &Budget) -> Result<(), Refusal> {
    let (field, company) = match budget.scope {
        Scope::Company => return Ok(()),
        Scope::Agent(id) => ("agent", agents::get(tx, id).await.map(|agent| agent.company)),
        Scope::Task(id) => ("task", tasks::get(tx, id).await.map(|task| task.company)),
        Scope::Schedule(id) => ("schedule", schedules::get(tx, id).await.map(|schedule| schedule.company)),
    };
    match company {
        Ok(company) if company == budget.company => Ok(()),
        Ok(_) | Err(Refusal::NotFound { .. }) => {
            Err(Refusal::invalid(field, format!("there is no {field} `{}` in this company", budget.scope.id())))
        }
        Err(refusal) => Err(refusal),
    }
}

/// The budget with this id, as it stands now.
pub async fn get(tx: &mut Tx, now: Timestamp, id: BudgetId) -> Result<Budget, Refusal> {
    let mut budget = find(tx, id).await?.ok_or_else(|| Refusal::not_found(id))?;
    budget.roll(&zone(tx, budget.company).await?, now);
    Ok(budget)
}

pub(crate) async fn find(tx: &mut Tx, id: BudgetId) -> Result<Option<Budget>, Error> {
    let sql = format!("select {COLUMNS} from budgets where id = $1");
    tx.query_first(&sql, &[id.into()]).await?.map(read).transpose()
}

/// The zone in which a company's days and months begin.
pub(crate) async fn zone(tx: &mut Tx, company: CompanyId) -> Result<Zone, Refusal> {
    Ok(zone_of(&companies::get(tx, company).await?))
}

/// A page of a company's budgets as they stand now, newest first.
pub async fn list(
    tx: &mut Tx,
    now: Timestamp,
    company: CompanyId,
    cursor: Option<String>,
    limit: i64,
) -> Result<Page<Budget>, Refusal> {
    let list = List::of(COLUMNS, "budgets").and("company_id = $", company);
    let mut page = list.page(tx, cursor, limit, read, |budget| budget.id.to_string()).await?;
    let zone = zone(tx, company).await?;
    page.items.iter_mut().for_each(|budget| budget.roll(&zone, now));
    Ok(page)
}

/// Every budget of a company, as it stands now.
pub(crate) async fn all(tx: &mut Tx, now: Timestamp, company: CompanyId) -> Result<Vec<Budget>, Refusal> {
    let sql = format!("select {COLUMNS} from budgets where company_id = $1 order by id");
    let mut found: Vec<Budget> =
        tx.query(&sql, &[company.into()]).await?.into_iter().map(read).collect::<Result<_, _>>()?;
    let zone = zone(tx, company).await?;
    found.iter_mut().for_each(|budget| budget.roll(&zone, now));
    Ok(found)
}

/// Changes to a budget; what is `None` stays.
#[derive(Debug, Clone, Copy, Default)]
pub struct BudgetChange {
    pub limit: Option<i64>,
    pub reserve: Option<i64>,
}

const UPDATE: &str = "
    update budgets
    set most = $2,
      reserve = $3,
      updated_at = $4
    where id = $1";

/// Changes a budget: with more to spend, what it holds back may start.
pub async fn change(tx: &mut Tx, now: Timestamp, id: BudgetId, change: BudgetChange) -> Result<Budget, Refusal> {
    let old = get(tx, now, id).await?;
    let (limit, reserve) = (change.limit.unwrap_or(old.limit), change.reserve.unwrap_or(old.reserve));
    if let Some((field, problem)) = wakeful_domain::budget::problem(old.window, old.metric, limit, reserve) {
        return Err(Refusal::invalid(field, problem));
    }
    budget_holds::let_go(tx, id).await?;
    tx.execute(UPDATE, &[id.into(), limit.into(), reserve.into(), now.into()]).await?;
    budgets_due::look_again(tx, now, id).await?;
    get(tx, now, id).await
}

const REMOVE: &str = "delete from budgets where id = $1";

/// Removes a budget: what it holds back may start.
pub async fn remove(tx: &mut Tx, now: Timestamp, id: BudgetId) -> Result<(), Refusal> {
    let budget = get(tx, now, id).await?;
    budget_holds::let_go(tx, id).await?;
    escalations::resolve_key(tx, now, budget.company, &budgets_due::key(id), "removed").await?;
    tx.execute(REMOVE, &[id.into()]).await?;
    Ok(())
}
