//! The pages, one file each, and what holds for all: headers that keep foreign content out, names this server answers to,
//! sessions that are renewed.

mod agent;
mod agent_edit;
mod agent_new;
mod agents;
mod channel_edit;
mod channel_new;
mod costs;
mod health;
mod inbox;
mod login;
mod mail;
mod mail_thread;
mod notifications;
mod now;
mod plan;
#[cfg(test)]
mod rendered;
mod run;
mod runs;
mod schedule;
mod schedule_form;
mod schedules;
mod settings;
mod subscription_new;
mod subscriptions;
mod task;
mod task_form;
mod tasks;
mod timeline;
mod timeline_rows;
mod transcript;
mod wakes;
mod wakeup;
mod webhook;

use askama::Template;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use tower_http::compression::CompressionLayer;

use crate::call::{Calls, query};
use crate::failure::{Failure, LOGIN};
use crate::seen::{Company, List};
use crate::visit::Visit;
use crate::{Console, assets};

/// Nothing from elsewhere, nothing inline, in no frame.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// All pages.
pub fn router(console: Console) -> Router {
    Router::new()
        .route("/", get(home))
        .route("/login", get(login::form))
        .route("/login/{code}", get(login::by_link))
        .route("/assets/{name}", get(assets::serve))
        .route("/c/{company}", get(home_of_company))
        .route("/c/{company}/inbox", get(inbox::show))
        .route("/c/{company}/agents", get(agents::show))
        .route("/c/{company}/agents/new", get(agent_new::show))
        .route("/c/{company}/agents/{id}", get(agent::show))
        .route("/c/{company}/agents/{id}/edit", get(agent_edit::show))
        .route("/c/{company}/mail", get(mail::show))
        .route("/c/{company}/notifications", get(notifications::show))
        .route("/c/{company}/notifications/channels/new", get(channel_new::show))
        .route("/c/{company}/notifications/channels/{id}/edit", get(channel_edit::show))
        .route("/c/{company}/now", get(now::show))
        .route("/c/{company}/costs", get(costs::show))
        .route("/c/{company}/health", get(health::show))
        .route("/c/{company}/runs", get(runs::show))
        .route("/c/{company}/runs/{id}", get(run::show))
        .route("/c/{company}/schedules", get(schedules::show))
        .route("/c/{company}/schedules/new", get(schedule_form::new))
        .route("/c/{company}/schedules/plan", get(plan::show))
        .route("/c/{company}/schedules/{id}", get(schedule::show))
        .route("/c/{company}/schedules/{id}/edit", get(schedule_form::edit))
        .route("/c/{company}/timeline", get(timeline::show))
        .route("/c/{company}/wakes", get(wakes::show))
        .route("/c/{company}/wakes/{id}", get(wakeup::show))
        .route("/c/{company}/settings", get(settings::show))
        .route("/c/{company}/subscriptions", get(subscriptions::show))
        .route("/c/{company}/subscriptions/new", get(subscription_new::show))
        .route("/c/{company}/subscriptions/webhooks/{id}", get(webhook::show))
        .route("/c/{company}/tasks", get(tasks::show))
        .route("/c/{company}/tasks/new", get(task_form::make))
        .route("/c/{company}/tasks/{id}", get(task::show))
        .route("/c/{company}/tasks/{id}/edit", get(task_form::edit))
        .route("/c/{company}/{*rest}", get(unknown))
        .layer(middleware::from_fn_with_state(console.clone(), keep))
        .layer(CompressionLayer::new())
        .with_state(console)
}

/// A page, or why there is none.
pub type Shown = Result<Response, Failure>;

/// A page as an answer.
pub fn page(template: &impl Template) -> Shown {
    Ok(Html(template.render().map_err(Failure::of_ours)?).into_response())
}

/// To the first company that the viewer may see.
async fn home(State(console): State<Console>, headers: axum::http::HeaderMap) -> Shown {
    let companies: List<Company> = Calls::of(console.api, &headers).get("/companies?limit=200").await?;
    match companies.items.last() {
        Some(first) => Ok(Redirect::to(&format!("/c/{}/inbox", first.slug)).into_response()),
        None => Err(Failure::no_page("/")),
    }
}

async fn home_of_company(visit: Visit) -> Redirect {
    Redirect::to(&format!("/c/{}/inbox", visit.company))
}

async fn unknown(uri: Uri) -> Failure {
    Failure::no_page(uri.path())
}

/// What holds for every page.
async fn keep(State(console): State<Console>, request: Request, next: Next) -> Response {
    if let Err(problem) = console.sessions.check_host(request.headers()) {
        return problem.into_response();
    }
    let session = console.sessions.of(request.headers());
    let asked_for = request.uri().path_and_query().map(|path| path.to_string()).unwrap_or_default();
    let mut answer = next.run(request).await;
    let headers = answer.headers_mut();
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    // Who has to sign in goes on to where they were about to.
    if headers.get(header::LOCATION).is_some_and(|to| to == LOGIN)
        && asked_for != "/"
        && let Ok(to) = HeaderValue::from_str(&format!("{LOGIN}{}", query(&[("next", &asked_for)])))
    {
        headers.insert(header::LOCATION, to);
    }
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // What is behind a login is kept by nobody; assets say otherwise themselves.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if let Some(renewed) = session.and_then(|session| console.sessions.renew(&session))
        && !headers.contains_key(header::SET_COOKIE)
    {
        headers.insert(header::SET_COOKIE, renewed);
    }
    answer
}
