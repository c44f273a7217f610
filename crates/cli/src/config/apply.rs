//! Brings a server in line with a configuration, through its API like any other client. What it makes is noted
//! there, so that it takes away only what it made.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use wakeful_api::checks::Made;
use wakeful_domain::schedule::{Action, CatchUp, Overlap};
use wakeful_domain::url::percent_encoded;
use wakeful_domain::{agent, company};

use super::declared::{Configuration, Declared, each_agent, noun};
use super::plan::{self, Step};
use crate::client::Client;
use crate::failure::{Failure, NOT_FOUND};
use crate::output::{items, text};

/// What is done about one object.
#[derive(Debug, Clone, PartialEq)]
pub struct Act {
    pub company: String,
    pub made: Made,
    pub name: String,
    pub step: Step,
}

/// How a configuration is applied.
#[derive(Debug, Clone, Copy, Default)]
pub struct Manner {
    /// Says what would be done, and does nothing.
    pub is_dry: bool,
    /// Takes over what is there under a declared name.
    pub adopts: bool,
}

impl Act {
    /// A line for people; nothing for what stays as it is.
    pub fn said(&self) -> Option<String> {
        let what = format!("{} {}", noun(self.made), self.name);
        let fields = |patch: &Map<String, Value>| patch.keys().cloned().collect::<Vec<_>>().join(", ");
        match &self.step {
            Step::Same => None,
            Step::Create => Some(format!("+ {what}")),
            Step::Adopt { .. } => Some(format!("+ {what}, taken over")),
            Step::Change { patch, .. } => Some(format!("~ {what}: {}", fields(patch))),
            Step::Remove { .. } => Some(format!("- {what}")),
            Step::Gone => Some(format!("! {what}: a person has removed it, and it stays so")),
            Step::Refuse { .. } => Some(format!(
                "! {what}: is there already, and was not made by a configuration: give another name, or take it over \
                 with `wakeful apply --adopt`"
            )),
        }
    }

    pub fn to_json(&self) -> Value {
        let fields: Vec<&String> = match &self.step {
            Step::Change { patch, .. } | Step::Adopt { patch, .. } => patch.keys().collect(),
            _ => Vec::new(),
        };
        json!({ "company": self.company, "kind": noun(self.made), "name": self.name, "step": self.step.to_string(), "fields": fields })
    }
}

/// Something that a configuration has made before.
struct Known {
    /// What that configuration calls itself.
    by: String,
    id: String,
    spec: Map<String, Value>,
}

/// Makes, changes and removes what the configuration asks for, or says what it would do. It looks at the companies
/// that it mentions, and removes there only what it made itself.
pub async fn apply(client: &Client, configuration: &Configuration, manner: Manner) -> Result<Vec<Act>, Failure> {
    let declared = &configuration.declared;
    let mut acts = Vec::new();
    let mentioned: BTreeSet<&String> = declared.iter().map(|declared| &declared.company).collect();
    let mut there: BTreeSet<String> = BTreeSet::new();
    for company in &mentioned {
        if object(client, Made::Company, company, "").await?.is_some() {
            there.insert((*company).clone());
        }
    }
    let mut planned = BTreeSet::new();
    for company in declared.iter().filter(|declared| declared.made == Made::Company) {
        let is_there = there.contains(&company.company);
        let known = known(client, &company.company, is_there).await?;
        let site = Site { client, known: &known, by: &configuration.name, is_there, manner };
        acts.push(site.one(company).await?);
        if manner.is_dry && !is_there {
            planned.insert(company.company.clone());
        } else {
            there.insert(company.company.clone());
        }
    }
    let is_nowhere = |declared: &&Declared| !there.contains(&declared.company) && !planned.contains(&declared.company);
    if let Some(Declared { company, name, made, .. }) = declared.iter().find(is_nowhere) {
        let told = format!("there is no company `{company}`, to which the {} `{name}` is to belong", noun(*made));
        return Err(Failure::new(NOT_FOUND, told).hint("declare it in `[[companies]]`, or leave `company` out"));
    }
    for company in mentioned {
        let is_there = there.contains(company);
        let known = known(client, company, is_there).await?;
        let own: Vec<&Declared> = declared.iter().filter(|declared| declared.company == *company).collect();
        let site = Site { client, known: &known, by: &configuration.name, is_there, manner };
        for made in [Made::Agent, Made::Channel, Made::Schedule] {
            for declared in own.iter().filter(|declared| declared.made == made) {
                acts.push(site.one(declared).await?);
            }
        }
        // What depends on others goes first.
        for made in [Made::Schedule, Made::Channel, Made::Agent] {
            let is_declared = |name: &str| own.iter().any(|declared| declared.made == made && declared.name == name);
            let made_before = known.iter().filter(|((kind, name), object)| {
                kind == noun(made) && object.by == configuration.name && !is_declared(name)
            });
            for ((_, name), object) in made_before {
                let step = Step::Remove { id: object.id.clone() };
                let act = Act { company: company.clone(), made, name: name.clone(), step };
                if !manner.is_dry {
                    remove(client, &act, &object.id).await?;
                }
                acts.push(act);
            }
        }
    }
    Ok(acts)
}

fn key(declared: &Declared) -> (String, String) {
    (noun(declared.made).to_owned(), declared.name.clone())
}

fn of_company(company: &str, path: &str) -> String {
    format!("/api/v1/companies/{}{path}", percent_encoded(company))
}

/// The list below its company that an object stands in; none for a company.
fn list_of(made: Made) -> Option<&'static str> {
    match made {
        Made::Company => None,
        Made::Agent => Some("agents"),
        Made::Channel => Some("channels"),
        Made::Schedule => Some("schedules"),
    }
}

fn path_of(made: Made, company: &str, id: &str) -> String {
    match list_of(made) {
        None => of_company(company, ""),
        Some(list) => format!("/api/v1/{list}/{id}"),
    }
}

/// What was made in a company before.
async fn known(client: &Client, company: &str, is_there: bool) -> Result<BTreeMap<(String, String), Known>, Failure> {
    if !is_there {
        return Ok(BTreeMap::new());
    }
    let found = client.get(&of_company(company, "/declarations")).await?;
    let read = |declared: &Value| {
        let spec = declared.get("spec").and_then(Value::as_object).cloned().unwrap_or_default();
        let (by, id) = (text(declared, "/configuration"), text(declared, "/id"));
        ((text(declared, "/kind"), text(declared, "/name")), Known { by, id, spec })
    };
    Ok(items(&found).iter().map(read).collect())
}

/// A company, seen by one configuration.
struct Site<'a> {
    client: &'a Client,
    known: &'a BTreeMap<(String, String), Known>,
    /// What the configuration calls itself.
    by: &'a str,
    is_there: bool,
    manner: Manner,
}

impl Site<'_> {
    /// Decides about one object, and does it.
    async fn one(&self, declared: &Declared) -> Result<Act, Failure> {
        let step = self.step(declared).await?;
        if !self.manner.is_dry {
            carry_out(self.client, declared, self.by, &step).await?;
        }
        Ok(Act { company: declared.company.clone(), made: declared.made, name: declared.name.clone(), step })
    }

    async fn step(&self, declared: &Declared) -> Result<Step, Failure> {
        let known = self.known.get(&key(declared));
        if let Some(known) = known.filter(|known| known.by == self.by) {
            let object = object(self.client, declared.made, &declared.company, &known.id).await?;
            let step = plan::step(declared, &known.spec, &known.id, object.as_ref());
            // What a person has removed may have been made again by hand.
            if step != Step::Gone || !self.manner.adopts {
                return Ok(step);
            }
        }
        if !self.is_there {
            return Ok(Step::Create);
        }
        let Some(object) = named(self.client, declared).await? else {
            return Ok(if known.is_some() { Step::Gone } else { Step::Create });
        };
        let (spec, enabled) = request(self.client, &declared.company, declared.spec.clone()).await?;
        let mut patch = plan::beyond(spec.as_object().unwrap_or(&Map::new()), &object);
        let is_resting = text(&object, "/state") == "paused";
        if let Some(enabled) = enabled.filter(|enabled| *enabled == is_resting) {
            patch.insert("enabled".into(), Value::Bool(enabled));
        }
        let id = text(&object, "/id");
        // One that is just as it is declared is what a crash has left, or might as well be.
        let adopts = self.manner.adopts || (patch.is_empty() && known.is_none());
        Ok(if adopts { Step::Adopt { id, patch } } else { Step::Refuse { id } })
    }
}

/// How an object stands; `None` if it is gone.
async fn object(client: &Client, made: Made, company: &str, id: &str) -> Result<Option<Value>, Failure> {
    match client.get(&path_of(made, company, id)).await {
        Ok(object) => Ok((text(&object, "/state") != "terminated").then_some(object)),
        Err(failure) if failure.code == NOT_FOUND => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// The object that has a declared name, whoever made it.
async fn named(client: &Client, declared: &Declared) -> Result<Option<Value>, Failure> {
    let Some(list) = list_of(declared.made) else {
        return object(client, Made::Company, &declared.company, "").await;
    };
    let path = of_company(&declared.company, &format!("/{list}?name={}", percent_encoded(&declared.name)));
    Ok(items(&client.get(&path).await?).first().cloned())
}

async fn carry_out(client: &Client, declared: &Declared, by: &str, step: &Step) -> Result<(), Failure> {
    let id = match step {
        Step::Same | Step::Gone | Step::Refuse { .. } | Step::Remove { .. } => return Ok(()),
        Step::Create => {
            let list = match list_of(declared.made) {
                None => "/api/v1/companies".to_owned(),
                Some(list) => of_company(&declared.company, &format!("/{list}")),
            };
            let (request, enabled) = request(client, &declared.company, declared.spec.clone()).await?;
            let made = client.post(&list, &request).await.map_err(|failure| about(declared, failure))?;
            let id = text(&made, "/id");
            if enabled == Some(false) {
                enable(client, &id, false).await?;
            }
            id
        }
        Step::Change { id, patch } | Step::Adopt { id, patch } => {
            change(client, declared, id, patch).await.map_err(|failure| about(declared, failure))?;
            id.clone()
        }
    };
    let note = json!({
        "kind": noun(declared.made),
        "name": declared.name,
        "configuration": by,
        "id": id,
        "spec": declared.spec,
    });
    client.put(&of_company(&declared.company, "/declarations"), &note).await.map(|_| ())
}

async fn change(client: &Client, declared: &Declared, id: &str, patch: &Map<String, Value>) -> Result<(), Failure> {
    let (mut request, enabled) = request(client, &declared.company, patch.clone()).await?;
    let path = path_of(declared.made, &declared.company, id);
    if let Some(fields) = request.as_object_mut() {
        fields.remove("slug");
        // What is said no more is as if it had never been said.
        for (field, value) in fields.iter_mut().filter(|(_, value)| value.is_null()) {
            *value = default_of(declared, field);
        }
    }
    if request.as_object().is_some_and(|fields| !fields.is_empty()) {
        client.patch(&path, &request).await?;
    }
    match enabled {
        Some(enabled) => enable(client, id, enabled).await,
        None => Ok(()),
    }
}

/// What a field is when nothing is said; null where a change takes that for nothing.
fn default_of(declared: &Declared, field: &str) -> Value {
    match (declared.made, field) {
        (Made::Agent, "heartbeat" | "limits" | "retry" | "session") => json!({}),
        (Made::Agent, "capabilities") => json!([]),
        (Made::Agent, "max_concurrent_runs") => json!(agent::MAX_CONCURRENT_RUNS_DEFAULT),
        (Made::Company, "max_concurrent_runs") => json!(company::MAX_CONCURRENT_RUNS_DEFAULT),
        (Made::Company, "max_runs_per_root_hour") => json!(company::MAX_RUNS_PER_ROOT_HOUR_DEFAULT),
        (Made::Company, "time_zone") => json!("UTC"),
        (Made::Schedule, "overlap") => json!(Overlap::default()),
        (Made::Schedule, "catch_up") => json!(CatchUp::default()),
        (Made::Schedule, "trigger") => {
            let action = declared.spec.get("target").and_then(|target| target.pointer("/action/name"));
            let name = action.and_then(Value::as_str).unwrap_or_default().to_owned();
            let action = Action { name, agent: None, config: None };
            action.cron_default().map_or(Value::Null, |cron| json!({ "cron": cron }))
        }
        _ => Value::Null,
    }
}

/// Lets a schedule rest, or fire again. One that is disabled stays so: only a person's word changes that.
async fn enable(client: &Client, schedule: &str, enabled: bool) -> Result<(), Failure> {
    let stands = client.get(&format!("/api/v1/schedules/{schedule}")).await?;
    if text(&stands, "/state") == "disabled" {
        return Ok(());
    }
    let (verb, body) = match enabled {
        true => ("resume", json!({})),
        false => ("pause", json!({ "note": "not enabled in the configuration" })),
    };
    client.post(&format!("/api/v1/schedules/{schedule}/{verb}"), &body).await.map(|_| ())
}

/// A request with agents by their ids; and whether a schedule is to be enabled, if that is said.
async fn request(
    client: &Client,
    company: &str,
    mut fields: Map<String, Value>,
) -> Result<(Value, Option<bool>), Failure> {
    let enabled = match fields.remove("enabled") {
        Some(Value::Bool(enabled)) => Some(enabled),
        Some(_) | None => None,
    };
    let mut request = Value::Object(fields);
    let mut names = Vec::new();
    each_agent(&mut request, |agent| names.push(agent.clone()));
    let mut ids = BTreeMap::new();
    for name in names.into_iter().filter(|name| !name.starts_with("agt_")) {
        let found = client.get(&of_company(company, &format!("/agents?name={}", percent_encoded(&name)))).await?;
        let id = items(&found).first().map(|agent| text(agent, "/id")).ok_or_else(|| {
            Failure::new(NOT_FOUND, format!("there is no agent `{name}` in company `{company}`"))
                .hint("declare it in `[[agents]]`, or make it with `wakeful agent add`")
        })?;
        ids.insert(name, id);
    }
    each_agent(&mut request, |agent| {
        if let Some(id) = ids.get(agent) {
            *agent = id.clone();
        }
    });
    Ok((request, enabled))
}

async fn remove(client: &Client, act: &Act, id: &str) -> Result<(), Failure> {
    match client.delete(&path_of(act.made, &act.company, id)).await {
        // A person was faster.
        Err(failure) if failure.code == NOT_FOUND => {}
        removed => removed?,
    }
    let query = format!("/declarations?kind={}&name={}", noun(act.made), percent_encoded(&act.name));
    client.delete(&of_company(&act.company, &query)).await
}

fn about(declared: &Declared, failure: Failure) -> Failure {
    Failure { message: format!("{} `{}`: {}", noun(declared.made), declared.name, failure.message), ..failure }
}
