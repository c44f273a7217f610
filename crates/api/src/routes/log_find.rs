//! A text looked for in the log of a run, in bounded steps.

use std::io;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use wakeful_domain::id::kind;
use wakeful_engine::clock;
use wakeful_runner::process::log::LogReader;

use super::logs::unreadable;
use super::retention::require_log;
use super::runs::visible;
use crate::access::{Permission, Principal};
use crate::errors::ProblemDocument;
use crate::parameters::{Parameters, PathId, sought_in, within};
use crate::{Api, Problem};

/// One request looks through so much,
const BYTES_MAX: u64 = 256 * 1024 * 1024;
/// and works so long.
const TIME_MAX: Duration = Duration::from_secs(2);
/// Lines that are listed, unless the caller says.
const LINES_DEFAULT: i64 = 200;
/// Lines that are listed at most.
const LINES_MAX: i64 = 1_000;

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(find_in_log))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FindQuery {
    q: Option<String>,
    from: Option<i64>,
    limit: Option<i64>,
}

/// Where a text occurs in a log.
#[derive(Debug, Serialize, ToSchema)]
struct FoundView {
    /// Records that hold it, as far as was looked.
    count: u64,
    /// Whether the end was reached; else look on with `from` = `next_from`.
    is_whole: bool,
    next_from: Option<u64>,
    /// The `seq` of the first of them.
    lines: Vec<u64>,
}

/// Finds the records that hold a text, in either case, from the one whose `seq` is `from` on; lists the first `limit` (200, at most 1,000)
/// and counts all. A request looks through 256 MiB or for 2 seconds, then `next_from` says where to look on. A line that was cut
/// into several records is looked at piece by piece.
#[utoipa::path(get, path = "/runs/{id}/log/find", tag = "runs",
    params(("id" = String, Path), ("q" = String, Query), ("from" = Option<u64>, Query), ("limit" = Option<u64>, Query)),
    responses((status = 200, body = FoundView), (status = 422, body = ProblemDocument),
        (status = 410, body = ProblemDocument, description = "`log_removed`: the body is gone, and when")))]
async fn find_in_log(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Run>,
    Parameters(query): Parameters<FindQuery>,
) -> Result<Json<FoundView>, Problem> {
    principal.require(Permission::Read)?;
    require_log(&visible(&api, &principal, id).await?)?;
    let text = sought_in(query.q.as_deref())?.ok_or_else(|| Problem::invalid("q", "is missing: what is looked for"))?;
    within("from", query.from, 1, i64::MAX)?;
    within("limit", query.limit, 1, LINES_MAX)?;
    let from = query.from.unwrap_or(1).unsigned_abs();
    let lines_max = usize::try_from(query.limit.unwrap_or(LINES_DEFAULT)).unwrap_or_default();
    let dir = api.engine.run_dir(id);
    let look = move || {
        let begin = clock::monotonic();
        let may_go_on = |bytes| bytes < BYTES_MAX && begin.elapsed() < TIME_MAX;
        LogReader::open(&dir)?.find(&text, from, lines_max, may_go_on)
    };
    let _turn = api.large_reads.acquire().await;
    let found = tokio::task::spawn_blocking(look).await.map_err(io::Error::other).flatten().map_err(unreadable)?;
    Ok(Json(FoundView {
        count: found.count,
        is_whole: found.next_line.is_none(),
        next_from: found.next_line,
        lines: found.lines,
    }))
}
