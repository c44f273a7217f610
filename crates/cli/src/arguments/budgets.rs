//! Verbs of budgets and costs, described.

use clap::{ArgGroup, Args, Subcommand, ValueEnum};

#[derive(Debug, Clone, Subcommand)]
pub enum BudgetVerb {
    /// Add a budget: at 80 % people and live agents are told, at 100 % live runs are stopped and none starts
    Add(BudgetAddArguments),
    /// List budgets, and what has been spent of each
    Ls,
    /// Show a budget
    Show {
        /// Its id
        budget: String,
    },
    /// Change a budget; with a higher limit, what it has kept back starts at once
    Set {
        /// Its id
        budget: String,
        /// In micro-dollars, tokens, runs or seconds, as the budget counts
        #[arg(long, required_unless_present = "reserve")]
        limit: Option<i64>,
        /// Set aside for each live run until it ends
        #[arg(long)]
        reserve: Option<i64>,
    },
    /// Remove a budget
    Rm {
        /// Its id
        budget: String,
    },
}

#[derive(Debug, Clone, Args)]
#[command(group(ArgGroup::new("counted").required(true).args(["tokens", "cost_micros", "runs", "wall"])))]
#[command(group(ArgGroup::new("about").args(["agent", "task", "schedule"])))]
pub struct BudgetAddArguments {
    /// Of an agent; of the company if nothing is named
    #[arg(long)]
    pub agent: Option<String>,
    /// Of a task and all tasks below it
    #[arg(long)]
    pub task: Option<String>,
    /// Of what a schedule starts
    #[arg(long)]
    pub schedule: Option<String>,
    /// The time over which is counted
    #[arg(long, value_name = "WINDOW", default_value = "day")]
    pub per: WindowArgument,
    /// Tokens, those of caches included
    #[arg(long, value_name = "N")]
    pub tokens: Option<i64>,
    /// Micro-dollars, as far as agents report them
    #[arg(long, value_name = "N")]
    pub cost_micros: Option<i64>,
    /// Runs
    #[arg(long, value_name = "N")]
    pub runs: Option<i64>,
    /// Time that runs take, as 90s, 5m or 2h30m
    #[arg(long, value_name = "DURATION")]
    pub wall: Option<String>,
    /// Set aside for each live run until it ends, so that several do not cross the line together
    #[arg(long, value_name = "N")]
    pub reserve: Option<i64>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum WindowArgument {
    /// Each run by itself
    Run,
    Day,
    Month,
    Lifetime,
}

#[derive(Debug, Clone, Args)]
pub struct CostsArguments {
    /// What runs are added up by
    #[arg(long, default_value = "agent", value_parser = ["agent", "task", "day", "schedule"])]
    pub by: String,
    /// Runs that ended since then: 12h, 30d
    #[arg(long, default_value = "30d", value_name = "DURATION")]
    pub since: String,
}
