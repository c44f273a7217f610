//! The whole product as a person uses it: the real binary as a server in a process of its own, real
//! agents, the API over HTTP, the command line. The name of a test says the rule that it shows.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails loudly, in its helpers too")]
#![expect(clippy::print_stdout, reason = "a failed test shows its seed")]

mod access;
mod agents;
mod agents_claude;
mod agents_codex;
mod agents_described;
mod agents_gemini;
mod agents_opencode;
mod backups;
mod budgets;
mod cli;
mod collector;
mod colours;
mod configuration;
mod console;
mod contract;
mod crash;
mod daemon;
mod deliveries;
mod doctor;
mod environment;
mod explanations;
mod fixture;
mod fleet;
mod gates;
mod guards;
mod handoffs;
mod hooks;
mod hostile;
mod inside;
mod lessons;
mod logging;
mod machine;
mod mail;
mod metrics;
mod otlp;
mod outcomes;
mod overviews;
mod postgres;
mod projects;
mod refusals;
mod retention;
mod schedules;
mod secrets;
mod services;
mod sessions;
mod settings;
mod shape;
mod silence;
mod stops;
mod storm;
mod streams;
mod subscriptions;
mod tasks;
mod tokens;
mod wakes;
mod workspaces;
mod worktrees;

use wakeful_test_server as support;
