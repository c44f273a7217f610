//! The JSON Schema of the file: made from what reads it, the table of settings and the requests of the API. What
//! stands within `adapter`, `target` and their like is only said to be a table there; `wakeful check` knows it.

use serde_json::{Map, Value, json};
use wakeful_api::checks::Made;

use super::declared::{ACTION, HEARTBEAT, own_keys};
use super::settings::{of_section, sections};

/// The schema, for editors and other programs.
pub fn schema() -> Value {
    let mut properties = Map::new();
    let name = "Tells what this file has made from what other configurations have";
    properties.insert("configuration".into(), json!({ "type": "string", "description": name, "default": "wakeful" }));
    for section in sections() {
        properties.insert(section.into(), section_schema(section));
    }
    for (list, made) in [
        ("companies", Made::Company),
        ("agents", Made::Agent),
        ("channels", Made::Channel),
        ("schedules", Made::Schedule),
    ] {
        properties.insert(list.into(), json!({ "type": "array", "items": declared_schema(made) }));
    }
    let heartbeat = table(HEARTBEAT.iter().map(|key| ((*key).to_owned(), heartbeat_key(key))).collect(), &[]);
    properties.insert("heartbeat".into(), json!({ "anyOf": [heartbeat, { "type": "array", "items": heartbeat }] }));
    let mut schema = table(properties, &[]);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("wakeful.toml");
    schema
}

fn table(properties: Map<String, Value>, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn section_schema(section: &str) -> Value {
    let one = |setting: &super::settings::Setting| {
        let mut schema = setting.kind.schema();
        let (says, unset) = (setting.says, &setting.unset);
        let changes = if setting.changes_while_running { "" } else { " Takes a restart." };
        schema["description"] = json!(format!("{says}. By default: {unset}.{changes}"));
        (setting.key.to_owned(), schema)
    };
    table(of_section(section).map(one).collect(), &[])
}

/// What makes one of a kind, and the keys that only a declaration has.
fn declared_schema(made: Made) -> Value {
    let mut schema = json!(made.schema());
    for key in own_keys(made) {
        schema["properties"][key] = own_key(key);
    }
    schema
}

/// A key that a declaration has beside the fields of the request, or that a heartbeat has.
fn own_key(key: &str) -> Value {
    match key {
        "company" => json!({ "type": "string", "description": "Slug of its company.", "default": "default" }),
        "enabled" => json!({ "type": "boolean", "description": "false lets it rest.", "default": true }),
        _ => json!({ "type": "string" }),
    }
}

fn heartbeat_key(key: &str) -> Value {
    match key {
        "actions" => {
            let action = table(ACTION.iter().map(|key| ((*key).to_owned(), action_key(key))).collect(), &["name"]);
            json!({ "type": "array", "items": action })
        }
        _ => own_key(key),
    }
}

fn action_key(key: &str) -> Value {
    match key {
        "config" => json!({ "type": "object" }),
        "schedule" => json!({ "type": "string", "description": "A cron pattern, or a period as 10m." }),
        _ => own_key(key),
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::config::declared::read;
    use crate::config::document::Node;

    fn documents() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
    }

    /// What the schema says of a text, beside what `wakeful check` says.
    fn judged(name: &str, text: &str) -> (Vec<String>, Vec<String>) {
        let validator = jsonschema::validator_for(&schema()).unwrap();
        let document = Node::parse(Path::new(name), text).unwrap().to_json();
        let by_schema = validator.iter_errors(&document).map(|error| format!("{} {error}", error.instance_path()));
        let checked = read(Path::new(name), text).err().unwrap_or_default();
        (by_schema.collect(), checked.iter().map(ToString::to_string).collect())
    }

    /// A file with every key that there is.
    const WHOLE: &str = include_str!("whole.toml");

    #[test]
    fn a_file_with_every_key_is_valid_for_the_schema_and_for_what_reads_it() {
        assert_eq!(judged("whole.toml", WHOLE), (vec![], vec![]));
        let whole = Node::parse(Path::new("whole.toml"), WHOLE).unwrap().to_json();
        let schema = schema();
        let keys =
            |table: &Value| table.as_object().unwrap().keys().cloned().collect::<std::collections::BTreeSet<_>>();
        assert_eq!(keys(&schema["properties"]), keys(&whole), "a section is missing in whole.toml");
        for section in sections() {
            assert_eq!(keys(&schema["properties"][section]["properties"]), keys(&whole[section]), "{section}");
        }
        for list in ["companies", "agents", "channels", "schedules"] {
            assert_eq!(keys(&schema["properties"][list]["items"]["properties"]), keys(&whole[list][0]), "{list}");
        }
        let heartbeat = &schema["properties"]["heartbeat"]["anyOf"][0]["properties"];
        assert_eq!(keys(heartbeat), keys(&whole["heartbeat"]));
        let action = &heartbeat["actions"]["items"]["properties"];
        assert_eq!(keys(action), keys(&whole["heartbeat"]["actions"][0]));
    }

    #[test]
    fn what_the_schema_refuses_is_refused_by_what_reads_the_file() {
        for text in [
            "[server]\nlissten = \"a:1\"\n",
            "[server]\nmax_live_runs = -1\n",
            "[limits]\nmin_free_disk_mb = \"much\"\n",
            "server = 5\n",
            "[[agents]]\nname = \"ann\"\n",
            "[[agents]]\nname = \"ann\"\nadaptr = 1\n",
            "[[schedules]]\nname = \"s\"\nenabled = 1\ntarget = { wake = { agent = \"ann\" } }\n",
            "[heartbeat]\nactions = [{ schedule = \"1h\" }]\n",
        ] {
            let (by_schema, checked) = judged("bad.toml", text);
            assert!(!by_schema.is_empty() && !checked.is_empty(), "{text}: {by_schema:?} {checked:?}");
        }
    }

    #[test]
    fn every_example_of_the_documents_is_valid() {
        let mut count = 0;
        for folder in ["concepts", "reference"] {
            for entry in std::fs::read_dir(documents().join(folder)).unwrap() {
                let path = entry.unwrap().path();
                let text = std::fs::read_to_string(&path).unwrap();
                for example in text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
                    assert_eq!(judged("example.toml", example), (vec![], vec![]), "{}:\n{example}", path.display());
                    count += 1;
                }
            }
        }
        assert!(count > 0, "no example was found");
    }

    #[test]
    fn the_published_schema_is_the_one_that_is_printed() {
        let path = documents().join("reference/wakeful.schema.json");
        let published = std::fs::read_to_string(path).unwrap_or_default();
        let printed = serde_json::to_string_pretty(&schema()).unwrap();
        let is_same = published.trim_end() == printed;
        assert!(is_same, "write it: wakeful config schema > docs/reference/wakeful.schema.json");
    }
}
