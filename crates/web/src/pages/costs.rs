//! Costs: what runs have cost, by what one asks, and how far budgets are spent.

use askama::Template;
use serde::Deserialize;

use super::{Shown, page};
use crate::call::query;
use crate::choices::{self, Choice};
use crate::frame::Frame;
use crate::seen::{List, Names};
use crate::visit::Visit;
use crate::{pieces, span};

/// What costs can be summed by: how the address names it, and how people do.
const GROUPS: &[(&str, &str)] =
    &[("agent", "By agent"), ("task", "By task"), ("day", "By day"), ("schedule", "By schedule")];
/// How far back it looks.
const SPANS: &[(&str, &str)] = &[("7d", "7 days"), ("30d", "30 days"), ("90d", "90 days")];
const SPAN_DEFAULT: &str = "30d";
/// The width of the longest bar, in units of its own.
const WIDTH: i64 = 1_000;

#[derive(Template)]
#[template(path = "costs.html")]
struct CostsPage {
    frame: Frame,
    by: &'static str,
    since: &'static str,
    items: Vec<Item>,
    others: Option<Sums>,
    total: Sums,
    budgets: Vec<Budget>,
    agents: Vec<Choice>,
    names: Names,
}

#[derive(Debug, Deserialize)]
struct Costs {
    items: Vec<Item>,
    others: Option<Sums>,
    total: Sums,
}

/// What one agent, task, schedule or day has cost.
#[derive(Debug, Deserialize)]
struct Item {
    key: Option<String>,
    name: Option<String>,
    #[serde(flatten)]
    sums: Sums,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
struct Sums {
    runs: i64,
    input_tokens: i64,
    output_tokens: i64,
    cache_read_tokens: i64,
    cache_write_tokens: i64,
    cost_micros: i64,
    duration_ms: i64,
}

/// What may be spent, and what has been.
#[derive(Debug, Deserialize)]
struct Budget {
    id: String,
    scope: String,
    agent: Option<String>,
    task: Option<String>,
    schedule: Option<String>,
    window: String,
    metric: String,
    limit: i64,
    spent: i64,
    level: String,
    window_ends_at: Option<String>,
}

impl Sums {
    /// All tokens, those from caches too.
    fn tokens(&self) -> i64 {
        self.input_tokens + self.output_tokens + self.cache_tokens()
    }

    fn cache_tokens(&self) -> i64 {
        self.cache_read_tokens + self.cache_write_tokens
    }
}

impl Budget {
    fn about(&self) -> Option<&str> {
        self.agent.as_deref().or(self.task.as_deref()).or(self.schedule.as_deref())
    }

    /// What it counts, as people say it.
    fn counts(&self) -> &'static str {
        match self.metric.as_str() {
            "cost_micros" => "cost",
            "tokens" => "tokens",
            "runs" => "runs",
            _ => "time of runs",
        }
    }

    /// An amount in units of its metric.
    fn amount(&self, amount: &i64) -> String {
        match self.metric.as_str() {
            "cost_micros" => pieces::money(amount),
            "wall_s" => pieces::duration(amount.saturating_mul(1_000)),
            _ => pieces::count(amount),
        }
    }

    /// How its level is drawn.
    fn kind(&self) -> &'static str {
        match self.level.as_str() {
            "exhausted" => "failed",
            "warned" => "retrying",
            _ => "succeeded",
        }
    }

    /// The width of its meter.
    fn width(&self) -> i64 {
        share(self.spent, self.limit)
    }
}

impl CostsPage {
    fn groups(&self) -> &'static [(&'static str, &'static str)] {
        GROUPS
    }

    fn spans(&self) -> &'static [(&'static str, &'static str)] {
        SPANS
    }

    fn address(&self, by: &str, since: &str) -> String {
        query(&[("by", by), ("since", since)])
    }

    /// Bars show money, or tokens where no agent says what it costs.
    fn size(&self, sums: &Sums) -> i64 {
        if self.total.cost_micros > 0 { sums.cost_micros } else { sums.tokens() }
    }

    /// The width of a bar: the longest is as wide as the drawing.
    fn bar(&self, sums: &Sums) -> i64 {
        let most = self.items.iter().map(|item| self.size(&item.sums)).max().unwrap_or(0);
        share(self.size(sums), most)
    }

    /// The page of what an item is about, if it has one.
    fn place(&self, item: &Item) -> Option<String> {
        let key = item.key.as_deref()?;
        crate::seen::page_of(key).map(|place| self.frame.path(&place))
    }

    /// How an item is called: what has no name is what belongs to none.
    fn title(&self, item: &Item) -> String {
        match (&item.name, &item.key) {
            (Some(name), _) => name.clone(),
            (None, Some(key)) => pieces::short(key).to_owned(),
            (None, None) => format!("no {}", self.by),
        }
    }
}

/// A part of a whole, in units of the drawing; what there is can be seen.
fn share(part: i64, whole: i64) -> i64 {
    match (part, whole) {
        (..=0, _) => 0,
        (_, ..=0) => WIDTH,
        (part, whole) => {
            let wide = i128::from(part) * i128::from(WIDTH) / i128::from(whole);
            i64::try_from(wide).unwrap_or(WIDTH).clamp(2, WIDTH)
        }
    }
}

fn chosen(among: &'static [(&'static str, &'static str)], asked: &str, otherwise: &'static str) -> &'static str {
    among.iter().map(|(name, _)| *name).find(|name| *name == asked).unwrap_or(otherwise)
}

/// Shows what runs have cost.
pub async fn show(visit: Visit) -> Shown {
    let frame = Frame::around(&visit, "costs", "run").await?.titled("Costs");
    let by = chosen(GROUPS, &visit.asked("by"), "agent");
    let since = chosen(SPANS, &visit.asked("since"), SPAN_DEFAULT);
    let from = span::begin(since, wakeful_engine::clock::now().to_jiff());
    let asked = query(&[("by", by), ("from", &from)]);
    let costs: Costs = visit.calls.get(&visit.of_company(&format!("costs{asked}"))).await?;
    let budgets: List<Budget> = visit.calls.get(&visit.of_company("budgets?limit=200")).await?;
    let agents = choices::agents(&visit).await?;
    let names =
        Names::of(&visit.calls, &visit.company, budgets.items.iter().filter_map(Budget::about).collect()).await?;
    page(&CostsPage {
        frame,
        by,
        since,
        items: costs.items,
        others: costs.others,
        total: costs.total,
        budgets: budgets.items,
        agents,
        names,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_fit_the_drawing() {
        let check = |part, whole, expected| assert_eq!(share(part, whole), expected);
        check(0, 10, 0);
        check(5, 10, 500);
        check(20, 10, 1_000);
        check(1, 1_000_000_000_000_000, 2);
        check(i64::MAX, i64::MAX, 1_000);
        check(3, 0, 1_000);
        check(-3, 10, 0);
    }

    #[test]
    fn budgets_are_told_in_their_units() {
        let budget = |metric: &str| Budget {
            id: "bud_1".into(),
            scope: "company".into(),
            agent: None,
            task: None,
            schedule: None,
            window: "day".into(),
            metric: metric.into(),
            limit: 10_000_000,
            spent: 7_200,
            level: "ok".into(),
            window_ends_at: None,
        };
        let check = |metric: &str, expected: &str| assert_eq!(budget(metric).amount(&7_200), expected);
        check("cost_micros", "$0.0072");
        check("tokens", "7.2k");
        check("wall_s", "2 h");
    }
}
