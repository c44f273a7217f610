//! A secret: a value that agents are given and nobody is shown. Here are its name, its limits and
//! how a configuration refers to it; how it is kept is the engine's business.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::CompanyId;
use crate::time::Timestamp;

/// Longer names are refused.
pub const NAME_BYTES_MAX: usize = 64;
/// Shorter values are refused: they would stand by chance in any text, and could not be kept out of logs.
pub const VALUE_BYTES_MIN: usize = 8;
/// Longer values are refused: an environment variable may not be longer than 128 KiB.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;

/// What is known of a secret without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    pub company: CompanyId,
    pub name: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What stands in a configuration in the place of a value: `{"secret": name}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretRef {
    pub secret: String,
    /// The variable names a file that holds the value, instead of holding it itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub file: bool,
}

impl SecretRef {
    /// The reference that `value` is, or what is wrong with it; `None` if it is none.
    pub fn read(value: &Value) -> Option<Result<SecretRef, String>> {
        value.as_object().filter(|object| object.contains_key("secret"))?;
        let read = SecretRef::deserialize(value).map_err(|error| error.to_string());
        Some(read.and_then(|reference| match name_problem(&reference.secret) {
            None => Ok(reference),
            Some(problem) => Err(format!("the name of a secret {problem}")),
        }))
    }
}

/// What is wrong with a name, if anything.
pub fn name_problem(name: &str) -> Option<String> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_good = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_allowed) && !name.starts_with('.');
    (!is_good).then(|| {
        format!("must have 1 to {NAME_BYTES_MAX} letters (a to z), digits, `-`, `_` or `.`, and not begin with `.`")
    })
}

/// What is wrong with a value, if anything. The value is never part of the answer.
pub fn value_problem(value: &str) -> Option<String> {
    if !(VALUE_BYTES_MIN..=VALUE_BYTES_MAX).contains(&value.len()) {
        return Some(format!(
            "has {} bytes; it must have {VALUE_BYTES_MIN} to {VALUE_BYTES_MAX}, or it could not be kept out of logs",
            value.len()
        ));
    }
    value.contains('\0').then(|| "holds a NUL, which no environment variable can".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_and_values_have_limits() {
        for good in ["openai", "GITHUB_TOKEN", "a.b-c"] {
            assert_eq!(name_problem(good), None, "{good}");
        }
        for bad in ["", ".x", "a b", "ä", "a/b", &"x".repeat(65)] {
            assert!(name_problem(bad).is_some(), "{bad}");
        }
        assert_eq!(value_problem("eightlng"), None);
        assert!(value_problem("sevenlg").is_some_and(|problem| !problem.contains("sevenlg")));
        assert!(value_problem("with\0nul").is_some());
        assert!(value_problem(&"x".repeat(VALUE_BYTES_MAX + 1)).is_some());
    }

    #[test]
    fn a_reference_is_told_from_a_text() {
        let reference = |file| Some(Ok(SecretRef { secret: "key".into(), file }));
        assert_eq!(SecretRef::read(&json!("text")), None);
        assert_eq!(SecretRef::read(&json!({"secret": "key"})), reference(false));
        assert_eq!(SecretRef::read(&json!({"secret": "key", "file": true})), reference(true));
        assert!(SecretRef::read(&json!({"secret": 3})).is_some_and(|read| read.is_err()));
        assert!(SecretRef::read(&json!({"secret": "a b"})).is_some_and(|read| read.is_err()));
        assert!(SecretRef::read(&json!({"secret": "key", "fiel": true})).is_some_and(|read| read.is_err()));
    }
}
