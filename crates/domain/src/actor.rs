//! Who did something: a person, an agent, or Wakeful itself.

use serde::{Deserialize, Serialize};

/// The kind of an [`Actor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorType {
    User,
    Agent,
    System,
}

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    #[serde(rename = "type")]
    pub kind: ActorType,
    /// The name of a token, the id of an agent, or the part of Wakeful that acted.
    pub id: String,
}

impl Actor {
    /// A person, known by the name of the token used.
    pub fn user(name: &str) -> Self {
        Self { kind: ActorType::User, id: name.into() }
    }

    /// Wakeful itself.
    pub fn system() -> Self {
        Self { kind: ActorType::System, id: "wakeful".into() }
    }

    /// An agent.
    pub fn agent(id: crate::id::AgentId) -> Self {
        Self { kind: ActorType::Agent, id: id.to_string() }
    }
}
