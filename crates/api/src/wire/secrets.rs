//! Secrets in requests and answers. A value comes in and never goes out.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wakeful_domain::secret::Secret;

/// A value on its way in; it is never shown.
#[derive(Deserialize, ToSchema)]
#[serde(transparent)]
pub struct SecretValue(pub String);

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(…)")
    }
}

/// A secret to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSecret {
    /// 1 to 64 letters, digits, `-`, `_` or `.`.
    pub name: String,
    /// 8 bytes to 64 KiB.
    #[schema(value_type = String)]
    pub value: SecretValue,
}

/// The value of a secret that is made or replaced.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutSecret {
    /// 8 bytes to 64 KiB.
    #[schema(value_type = String)]
    pub value: SecretValue,
}

/// What is shown of a secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct SecretView {
    pub name: String,
    pub created_at: String,
    pub updated_at: String,
}

impl From<Secret> for SecretView {
    fn from(secret: Secret) -> Self {
        SecretView {
            name: secret.name,
            created_at: secret.created_at.to_string(),
            updated_at: secret.updated_at.to_string(),
        }
    }
}

/// The key with which requests to an agent's service or through a channel are signed.
#[derive(Debug, Serialize, ToSchema)]
pub struct SigningSecretView {
    /// As Standard Webhooks writes it: `whsec_` and Base64.
    pub signing_secret: String,
}
