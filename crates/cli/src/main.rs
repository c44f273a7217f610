//! The `wakeful` command: the server, and every verb that talks to one.
//!
//! `wakeful shim` is taken before anything else: it owns one run's processes, must be small and
//! quick, and never sees the argument parser or an async runtime.

mod arguments;
mod backup;
mod client;
mod commands;
mod config;
mod daemon;
mod data_dir;
mod demo;
mod environment;
mod event_stream;
mod failure;
mod logging;
mod otlp;
mod output;
mod server;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::{Arguments, Command};
use crate::commands::Session;
use crate::failure::Failure;

fn main() -> ExitCode {
    if environment::is_shim() {
        return wakeful_runner::process::shim::main();
    }
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::report(&failure);
            ExitCode::from(failure.code)
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("the async runtime could not be started: {error}")))?;
    runtime.block_on(dispatch(arguments))
}

async fn dispatch(arguments: Arguments) -> Result<(), Failure> {
    let global = arguments.global;
    let session = || Session::new(&global);
    match arguments.command {
        Command::Up(up) => server::up(&global, &up).await,
        Command::Demo(demo) => demo::run(&demo).await,
        Command::Completions { shell } => commands::completions(shell),
        Command::Backup(arguments) => backup::run(&global, &arguments),
        Command::Restore(arguments) => backup::restore::run(&global, &arguments).await,
        Command::Gc { dry_run } => commands::gc::run(&session()?, dry_run).await,
        Command::Doctor(doctor) => commands::doctor::run(&global, &doctor).await,
        Command::Check(file) => commands::config::check(&global, &file),
        Command::Init(file) => commands::config::init(&global, &file),
        Command::Config(verb) => commands::config::show(&global, &verb),
        Command::Apply(apply) => commands::config::run(&global, &session()?, &apply).await,
        Command::Daemon(verb) => daemon::run(&global, &verb).await,
        Command::Wake(wake) => commands::wake::run(&session()?, &wake).await,
        Command::Agent(verb) => commands::agent::run(&session()?, &verb).await,
        Command::Task(verb) => commands::task::run(&session()?, &verb).await,
        Command::Project(verb) => commands::project::run(&session()?, &verb).await,
        Command::Goal(verb) => commands::goal::run(&session()?, &verb).await,
        Command::Worktree(verb) => commands::worktree::run(&session()?, &verb).await,
        Command::Schedule(verb) => commands::schedule::run(&session()?, &verb).await,
        Command::Run(verb) => commands::run::run(&session()?, &verb).await,
        Command::Wakeup(verb) => commands::wakeup::run(&session()?, &verb).await,
        Command::Open { print } => commands::open::run(&session()?, print).await,
        Command::Why { id } => commands::why::run(&session()?, &id).await,
        Command::Events(events) => commands::events::run(&session()?, &events).await,
        Command::Escalation(verb) => commands::escalation::run(&session()?, &verb).await,
        Command::Notifications(arguments) => commands::notification::run(&session()?, &arguments).await,
        Command::Channel(verb) => commands::channel::run(&session()?, &verb).await,
        Command::Budget(verb) => commands::budget::run(&session()?, &verb).await,
        Command::Costs(costs) => commands::costs::run(&session()?, &costs).await,
        Command::Mail(verb) => commands::mail::run(&session()?, &verb).await,
        Command::Subscription(verb) => commands::subscription::run(&session()?, &verb).await,
        Command::Webhook(verb) => commands::webhook::run(&session()?, &verb).await,
        Command::Publish(publish) => commands::subscription::publish(&session()?, &publish).await,
        Command::Wait(verb) => commands::subscription::wait(&session()?, &verb).await,
        Command::Escalate(escalate) => commands::escalation::escalate(&session()?, &escalate).await,
        Command::Secret(verb) => commands::secret::run(&session()?, &verb).await,
        Command::Token(verb) => commands::token::run(&session()?, &verb).await,
        Command::Drain { off } => commands::escalation::drain(&session()?, off).await,
        Command::Inbox(inbox) => commands::inside::inbox(&session()?, &inbox).await,
        Command::Checkpoint { note } => commands::inside::checkpoint(&session()?, note.as_deref()).await,
        Command::Comment { message } => commands::inside::comment(&session()?, &message).await,
        Command::Ask { question } => commands::inside::ask(&session()?, &question).await,
        Command::Skill => commands::inside::skill(&global),
        Command::Done(done) => commands::inside::done(&session()?, &done).await,
    }
}
