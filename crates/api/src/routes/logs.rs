//! The log of a run: its bytes by offset, its text, or followed as it grows.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use axum::body::{Body as AxumBody, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};
use wakeful_domain::id::kind;
use wakeful_runner::process::log::{LogReader, LogRecord, LogStream, bytes_of, read_log, tail_log};

use super::retention::require_log;
use super::runs::visible;
use crate::access::{Permission, Principal};
use crate::errors::ProblemDocument;
use crate::parameters::{Parameters, PathId};
use crate::{Api, Problem, sse};

/// Bytes in one answer, unless the caller says.
const LIMIT_DEFAULT: usize = 256 * 1024;
/// Bytes in one answer at most.
const LIMIT_MAX: usize = 8 * 1024 * 1024;
/// Lines of a tail at most.
const TAIL_MAX: usize = 10_000;
/// Bytes of log that a piece of its text is made from.
const PIECE_BYTES: usize = 256 * 1024;
/// So much of the end of a log is looked through for the last lines of one of its streams.
const TEXT_BYTES_MAX: u64 = 16 * 1024 * 1024;

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(bytes)).routes(routes!(text))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BytesQuery {
    offset: Option<u64>,
    /// The `seq` of the first record, in place of an offset.
    line: Option<u64>,
    limit: Option<usize>,
}

/// Whole records (NDJSON) from `offset` on, or from the one whose `seq` is `line`. With `Accept: text/event-stream` the log is followed:
/// each event is a record, its id the offset behind it, and `end` comes when the run is over.
#[utoipa::path(get, path = "/runs/{id}/log", tag = "runs",
    params(("id" = String, Path), ("offset" = Option<u64>, Query), ("line" = Option<u64>, Query), ("limit" = Option<u64>, Query)),
    responses((status = 200, content_type = "application/x-ndjson", body = String,
        headers(("Wakeful-Next-Offset" = String), ("Wakeful-Log-Complete" = String))),
        (status = 410, body = ProblemDocument, description = "`log_removed`: the body is gone, and when")))]
async fn bytes(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Run>,
    Parameters(query): Parameters<BytesQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    principal.require(Permission::Read)?;
    let run = visible(&api, &principal, id).await?;
    require_log(&run)?;
    let offset = match (query.offset, query.line) {
        (Some(_), Some(_)) => return Err(Problem::invalid("line", "cannot stand beside offset: send one of them")),
        (offset, None) => offset.unwrap_or(0),
        (None, Some(line)) => offset_of(api.engine.run_dir(id), line).await.map_err(unreadable)?,
    };
    if sse::is_wanted(&headers) {
        let offset = sse::last_event_id(&headers)?.unwrap_or(offset);
        return sse::log(&api, sse::Client::of(&headers), run.id, offset);
    }
    if i64::try_from(offset).is_err() {
        return Err(Problem::invalid("offset", "is beyond any file"));
    }
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Problem::invalid("limit", format!("is {limit}; it must lie between 1 and {LIMIT_MAX} bytes")));
    }
    let dir = api.engine.run_dir(id);
    let is_over = !run.status.is_live();
    let read = tokio::task::spawn_blocking(move || whole_records(dir, offset, limit)).await;
    let (bytes, length) = read.map_err(io::Error::other).flatten().map_err(unreadable)?;
    let next = offset + bytes.len() as u64;
    let is_complete = is_over && next >= length;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson")),
        (HeaderName::from_static("wakeful-next-offset"), HeaderValue::from(next)),
        (
            HeaderName::from_static("wakeful-log-complete"),
            HeaderValue::from_static(if is_complete { "true" } else { "false" }),
        ),
    ];
    Ok((headers, Bytes::from(bytes)).into_response())
}

pub(super) fn unreadable(error: io::Error) -> Problem {
    let detail = format!("the log of the run cannot be read: {error}");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "log_unreadable", detail)
}

async fn offset_of(dir: PathBuf, line: u64) -> io::Result<u64> {
    let found = tokio::task::spawn_blocking(move || LogReader::open(&dir)?.offset_of(line)).await;
    found.map_err(io::Error::other).flatten()
}

/// The whole records from `offset` on, about `limit` bytes of them, at least one if there is one;
/// and how long the log is.
pub fn whole_records(dir: PathBuf, offset: u64, limit: usize) -> io::Result<(Vec<u8>, u64)> {
    LogReader::open(&dir)?.bytes(offset, limit)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TextQuery {
    /// `stdout` or `stderr`; both by default.
    stream: Option<TextStream>,
    /// Only the last lines.
    tail: Option<usize>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum TextStream {
    Stdout,
    Stderr,
}

/// The text of the log alone, as the agent wrote it, whole or its last lines; those of one stream are looked for in the last 16 MiB.
#[utoipa::path(get, path = "/runs/{id}/log/text", tag = "runs",
    params(("id" = String, Path), ("stream" = Option<String>, Query), ("tail" = Option<usize>, Query)),
    responses((status = 200, content_type = "text/plain", body = String), (status = 422, body = ProblemDocument),
        (status = 410, body = ProblemDocument, description = "`log_removed`: the body is gone, and when")))]
async fn text(
    State(api): State<Api>,
    principal: Principal,
    PathId(id): PathId<kind::Run>,
    Parameters(query): Parameters<TextQuery>,
) -> Result<Response, Problem> {
    principal.require(Permission::Read)?;
    require_log(&visible(&api, &principal, id).await?)?;
    let dir = api.engine.run_dir(id);
    if query.tail.is_some_and(|lines| lines > TAIL_MAX) {
        return Err(Problem::invalid("tail", format!("is larger than {TAIL_MAX}; that many lines are given at most")));
    }
    let body = match (query.tail, query.stream) {
        (Some(lines), None) => tail_text(&tail_log(&dir, lines).await.map_err(unreadable)?.records, None, lines),
        (Some(lines), Some(_)) => {
            // Others wait: it is held whole.
            let _turn = api.large_reads.acquire().await;
            tail_text(&all_records(&dir).await.map_err(unreadable)?, query.stream, lines)
        }
        (None, stream) => AxumBody::from_stream(whole_text(dir, stream)),
    };
    // What an agent wrote is text, whatever it looks like.
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response())
}

/// What one of the streams holds, or both in the order in which they were read.
fn text_of(records: &[LogRecord], stream: Option<TextStream>) -> Vec<u8> {
    match stream {
        Some(TextStream::Stdout) => bytes_of(records, LogStream::Stdout),
        Some(TextStream::Stderr) => bytes_of(records, LogStream::Stderr),
        None => records.iter().flat_map(|record| bytes_of(std::slice::from_ref(record), record.stream)).collect(),
    }
}

fn tail_text(records: &[LogRecord], stream: Option<TextStream>, lines: usize) -> AxumBody {
    last_lines(&text_of(records, stream), lines).to_vec().into()
}

/// The text of a log, a piece at a time: however slowly it is taken, no more is held.
fn whole_text(dir: PathBuf, stream: Option<TextStream>) -> impl Stream<Item = io::Result<Vec<u8>>> {
    futures_util::stream::try_unfold(0, move |offset| {
        let dir = dir.clone();
        async move {
            let chunk = read_log(&dir, offset, PIECE_BYTES).await?;
            let is_over = chunk.offset_next == offset;
            Ok((!is_over).then(|| (text_of(&chunk.records, stream), chunk.offset_next)))
        }
    })
}

/// The records of a log; of one that is too long, those of the end.
async fn all_records(dir: &Path) -> io::Result<Vec<LogRecord>> {
    let mut records = VecDeque::new();
    let (mut offset, mut held) = (0, 0);
    loop {
        let chunk = read_log(dir, offset, 1024 * 1024).await?;
        if chunk.offset_next == offset {
            return Ok(records.into_iter().flat_map(|(_, records): (_, Vec<_>)| records).collect());
        }
        let bytes = chunk.offset_next - offset;
        offset = chunk.offset_next;
        held += bytes;
        records.push_back((bytes, chunk.records));
        while held > TEXT_BYTES_MAX {
            held -= records.pop_front().map_or(held, |(bytes, _)| bytes);
        }
    }
}

fn last_lines(text: &[u8], lines: usize) -> &[u8] {
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    let ends = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    let start =
        lines.checked_sub(1).map_or(text.len(), |skipped| ends.map(|(place, _)| place + 1).nth(skipped).unwrap_or(0));
    &text[start..]
}
