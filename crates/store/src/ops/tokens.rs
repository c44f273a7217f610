//! Tokens, by their hash. Run tokens are not here: they stand on the run and go with it.

use wakeful_domain::id::{AgentId, CompanyId, TokenId};
use wakeful_domain::time::Timestamp;

use crate::{Refusal, Tx};

/// A token that has not been revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub id: TokenId,
    pub name: String,
    /// `admin` for the whole instance, `company`, or `agent`.
    pub kind: String,
    pub company: Option<CompanyId>,
    pub agent: Option<AgentId>,
    /// `admin`, `operator` or `viewer`.
    pub role: String,
    pub created_at: Timestamp,
}

const INSERT: &str = "
    insert into tokens (id, hash, name, kind, company_id, agent_id, role, created_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8)";

/// Makes a token.
pub async fn insert(tx: &mut Tx, token: &Token, hash: &str) -> Result<(), Refusal> {
    let parameters = [
        token.id.into(),
        hash.into(),
        (&token.name).into(),
        (&token.kind).into(),
        token.company.into(),
        token.agent.into(),
        (&token.role).into(),
        token.created_at.into(),
    ];
    tx.execute(INSERT, &parameters).await?;
    Ok(())
}

const BY_HASH: &str = "
    select id, name, kind, company_id, agent_id, role, created_at
    from tokens
    where hash = $1
      and revoked_at is null";

/// The token with this hash, if it is still good.
pub async fn by_hash(tx: &mut Tx, hash: &str) -> Result<Option<Token>, Refusal> {
    let Some(mut row) = tx.query_first(BY_HASH, &[hash.into()]).await? else { return Ok(None) };
    Ok(Some(Token {
        id: row.get()?,
        name: row.get()?,
        kind: row.get()?,
        company: row.get()?,
        agent: row.get()?,
        role: row.get()?,
        created_at: row.get()?,
    }))
}

const REVOKE_NAMED: &str = "
    update tokens
    set revoked_at = $2
    where name = $1
      and revoked_at is null";

/// Revokes every token of this name.
pub async fn revoke_named(tx: &mut Tx, now: Timestamp, name: &str) -> Result<u64, Refusal> {
    Ok(tx.execute(REVOKE_NAMED, &[name.into(), now.into()]).await?)
}
