//! One file a resource; here they are put together, with what holds for all.

pub(crate) mod agents;
mod attention;
mod budgets;
pub(crate) mod channels;
pub(crate) mod companies;
mod costs;
mod declarations;
mod escalations;
mod events;
mod goals;
mod hooks;
mod instance;
mod live_run;
mod log_find;
mod logs;
mod mail;
mod me;
mod names;
mod notifications;
mod projects;
mod restore;
mod retention;
mod run_calls;
mod runs;
pub(crate) mod schedules;
mod search;
mod secrets;
mod sessions;
mod slots;
mod subscriptions;
mod task_calls;
mod tasks;
mod timeline;
mod tokens;
mod topics;
mod wake;
mod wakeups;
mod webhooks;
mod why;

pub use logs::whole_records;

use axum::Router;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;

use crate::observe::observe;
use crate::{Api, Problem, openapi};

/// The documented routes below `/api/v1`.
pub fn documented() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .merge(companies::routes())
        .merge(agents::routes())
        .merge(attention::routes())
        .merge(goals::routes())
        .merge(projects::routes())
        .merge(tasks::routes())
        .merge(task_calls::routes())
        .merge(escalations::routes())
        .merge(secrets::routes())
        .merge(schedules::routes())
        .merge(slots::routes())
        .merge(subscriptions::routes())
        .merge(topics::routes())
        .merge(webhooks::routes())
        .merge(tokens::routes())
        .merge(declarations::routes())
        .merge(budgets::routes())
        .merge(channels::routes())
        .merge(notifications::routes())
        .merge(mail::routes())
        .merge(wake::routes())
        .merge(wakeups::routes())
        .merge(runs::routes())
        .merge(logs::routes())
        .merge(log_find::routes())
        .merge(run_calls::routes())
        .merge(live_run::routes())
        .merge(events::routes())
        .merge(why::routes())
        .merge(me::routes())
        .merge(sessions::routes())
        .merge(names::routes())
        .merge(search::routes())
        .merge(costs::routes())
        .merge(timeline::routes())
        .merge(restore::routes())
        .merge(retention::routes())
        .merge(instance::documented())
}

/// All routes, with their errors.
pub fn router(api: Api) -> Router {
    let (routes, _) = OpenApiRouter::new().nest("/api/v1", documented()).split_for_parts();
    routes
        .merge(instance::routes())
        .merge(hooks::routes())
        .route("/api/v1/openapi.json", axum::routing::get(openapi::serve))
        .fallback(unknown_route)
        .method_not_allowed_fallback(unknown_method)
        .layer(axum::middleware::map_response(guarded))
        .layer(axum::middleware::from_fn_with_state(api.clone(), observe))
        .with_state(api)
}

/// Answers are of the moment and for whoever asked; what an agent wrote in one is never taken for a page.
async fn guarded(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.entry(header::X_CONTENT_TYPE_OPTIONS).or_insert(HeaderValue::from_static("nosniff"));
    answer
}

async fn unknown_route(uri: Uri) -> Problem {
    let detail = format!("there is no route {}; /api/v1/openapi.json lists them", uri.path());
    Problem::new(StatusCode::NOT_FOUND, "unknown_route", detail)
}

async fn unknown_method(method: Method, uri: Uri) -> Problem {
    let detail = format!("{} does not take {method}; /api/v1/openapi.json lists what it takes", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}
