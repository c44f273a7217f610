//! Why an operation was not carried out: what callers branch on.

use serde_json::Value;
use wakeful_domain::id::{Id, Kind};

use crate::Error;

/// Why an operation was not carried out. Nothing of it was kept.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    #[error("there is no {noun} `{key}`")]
    NotFound { noun: &'static str, key: String },
    /// The thing is not in a state in which this can be done.
    #[error("{detail}")]
    Conflict { code: &'static str, detail: String, state: Value },
    /// A well-formed request that makes no sense.
    #[error("{field}: {message}")]
    Invalid { field: String, message: String },
    /// Something is full: the same may be done later.
    #[error("{detail}")]
    TooMany { code: &'static str, detail: String },
    #[error(transparent)]
    Store(#[from] Error),
}

impl Refusal {
    /// Nothing has this id.
    pub fn not_found<K: Kind>(id: Id<K>) -> Refusal {
        Refusal::NotFound { noun: K::NOUN, key: id.to_string() }
    }

    /// The thing is not in a state in which this can be done; `state` says what it is in.
    pub fn conflict(code: &'static str, detail: impl Into<String>, state: Value) -> Refusal {
        Refusal::Conflict { code, detail: detail.into(), state }
    }

    /// A field makes no sense.
    pub fn invalid(field: &str, message: impl Into<String>) -> Refusal {
        Refusal::Invalid { field: field.into(), message: message.into() }
    }

    /// Whether the same transaction may succeed when it is run again.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Refusal::Store(Error::Engine { is_retryable: true, .. }))
    }
}
