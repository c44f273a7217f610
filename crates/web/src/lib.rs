//! The console: pages rendered on the server, kept live by the API's own stream of events.
//!
//! A page is what the API says, laid out: it asks the API in this process as any client would, with the session of whoever
//! looks, and changes nothing itself. What a person does is a request to the API too, made by the browser. So the console
//! shows and does nothing that a program could not, and who may do what is decided in one place.
//!
//! Not here: rules, SQL, permissions, secrets. Only this crate and the API know axum.
//!
//! Invariants: what agents wrote is never HTML (templates escape, scripts set text); no page loads anything from elsewhere,
//! and none holds a script or a style of its own.

mod assets;
mod call;
mod choices;
mod cli;
mod failure;
mod frame;
mod pages;
mod pieces;
mod said;
mod seen;
mod span;
mod visit;

use axum::Router;
use wakeful_api::{Api, Sessions};

/// What every page can reach.
#[derive(Debug, Clone)]
pub struct Console {
    api: Router,
    sessions: Sessions,
}

/// The API's routes, and the console's beside them.
pub fn router(api: Api) -> Router {
    let sessions = api.sessions().clone();
    let api = wakeful_api::router(api);
    let console = Console { api: api.clone(), sessions };
    pages::router(console).fallback_service(api)
}
