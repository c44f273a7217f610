//! Schedules: how late they fire when very many are due at once, what a fleet at rest costs, and whether a look of the
//! dispatcher costs more where more schedules sleep.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rusqlite::{Connection as Sqlite, OpenFlags};
use serde_json::{Value, json};
use wakeful_domain::id::IdSource;
use wakeful_domain::schedule::{CatchUp, Jitter, Overlap, Schedule, Standing, State};
use wakeful_engine::clock;
use wakeful_store::ops::dispatch::dispatch;
use wakeful_store::ops::schedules;

use crate::engines::Engine;
use crate::fleet::{self, Fleet};
use crate::report::{Report, percentile};
use crate::server::Server;

/// Schedules that are due in the same second.
const AT_ONCE: usize = 1_000;
/// What is asleep, and who idles.
const ASLEEP: usize = 100_000;
const AGENTS: usize = 10_000;
/// Connections that make them.
const MAKERS: usize = 4;
/// One period of the heartbeats, so that each of them comes once.
const PERIOD: Duration = Duration::from_secs(300);
/// Schedules that sleep while a look is measured.
const SIZES: &[i64] = &[100, 10_000, 1_000_000];
/// Looks that are measured; their median counts.
const LOOKS: usize = 200;
/// The dearest may cost this many times what the cheapest does.
const WITHIN: f64 = 2.0;

pub fn measure(binary: &Path, report: &mut Report) -> Result<()> {
    looks(report)?;
    at_once(binary, report)?;
    at_rest(binary, report)
}

/// A thousand schedules of one second: from the nominal time until others can read the slot.
fn at_once(binary: &Path, report: &mut Report) -> Result<()> {
    let server = Server::start(binary, 4)?;
    let agent = server.agent("woken", &json!(["/bin/true"]), &json!({}))?;
    let at = clock::now() + Duration::from_secs(15);
    make(
        &server,
        "schedules",
        AT_ONCE,
        |number| json!({ "name": format!("once-{number}"), "trigger": { "at": at }, "target": { "wake": { "agent": agent } }, "overlap": "queue" }),
    )?;
    let store = open(&server)?;
    let mut fired = store.prepare("select count(*) from slots")?;
    let mut late: Vec<f64> = Vec::with_capacity(AT_ONCE);
    let started = Instant::now();
    while late.len() < AT_ONCE && started.elapsed() < Duration::from_secs(60) {
        let seen: i64 = fired.query_row([], |row| row.get(0))?;
        let ms = (clock::now().as_micros() - at.as_micros()) as f64 / 1_000.0;
        late.resize(usize::try_from(seen)?, ms);
        std::thread::sleep(Duration::from_millis(1));
    }
    anyhow::ensure!(late.len() == AT_ONCE, "only {} of {AT_ONCE} have fired", late.len());
    let figures = [50.0, 99.0, 100.0].map(|p| percentile(&mut late, p));
    let against = format!("p50 {:.0} ms, max {:.0} ms", figures[0], figures[2]);
    report.at_most("1,000 schedules of one second: late by, p99, committed", figures[1], "ms", against, 1_000.0);
    Ok(())
}

/// What sleeps and idles costs next to nothing, and no run.
fn at_rest(binary: &Path, report: &mut Report) -> Result<()> {
    let server = Server::start(binary, 4)?;
    let empty = cpu_share(&server, Duration::from_secs(20))?;
    let agent = server.agent("woken", &json!(["/bin/true"]), &json!({}))?;
    make(
        &server,
        "schedules",
        ASLEEP,
        |number| json!({ "name": format!("asleep-{number}"), "trigger": { "every": "30d" }, "target": { "wake": { "agent": agent } } }),
    )?;
    make(&server, "agents", AGENTS, |number| {
        json!({ "name": format!("idle-{number}"), "adapter": { "type": "process", "command": ["/bin/true"] },
            "heartbeat": { "enabled": true, "every": "5m" } })
    })?;
    let from = clock::now();
    let share = cpu_share(&server, PERIOD)?;
    let against = format!("of one core over {} s; empty: {:.2} %", PERIOD.as_secs(), empty * 100.0);
    report.at_most("100,000 schedules asleep, 10,000 idle heartbeats of 5 min", share * 100.0, "%", against, 1.0);
    let store = open(&server)?;
    let runs: i64 = store.query_row("select count(*) from runs", [], |row| row.get(0))?;
    report.at_most("runs that they start", runs as f64, "runs", "one would be a model call".into(), 0.0);
    let mut by_second: BTreeMap<i64, usize> = BTreeMap::new();
    let mut slots = store.prepare("select at / 1000000 from slots where at >= ?1")?;
    for second in slots.query_map([from.as_micros()], |row| row.get(0))? {
        *by_second.entry(second?).or_default() += 1;
    }
    let (fires, most) = (by_second.values().sum::<usize>(), by_second.values().max().copied().unwrap_or(0));
    report.note(
        "their ticks",
        format!("{fires} in {} seconds of {}, at most {most} in one", by_second.len(), PERIOD.as_secs()),
    );
    Ok(())
}

/// A look of the dispatcher with nothing due, and with one slot that fires.
fn looks(report: &mut Report) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut smallest = None;
    for asleep in SIZES {
        let store = Engine::Sqlite.place()?;
        let (idle, firing) = runtime.block_on(async {
            let fleet = Fleet::make(store.db().await?).await?;
            fleet.add_schedules(*asleep).await?;
            look(&fleet).await
        })?;
        let base = *smallest.get_or_insert((idle, firing));
        for (what, micros, base) in [("nothing is due", idle, base.0), ("one slot fires", firing, base.1)] {
            let what = format!("a look where {what}, {asleep} schedules asleep");
            let against = format!("{:.2} × the first of these", micros / base);
            report.at_most(&what, micros / 1_000.0, "ms", against, WITHIN * base / 1_000.0);
        }
    }
    Ok(())
}

/// Microseconds of a look, by the median: an idle one, and one in which a slot fires.
async fn look(fleet: &Fleet) -> Result<(f64, f64)> {
    let start = clock::now();
    let schedule = Schedule {
        id: IdSource::new(3).next(start),
        company: fleet.company,
        name: "every second".into(),
        trigger: serde_json::from_value(json!({ "every": "1s" }))?,
        target: serde_json::from_value(json!({ "wake": { "agent": fleet::agent(1)? } }))?,
        gate: None,
        active_hours: None,
        jitter: Jitter::NONE,
        overlap: Overlap::Queue,
        catch_up: CatchUp::default(),
        stale_after: None,
        starts_at: None,
        ends_at: None,
        max_fires: None,
        fires: 0,
        standing: Standing::default(),
        state: State::Active,
        next_slot_at: None,
        last_slot: None,
        created_at: start,
        updated_at: start,
    };
    fleet.db.write("schedule", schedule, |tx, schedule| Box::pin(schedules::insert(tx, schedule))).await?;
    let (mut idle, mut firing) = (Vec::new(), Vec::new());
    for number in 1..=LOOKS {
        let now = start + Duration::from_secs(number as u64);
        for took in [&mut firing, &mut idle] {
            let began = Instant::now();
            fleet.db.write("look", (now, Vec::new()), |tx, told| Box::pin(dispatch(tx, told))).await?;
            took.push(began.elapsed().as_secs_f64() * 1_000_000.0);
        }
    }
    Ok((percentile(&mut idle, 50.0), percentile(&mut firing, 50.0)))
}

/// Makes so many of a kind, over several connections.
fn make(server: &Server, kind: &str, count: usize, body: impl Fn(usize) -> Value + Sync) -> Result<()> {
    let path = format!("/api/v1/companies/default/{kind}");
    std::thread::scope(|scope| {
        let makers = (0..MAKERS).map(|maker| {
            let (path, body) = (&path, &body);
            scope.spawn(move || -> Result<()> {
                let mut connection = server.connect()?;
                (maker..count)
                    .step_by(MAKERS)
                    .try_for_each(|number| connection.json("POST", path, &body(number)).map(drop))
            })
        });
        let makers: Vec<_> = makers.collect();
        makers.into_iter().try_for_each(|maker| maker.join().map_err(|_| anyhow::anyhow!("a maker panicked"))?)
    })
}

/// The server's store, to look into.
fn open(server: &Server) -> Result<Sqlite> {
    Ok(Sqlite::open_with_flags(server.dir().join("wakeful.db"), OpenFlags::SQLITE_OPEN_READ_ONLY)?)
}

/// Which share of one core the server takes over a while.
fn cpu_share(server: &Server, over: Duration) -> Result<f64> {
    let before = cpu_seconds(server.pid())?;
    std::thread::sleep(over);
    Ok((cpu_seconds(server.pid())? - before) / over.as_secs_f64())
}

/// Processor time of a process, in the hundredths that the kernel counts in.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit(") ").next().context("no name in a process's stat")?;
    let fields: Vec<&str> = after_name.split(' ').collect();
    let ticks: f64 =
        fields.get(11..13).context("a short stat")?.iter().filter_map(|text| text.parse::<f64>().ok()).sum();
    Ok(ticks / 100.0)
}
