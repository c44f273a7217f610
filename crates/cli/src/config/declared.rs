//! What a configuration declares, and every mistake in it, each with its place.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value, json};
use wakeful_api::checks::Made;
use wakeful_domain::schedule::Zone;
use wakeful_domain::time::{Timestamp, parse_duration};

use super::document::{Content, Mistake, Node, Placed};
use super::settings::{self, Written};

/// What stands at the top, beside the settings of the server.
const SECTIONS: &[&str] = &["configuration", "companies", "agents", "channels", "schedules", "heartbeat"];
/// What a configuration is called that does not say.
const NAME_DEFAULT: &str = "wakeful";
/// Of `[heartbeat]`, and of each of its actions.
pub const HEARTBEAT: &[&str] = &["enabled", "company", "actions"];
pub const ACTION: &[&str] = &["name", "schedule", "time_zone", "agent", "config", "enabled"];
/// Where what names none belongs.
const COMPANY_DEFAULT: &str = "default";
/// Before everything that a configuration may name.
const LONG_AGO: Timestamp = Timestamp::from_millis(0);
/// In the place of an agent that only the store knows.
const SOME_AGENT: &str = "agt_00000000000000000000000000";

/// Something that is to be there.
#[derive(Debug, Clone, PartialEq)]
pub struct Declared {
    /// The slug of its company; of a company its own.
    pub company: String,
    pub made: Made,
    pub name: String,
    /// The request that makes it, agents by their names; and `enabled` of a schedule.
    pub spec: Map<String, Value>,
}

/// What a file says.
#[derive(Debug, Clone, PartialEq)]
pub struct Configuration {
    /// Tells what it has made from what other configurations have.
    pub name: String,
    pub declared: Vec<Declared>,
    /// Of the server itself.
    pub settings: Vec<Written>,
}

/// Reads a configuration; or says every mistake in it. What lies in the past is none: it was made when it did not.
pub fn read(file: &Path, text: &str) -> Result<Configuration, Vec<Placed>> {
    let placed = |mut mistakes: Vec<Mistake>| {
        mistakes.sort_by_key(|mistake| mistake.at);
        mistakes.iter().map(|mistake| mistake.placed(file, text)).collect::<Vec<_>>()
    };
    let root = Node::parse(file, text).map_err(placed)?;
    let mut reader = Reader { declared: Vec::new(), mistakes: Vec::new(), seen: BTreeSet::new() };
    reader.root(&root);
    let settings = reader.settings(&root);
    let name = reader.text(&root, "configuration").unwrap_or_else(|| NAME_DEFAULT.to_owned());
    if !reader.mistakes.is_empty() {
        return Err(placed(reader.mistakes));
    }
    let written = |(name, value, at): (String, Value, usize)| {
        let Placed { file, line, .. } = Mistake::new(at, "").placed(file, text);
        Written { name, value, place: format!("{file}:{line}") }
    };
    Ok(Configuration { name, declared: reader.declared, settings: settings.into_iter().map(written).collect() })
}

struct Reader {
    declared: Vec<Declared>,
    mistakes: Vec<Mistake>,
    seen: BTreeSet<(Made, String, String)>,
}

impl Reader {
    fn root(&mut self, root: &Node) {
        let known: Vec<&str> = SECTIONS.iter().copied().chain(settings::sections()).collect();
        self.unknown(root, &known);
        let sections = [
            ("companies", Made::Company),
            ("agents", Made::Agent),
            ("channels", Made::Channel),
            ("schedules", Made::Schedule),
        ];
        for (section, made) in sections {
            self.is_list(root, section);
            for node in root.list(section) {
                self.object(made, node);
            }
        }
        match root.entry("heartbeat").map(|entry| &entry.value) {
            Some(heartbeat @ Node { content: Content::Table(_), .. }) => self.heartbeat(heartbeat),
            Some(Node { content: Content::List(many), .. }) => many.iter().for_each(|one| self.heartbeat(one)),
            Some(other) => self.mistakes.push(Mistake::new(other.at, "`heartbeat` must be a table")),
            None => {}
        }
    }

    fn is_list(&mut self, node: &Node, key: &str) {
        if let Some(entry) = node.entry(key)
            && !matches!(entry.value.content, Content::List(_))
        {
            let told = format!("`{key}` must be a list: write `[[{key}]]` before each");
            self.mistakes.push(Mistake::new(entry.at, told));
        }
    }

    fn unknown(&mut self, node: &Node, known: &[&str]) {
        self.mistakes.extend(node.unknown_keys(known));
    }

    /// The sections of the server itself.
    fn settings(&mut self, root: &Node) -> Vec<(String, Value, usize)> {
        let mut said = Vec::new();
        for section in settings::sections() {
            let Some(entry) = root.entry(section) else { continue };
            if !matches!(entry.value.content, Content::Table(_)) {
                let told = format!("`{section}` must be a table: write `[{section}]` above its keys");
                self.mistakes.push(Mistake::new(entry.at, told));
                continue;
            }
            self.unknown(&entry.value, &settings::keys(section));
            for setting in settings::of_section(section) {
                let Some(key) = entry.value.entry(setting.key) else { continue };
                match setting.kind.checked(&key.value.to_json()) {
                    Ok(value) => said.push((setting.name(), value, key.at)),
                    Err(told) => self.mistakes.push(Mistake::new(key.at, format!("`{}` {told}", setting.name()))),
                }
            }
        }
        said
    }

    fn company_of(&mut self, node: &Node) -> String {
        self.text(node, "company").unwrap_or_else(|| COMPANY_DEFAULT.to_owned())
    }

    /// The text under a key, if there is one; anything else is a mistake.
    fn text(&mut self, node: &Node, key: &str) -> Option<String> {
        let entry = node.entry(key)?;
        let text = node.text(key).map(str::to_owned);
        if text.is_none() {
            self.mistakes.push(Mistake::new(entry.at, format!("`{key}` must be a text")));
        }
        text
    }

    fn object(&mut self, made: Made, node: &Node) {
        let fields = made.fields();
        let known: Vec<&str> = fields.iter().map(String::as_str).chain(own_keys(made).iter().copied()).collect();
        let count = self.mistakes.len();
        self.unknown(node, &known);
        let Value::Object(mut spec) = node.to_json() else {
            self.mistakes.push(Mistake::new(node.at, "must be a table"));
            return;
        };
        spec.remove("company");
        let name = spec.get(if made == Made::Company { "slug" } else { "name" }).and_then(Value::as_str);
        let Some(name) = name.map(str::to_owned) else {
            let key = if made == Made::Company { "slug" } else { "name" };
            self.mistakes.push(Mistake::new(node.place_of(key), format!("needs a `{key}`, a text")));
            return;
        };
        let company = if made == Made::Company { name.clone() } else { self.company_of(node) };
        let declared = Declared { company, made, name, spec };
        // What is not known would be said twice.
        if self.mistakes.len() == count {
            self.check(&declared, |field| node.place_of(field));
        }
        self.take(declared, node.at);
    }

    /// Says what the server would say.
    fn check(&mut self, declared: &Declared, place_of: impl Fn(&str) -> usize) {
        let mut request = declared.spec.clone();
        if let Some(enabled) = request.remove("enabled").filter(|enabled| !enabled.is_boolean()) {
            let told = format!("`enabled` is {enabled}: it must be true or false");
            self.mistakes.push(Mistake::new(place_of("enabled"), told));
        }
        let mut request = Value::Object(request);
        each_agent(&mut request, |agent| *agent = SOME_AGENT.to_owned());
        for error in declared.made.mistakes(&request, &Zone::utc(), LONG_AGO) {
            let told = format!("`{}` {}", error.field, error.message);
            self.mistakes.push(Mistake::new(place_of(&error.field), told));
        }
    }

    fn take(&mut self, declared: Declared, at: usize) {
        let key = (declared.made, declared.company.clone(), declared.name.clone());
        match self.seen.insert(key) {
            true => self.declared.push(declared),
            false => {
                let told = format!("there is a {} `{}` already", noun(declared.made), declared.name);
                self.mistakes.push(Mistake::new(at, told));
            }
        }
    }

    fn heartbeat(&mut self, node: &Node) {
        self.unknown(node, HEARTBEAT);
        self.is_list(node, "actions");
        let company = self.company_of(node);
        let is_enabled = match node.entry("enabled").map(|entry| &entry.value.content) {
            None | Some(Content::Scalar(Value::Bool(true))) => true,
            Some(Content::Scalar(Value::Bool(false))) => false,
            Some(_) => {
                self.mistakes.push(Mistake::new(node.place_of("enabled"), "`enabled` must be true or false"));
                true
            }
        };
        for action in node.list("actions") {
            self.action(action, &company, is_enabled);
        }
    }

    fn action(&mut self, node: &Node, company: &str, is_enabled: bool) {
        self.unknown(node, ACTION);
        let Some(action) = node.text("name") else {
            self.mistakes.push(Mistake::new(node.place_of("name"), "needs a `name`, a text"));
            return;
        };
        let (agent, schedule) = (self.text(node, "agent"), self.text(node, "schedule"));
        let time_zone = self.text(node, "time_zone");
        if time_zone.is_some() && schedule.as_deref().is_none_or(|schedule| parse_duration(schedule).is_ok()) {
            self.mistakes
                .push(Mistake::new(node.place_of("time_zone"), "`time_zone` needs a `schedule` that is a pattern"));
        }
        let mut target = json!({ "name": action });
        for key in ["agent", "config"] {
            if let Some(entry) = node.entry(key) {
                target[key] = entry.value.to_json();
            }
        }
        let name = agent.map_or_else(|| action.to_owned(), |agent| format!("{action} for {agent}"));
        let mut spec = Map::from_iter([
            ("name".into(), json!(name)),
            ("target".into(), json!({ "action": target })),
            ("enabled".into(), node.entry("enabled").map_or(json!(true), |entry| entry.value.to_json())),
        ]);
        if !is_enabled {
            spec.insert("enabled".into(), json!(false));
        }
        if let Some(schedule) = schedule {
            let trigger = match (parse_duration(&schedule), time_zone) {
                (Ok(_), _) => json!({ "every": schedule }),
                (Err(_), None) => json!({ "cron": schedule }),
                (Err(_), Some(time_zone)) => json!({ "cron": schedule, "time_zone": time_zone }),
            };
            spec.insert("trigger".into(), trigger);
        }
        let declared = Declared { company: company.to_owned(), made: Made::Schedule, name, spec };
        self.check(&declared, |field| {
            let own = field.strip_prefix("target.action.").unwrap_or(field);
            node.place_of(if own.starts_with("trigger") { "schedule" } else { own })
        });
        self.take(declared, node.at);
    }
}

/// What a declaration has beside the fields of the request that makes its object.
pub fn own_keys(made: Made) -> &'static [&'static str] {
    match made {
        Made::Company => &[],
        Made::Agent | Made::Channel => &["company"],
        Made::Schedule => &["company", "enabled"],
    }
}

/// Its kind in words.
pub fn noun(made: Made) -> &'static str {
    match made {
        Made::Company => "company",
        Made::Agent => "agent",
        Made::Channel => "channel",
        Made::Schedule => "schedule",
    }
}

/// Every place of a request where an agent is named: in the target of a schedule, and in the filter of a channel.
pub fn each_agent(request: &mut Value, mut name: impl FnMut(&mut String)) {
    for place in ["/target/wake/agent", "/target/task/assignee", "/target/action/agent"] {
        if let Some(Value::String(agent)) = request.pointer_mut(place) {
            name(agent);
        }
    }
    if let Some(Value::Array(agents)) = request.pointer_mut("/filter/agents") {
        for agent in agents {
            if let Value::String(agent) = agent {
                name(agent);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<String> {
        let mistakes = read(Path::new("w.toml"), text).unwrap_err();
        mistakes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_heartbeat_section_declares_actions_in_both_forms() {
        let toml = r#"
            [heartbeat]
            enabled = true
            actions = [
              { name = "task-scan", schedule = "*/5 * * * *", agent = "ann", config = { min_reward = 100 } },
              { name = "daily-summary", schedule = "12h" },
            ]
        "#;
        let json = r#"{"heartbeat": {"enabled": true, "actions": [
            {"name": "task-scan", "schedule": "*/5 * * * *", "agent": "ann", "config": {"min_reward": 100}},
            {"name": "daily-summary", "schedule": "12h"}]}}"#;
        let configuration = read(Path::new("w.toml"), toml).unwrap();
        assert_eq!(read(Path::new("w.json"), json).unwrap(), configuration);
        let declared = configuration.declared;
        assert_eq!(declared[0].name, "task-scan for ann");
        assert_eq!(declared[0].spec["trigger"]["cron"], "*/5 * * * *");
        assert_eq!(declared[0].spec["target"]["action"]["config"], json!({ "min_reward": 100 }));
        assert_eq!(declared[1].spec["trigger"], json!({ "every": "12h" }));
    }

    #[test]
    fn a_time_that_has_passed_is_no_mistake_since_it_had_not_when_it_was_declared() {
        let text = "[[schedules]]\nname = \"once\"\ntrigger = { at = \"2020-01-01T00:00:00Z\" }\n\
            target = { wake = { agent = \"ann\" } }\n";
        assert_eq!(read(Path::new("w.toml"), text).unwrap().declared.len(), 1);
        assert_eq!(
            told("company = 5\n[[agents]]\ncompany = 5\nname = \"a\"\n")[1],
            "w.toml:3:1: `company` must be a text"
        );
    }

    #[test]
    fn every_mistake_is_said_in_one_pass_with_its_place_and_what_is_meant() {
        let text = r#"
[[agents]]
name = "ann"
adaptr = { type = "process", command = "true" }

[[agents]]
name = "ben"
adapter = { type = "process", command = 3 }

[[schedules]]
name = "nightly"
trigger = { cron = "0 25 * * *" }
target = { wake = { agent = "ann" } }

[hartbeat]
[[agents]]
name = "cid"
adapter = { type = "process", command = "true" }
[[agents]]
name = "cid"
adapter = { type = "process", command = "true" }
"#;
        let told = told(text);
        assert_eq!(told.len(), 5, "{told:#?}");
        assert_eq!(told[0], "w.toml:4:1: unknown key `adaptr`: did you mean `adapter`?");
        assert!(told[1].starts_with("w.toml:8:31: `adapter.command` "), "{told:#?}");
        assert!(told[2].starts_with("w.toml:12:13: `trigger.cron` "), "{told:#?}");
        assert_eq!(told[3], "w.toml:15:2: unknown key `hartbeat`: did you mean `heartbeat`?");
        assert_eq!(told[4], "w.toml:19:1: there is a agent `cid` already");
    }
}
