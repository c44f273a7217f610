//! The OpenAPI 3.1 document, made from the routes themselves.

use axum::Json;
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;

use crate::routes;

#[derive(OpenApi)]
#[openapi(
    info(title = "Wakeful", description = "Wakes, runs and watches AI agents.", license(name = "Apache-2.0")),
    components(schemas(crate::errors::ProblemDocument)),
    security(("token" = []))
)]
struct Described;

/// The document.
pub fn document() -> utoipa::openapi::OpenApi {
    let (_, mut document) =
        OpenApiRouter::with_openapi(Described::openapi()).nest("/api/v1", routes::documented()).split_for_parts();
    let token = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    document.components.get_or_insert_default().add_security_scheme("token", token);
    document
}

pub async fn serve() -> Json<utoipa::openapi::OpenApi> {
    Json(document())
}
