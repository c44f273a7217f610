//! What would have to change for a server to be as a configuration declares: three ways are compared, what is
//! declared now, what was declared when it was last applied, and how the object stands.

use std::fmt;

use serde_json::{Map, Value};

use super::declared::Declared;

/// Fields whose members are compared one by one; all others are replaced whole.
const DEEP: &[&str] = &["adapter", "heartbeat", "limits", "retry", "session"];

/// What is to be done about one object.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    Create,
    /// It is there under this id, and was not made by a configuration.
    Refuse {
        id: String,
    },
    /// It is there under this id; the configuration takes it over as it is declared.
    Adopt {
        id: String,
        patch: Map<String, Value>,
    },
    Change {
        id: String,
        patch: Map<String, Value>,
    },
    Same,
    /// A person has removed it: it stays so.
    Gone,
    /// It is declared no more.
    Remove {
        id: String,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Create => "create",
            Step::Refuse { .. } => "refuse",
            Step::Adopt { .. } => "adopt",
            Step::Change { .. } => "change",
            Step::Same => "same",
            Step::Gone => "gone",
            Step::Remove { .. } => "remove",
        })
    }
}

/// How an object that was declared before is to change, given how it stands; `None` for one that is gone.
pub fn step(declared: &Declared, before: &Map<String, Value>, id: &str, object: Option<&Value>) -> Step {
    let Some(object) = object else { return Step::Gone };
    let patch = patch(&declared.spec, before, object);
    match patch.is_empty() {
        true => Step::Same,
        false => Step::Change { id: id.to_owned(), patch },
    }
}

/// What has changed in the declaration, laid over how the object stands.
pub fn patch(now: &Map<String, Value>, before: &Map<String, Value>, object: &Value) -> Map<String, Value> {
    let mut patch = Map::new();
    for (field, value) in now {
        let was = before.get(field);
        // What does not say whether it is enabled is.
        let is_same = was == Some(value) || (field == "enabled" && was.is_none() && *value == Value::Bool(true));
        if is_same {
            continue;
        }
        let stands = object.get(field).filter(|_| DEEP.contains(&field.as_str()));
        patch.insert(field.clone(), merged(value, was, stands));
    }
    for (field, was) in before.iter().filter(|(field, _)| !now.contains_key(*field)) {
        match field.as_str() {
            "enabled" if *was == Value::Bool(true) => {}
            "enabled" => {
                patch.insert(field.clone(), Value::Bool(true));
            }
            _ => {
                patch.insert(field.clone(), Value::Null);
            }
        }
    }
    patch
}

/// What is declared otherwise than the object stands.
pub fn beyond(declared: &Map<String, Value>, object: &Value) -> Map<String, Value> {
    let differs = |(field, value): &(&String, &Value)| !object.get(*field).is_some_and(|stands| holds(stands, value));
    declared.iter().filter(differs).map(|(field, value)| (field.clone(), value.clone())).collect()
}

/// Whether all that is declared stands so; what is not declared may be anything.
fn holds(stands: &Value, declared: &Value) -> bool {
    match (stands, declared) {
        (Value::Object(stands), Value::Object(declared)) => {
            declared.iter().all(|(key, value)| stands.get(key).map_or(value.is_null(), |stands| holds(stands, value)))
        }
        (stands, declared) => stands == declared,
    }
}

/// A value as it is declared, where it differs from before; as it stands elsewhere.
fn merged(value: &Value, was: Option<&Value>, stands: Option<&Value>) -> Value {
    let (Value::Object(value), Some(Value::Object(stands))) = (value, stands) else { return value.clone() };
    let nothing = Map::new();
    let was = was.and_then(Value::as_object).unwrap_or(&nothing);
    let mut merged: Map<String, Value> = stands.clone();
    merged.retain(|_, value| !value.is_null());
    for key in was.keys().filter(|key| !value.contains_key(*key)) {
        merged.remove(key);
    }
    for (key, value) in value.iter().filter(|(key, value)| was.get(*key) != Some(value)) {
        // One of the two says when.
        match key.as_str() {
            "cron" => drop(merged.remove("every")),
            "every" => drop(merged.remove("cron")),
            _ => {}
        }
        merged.insert(key.clone(), value.clone());
    }
    Value::Object(merged)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(now: Value, before: Value, object: Value, expected: Value) {
        let map = |value: Value| value.as_object().cloned().unwrap();
        assert_eq!(Value::Object(patch(&map(now), &map(before), &object)), expected);
    }

    #[test]
    fn only_what_has_changed_in_the_declaration_changes() {
        let before = json!({ "title": "a", "heartbeat": { "enabled": true, "every": "30m" } });
        let by_hand = json!({ "title": "by hand", "heartbeat": { "enabled": false, "every": "30m", "cron": null } });
        check(before.clone(), before.clone(), by_hand.clone(), json!({}));
        let now = json!({ "title": "a", "heartbeat": { "enabled": true, "every": "10m" } });
        let expected = json!({ "heartbeat": { "enabled": false, "every": "10m" } });
        check(now, before.clone(), by_hand.clone(), expected);
        let without = json!({ "heartbeat": { "enabled": true } });
        check(without, before, by_hand, json!({ "title": null, "heartbeat": { "enabled": false } }));
    }

    #[test]
    fn whether_a_schedule_is_enabled_changes_only_if_it_is_said_otherwise() {
        check(json!({}), json!({ "enabled": true }), json!({}), json!({}));
        check(json!({ "enabled": true }), json!({}), json!({}), json!({}));
        check(json!({}), json!({ "enabled": false }), json!({}), json!({ "enabled": true }));
        check(json!({ "enabled": false }), json!({}), json!({}), json!({ "enabled": false }));
        let stands = json!({ "heartbeat": { "enabled": true, "every": "30m" } });
        let now = json!({ "heartbeat": { "enabled": true, "cron": "0 * * * *" } });
        check(now.clone(), json!({ "heartbeat": { "enabled": true } }), stands, now);
    }

    #[test]
    fn what_has_several_forms_is_replaced_whole() {
        let before = json!({ "trigger": { "every": "5m" } });
        let stands = json!({ "trigger": { "every": "5m", "cron": null } });
        let now = json!({ "trigger": { "cron": "@daily" } });
        check(now.clone(), before, stands, now);
    }
}
