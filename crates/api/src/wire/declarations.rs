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
    /// What the configuration calls itself.
    pub configuration: String,
    /// The id of what was made.
    pub id: String,
    /// As it was declared when it was last applied.
    #[schema(value_type = Object)]
    pub spec: Value,
}

impl From<Declaration> for DeclarationView {
    fn from(Declaration { kind, name, configuration, object, spec }: Declaration) -> Self {
        DeclarationView { kind, name, configuration, id: object, spec }
    }
}

impl From<DeclarationView> for Declaration {
    fn from(DeclarationView { kind, name, configuration, id, spec }: DeclarationView) -> Self {
        Declaration { kind, name, configuration, object: id, spec }
    }
}
