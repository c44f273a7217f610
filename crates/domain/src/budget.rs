//! What may be spent: by whom, of what, in which time. A budget is told of at 80 % and stops what spends it at 100 %.

use jiff::civil::Time;
use jiff::{Span, ToSpan};
use serde::{Deserialize, Serialize};

use crate::id::{AgentId, BudgetId, CompanyId, ScheduleId, TaskId};
use crate::run::Run;
use crate::schedule::Zone;
use crate::time::Timestamp;

/// From this share of a limit on, in percent, people and live agents are told.
pub const WARN_PERCENT: i64 = 80;
/// No limit is higher: sums of what a billion runs use still fit.
pub const LIMIT_MAX: i64 = 1_000_000_000_000_000;
/// Budgets of one company.
pub const BUDGETS_MAX: i64 = 1_000;

/// Whose spending counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Company,
    Agent(AgentId),
    /// The task and all below it.
    Task(TaskId),
    /// The runs that a schedule starts, and those of the tasks that it makes.
    Schedule(ScheduleId),
}

impl Scope {
    /// Its kind as the store and the API name it.
    pub fn kind(self) -> &'static str {
        match self {
            Scope::Company => "company",
            Scope::Agent(_) => "agent",
            Scope::Task(_) => "task",
            Scope::Schedule(_) => "schedule",
        }
    }

    /// The id of what it is about; empty for a company.
    pub fn id(self) -> String {
        match self {
            Scope::Company => String::new(),
            Scope::Agent(id) => id.to_string(),
            Scope::Task(id) => id.to_string(),
            Scope::Schedule(id) => id.to_string(),
        }
    }
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Micro-dollars, as far as agents report them.
    CostMicros,
    /// Tokens of all kinds, those of caches included.
    Tokens,
    /// Runs, from their claim on.
    Runs,
    /// Seconds from the claim of a run to its end.
    WallS,
}

/// The time over which is counted. Days and months are the company's, in its time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// Each run by itself.
    Run,
    Day,
    Month,
    Lifetime,
}

impl Window {
    /// When the window in which `now` lies began, and when it ends, if it does.
    pub fn bounds(self, zone: &Zone, now: Timestamp) -> (Timestamp, Option<Timestamp>) {
        let today = now.to_jiff().to_zoned(zone.rules().clone()).date();
        let (first, length): (_, Span) = match self {
            Window::Run | Window::Lifetime => return (Timestamp::from_micros(0), None),
            Window::Day => (today, 1.day()),
            Window::Month => (today.first_of_month(), 1.month()),
        };
        // A midnight that a change of clocks leaves out is the moment after it.
        let begins = |date: jiff::civil::Date| {
            let at = date.to_datetime(Time::midnight()).to_zoned(zone.rules().clone()).ok()?;
            Some(Timestamp::from_micros(at.timestamp().as_microsecond()))
        };
        let ends = first.checked_add(length).ok().and_then(begins);
        (begins(first).unwrap_or(now), ends)
    }
}

/// How far a budget is spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Ok,
    /// At 80 % or more.
    Warned,
    /// Nothing is left.
    Exhausted,
}

impl Level {
    /// How far `spent` of `limit` goes.
    pub fn of(spent: i64, limit: i64) -> Level {
        match spent {
            spent if spent >= limit => Level::Exhausted,
            spent if spent.saturating_mul(100) >= limit.saturating_mul(WARN_PERCENT) => Level::Warned,
            _ => Level::Ok,
        }
    }
}

/// A limit on what is spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    pub id: BudgetId,
    pub company: CompanyId,
    pub scope: Scope,
    pub window: Window,
    pub metric: Metric,
    pub limit: i64,
    /// Set aside for each live run until it ends, so that several do not cross the line together.
    pub reserve: i64,
    /// In the window that began at `window_started_at`.
    pub spent: i64,
    pub window_started_at: Timestamp,
    pub window_ends_at: Option<Timestamp>,
    /// How far people have been told, in this window.
    pub told: Level,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Budget {
    /// Opens the window in which `now` lies, if it is another one; an earlier one, if the clock was set back.
    pub fn roll(&mut self, zone: &Zone, now: Timestamp) {
        let (starts, ends) = self.window.bounds(zone, now);
        if starts != self.window_started_at {
            (self.spent, self.told) = (0, Level::Ok);
            self.window_started_at = starts;
        }
        self.window_ends_at = ends;
    }

    /// How far it is spent.
    pub fn level(&self) -> Level {
        Level::of(self.spent, self.limit)
    }

    /// Whether one more run may start beside `live` ones. Alone it may as long as anything is left.
    pub fn has_room(&self, live: i64) -> bool {
        let set_aside = if live == 0 { 1 } else { self.reserve.saturating_mul(live.saturating_add(1)).max(1) };
        self.window == Window::Run || self.spent.saturating_add(set_aside) <= self.limit
    }

    /// What a run has used of it by what it has reported.
    pub fn used_by(&self, run: &Run) -> i64 {
        match self.metric {
            Metric::CostMicros => run.cost_micros.unwrap_or(0),
            Metric::Tokens => run.usage.total(),
            Metric::Runs => 1,
            Metric::WallS => {
                let seconds = run.finished_at.map_or(0, |at| at.since(run.created_at).as_secs());
                i64::try_from(seconds).unwrap_or(i64::MAX)
            }
        }
    }

    /// What it allows, in words: `100000 tokens a day`.
    pub fn words(&self) -> String {
        let what = match self.metric {
            Metric::CostMicros => format!("${:.2}", self.limit as f64 / 1e6),
            Metric::Tokens => format!("{} tokens", self.limit),
            Metric::Runs => format!("{} runs", self.limit),
            Metric::WallS => format!("{} s of running", self.limit),
        };
        let per = match self.window {
            Window::Run => " a run",
            Window::Day => " a day",
            Window::Month => " a month",
            Window::Lifetime => " in all",
        };
        format!("{what}{per}")
    }
}

/// What is wrong with a budget, if anything: the field and the remedy.
pub fn problem(window: Window, metric: Metric, limit: i64, reserve: i64) -> Option<(&'static str, String)> {
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Some(("limit", format!("must be at least 1 and at most {LIMIT_MAX}")));
    }
    if !(0..=limit).contains(&reserve) {
        return Some(("reserve", "must be at least 0 and at most the limit".into()));
    }
    match (window, metric) {
        (Window::Run, Metric::Runs) => Some(("metric", "a run is one run: count `runs` over a day or longer".into())),
        (Window::Run, Metric::WallS) => {
            Some(("metric", "how long one run may take is `limits.max_duration_s` of its agent".into()))
        }
        (Window::Run, _) if reserve > 0 => {
            Some(("reserve", "a budget of each run by itself sets nothing aside: leave it out".into()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn days_and_months_are_the_companys() {
        let paris: Zone = "Europe/Paris".parse().unwrap();
        let bounds = |window: Window, now| window.bounds(&paris, at(now));
        // The day on which clocks go back has 25 hours.
        let (starts, ends) = bounds(Window::Day, "2026-10-25T12:00:00Z");
        assert_eq!((starts, ends), (at("2026-10-24T22:00:00Z"), Some(at("2026-10-25T23:00:00Z"))));
        let (starts, ends) = bounds(Window::Month, "2026-11-30T23:30:00Z");
        assert_eq!((starts, ends), (at("2026-11-30T23:00:00Z"), Some(at("2026-12-31T23:00:00Z"))));
        assert_eq!(bounds(Window::Lifetime, "2026-11-30T23:30:00Z").1, None);
    }

    #[test]
    fn a_midnight_that_is_left_out_begins_the_day_all_the_same() {
        let cairo: Zone = "Africa/Cairo".parse().unwrap();
        let (starts, ends) = Window::Day.bounds(&cairo, at("2026-04-24T12:00:00Z"));
        assert_eq!((starts, ends), (at("2026-04-23T22:00:00Z"), Some(at("2026-04-24T21:00:00Z"))));
    }

    #[test]
    fn the_levels_are_at_eighty_and_at_a_hundred_percent() {
        assert_eq!([79, 80, 99, 100, 200].map(|spent| Level::of(spent, 100)), {
            use Level::{Exhausted, Ok, Warned};
            [Ok, Warned, Warned, Exhausted, Exhausted]
        });
        assert_eq!(Level::of(i64::MAX, LIMIT_MAX), Level::Exhausted);
        assert_eq!((Level::of(0, 1), Level::of(1, 1)), (Level::Ok, Level::Exhausted));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_its_field() {
        let field = |window, metric, limit, reserve| problem(window, metric, limit, reserve).map(|(field, _)| field);
        assert_eq!(field(Window::Day, Metric::Tokens, 0, 0), Some("limit"));
        assert_eq!(field(Window::Day, Metric::Tokens, LIMIT_MAX + 1, 0), Some("limit"));
        assert_eq!(field(Window::Day, Metric::Tokens, 10, 11), Some("reserve"));
        assert_eq!(field(Window::Run, Metric::Runs, 10, 0), Some("metric"));
        assert_eq!(field(Window::Run, Metric::WallS, 10, 0), Some("metric"));
        assert_eq!(field(Window::Run, Metric::Tokens, 10, 5), Some("reserve"));
        assert_eq!(field(Window::Month, Metric::CostMicros, 10, 10), None);
    }
}
