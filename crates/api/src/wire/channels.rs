//! Channels in requests and answers. What only their owner may know stands in them as the name of a secret.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use wakeful_domain::channel::{Channel, Filter, State, Target};

use super::agents::present;

/// A channel to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewChannel {
    /// Unique in the company.
    pub name: String,
    /// `{"webhook": {url, headers?}}`, `{"slack": {url}}`, `{"command": {command, timeout?}}` or
    /// `{"email": {to, from, smtp: {host, port?, tls?, username?, password?}}}`.
    #[schema(value_type = Object)]
    pub target: Target,
    /// `{kinds?, min_level?, agents?, schedules?}`: which notifications go through it; all by default.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub filter: Filter,
}

/// Changes to a channel; what is absent stays, `null` takes away.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ChannelPatch {
    pub name: Option<String>,
    /// Of the kind that it has, merged into what it says (RFC 7396), so that nobody has to know what stays; or whole, of another.
    #[schema(value_type = Option<Object>)]
    pub target: Option<Map<String, Value>>,
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<Object>)]
    pub filter: Option<Option<Filter>>,
    /// `enabled` or `disabled`.
    #[schema(value_type = Option<String>)]
    pub state: Option<State>,
    /// Why it is disabled.
    #[serde(deserialize_with = "present")]
    pub state_reason: Option<Option<String>>,
}

/// Where notifications go besides the inbox.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChannelView {
    pub id: String,
    pub company: String,
    pub name: String,
    #[schema(value_type = Object)]
    pub target: Target,
    #[schema(value_type = Object)]
    pub filter: Filter,
    /// `enabled` or `disabled`.
    #[schema(value_type = String)]
    pub state: State,
    pub state_reason: Option<String>,
    pub created_at: String,
    pub updated_at: String,
}

impl From<Channel> for ChannelView {
    fn from(channel: Channel) -> Self {
        ChannelView {
            id: channel.id.to_string(),
            company: channel.company.to_string(),
            name: channel.name,
            target: channel.target,
            filter: channel.filter,
            state: channel.state,
            state_reason: channel.state_reason,
            created_at: channel.created_at.to_string(),
            updated_at: channel.updated_at.to_string(),
        }
    }
}
