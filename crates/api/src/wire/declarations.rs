//! What a configuration has made, in requests and answers.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use wakeful_store::ops::declarations::Declaration;

/// Something that a configuration has made.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeclarationView {
    /// `company`, `agent`, `schedule` or `channel`.
    pub kind: String,
    /// Unique in its company and kind.
    pub name: String,
    /// The id of what was made.
    pub id: String,
    /// As it was declared when it was last applied.
    #[schema(value_type = Object)]
    pub spec: Value,
}

impl From<Declaration> for DeclarationView {
    fn from(Declaration { kind, name, object, spec }: Declaration) -> Self {
        DeclarationView { kind, name, id: object, spec }
    }
}

impl From<DeclarationView> for Declaration {
    fn from(DeclarationView { kind, name, id, spec }: DeclarationView) -> Self {
        Declaration { kind, name, object: id, spec }
    }
}
