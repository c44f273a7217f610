//! Who a token is.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use utoipa_axum::{router::OpenApiRouter, routes};
use wakeful_domain::run::Run;
use wakeful_store::ops::{checkpoints, inbox, mail, messages, runs, wakeups};

use crate::access::{Permission, Principal, Role};
use crate::wire::RunWakeup;
use crate::{Api, Problem};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(me))
}

/// Who this token is: within a run also its task, wakeups, checkpoint and inbox.
#[utoipa::path(get, path = "/me", tag = "me", responses((status = 200, body = Object)))]
async fn me(State(api): State<Api>, principal: Principal) -> Result<Json<Value>, Problem> {
    principal.require(Permission::Read)?;
    Ok(Json(match &principal {
        Principal::Admin => json!({ "kind": "admin" }),
        Principal::Company { company, role, name } => {
            let role = match role {
                Role::Admin => "admin",
                Role::Operator => "operator",
                Role::Viewer => "viewer",
            };
            json!({ "kind": "company", "company": company, "role": role, "name": name })
        }
        Principal::Agent { company, agent } => json!({ "kind": "agent", "company": company, "agent": agent }),
        Principal::Run(run) => of_run(&api, run).await?,
    }))
}

async fn of_run(api: &Api, run: &Run) -> Result<Value, Problem> {
    let (batch, waiting, unread, checkpoint) = api
        .engine
        .db()
        .read("me.run", run.id, |tx, run| {
            Box::pin(async move {
                let batch = wakeups::of_run(tx, *run).await?;
                let waiting = inbox::count(tx, *run).await?;
                let nudges = messages::unread(tx, *run).await?.len();
                let live = runs::get(tx, *run).await?;
                let unread = mail::count_unread(tx, &live).await? + nudges as i64;
                Ok((batch, waiting, unread, checkpoints::of_run(tx, *run).await?))
            })
        })
        .await?;
    let batch: Vec<RunWakeup> = batch.into_iter().map(RunWakeup::from).collect();
    Ok(json!({
        "kind": "run",
        "company": run.company,
        "agent": run.agent,
        "run": run.id,
        "fence": run.fence,
        "task": run.task,
        "lane": { "agent": run.agent, "task": run.task },
        "wakeups": batch,
        "checkpoint": checkpoint,
        "inbox": { "wakeups": waiting, "messages": unread },
    }))
}
