//! What pages of the console cost beside 100,000 runs and 1,000,000 wakeups, the first lines of a log of 1 GB, and what 200
//! open consoles cost the server. A page stands beside the smallest answer of the same server.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rusqlite::Connection as Store;
use serde_json::json;
use wakeful_domain::id::{IdSource, Kind, kind};
use wakeful_domain::time::Timestamp;

use crate::footprint::resident_mb;
use crate::http::Connection;
use crate::report::{Report, percentile};
use crate::runs::until;
use crate::schedules::cpu_seconds;
use crate::server::Server;

/// The runs and wakeups lie evenly in a month.
const SPREAD_OVER: Duration = Duration::from_secs(30 * 86_400);
const RUNS: i64 = 100_000;
const WAKEUPS: i64 = 1_000_000;
/// Questions of one measurement.
const QUESTIONS: usize = 40;
/// Pages, each with the limit of its 95th percentile, in ms.
const PAGES: &[&str] = &[
    "inbox",
    "now",
    "runs",
    "runs?status=failed",
    "runs?since=24h",
    "runs?q=nothing",
    "wakes",
    "wakes?status=pending",
    "timeline",
    "timeline?zoom=7d",
    "agents",
    "tasks",
    "schedules",
    "subscriptions",
    "mail",
    "costs",
    "costs?by=day",
    "notifications",
    "settings",
    "health",
];
const PAGE_MS_MAX: f64 = 30.0;
/// Records of a log of 1 GB.
const RECORDS: usize = 8_000_000;
const CONSOLES: usize = 200;
/// Connections that stand for the consoles that draw.
const DRAWERS: usize = 8;
/// How long open consoles are watched.
const WATCHED: Duration = Duration::from_secs(20);

pub fn measure(binary: &Path, report: &mut Report) -> Result<()> {
    let server = Server::start(binary, 4)?;
    let agent = server.agent("ann", &json!(["/bin/true"]), &json!({}))?;
    let run = a_run(&server, &agent)?;
    let store = Store::open(server.dir().join("wakeful.db"))?;
    store.busy_timeout(Duration::from_secs(60))?;
    spread::<kind::Wakeup>(&store, "wakeups", &["requested_at", "due_at", "eligible_at", "finished_at"], WAKEUPS)?;
    spread::<kind::Run>(&store, "runs", &["created_at", "started_at", "finished_at"], RUNS)?;
    pages(&server, &run, report)?;
    log(&server, &run, report)?;
    consoles(&server, &agent, report)
}

/// Copies the one row that there is, so many times, evenly over the time before it.
fn spread<K: Kind>(store: &Store, table: &str, times: &[&str], rows: i64) -> Result<()> {
    let mut named = store
        .prepare(&format!("select name from pragma_table_info('{table}') where name not in ('id', 'token_hash')"))?;
    let columns: Vec<String> = named.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let copied: Vec<String> = columns
        .iter()
        .map(|column| if times.contains(&column.as_str()) { format!("{column} - ?2") } else { column.clone() })
        .collect();
    let (into, from) = (columns.join(", "), copied.join(", "));
    let (first, at): (String, i64) =
        store.query_row(&format!("select id, {} from {table} limit 1", times[0]), [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    store.execute_batch("begin immediate")?;
    let sql = format!("insert into {table} (id, {into}) select ?1, {from} from {table} where id = ?3");
    let mut insert = store.prepare(&sql)?;
    let mut ids = IdSource::new(1);
    let step = i64::try_from(SPREAD_OVER.as_micros())? / rows;
    for number in 0..rows {
        let before = (rows - number) * step;
        let id = ids.next::<K>(Timestamp::from_micros(at - before));
        insert.execute((id.to_string(), before, &first))?;
    }
    store.execute_batch("commit")?;
    Ok(())
}

/// A run that has ended; gives its id.
fn a_run(server: &Server, agent: &str) -> Result<String> {
    let mut connection = server.connect()?;
    let woken = connection.json("POST", &format!("/api/v1/agents/{agent}/wake"), &json!({}))?;
    let path = format!("/api/v1/wakeups/{}", woken["id"].as_str().unwrap_or_default());
    let mut wakeup = woken;
    until(Duration::from_millis(10), || {
        wakeup = connection.json("GET", &path, &json!(null))?;
        Ok(wakeup["status"] == json!("completed"))
    })?;
    Ok(wakeup["run_id"].as_str().context("a completed wakeup names its run")?.to_owned())
}

fn pages(server: &Server, run: &str, report: &mut Report) -> Result<()> {
    let mut console = server.console()?;
    let smallest = p95_ms(&mut console, "/healthz")?;
    let of_run = format!("runs/{run}?tab=events");
    for page in PAGES.iter().copied().chain([of_run.as_str()]) {
        let took = p95_ms(&mut console, &format!("/c/default/{page}"))?;
        let name = if page == of_run { "runs/ID" } else { page };
        let beside = format!("{:.0} × /healthz ({smallest:.2} ms)", took / smallest);
        report.at_most(&format!("page {name}, p95"), took, "ms", beside, PAGE_MS_MAX);
    }
    Ok(())
}

fn p95_ms(console: &mut Connection, path: &str) -> Result<f64> {
    let mut took = Vec::with_capacity(QUESTIONS);
    for _ in 0..QUESTIONS {
        let began = Instant::now();
        let (status, _) = console.request("GET", path, "")?;
        took.push(began.elapsed().as_secs_f64() * 1_000.0);
        ensure!(status == 200, "{path} answers {status}");
    }
    Ok(percentile(&mut took, 95.0))
}

/// The page of the run with its log, then the windows that the viewer asks for first.
fn log(server: &Server, run: &str, report: &mut Report) -> Result<()> {
    let path = server.dir().join("runs").join(run).join("log.ndjson");
    let text = "what an agent writes in a line of ordinary length, again";
    let mut body = String::with_capacity(RECORDS * 130);
    for seq in 1..=RECORDS {
        use std::fmt::Write as _;
        writeln!(body, r#"{{"seq":{seq},"ts":"2026-11-22T05:11:09.810Z","stream":"stdout","text":"{text}"}}"#)?;
    }
    std::fs::write(&path, &body).with_context(|| format!("writing {}", path.display()))?;
    let bytes = body.len() as f64 / 1e9;
    drop(body);
    let mut console = server.console()?;
    for (what, line) in [("first", 1), ("middle", RECORDS / 2), ("last", RECORDS - 500)] {
        let window = format!("/api/v1/runs/{run}/log?line={line}&limit=262144");
        let page = p95_ms(&mut console, &format!("/c/default/runs/{run}?tab=log"))?;
        let took = p95_ms(&mut console, &window)?;
        let name = format!("the {what} lines of a log of {bytes:.1} GB, page and window, p95");
        report.at_most(&name, page + took, "ms", format!("{took:.1} ms of it the window"), 200.0);
    }
    Ok(())
}

/// Memory and processor time of the server with 200 streams open, while ten wakes a second are accepted; beside the same
/// without them.
fn consoles(server: &Server, agent: &str, report: &mut Report) -> Result<()> {
    let alone = watched(server, agent)?;
    let before = resident_mb(server.pid())?;
    let mut open = Vec::with_capacity(CONSOLES);
    for _ in 0..CONSOLES {
        let mut console = server.console()?;
        console.listen("/api/v1/companies/default/events")?;
        open.push(console);
    }
    let beside = watched(server, agent)?;
    let (drawing, drawn) = std::thread::scope(|scope| {
        let drawers: Vec<_> = (0..DRAWERS).map(|_| scope.spawn(|| draw(server))).collect();
        let share = watched(server, agent);
        let drawn = drawers.into_iter().map(|drawer| drawer.join().unwrap_or_else(|_| bail!("a drawer panicked")));
        anyhow::Ok((share?, drawn.sum::<Result<usize>>()?))
    })?;
    let grown = resident_mb(server.pid())? - before;
    report.note(
        "memory of 200 open consoles",
        format!("{grown:.1} MB, {:.0} KB each", grown * 1_000.0 / CONSOLES as f64),
    );
    report.note(
        "processor of the server with 200 open consoles and 10 wakes a second",
        format!("{:.1} % of a core, {:.1} % without them", beside * 100.0, alone * 100.0),
    );
    report.note(
        "the same, and all 200 look at Now",
        format!("{:.0} % of a core, {:.0} pages a second", drawing * 100.0, drawn as f64 / WATCHED.as_secs_f64()),
    );
    Ok(())
}

/// Has the page Now drawn anew for some of the consoles, as their scripts do: each rests a second behind a page, and longer
/// if it took long. Gives how many were drawn.
fn draw(server: &Server) -> Result<usize> {
    let mut console = server.console()?;
    let (until, mut drawn) = (Instant::now() + WATCHED, 0);
    while Instant::now() < until {
        let began = Instant::now();
        for _ in 0..CONSOLES / DRAWERS {
            console.request("GET", "/c/default/now", "")?;
            drawn += 1;
        }
        std::thread::sleep(Duration::from_secs(1).max(began.elapsed() * 10 / (CONSOLES / DRAWERS) as u32));
    }
    Ok(drawn)
}

/// The share of a core that the server uses while it accepts ten wakes a second.
fn watched(server: &Server, agent: &str) -> Result<f64> {
    let mut connection = server.connect()?;
    let (began, before) = (Instant::now(), cpu_seconds(server.pid())?);
    while began.elapsed() < WATCHED {
        connection.json("POST", &format!("/api/v1/agents/{agent}/wake"), &json!({ "delay_ms": 3_600_000 }))?;
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok((cpu_seconds(server.pid())? - before) / began.elapsed().as_secs_f64())
}
