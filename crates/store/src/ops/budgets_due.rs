//! Budgets that have crossed a line, or whose window has ended: people and live agents are told, runs are stopped, and
//! what was kept back may be tried again. The dispatcher's work, one budget in a transaction.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::json as object;
use wakeful_domain::actor::Actor;
use wakeful_domain::budget::{Budget, Level, Metric, Window};
use wakeful_domain::escalation::{EscalationKind, Severity};
use wakeful_domain::id::{BudgetId, CompanyId, IdSource, RunId};
use wakeful_domain::run::StopRequest;
use wakeful_domain::time::Timestamp;

use crate::ops::budget_holds::{let_go, lock_held};
use crate::ops::escalations::{self, Raise};
use crate::ops::spending::{RELEASE, live_under, warn};
use crate::ops::{budgets, events, messages, runs};
use crate::value::name;
use crate::{Error, Refusal, Tx};

/// What the dispatcher did about budgets, and what is to follow from it.
#[derive(Debug, Clone, Default)]
pub struct BudgetsDue {
    /// Budgets that were looked at.
    pub looked: usize,
    /// Runs that have been asked to stop, and why.
    pub stops: Vec<(RunId, String)>,
    /// What agents are told.
    pub told: Vec<(RunId, messages::Message)>,
}

/// When the next budget has to be looked at.
pub(crate) const NEXT_DUE: &str = "
    select due_at
    from budgets
    where due_at is not null
    order by due_at
    limit 1";

const DUE: &str = "
    select id
    from budgets
    where due_at is not null
      and due_at <= $1
    order by due_at, id
    limit 1";

/// Looks at a budget that has crossed a line, or whose window has ended: one in a transaction, which does nothing else.
pub async fn due(tx: &mut Tx, now: Timestamp) -> Result<BudgetsDue, Refusal> {
    let mut done = BudgetsDue::default();
    if let Some(mut row) = tx.query_first(DUE, &[now.into()]).await? {
        done.looked = 1;
        look(tx, now, row.get()?, &mut done).await?;
    }
    Ok(done)
}

const LOOKED: &str = "
    update budgets
    set spent = $2,
      period_starts_at = $3,
      period_ends_at = $4,
      told = $5,
      due_at = $6
    where id = $1";
const LOCK: &str = "select id from budgets where id = $1 {for_update}";

async fn look(tx: &mut Tx, now: Timestamp, id: BudgetId, done: &mut BudgetsDue) -> Result<(), Refusal> {
    lock_held(tx, id).await?;
    let seen = budgets::get(tx, now, id).await?;
    let is_exhausted = seen.window != Window::Run && seen.level() == Level::Exhausted;
    // Runs before their company and their budget, as everywhere. Of runs those that have started may go on: what they
    // count is spent.
    if is_exhausted && seen.metric != Metric::Runs {
        let told = format!("the budget of {} ({}) is spent", seen.words(), seen.scope.kind());
        for run in live_under(tx, &seen).await? {
            let stop = StopRequest { puts_back: true, ..StopRequest::spent(&told, now) };
            match runs::request_stop(tx, run, &stop).await {
                Ok(_) => done.stops.push((run, told.clone())),
                // It has ended by itself meanwhile.
                Err(Refusal::Conflict { .. }) => {}
                Err(refusal) => return Err(refusal),
            }
        }
    }
    let_go(tx, id).await?;
    tx.lock(LOCK, &[id.into()]).await?;
    let mut budget = budgets::get(tx, now, id).await?;
    if budget.level() != seen.level() {
        // A report came in between.
        return Err(Error::changed_meanwhile("what is left of a budget").into());
    }
    if budget.level() > budget.told {
        match budget.level() {
            Level::Ok => {}
            Level::Warned => {
                for run in live_under(tx, &budget).await? {
                    done.told.push((run, warn(tx, now, run, &budget).await?));
                }
            }
            Level::Exhausted => tell_exhausted(tx, now, &budget).await?,
        }
        let kind = if is_exhausted { "budget.exhausted" } else { "budget.warned" };
        let data = object!({ "spent": budget.spent, "limit": budget.limit, "scope": budget.scope.kind(), "about": budget.scope.id() });
        events::append(tx, budget.company, now, kind, &id.to_string(), &data).await?;
    }
    if !is_exhausted {
        escalations::resolve_key(tx, now, budget.company, &key(id), "there is something left").await?;
    }
    budget.told = budget.level();
    let due_at = budget.window_ends_at.filter(|_| budget.told > Level::Ok);
    let parameters = [
        id.into(),
        budget.spent.into(),
        budget.window_started_at.into(),
        budget.window_ends_at.into(),
        name(&budget.told),
        due_at.into(),
    ];
    tx.execute(LOOKED, &parameters).await?;
    Ok(())
}

/// Has the dispatcher look at a budget now.
pub(crate) async fn look_again(tx: &mut Tx, now: Timestamp, id: BudgetId) -> Result<(), Error> {
    tx.execute(RELEASE, &[id.into(), now.into()]).await?;
    Ok(())
}

const AHEAD: &str = "
    update budgets
    set due_at = $1
    where due_at > $1";

/// After the clock was set back: what was to be looked at in a time that has not come is looked at now.
pub(crate) async fn rewind(tx: &mut Tx, now: Timestamp) -> Result<(), Error> {
    tx.execute(AHEAD, &[now.into()]).await?;
    Ok(())
}

const OF_TREES: &str = "
    update budgets
    set due_at = $2
    where company_id = $1
      and scope = 'task'";

/// A task has another parent: what its trees hold back is looked at again.
pub(crate) async fn trees_changed(tx: &mut Tx, now: Timestamp, company: CompanyId) -> Result<(), Error> {
    tx.execute(OF_TREES, &[company.into(), now.into()]).await?;
    Ok(())
}

/// The key of the escalation about a budget that is spent.
pub(crate) fn key(id: BudgetId) -> String {
    format!("budget:{id}")
}

async fn tell_exhausted(tx: &mut Tx, now: Timestamp, budget: &Budget) -> Result<(), Refusal> {
    // The same however often the operation is run.
    let mut seed = DefaultHasher::new();
    (key(budget.id), now.as_micros()).hash(&mut seed);
    let until = match budget.window_ends_at {
        Some(ends) => format!("until {ends}, or until the limit is raised"),
        None => "until the limit is raised".into(),
    };
    let raise = Raise {
        id: IdSource::new(seed.finish()).next(now),
        now,
        company: budget.company,
        kind: EscalationKind::BudgetExhausted,
        severity: Severity::High,
        key: key(budget.id),
        subject: budget.id.to_string(),
        title: format!("the budget of {} is spent", budget.words()),
        detail: format!(
            "nothing that falls under it ({} {}) is started {until}: `wakeful budget set {} --limit N`",
            budget.scope.kind(),
            budget.scope.id(),
            budget.id
        ),
        actor: Actor::system(),
    };
    escalations::raise(tx, &raise).await.map(|_| ())
}
