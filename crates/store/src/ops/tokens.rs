//! Tokens, by their hash. Run tokens are not here: they stand on the run and go with it.

use serde_json::json as object;
use wakeful_domain::id::{AgentId, CompanyId, TokenId};
use wakeful_domain::time::Timestamp;

use crate::ops::filter::{List, Page};
use crate::{Error, Refusal, Row, Tx};

/// A token that has not been revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub id: TokenId,
    pub name: String,
    /// `admin` for the whole instance, `company`, or `agent`.
    pub kind: String,
    pub company: Option<CompanyId>,
    pub agent: Option<AgentId>,
    /// `admin`, `operator` or `viewer`; empty for an agent's.
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

fn read(mut row: Row) -> Result<Token, Error> {
    Ok(Token {
        id: row.get()?,
        name: row.get()?,
        kind: row.get()?,
        company: row.get()?,
        agent: row.get()?,
        role: row.get()?,
        created_at: row.get()?,
    })
}

const OF_NAME: &str = "
    select id
    from tokens
    where company_id = $1
      and name = $2
      and revoked_at is null";

/// Makes a token of a company; its name is taken until it is revoked.
pub async fn give(tx: &mut Tx, token: &Token, hash: &str) -> Result<Token, Refusal> {
    if let Some(mut row) = tx.query_first(OF_NAME, &[token.company.into(), (&token.name).into()]).await? {
        let taken: TokenId = row.get()?;
        let told = format!("there is a token `{}` already: choose another name, or revoke that one", token.name);
        return Err(Refusal::conflict("token_exists", told, object!({ "token": taken })));
    }
    insert(tx, token, hash).await?;
    Ok(token.clone())
}

const WITH_HASH: &str = "
    select hash, id, name, kind, company_id, agent_id, role, created_at
    from tokens
    where id = $1
      and revoked_at is null";

/// A token that is still good, and the hash of its value.
pub async fn with_hash(tx: &mut Tx, id: TokenId) -> Result<(Token, String), Refusal> {
    let mut row = tx.query_first(WITH_HASH, &[id.into()]).await?.ok_or_else(|| Refusal::not_found(id))?;
    let hash = row.get()?;
    Ok((read(row)?, hash))
}

/// A page of the tokens of a company that are still good.
pub async fn list(tx: &mut Tx, company: CompanyId, cursor: Option<String>, limit: i64) -> Result<Page<Token>, Refusal> {
    let list = List::of("id, name, kind, company_id, agent_id, role, created_at", "tokens")
        .and("company_id = $", company)
        .and_when("revoked_at is null", true);
    Ok(list.page(tx, cursor, limit, read, |token| token.id.to_string()).await?)
}

const REVOKE: &str = "
    update tokens
    set revoked_at = $3
    where company_id = $1
      and id = $2
      and revoked_at is null";

/// Revokes a token of a company: it is good no more.
pub async fn revoke(tx: &mut Tx, now: Timestamp, company: CompanyId, id: TokenId) -> Result<(), Refusal> {
    match tx.execute(REVOKE, &[company.into(), id.into(), now.into()]).await? {
        0 => Err(Refusal::not_found(id)),
        _ => Ok(()),
    }
}

// The key of an agent goes with it.
const BY_HASH: &str = "
    select id, name, kind, company_id, agent_id, role, created_at
    from tokens
    where hash = $1
      and revoked_at is null
      and not exists (
        select 1
        from agents
        where agents.id = tokens.agent_id
          and agents.state = 'terminated')";

/// The token with this hash, if it is still good.
pub async fn by_hash(tx: &mut Tx, hash: &str) -> Result<Option<Token>, Refusal> {
    Ok(tx.query_first(BY_HASH, &[hash.into()]).await?.map(read).transpose()?)
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
