//! The verbs that talk to a server, one file each.

pub mod agent;
pub mod budget;
pub mod channel;
pub mod config;
pub mod costs;
pub mod doctor;
pub mod escalation;
pub mod events;
pub mod gc;
pub mod goal;
pub mod inside;
pub mod mail;
pub mod notification;
pub mod open;
pub mod project;
pub mod run;
pub mod schedule;
pub mod secret;
pub mod subscription;
pub mod task;
pub mod token;
pub mod wake;
pub mod wakeup;
pub mod watch;
pub mod webhook;
pub mod why;
pub mod worktree;

use std::collections::HashMap;

use clap::CommandFactory;
use wakeful_domain::url::percent_encoded;

use crate::arguments::{Arguments, Global};
use crate::client::Client;
use crate::environment;
use crate::failure::{Failure, NOT_FOUND};
use crate::output::{Output, items, text};

/// A server, a company, and how to print.
#[derive(Debug, Clone)]
pub struct Session {
    pub client: Client,
    pub output: Output,
    company: String,
}

impl Session {
    pub fn new(global: &Global) -> Result<Session, Failure> {
        let is_named = global.data_dir.is_some() || global.server.is_some();
        let company = global.company.clone().or_else(|| (!is_named).then(environment::company).flatten());
        Ok(Session {
            client: Client::find(global)?,
            output: Output::new(global),
            company: company.unwrap_or_else(|| "default".into()),
        })
    }

    /// A path below the company.
    pub fn of_company(&self, path: &str) -> String {
        format!("/api/v1/companies/{}{path}", percent_encoded(&self.company))
    }

    /// The id of an agent that is given by name or id.
    pub async fn agent_id(&self, agent: &str) -> Result<String, Failure> {
        if agent.starts_with("agt_") {
            return Ok(agent.to_owned());
        }
        let found = self.client.get(&self.of_company(&format!("/agents?name={}", percent_encoded(agent)))).await?;
        match items(&found).first() {
            Some(agent) => Ok(text(agent, "/id")),
            None => Err(Failure::new(NOT_FOUND, format!("there is no agent `{agent}` in company `{}`", self.company))
                .hint("`wakeful agent ls` lists them, `wakeful agent add` makes one")),
        }
    }

    /// The names of the company's newest 200 agents, by their ids.
    pub async fn agent_names(&self) -> Result<HashMap<String, String>, Failure> {
        let agents = self.client.get(&self.of_company("/agents?limit=200")).await?;
        Ok(items(&agents).iter().map(|agent| (text(agent, "/id"), text(agent, "/name"))).collect())
    }

    /// The id of a task that is given by key or id.
    pub async fn task_id(&self, task: &str) -> Result<String, Failure> {
        if task.starts_with("tsk_") {
            return Ok(task.to_owned());
        }
        let found = self.client.get(&self.of_company(&format!("/tasks?key={}", percent_encoded(task)))).await?;
        match items(&found).first() {
            Some(task) => Ok(text(task, "/id")),
            None => Err(Failure::new(NOT_FOUND, format!("there is no task `{task}` in company `{}`", self.company))
                .hint("`wakeful task ls` lists them, `wakeful task add` makes one")),
        }
    }
}

/// Prints a completion script.
pub fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    clap_complete::generate(shell, &mut Arguments::command(), "wakeful", &mut std::io::stdout());
    Ok(())
}
