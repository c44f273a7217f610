//! Budgets on both engines: what is counted, what is told, what is stopped and what does not start.

use futures_util::future::join_all;
use serde_json::json;
use wakeful_domain::budget::{Budget, Level, Metric, Scope, Window};
use wakeful_domain::company::CompanyState;
use wakeful_domain::id::BudgetId;
use wakeful_domain::outcome::Outcome;
use wakeful_domain::run::Run;
use wakeful_domain::schedule::SlotStatus;
use wakeful_domain::task::Task;
use wakeful_domain::time::Timestamp;
use wakeful_domain::usage::Usage;
use wakeful_domain::waiting::{Host, WaitingReason, why_waiting};
use wakeful_domain::wakeup::WakeupStatus;
use wakeful_store::Refusal;
use wakeful_store::ops::budgets::{self, BudgetChange};
use wakeful_store::ops::budgets_due::BudgetsDue;
use wakeful_store::ops::dispatch::{Dispatched, dispatch};
use wakeful_store::ops::spending::Spent;
use wakeful_store::ops::tasks::TaskChange;
use wakeful_store::ops::{messages, runs, schedules, standing};

use crate::wishes::cancelled;
use crate::world::{World, conflict, on_both, seconds};

const DAY: u64 = 24 * 3_600;

impl World {
    fn draft_budget(&self, scope: Scope, window: Window, metric: Metric, limit: i64) -> Budget {
        Budget {
            id: self.id(),
            company: self.company,
            scope,
            window,
            metric,
            limit,
            reserve: 0,
            spent: 0,
            window_started_at: Timestamp::from_micros(0),
            window_ends_at: None,
            told: Level::Ok,
            created_at: self.now(),
            updated_at: self.now(),
        }
    }

    async fn insert_budget(&self, budget: Budget) -> Result<Budget, Refusal> {
        self.db.write("budget", budget, |tx, budget| Box::pin(budgets::insert(tx, budget))).await
    }

    async fn budget(&self, scope: Scope, window: Window, metric: Metric, limit: i64) -> BudgetId {
        self.insert_budget(self.draft_budget(scope, window, metric, limit)).await.unwrap().id
    }

    async fn spent(&self, id: BudgetId) -> (i64, Level) {
        let read = self.db.read("b", (self.now(), id), |tx, (now, id)| Box::pin(budgets::get(tx, *now, *id)));
        let budget = read.await.unwrap();
        (budget.spent, budget.level())
    }

    async fn set_limit(&self, id: BudgetId, limit: i64) -> Result<Budget, Refusal> {
        let change = BudgetChange { limit: Some(limit), reserve: None };
        let arguments = (self.now(), id, change);
        self.db.write("b", arguments, |tx, (now, id, change)| Box::pin(budgets::change(tx, *now, *id, *change))).await
    }

    /// The dispatcher's transactions until nothing is due, without a claim.
    async fn look(&self) -> Dispatched {
        let mut budgets = BudgetsDue::default();
        loop {
            let look = self.db.write("dispatch", (self.now(), Vec::new()), |tx, told| Box::pin(dispatch(tx, told)));
            let looked = look.await.unwrap();
            budgets.stops.extend(looked.budgets.stops.clone());
            budgets.told.extend(looked.budgets.told.clone());
            if looked.budgets.looked == 0 {
                return Dispatched { budgets, ..looked };
            }
        }
    }

    async fn uses(&self, run: &Run, tokens: i64) -> Spent {
        let usage = Some(Usage { cache_read_tokens: tokens, ..Usage::default() });
        let now = self.now();
        let said = runs::Progress { now, run: run.id, fence: run.fence, message: None, usage, data: None };
        self.db.write("p", said, |tx, said| Box::pin(runs::progress(tx, said))).await.unwrap().1
    }

    async fn said_to(&self, run: &Run) -> Vec<messages::Message> {
        self.db.read("m", run.id, |tx, run| Box::pin(messages::unread(tx, *run))).await.unwrap()
    }

    async fn why(&self, wakeup: wakeful_domain::id::WakeupId) -> (WaitingReason, Option<Timestamp>) {
        let wakeup = self.wakeup(wakeup).await;
        let standing = self.db.read("s", wakeup, |tx, wakeup| Box::pin(standing::of(tx, wakeup))).await.unwrap();
        let host = Host {
            live_runs: 0,
            live_runs_max: 9,
            is_draining: false,
            is_in_safe_mode: false,
            restored_from: None,
            pressure: None,
        };
        let waiting = why_waiting(&standing, host, self.now());
        (waiting.reason, waiting.until)
    }

    async fn open_escalations(&self) -> i64 {
        self.number("select count(*) from escalations where kind = 'budget_exhausted' and status = 'open'").await
    }
}

#[test]
fn so_many_runs_start_and_the_next_day_opens_the_budget_again() {
    on_both(async |world| {
        let (ann, ben) = (world.agent("ann").await, world.agent("ben").await);
        let budget = world.budget(Scope::Agent(ann), Window::Day, Metric::Runs, 2).await;
        for _ in 0..2 {
            world.wake(ann).await;
            let run = world.claim().await.run;
            world.succeed(&run).await;
        }
        assert_eq!(world.spent(budget).await, (2, Level::Exhausted));
        world.look().await;
        assert_eq!(world.open_escalations().await, 1);
        let waits = world.wake(ann).await;
        world.wake(ben).await;
        assert_eq!(world.claim().await.run.agent, ben, "another agent is not concerned");
        assert!(world.claim_any().await.is_none());
        let (reason, until) = world.why(waits).await;
        assert_eq!(reason, WaitingReason::BudgetExhausted);
        assert_eq!(world.look().await.timers.next_at, until, "the dispatcher sleeps until the window ends");
        world.assert_sound().await;

        world.set_time(until.unwrap());
        world.look().await;
        assert_eq!(world.spent(budget).await, (0, Level::Ok));
        assert_eq!(world.open_escalations().await, 0, "it has resolved itself");
        assert_eq!(world.claim().await.wakeups[0].id, waits);
        world.assert_sound().await;
    });
}

#[test]
fn a_live_agent_is_told_at_eighty_percent_and_stopped_at_a_hundred_and_nothing_is_lost() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let budget = world.budget(Scope::Company, Window::Month, Metric::Tokens, 1_000).await;
        let wakeup = world.wake(agent).await;
        let run = world.claim().await.run;
        world.uses(&run, 799).await;
        world.look().await;
        assert!(world.said_to(&run).await.is_empty());
        world.uses(&run, 800).await;
        world.uses(&run, 801).await;
        let done = world.look().await.budgets;
        assert_eq!(done.told.iter().map(|(told, _)| *told).collect::<Vec<_>>(), [run.id]);
        let told = world.said_to(&run).await;
        assert_eq!((told.len(), told[0].kind), (1, "budget"), "once, whatever is reported later");
        assert!(world.look().await.budgets.told.is_empty());

        world.uses(&run, 1_200).await;
        let done = world.look().await.budgets;
        assert_eq!(done.stops[0].0, run.id);
        assert_eq!((world.spent(budget).await, world.open_escalations().await), ((1_200, Level::Exhausted), 1));
        world.finish(&run, cancelled()).await;
        assert_eq!(world.status(wakeup).await, WakeupStatus::Pending, "it is put back, uncounted");
        assert_eq!(world.wakeup(wakeup).await.attempt, 0);
        assert!(world.claim_any().await.is_none());
        assert_eq!(world.why(wakeup).await.0, WaitingReason::BudgetExhausted);

        world.set_limit(budget, 10_000).await.unwrap();
        world.look().await;
        assert_eq!(world.open_escalations().await, 0);
        assert_eq!(world.claim().await.wakeups[0].id, wakeup);
        world.assert_sound().await;
    });
}

#[test]
fn what_is_reported_at_the_end_counts_once_with_what_was_reported_before() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let tokens = world.budget(Scope::Agent(agent), Window::Lifetime, Metric::Tokens, 10_000).await;
        let money = world.budget(Scope::Company, Window::Day, Metric::CostMicros, 10_000).await;
        let wall = world.budget(Scope::Company, Window::Day, Metric::WallS, 100).await;
        world.wake(agent).await;
        let run = world.claim().await.run;
        world.uses(&run, 600).await;
        world.pass(seconds(30));
        let usage = Some(Usage { output_tokens: 1_000, ..Usage::default() });
        world.finish(&run, Outcome { usage, cost_micros: Some(77), ..Outcome::succeeded() }).await;
        assert_eq!(world.spent(tokens).await.0, 1_000);
        assert_eq!((world.spent(money).await.0, world.spent(wall).await.0), (77, 30));
        world.assert_sound().await;
    });
}

#[test]
fn a_task_has_the_budget_of_the_tasks_above_it() {
    on_both(async |world| {
        let agent = world.agent_with("a", |agent| agent.max_concurrent_runs = 5).await;
        let root = world.task("root").await;
        let child = world.insert_task(Task { parent: Some(root), ..world.draft_task("child") }).await;
        let leaf = world.insert_task(Task { parent: Some(child), ..world.draft_task("leaf") }).await;
        let other = world.task("other").await;
        let budget = world.budget(Scope::Task(root), Window::Lifetime, Metric::Tokens, 100).await;
        world.wake_about(agent, leaf).await;
        let run = world.claim().await.run;
        world.uses(&run, 100).await;
        world.look().await;
        world.finish(&run, cancelled()).await;
        assert_eq!(world.spent(budget).await, (100, Level::Exhausted));
        let waits = world.wake_about(agent, child).await;
        world.wake_about(agent, other).await;
        assert_eq!(world.claim().await.run.task, Some(other));
        assert!(world.claim_any().await.is_none());
        assert_eq!(world.why(waits).await, (WaitingReason::BudgetExhausted, None));
        world.assert_sound().await;
        let remove =
            world.db.write("rm", (world.now(), budget), |tx, (now, id)| Box::pin(budgets::remove(tx, *now, *id)));
        remove.await.unwrap();
        assert_eq!(world.claim_some(5).await.len(), 2);
        world.assert_sound().await;
    });
}

#[test]
fn a_schedule_that_has_spent_its_budget_skips_its_slots_and_says_so() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let draft = world.draft_schedule("s", json!({ "every": "1h" }), json!({ "wake": { "agent": agent } }));
        let schedule = world.insert_schedule(draft).await.unwrap().id;
        let budget = world.budget(Scope::Schedule(schedule), Window::Lifetime, Metric::Tokens, 50).await;
        world.pass(seconds(3_600));
        world.fire().await;
        let run = world.claim().await.run;
        world.uses(&run, 50).await;
        assert_eq!(world.look().await.budgets.stops[0].0, run.id);
        assert_eq!(world.spent(budget).await.1, Level::Exhausted);
        world.finish(&run, cancelled()).await;
        world.pass(seconds(3_600));
        world.fire().await;
        let slot = world.slots(schedule).await.remove(1);
        assert_eq!((slot.status, slot.reason.as_deref()), (SlotStatus::Skipped, Some("budget_exhausted")));
        // Another cause may wake the agent all the same.
        world.wake(agent).await;
        world.claim().await;
        world.assert_sound().await;
    });
}

#[test]
fn the_last_run_that_a_budget_of_runs_allows_may_go_on() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        world.budget(Scope::Agent(agent), Window::Day, Metric::Runs, 1).await;
        let wakeup = world.wake(agent).await;
        let run = world.claim().await.run;
        assert!(world.look().await.budgets.stops.is_empty());
        assert_eq!(world.open_escalations().await, 1, "people know that no other one starts");
        world.succeed(&run).await;
        assert_eq!(world.status(wakeup).await, WakeupStatus::Completed);
        world.wake(agent).await;
        assert!(world.claim_any().await.is_none());
        world.assert_sound().await;
    });
}

#[test]
fn what_a_schedule_has_put_back_waits_for_its_budget_and_lets_others_through() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let draft = world.draft_schedule("s", json!({ "every": "1h" }), json!({ "wake": { "agent": agent } }));
        let schedule = world.insert_schedule(draft).await.unwrap().id;
        let budget = world.budget(Scope::Schedule(schedule), Window::Lifetime, Metric::Tokens, 50).await;
        world.pass(seconds(3_600));
        world.fire().await;
        let claimed = world.claim().await;
        world.uses(&claimed.run, 60).await;
        world.look().await;
        world.finish(&claimed.run, cancelled()).await;
        assert!(world.claim_any().await.is_none(), "it would spend again what there is not");
        assert_eq!(world.why(claimed.wakeups[0].id).await.0, WaitingReason::BudgetExhausted);
        world.assert_sound().await;
        let other = world.wake(agent).await;
        assert!(world.claim().await.wakeups.iter().any(|wakeup| wakeup.id == other), "somebody else wants it, too");
        assert!(world.spent(budget).await.0 >= 60);
        world.assert_sound().await;
    });
}

#[test]
fn work_that_was_finished_when_the_budget_was_spent_stands() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        world.budget(Scope::Company, Window::Day, Metric::Tokens, 100).await;
        let wakeup = world.wake(agent).await;
        let run = world.claim().await.run;
        world.uses(&run, 100).await;
        assert_eq!(world.look().await.budgets.stops[0].0, run.id);
        assert_eq!(world.succeed(&run).await.status.as_str(), "succeeded");
        assert_eq!(world.status(wakeup).await, WakeupStatus::Completed);
        world.assert_sound().await;
    });
}

#[test]
fn a_correction_downwards_lets_go_of_what_was_kept_back() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        world.budget(Scope::Agent(agent), Window::Lifetime, Metric::Tokens, 1_000).await;
        let task = world.task("other").await;
        world.wake(agent).await;
        let run = world.claim().await.run;
        world.uses(&run, 1_000).await;
        world.look().await;
        world.wake_about(agent, task).await;
        assert!(world.claim_any().await.is_none());
        let usage = Some(Usage { output_tokens: 700, ..Usage::default() });
        world.finish(&run, Outcome { usage, ..cancelled() }).await;
        world.look().await;
        assert_eq!(world.open_escalations().await, 0);
        world.claim().await;
        world.assert_sound().await;
    });
}

#[test]
fn a_task_that_leaves_a_spent_tree_starts() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let root = world.task("root").await;
        let child = world.insert_task(Task { parent: Some(root), ..world.draft_task("child") }).await;
        world.budget(Scope::Task(root), Window::Lifetime, Metric::Runs, 1).await;
        world.wake_about(agent, root).await;
        let run = world.claim().await.run;
        world.succeed(&run).await;
        world.wake_about(agent, child).await;
        assert!(world.claim_any().await.is_none());
        let change = TaskChange { parent: Some(None), ..TaskChange::default() };
        world.change_task(child, change).await.unwrap();
        world.look().await;
        assert_eq!(world.claim().await.run.task, Some(child));
        world.assert_sound().await;
    });
}

#[test]
fn what_each_run_may_use_stops_that_run_alone() {
    on_both(async |world| {
        let agent = world.agent_with("a", |agent| agent.max_concurrent_runs = 2).await;
        world.budget(Scope::Agent(agent), Window::Run, Metric::Tokens, 100).await;
        let (one, two) = (world.task("one").await, world.task("two").await);
        let wakeup = world.wake_about(agent, one).await;
        world.wake_about(agent, two).await;
        let (first, second) = (world.claim().await.run, world.claim().await.run);
        assert_eq!(world.uses(&first, 79).await, Spent::default());
        assert!(world.uses(&first, 80).await.told.is_some());
        assert!(world.uses(&first, 90).await.told.is_none());
        assert!(world.uses(&first, 100).await.stop.is_some());
        assert_eq!(world.get_run(second.id).await.stop, None);
        let ended = world.finish(&first, Outcome::failed("killed", "by its stop")).await;
        assert_eq!(ended.status.as_str(), "cancelled");
        assert_eq!(world.status(wakeup).await, WakeupStatus::Cancelled, "it would only use as much again");
        world.succeed(&second).await;
        world.assert_sound().await;
    });
}

#[test]
fn what_live_runs_have_set_aside_is_not_given_to_others() {
    on_both(async |world| {
        world.sql("update companies set max_concurrent_runs = 50").await.unwrap();
        let draft = world.draft_budget(Scope::Company, Window::Day, Metric::Tokens, 1_000);
        let budget = world.insert_budget(Budget { reserve: 300, ..draft }).await.unwrap().id;
        for number in 0..10 {
            let agent = world.agent(&format!("a{number}")).await;
            world.wake(agent).await;
        }
        let claimed = join_all((0..10).map(|_| world.try_claim())).await;
        let mut live: Vec<Run> = claimed.into_iter().filter_map(|claimed| Some(claimed.ok()??.run)).collect();
        live.extend(world.claim_any().await.map(|claimed| claimed.run));
        assert!((1..=3).contains(&live.len()), "{}", live.len());
        while live.len() < 3 {
            live.push(world.claim().await.run);
        }
        assert!(world.claim_any().await.is_none());
        world.assert_sound().await;
        // One that ends with less gives the rest back.
        let usage = Some(Usage { output_tokens: 50, ..Usage::default() });
        world.finish(&live[0], Outcome { usage, ..Outcome::succeeded() }).await;
        world.look().await;
        assert_eq!(world.claim_some(5).await.len(), 1);
        assert_eq!(world.spent(budget).await.0, 50);
        world.assert_sound().await;
    });
}

#[test]
fn runs_that_are_claimed_at_the_same_moment_do_not_cross_the_line_together() {
    on_both(async |world| {
        world.sql("update companies set max_concurrent_runs = 50").await.unwrap();
        let budget = world.budget(Scope::Company, Window::Lifetime, Metric::Runs, 5).await;
        for number in 0..20 {
            let agent = world.agent(&format!("a{number}")).await;
            world.wake(agent).await;
        }
        let mut claimed = 0;
        for _ in 0..5 {
            let each = join_all((0..8).map(|_| world.try_claim())).await;
            claimed += each.into_iter().filter(|claimed| matches!(claimed, Ok(Some(_)))).count();
        }
        assert_eq!((claimed, world.spent(budget).await.0), (5, 5));
        world.assert_sound().await;
    });
}

#[test]
fn a_crash_between_the_report_and_what_follows_loses_nothing() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        world.budget(Scope::Company, Window::Day, Metric::Tokens, 10).await;
        world.wake(agent).await;
        let run = world.claim().await.run;
        world.uses(&run, 10).await;
        // Whoever looks next, however much later, finds it.
        world.pass(seconds(3_600));
        assert_eq!(world.look().await.budgets.stops[0].0, run.id);
        assert!(world.get_run(run.id).await.stop.is_some_and(|stop| stop.puts_back));
        world.look().await;
        assert_eq!(world.number("select count(*) from run_events where type = 'stop_requested'").await, 1);
    });
}

#[test]
fn a_clock_that_was_a_year_ahead_does_not_hold_runs_back_for_a_year() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let budget = world.budget(Scope::Company, Window::Day, Metric::Runs, 1).await;
        let start = world.now();
        world.pass(seconds(365 * DAY));
        world.wake(agent).await;
        let run = world.claim().await.run;
        world.succeed(&run).await;
        world.wake(agent).await;
        assert!(world.claim_any().await.is_none());
        world.set_time(start + seconds(60));
        let rewind = world.db.write("rewind", world.now(), |tx, now| Box::pin(schedules::rewind(tx, *now)));
        rewind.await.unwrap();
        world.look().await;
        assert_eq!(world.spent(budget).await, (0, Level::Ok));
        world.claim().await;
        world.assert_sound().await;
    });
}

#[test]
fn a_pause_of_the_company_and_a_budget_do_not_undo_each_other() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let budget = world.budget(Scope::Company, Window::Day, Metric::Runs, 1).await;
        world.wake(agent).await;
        let run = world.claim().await.run;
        world.succeed(&run).await;
        world.wake(agent).await;
        assert!(world.claim_any().await.is_none());
        world.company_state(world.company, CompanyState::Paused).await;
        world.set_limit(budget, 5).await.unwrap();
        assert!(world.claim_any().await.is_none(), "it is paused");
        world.company_state(world.company, CompanyState::Active).await;
        world.claim().await;
        world.assert_sound().await;
    });
}

#[test]
fn budgets_of_nothing_and_a_second_one_of_the_same_are_refused() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let draft = || world.draft_budget(Scope::Agent(agent), Window::Day, Metric::Runs, 5);
        let id = world.insert_budget(draft()).await.unwrap().id;
        assert_eq!(conflict(world.insert_budget(draft()).await), "budget_exists");
        let unknown = world.draft_budget(Scope::Task(world.id()), Window::Day, Metric::Runs, 5);
        assert!(matches!(world.insert_budget(unknown).await, Err(Refusal::Invalid { field, .. }) if field == "task"));
        assert!(matches!(world.set_limit(id, 0).await, Err(Refusal::Invalid { field, .. }) if field == "limit"));
        assert!(matches!(world.set_limit(world.id(), 5).await, Err(Refusal::NotFound { .. })));
    });
}

#[test]
fn a_portfolio_monitor_tells_of_a_budget_at_eighty_percent_once_and_again_in_the_next_window() {
    on_both(async |world| {
        let agent = world.agent("a").await;
        let monitor = json!({ "action": { "name": "portfolio-monitor" } });
        let draft = world.draft_schedule("portfolio", json!({ "every": "1h" }), monitor);
        world.insert_schedule(draft).await.unwrap();
        world.budget(Scope::Agent(agent), Window::Day, Metric::Tokens, 1_000).await;
        let of_budgets = async || {
            let told = world.texts().await;
            told.into_iter().filter(|text| text.contains("the budget of 1000 tokens a day (agent): ")).count()
        };
        let use_up = async || {
            world.wake(agent).await;
            let run = world.claim().await.run;
            let usage = Some(Usage { output_tokens: 800, ..Usage::default() });
            world.finish(&run, Outcome { usage, ..Outcome::succeeded() }).await;
        };
        let hour = async || {
            world.pass(seconds(3_600));
            world.look().await;
        };
        hour().await;
        assert_eq!(of_budgets().await, 0);
        use_up().await;
        hour().await;
        hour().await;
        assert_eq!(of_budgets().await, 1);
        world.pass(seconds(DAY));
        hour().await;
        use_up().await;
        hour().await;
        assert_eq!(of_budgets().await, 2, "it was away, so it is new");
        world.assert_sound().await;
    });
}
