//! `wakeful budget …`

use serde_json::{Value, json};
use wakeful_domain::time::parse_duration;

use super::Session;
use crate::arguments::{BudgetAddArguments, BudgetVerb, WindowArgument};
use crate::failure::Failure;
use crate::output::{items, text};

pub async fn run(session: &Session, verb: &BudgetVerb) -> Result<(), Failure> {
    match verb {
        BudgetVerb::Add(arguments) => add(session, arguments).await,
        BudgetVerb::Ls => list(session).await,
        BudgetVerb::Show { budget } => {
            let found = session.client.get(&path(budget)).await?;
            session.output.show(&found, || told(&found));
            Ok(())
        }
        BudgetVerb::Set { budget, limit, reserve } => {
            let mut patch = json!({});
            if let Some(limit) = limit {
                patch["limit"] = json!(limit);
            }
            if let Some(reserve) = reserve {
                patch["reserve"] = json!(reserve);
            }
            let changed = session.client.patch(&path(budget), &patch).await?;
            session.output.show(&changed, || told(&changed));
            Ok(())
        }
        BudgetVerb::Rm { budget } => {
            session.client.delete(&path(budget)).await?;
            session.output.show(&json!({ "budget": budget, "removed": true }), || format!("{budget} is removed"));
            Ok(())
        }
    }
}

fn path(budget: &str) -> String {
    format!("/api/v1/budgets/{budget}")
}

async fn add(session: &Session, arguments: &BudgetAddArguments) -> Result<(), Failure> {
    let wall = arguments.wall.as_deref().map(parse_duration).transpose();
    let wall = wall.map_err(|error| Failure::usage(format!("--wall: {error}")))?;
    let wall = wall.map(|wall| i64::try_from(wall.as_secs()).unwrap_or(i64::MAX));
    let counted = [
        ("tokens", arguments.tokens),
        ("cost_micros", arguments.cost_micros),
        ("runs", arguments.runs),
        ("wall_s", wall),
    ];
    let mut body = json!({ "window": match arguments.per {
        WindowArgument::Run => "run",
        WindowArgument::Day => "day",
        WindowArgument::Month => "month",
        WindowArgument::Lifetime => "lifetime",
    }});
    for (metric, limit) in counted {
        if let Some(limit) = limit {
            (body["metric"], body["limit"]) = (json!(metric), json!(limit));
        }
    }
    if let Some(reserve) = arguments.reserve {
        body["reserve"] = json!(reserve);
    }
    if let Some(agent) = &arguments.agent {
        body["agent"] = json!(session.agent_id(agent).await?);
    }
    if let Some(task) = &arguments.task {
        body["task"] = json!(session.task_id(task).await?);
    }
    if let Some(schedule) = &arguments.schedule {
        body["schedule"] = json!(super::schedule::id_of(session, schedule).await?);
    }
    let budget = session.client.post(&session.of_company("/budgets"), &body).await?;
    session.output.show(&budget, || told(&budget));
    Ok(())
}

/// Whose budget it is.
fn about(budget: &Value) -> String {
    let scope = text(budget, "/scope");
    let id = text(budget, &format!("/{scope}"));
    if scope == "company" { scope } else { format!("{scope} {id}") }
}

/// A number of the budget's metric, as people write it.
fn amount(budget: &Value, field: &str) -> String {
    let number = budget.get(field).and_then(Value::as_i64).unwrap_or_default();
    match text(budget, "/metric").as_str() {
        "cost_micros" => format!("${:.4}", number as f64 / 1e6),
        "wall_s" => format!("{number} s"),
        metric => format!("{number} {metric}"),
    }
}

/// A budget in one line.
fn told(budget: &Value) -> String {
    let window = text(budget, "/window");
    let ends = text(budget, "/window_ends_at");
    let until = if ends.is_empty() { String::new() } else { format!(", until {ends}") };
    format!(
        "{} {}: {} of {} a {window} are spent ({}{until})",
        text(budget, "/id"),
        about(budget),
        amount(budget, "spent"),
        amount(budget, "limit"),
        text(budget, "/level"),
    )
}

async fn list(session: &Session) -> Result<(), Failure> {
    let budgets = session.client.get(&session.of_company("/budgets?limit=200")).await?;
    let output = session.output;
    output.show(&budgets, || {
        let row = |budget: &Value| {
            vec![
                text(budget, "/id"),
                about(budget),
                text(budget, "/window"),
                amount(budget, "spent"),
                amount(budget, "limit"),
                output.status(&text(budget, "/level")),
            ]
        };
        match items(&budgets).is_empty() {
            true => "no budgets yet: wakeful budget add --tokens 1000000 --per day".into(),
            false => output
                .table(&["id", "of", "window", "spent", "limit", "level"], items(&budgets).iter().map(row).collect()),
        }
    });
    Ok(())
}
