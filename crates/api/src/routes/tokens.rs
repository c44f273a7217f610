//! Tokens of a company: given, listed, revoked. Only the hash of a value is kept. The value of one that was asked for under
//! an idempotency key is derived from the master key and its id, so that it can be told once more to the same request.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};
use wakeful_domain::agent::AgentState;
use wakeful_domain::id::{AgentId, CompanyId, TokenId, kind};
use wakeful_engine::{TokenKind, clock, hash_of, mint, of_secret};
use wakeful_store::Refusal;
use wakeful_store::ops::tokens::{self, Token};
use wakeful_store::ops::{agents, request_keys};

use crate::access::{ADMIN_TOKEN_NAME, Permission, Principal};
use crate::body::Body;
use crate::errors::ProblemDocument;
use crate::idempotency::request_key;
use crate::named::agent_of;
use crate::parameters::{IdempotencyKey, Parameters, PathCompany, PathId, id_in_option, limit};
use crate::wire::{NewToken, Page, TokenView};
use crate::{Api, Problem};

/// It stands in histories beside what was done.
const NAME_CHARS_MAX: usize = 100;

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(revoke))
}

fn check_name(name: &str) -> Result<(), Problem> {
    let length = name.chars().count();
    if name == ADMIN_TOKEN_NAME {
        return Err(Problem::invalid("name", "is that of the instance's own token: choose another"));
    }
    match name.trim() == name && (1..=NAME_CHARS_MAX).contains(&length) && !name.chars().any(char::is_control) {
        true => Ok(()),
        false => Err(Problem::invalid("name", format!("must have 1 to {NAME_CHARS_MAX} characters on one line"))),
    }
}

/// The value of a token that may be told again.
fn derived(api: &Api, kind: TokenKind, id: TokenId) -> String {
    of_secret(kind, &api.engine.config().vault.key().derive(&format!("token {id}")))
}

/// The agent of the company that is given by id or name.
async fn own_agent(api: &Api, company: CompanyId, agent: String) -> Result<AgentId, Problem> {
    let unknown = Problem::invalid("agent", format!("there is no agent `{agent}` in this company"));
    let id = agent_of(api, company, "agent", agent).await?;
    let found = api.engine.db().read("agent.get", id, |tx, id| Box::pin(agents::get(tx, *id))).await;
    match found {
        Ok(agent) if agent.company == company && agent.state != AgentState::Terminated => Ok(id),
        Ok(_) | Err(Refusal::NotFound { .. }) => Err(unknown),
        Err(refusal) => Err(refusal.into()),
    }
}

fn kind_of(token: &Token) -> TokenKind {
    if token.agent.is_some() { TokenKind::Agent } else { TokenKind::Company }
}

/// Makes a token. Its value is told now and never again, but to the same request under the same idempotency key.
#[utoipa::path(post, path = "/companies/{company}/tokens", tag = "tokens", params(("company" = String, Path, description = "id or slug")),
    request_body = NewToken, responses((status = 201, body = TokenView), (status = 409, body = ProblemDocument), (status = 422, body = ProblemDocument)))]
async fn create(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    IdempotencyKey(key): IdempotencyKey,
    body: Body<NewToken>,
) -> Result<(StatusCode, Json<TokenView>), Problem> {
    principal.require(Permission::Tokens)?;
    let key = request_key(key, &principal, &format!("POST /companies/{}/tokens", company.id), &body.bytes);
    let new = body.value;
    check_name(&new.name)?;
    let (agent, kind) = match (new.role, new.agent) {
        (Some(_), None) => (None, TokenKind::Company),
        (None, Some(agent)) => (Some(own_agent(&api, company.id, agent).await?), TokenKind::Agent),
        (Some(_), Some(_)) => return Err(Problem::invalid("role", "cannot stand beside agent: send one of them")),
        (None, None) => return Err(Problem::invalid("role", "is missing: admin, operator or viewer")),
    };
    let token = Token {
        id: api.engine.new_id(),
        name: new.name,
        kind: if agent.is_some() { "agent" } else { "company" }.into(),
        company: Some(company.id),
        agent,
        role: new.role.map(|role| role.as_str().to_owned()).unwrap_or_default(),
        created_at: clock::now(),
    };
    let unavailable = |told: String| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no_secret", told);
    let value = match &key {
        Some(_) => derived(&api, kind, token.id),
        None => mint(kind).map_err(|error| unavailable(format!("no token was made: {error}")))?,
    };
    let hash = hash_of(&value);
    let (made, kept) = api
        .engine
        .write("token.create", (token, hash, key), |tx, (token, hash, key)| {
            Box::pin(async move {
                let (now, company) = (token.created_at, token.company);
                match request_keys::made_before(tx, now, company, key.as_ref(), token.id).await? {
                    Some(earlier) => tokens::with_hash(tx, earlier).await,
                    None => tokens::give(tx, token, hash).await.map(|made| (made, hash.clone())),
                }
            })
        })
        .await?;
    let value = if hash_of(&value) == kept { value } else { derived(&api, kind_of(&made), made.id) };
    match hash_of(&value) == kept {
        true => Ok((StatusCode::CREATED, Json(TokenView::new(made, Some(value))))),
        false => Err(unavailable("the token cannot be told again: the master key has changed; make another".into())),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    limit: Option<i64>,
    cursor: Option<String>,
}

/// Lists the tokens of a company that are good, without their values.
#[utoipa::path(get, path = "/companies/{company}/tokens", tag = "tokens",
    params(("company" = String, Path, description = "id or slug"), ("limit" = Option<i64>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = Page<TokenView>)))]
async fn list(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<Page<TokenView>>, Problem> {
    principal.require(Permission::Tokens)?;
    id_in_option::<kind::Token>("cursor", query.cursor.as_ref())?;
    let arguments = (company.id, query.cursor, limit(query.limit)?);
    let page = api
        .engine
        .db()
        .read("token.list", arguments, |tx, (company, cursor, limit)| {
            Box::pin(tokens::list(tx, *company, cursor.clone(), *limit))
        })
        .await?;
    Ok(Json(Page::of(page, |token| TokenView::new(token, None))))
}

/// Revokes a token: the next request with it is refused.
#[utoipa::path(delete, path = "/companies/{company}/tokens/{id}", tag = "tokens",
    params(("company" = String, Path, description = "id or slug"), ("id" = String, Path)),
    responses((status = 204), (status = 404, body = ProblemDocument)))]
async fn revoke(
    State(api): State<Api>,
    principal: Principal,
    PathCompany(company): PathCompany,
    PathId(id): PathId<kind::Token>,
) -> Result<StatusCode, Problem> {
    principal.require(Permission::Tokens)?;
    let arguments = (clock::now(), company.id, id);
    api.engine
        .write("token.revoke", arguments, |tx, (now, company, id)| Box::pin(tokens::revoke(tx, *now, *company, *id)))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
