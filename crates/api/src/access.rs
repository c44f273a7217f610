//! Who is calling, and what they may do. A token is known by its hash; another company's things
//! do not exist for it.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use subtle::ConstantTimeEq;
use wakeful_domain::actor::Actor;
use wakeful_domain::id::{AgentId, CompanyId, RunId};
use wakeful_domain::run::{Run, RunFence};
use wakeful_engine::{TokenKind, hash_of};
use wakeful_store::ops::origin::Origin;
use wakeful_store::ops::{ended_sessions, runs, tokens};

use crate::{Api, Problem};

/// The name of the token in `admin.token`.
pub const ADMIN_TOKEN_NAME: &str = "admin";

/// Who is calling.
#[derive(Debug, Clone)]
pub enum Principal {
    /// The instance's administrator.
    Admin,
    /// A person or program with a key of one company.
    Company { company: CompanyId, role: Role, name: String },
    /// An agent outside any run.
    Agent { company: CompanyId, agent: AgentId },
    /// An agent within a run. The run may have ended since: then it may do nothing more.
    Run(Box<Run>),
}

/// What a company key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Admin,
    Operator,
    Viewer,
}

/// What a route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    Read,
    /// Waking agents and working on tasks.
    Work,
    /// Changing agents and companies, stopping runs.
    Manage,
    /// Giving and revoking tokens of a company.
    Tokens,
    /// Making companies.
    Instance,
}

impl Principal {
    /// Whether a company's things exist for the caller.
    pub fn sees(&self, company: CompanyId) -> bool {
        self.company().is_none_or(|own| own == company)
    }

    /// The only company the caller knows; `None` for all.
    pub fn company(&self) -> Option<CompanyId> {
        match self {
            Principal::Admin => None,
            Principal::Company { company, .. } | Principal::Agent { company, .. } => Some(*company),
            Principal::Run(run) => Some(run.company),
        }
    }

    /// Refuses callers that may not do this.
    pub fn require(&self, permission: Permission) -> Result<(), Problem> {
        let is_allowed = match self {
            Principal::Admin => true,
            Principal::Company { role: Role::Viewer, .. } => permission == Permission::Read,
            Principal::Company { role: Role::Operator, .. } => {
                matches!(permission, Permission::Read | Permission::Work | Permission::Manage)
            }
            Principal::Company { role: Role::Admin, .. } => permission != Permission::Instance,
            Principal::Agent { .. } => matches!(permission, Permission::Read | Permission::Work),
            Principal::Run(run) if !run.status.is_live() => return Err(ended(run)),
            Principal::Run(_) => matches!(permission, Permission::Read | Permission::Work),
        };
        if is_allowed {
            return Ok(());
        }
        let needed = match permission {
            Permission::Read => "reading",
            Permission::Work => "waking agents",
            Permission::Manage => "changing agents, companies and runs",
            Permission::Tokens => "giving and revoking tokens",
            Permission::Instance => "changing the instance",
        };
        Err(Problem::forbidden(format!("this token does not allow {needed}: use one with a higher role")))
    }

    /// How what the caller does is recorded.
    pub fn actor(&self) -> Actor {
        match self {
            Principal::Admin => Actor::user(ADMIN_TOKEN_NAME),
            Principal::Company { name, .. } => Actor::user(name),
            Principal::Agent { agent, .. } => Actor::agent(*agent),
            Principal::Run(run) => Actor::agent(run.agent),
        }
    }

    /// The agent that is calling, by its own key or within a run.
    pub fn agent(&self) -> Option<AgentId> {
        match self {
            Principal::Agent { agent, .. } => Some(*agent),
            Principal::Run(run) => Some(run.agent),
            Principal::Admin | Principal::Company { .. } => None,
        }
    }

    /// Whether this is a person, or a program in a person's place: whoever may have a session of the console.
    pub fn is_person(&self) -> bool {
        match self {
            Principal::Admin | Principal::Company { .. } => true,
            Principal::Agent { .. } | Principal::Run(_) => false,
        }
    }

    /// Where a change comes from that the caller makes now.
    pub fn origin(&self, api: &Api) -> Origin {
        api.engine.origin(self.actor(), self.own_run())
    }

    /// The live run that is calling, as its writes name it.
    pub fn own_run(&self) -> Option<RunFence> {
        self.live_run().map(Run::proof)
    }

    /// The live run that is calling, if one is.
    pub fn live_run(&self) -> Option<&Run> {
        match self {
            Principal::Run(run) if run.status.is_live() => Some(run),
            Principal::Admin | Principal::Company { .. } | Principal::Agent { .. } | Principal::Run(_) => None,
        }
    }
}

fn ended(run: &Run) -> Problem {
    let detail = format!("the run {} is {}; its token is good no more", run.id, run.status);
    Problem::new(StatusCode::UNAUTHORIZED, "token_expired", detail)
}

fn unauthorized(detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
}

impl FromRequestParts<Api> for Principal {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        principal(api, &parts.method, &parts.headers).await
    }
}

/// Who sends a request.
pub async fn principal(api: &Api, method: &Method, headers: &HeaderMap) -> Result<Principal, Problem> {
    if let Some(token) = bearer(headers)? {
        let found = principal_of(api, hash_of(token)).await?;
        return found.ok_or_else(|| unauthorized("the token is not known here: it may have been revoked"));
    }
    let Some(session) = api.sessions().of(headers) else {
        return Err(unauthorized(
            "a token is required: send `Authorization: Bearer <token>`; the server's is in <data-dir>/admin.token",
        ));
    };
    api.sessions().guard(method, headers)?;
    let is_ended = api
        .engine
        .db()
        .read("session.is_ended", session.id, |tx, id| Box::pin(async { Ok(ended_sessions::has(tx, id).await?) }));
    if is_ended.await? {
        return Err(unauthorized("this session was ended: sign in again"));
    }
    let found = principal_of(api, session.token_hash).await?.filter(Principal::is_person);
    found.ok_or_else(|| unauthorized("the token of this session has been revoked: sign in with another"))
}

/// The hash of the token that a request carries, or whose session it does; empty if it carries none.
pub fn token_hash(api: &Api, headers: &HeaderMap) -> Result<String, Problem> {
    match bearer(headers)? {
        Some(token) => Ok(hash_of(token)),
        None => Ok(api.sessions().of(headers).map(|session| session.token_hash).unwrap_or_default()),
    }
}

/// The token in the header `Authorization`, if there is that header.
pub fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(header) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let text = header.to_str().map_err(|_| unauthorized("the Authorization header holds other than text"))?;
    let token = text.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let token = token.ok_or_else(|| unauthorized("the Authorization header must read `Bearer <token>`"))?;
    Ok(Some(token.1.trim()))
}

/// Whose token has this hash.
pub async fn principal_of(api: &Api, hash: String) -> Result<Option<Principal>, Problem> {
    if bool::from(hash.as_bytes().ct_eq(api.admin_hash.as_bytes())) {
        return Ok(Some(Principal::Admin));
    }
    find(api, hash).await
}

/// The run whose token the request carries, live or not. Whose token it is otherwise is asked elsewhere.
pub async fn run_of_token(headers: &HeaderMap, api: &Api) -> Result<Option<RunId>, Problem> {
    let text = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let token = text.split_once(' ').map_or("", |(_, token)| token.trim());
    if !TokenKind::Run.is_of(token) {
        return Ok(None);
    }
    let found =
        api.engine.db().read("run.by_token", hash_of(token), |tx, hash| Box::pin(runs::by_token(tx, hash))).await?;
    Ok(found.map(|run| run.id))
}

async fn find(api: &Api, hash: String) -> Result<Option<Principal>, Problem> {
    let (run, token) = api
        .engine
        .db()
        .read("token.find", hash, |tx, hash| {
            Box::pin(async move {
                match runs::by_token(tx, hash).await? {
                    Some(run) => Ok((Some(run), None)),
                    None => Ok((None, tokens::by_hash(tx, hash).await?)),
                }
            })
        })
        .await?;
    if let Some(run) = run {
        return Ok(Some(Principal::Run(Box::new(run))));
    }
    Ok(token.and_then(|token| match (token.kind.as_str(), token.company, token.agent) {
        ("admin", _, _) => Some(Principal::Admin),
        ("agent", Some(company), Some(agent)) => Some(Principal::Agent { company, agent }),
        ("company", Some(company), _) => {
            let role = match token.role.as_str() {
                "admin" => Role::Admin,
                "operator" => Role::Operator,
                _ => Role::Viewer,
            };
            Some(Principal::Company { company, role, name: token.name })
        }
        _ => None,
    }))
}
