//! What the store promises, shown on both engines: SQLite files, and a PostgreSQL that the tests start themselves.
//! A test function names a rule; [`world::on_both`] runs it on each engine and ends by checking every invariant.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails loudly, in its helpers too")]

mod accept;
mod actions;
mod assignments;
mod budgets;
mod children;
mod children_gone;
mod claim;
mod cluster;
mod comments;
mod costs;
mod deliveries;
mod differential;
mod downtime;
mod engine;
mod events;
mod fates;
mod finish;
mod gates;
mod goals;
mod guards;
mod holds;
mod inbox;
mod incidents;
mod interleaved;
mod invariants;
mod killed;
mod lessons;
mod loops;
mod mail;
mod model;
mod projects;
mod property;
mod races;
mod records;
mod restore;
mod retention;
mod run_lists;
mod schedules;
mod secrets;
mod sessions;
mod stuck;
mod subscriptions;
mod subscriptions_past;
mod subscriptions_races;
mod subscriptions_time;
mod timers;
mod tokens;
mod topics;
mod webhooks;
mod wishes;
mod worktrees;
mod world;
