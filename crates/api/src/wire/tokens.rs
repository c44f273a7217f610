//! Tokens of a company in requests and answers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wakeful_store::ops::tokens::Token;

/// What the key of a company may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RoleView {
    /// All within the company, tokens as well.
    Admin,
    /// The same without tokens.
    Operator,
    /// Reading.
    Viewer,
}

impl RoleView {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            RoleView::Admin => "admin",
            RoleView::Operator => "operator",
            RoleView::Viewer => "viewer",
        }
    }
}

/// A token to be made: with a role, or an agent's.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// Unique among the company's tokens: what is done with it is recorded under this name.
    pub name: String,
    /// `admin`, `operator` or `viewer`.
    pub role: Option<RoleView>,
    /// Id or name of the agent whose key it is, in place of a role.
    pub agent: Option<String>,
}

/// A token of a company.
#[derive(Debug, Serialize, ToSchema)]
pub struct TokenView {
    pub id: String,
    pub name: String,
    /// `admin`, `operator` or `viewer`; null for an agent's.
    pub role: Option<String>,
    /// Whose key it is.
    pub agent: Option<String>,
    pub created_at: String,
    /// Its value, told once: only its hash is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

impl TokenView {
    /// A token, with its value if it is told.
    pub fn new(token: Token, value: Option<String>) -> TokenView {
        TokenView {
            id: token.id.to_string(),
            name: token.name,
            role: Some(token.role).filter(|role| !role.is_empty()),
            agent: token.agent.map(|agent| agent.to_string()),
            created_at: token.created_at.to_string(),
            token: value,
        }
    }
}
