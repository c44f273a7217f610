//! Which of what happens a subscription is about: equalities on the event's data, all of which must hold. A path
//! (`actor.type`) leads to a value; a list of values means one of them. `null` is what is absent or null.
//!
//! One equality of a filter is hashed, so that an event finds those that can match by the hashes of its own fields,
//! and does not have to look at all the others.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

const PATHS_MAX: usize = 16;
const PATH_BYTES_MAX: usize = 200;
const CHOICES_MAX: usize = 64;
const TEXT_BYTES_MAX: usize = 1_024;

/// The filter of a subscription; empty for all that happens.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Filter(Map<String, Value>);

impl Filter {
    /// What is wrong with it: the field, and what to do.
    pub fn problem(&self) -> Option<(String, String)> {
        if self.0.len() > PATHS_MAX {
            return Some(("filter".into(), format!("has {} paths; at most {PATHS_MAX} are allowed", self.0.len())));
        }
        self.0.iter().find_map(|(path, wanted)| {
            let field = || format!("filter.{}", path.chars().take(PATH_BYTES_MAX).collect::<String>());
            if path.len() > PATH_BYTES_MAX || path.split('.').any(str::is_empty) {
                let told = format!("is no path: names with `.` between them, at most {PATH_BYTES_MAX} bytes");
                return Some((field(), told));
            }
            let choices = match wanted {
                Value::Array(choices) => choices.as_slice(),
                one => std::slice::from_ref(one),
            };
            if choices.is_empty() || choices.len() > CHOICES_MAX {
                return Some((field(), format!("must list 1 to {CHOICES_MAX} values")));
            }
            let problem = choices.iter().find_map(|choice| match choice {
                Value::Array(_) | Value::Object(_) => {
                    Some("must be a text, a number, true, false or null, or a list of such values".to_owned())
                }
                Value::String(text) if text.len() > TEXT_BYTES_MAX => {
                    Some(format!("holds a text longer than {TEXT_BYTES_MAX} bytes"))
                }
                Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => None,
            });
            problem.map(|problem| (field(), problem))
        })
    }

    /// Whether it lets everything through.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it lets an event with this data through.
    pub fn lets_through(&self, data: &Map<String, Value>) -> bool {
        self.0.iter().all(|(path, wanted)| {
            let found = at(data, path).and_then(plain);
            match wanted {
                Value::Array(choices) => choices.iter().any(|choice| plain(choice) == found),
                one => plain(one) == found,
            }
        })
    }

    /// The hash that it is looked up by; 0 if it has to be looked at whatever happens.
    pub fn lookup_hash(&self) -> i64 {
        let single = self.0.iter().find(|(path, wanted)| !path.contains('.') && is_single(wanted));
        single.map_or(0, |(path, wanted)| hash_of(path, wanted))
    }
}

/// A list names several values, and null stands for a field that is not there.
fn is_single(wanted: &Value) -> bool {
    matches!(wanted, Value::String(_) | Value::Number(_) | Value::Bool(_))
}

/// The hash of a field at the top of an event's data; 0 for what no filter is looked up by.
pub fn hash_of(name: &str, value: &Value) -> i64 {
    let Some(text) = plain(value).filter(|_| is_single(value)) else { return 0 };
    let mut hash = Sha256::new();
    hash.update((name.len() as u64).to_le_bytes());
    hash.update(name);
    hash.update(text);
    let digest = hash.finalize();
    let hash = digest.iter().take(8).fold(0_i64, |sum, byte| (sum << 8) | i64::from(*byte));
    // 0 says that there is none.
    if hash == 0 { 1 } else { hash }
}

/// What a path leads to.
fn at<'a>(data: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    let mut names = path.split('.');
    let first = data.get(names.next()?)?;
    names.try_fold(first, |value, name| value.as_object()?.get(name))
}

/// Equal values give equal texts: 1 and 1.0 are the same number. Absent for null, and for what no filter names.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Bool(claim) => Some(format!("b{claim}")),
        Value::String(text) => Some(format!("s{text}")),
        Value::Number(number) => Some(match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => format!("n{whole}"),
            (None, Some(real)) if real.fract() == 0.0 && real.abs() < 9e15 => format!("n{}", real as i64),
            (None, _) => format!("n{number}"),
        }),
        Value::Array(_) | Value::Object(_) => Some("x".into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filter(value: Value) -> Filter {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn all_equalities_must_hold() {
        let check = |wanted: Value, data: Value, expected: bool| {
            assert_eq!(filter(wanted.clone()).lets_through(data.as_object().unwrap()), expected, "{wanted} {data}");
        };
        check(json!({}), json!({ "a": 1 }), true);
        check(json!({ "a": 1 }), json!({ "a": 1 }), true);
        check(json!({ "a": 1 }), json!({ "a": 1.0 }), true);
        check(json!({ "a": 1 }), json!({ "a": "1" }), false);
        check(json!({ "a": 1 }), json!({}), false);
        check(json!({ "a": null }), json!({}), true);
        check(json!({ "a": null }), json!({ "a": null }), true);
        check(json!({ "a": null }), json!({ "a": [] }), false);
        check(json!({ "a": [1, null] }), json!({}), true);
        check(json!({ "a": ["x", "y"] }), json!({ "a": "y" }), true);
        check(json!({ "a": ["x", "y"] }), json!({ "a": "z" }), false);
        check(json!({ "a.b.c": true }), json!({ "a": { "b": { "c": true } } }), true);
        check(json!({ "a.b": true }), json!({ "a": true }), false);
        check(json!({ "a": 1, "b": 2 }), json!({ "a": 1, "b": 3 }), false);
        check(json!({ "a": "x" }), json!({ "a": { "b": 1 } }), false);
    }

    #[test]
    fn unknown_shapes_name_their_field() {
        let many: Map<String, Value> = (0..17).map(|n| (format!("p{n}"), json!(1))).collect();
        let check = |wanted: Value, field: &str| {
            assert_eq!(filter(wanted).problem().map(|(field, _)| field).as_deref(), Some(field));
        };
        check(json!({ "a": { "gt": 1 } }), "filter.a");
        check(json!({ "a": [] }), "filter.a");
        check(json!({ "a": [[1]] }), "filter.a");
        check(json!({ "": 1 }), "filter.");
        check(json!({ "a..b": 1 }), "filter.a..b");
        check(json!({ "a": "x".repeat(1_025) }), "filter.a");
        check(Value::Object(many), "filter");
        assert_eq!(filter(json!({ "a": 1, "b.c": [true, null, "x"] })).problem(), None);
    }

    #[test]
    fn whatever_a_filter_lets_through_is_found_by_its_hash() {
        for (wanted, data) in [
            (json!({ "a": "x" }), json!({ "a": "x", "b": 1 })),
            (json!({ "a": 2 }), json!({ "a": 2.0 })),
            (json!({ "a": [1, 2], "b": true }), json!({ "a": 2, "b": true })),
            (json!({ "a.b": 1 }), json!({ "a": { "b": 1 } })),
            (json!({ "a": null }), json!({})),
        ] {
            let (wanted, data) = (filter(wanted), data.as_object().unwrap().clone());
            assert!(wanted.lets_through(&data));
            let mut hashes: Vec<i64> = data.iter().map(|(name, value)| hash_of(name, value)).collect();
            hashes.push(0);
            assert!(hashes.contains(&wanted.lookup_hash()), "{wanted:?}");
        }
        assert_ne!(hash_of("a", &json!("b")), hash_of("b", &json!("a")));
    }
}
