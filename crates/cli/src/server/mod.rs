//! `wakeful up`: the store is opened, the API listens, then what was running is found again.
//! A stop lets live runs go on with their shims.

mod connections;
mod keys;
mod settled;
mod signals;

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Notify;
use wakeful_api::{Api, Standing};
use wakeful_domain::company::{Company, CompanyState, MAX_CONCURRENT_RUNS_DEFAULT, MAX_RUNS_PER_ROOT_HOUR_DEFAULT};
use wakeful_engine::secrets::{MasterKey, Vault};
use wakeful_engine::{Engine, EngineConfig, clock, hash_of, room};
use wakeful_runner::http::Guard;
use wakeful_store::ops::restore::Restored;
use wakeful_store::ops::{companies, restore};
use wakeful_store::{Db, Location};

use crate::arguments::{Global, UpArguments};
use crate::backup;
use crate::client::Client;
use crate::config::settings::{self, Loaded, Settings};
use crate::daemon::{lives, notify};
use crate::data_dir::{DataDir, Lock};
use crate::environment;
use crate::failure::{FAILED, Failure, REFUSED, USAGE};
use crate::logging::{self, Logging};
use crate::otlp::Exporter;
use crate::server::connections::Bounds;
use crate::server::settled::Settled;
use crate::server::signals::Signals;

/// Between two looks at whether everything has been found again.
const READY_LOOK_EVERY: Duration = Duration::from_millis(20);

/// Runs the server until it is asked to stop.
pub async fn up(global: &Global, arguments: &UpArguments) -> Result<(), Failure> {
    let dir = DataDir::of(global.data_dir.as_deref())?;
    if arguments.service {
        // Away from whoever has started it; one that leads its session already is as far away as it can be.
        rustix::process::setsid().ok();
    }
    // Before anyone can find the server and ask it to stop.
    let signals = Signals::catch()?;
    let loaded = settings::load(settings::found(&dir, arguments.config.as_deref()), &arguments.settings)?;
    let logging = logging::start(&loaded.effective.settings.log, &dir)?;
    dir.create()?;
    room::before_start(dir.path());
    let lock = dir.lock()?;
    backup::restore::refuse_unfinished(&dir)?;
    let options = arguments.with_config_of_environment().to_options();
    let birth = lives::begin(&dir, options, loaded.effective.variables(), environment::is_systemd_unit())?;
    if let Some(crash) = &birth.crash {
        tracing::warn!(at = %crash.at, "the last server did not end by itself: {}; its last lines:\n{}", crash.exit, crash.log);
    }
    let crash_loop = birth.crash_loop.filter(|_| arguments.service);
    let safe_mode = crash_loop.or_else(|| arguments.safe_mode.then(|| "it was started with --safe-mode".to_owned()));
    let ended = tokio::select! {
        ended = serve(&dir, lock, signals, arguments, loaded, logging, safe_mode) => ended,
        never = settle(&dir) => match never {},
    };
    lives::end(&dir, ended.as_ref().err())?;
    ended
}

async fn serve(
    dir: &DataDir,
    mut lock: Lock,
    signals: Signals,
    arguments: &UpArguments,
    loaded: Loaded,
    logging: Logging,
    safe_mode: Option<String>,
) -> Result<(), Failure> {
    if let Some(reason) = &safe_mode {
        tracing::warn!("safe mode, nothing is started: {reason}");
    }
    let (db, key) = tokio::select! {
        opened = open(dir, &loaded.effective.settings) => opened?,
        () = signals.stop() => return Ok(()),
    };
    let admin_token = dir.admin_token()?;
    let held = held(&db).await?;
    let standing = Arc::new(Standing::new(clock::now(), safe_mode));
    let settings = &loaded.effective.settings;
    let config = config(dir, settings, key, standing.safe_mode.is_some())?;
    let engine = Engine::new(db, EngineConfig { held, ..config });
    ensure_default_company(&engine).await?;
    let listen = &settings.server.listen;
    let listener = TcpListener::bind(listen).await.map_err(|error| {
        Failure::new(USAGE, format!("cannot listen on {listen}: {error}"))
            .hint("name a free address with --listen (`server.listen`), or port 0 for any")
    })?;
    let address = format!("http://{}", reachable(listener.local_addr()?));
    dir.publish_address(&mut lock, &address)?;
    let api = Api::new(engine.clone(), &hash_of(&admin_token), Arc::clone(&standing));
    api.begin().await.map_err(|refusal| Failure::failed(refusal.to_string()))?;
    // Before anything ends.
    let exporter = Exporter::begin(&settings.otlp, dir, &engine, &api, standing.started_at)?;
    let router = wakeful_web::router(api);
    let client = Client::new(&address, &admin_token)?;
    let is_over = Notify::new();
    let serving = connections::serve(listener, router, Bounds::of_system(), is_over.notified());
    let mut serving = std::pin::pin!(serving);
    engine.start(&address);
    let settled = Arc::new(Settled::new(dir, arguments, loaded.effective, logging, engine.clone(), client, standing));
    settled.apply_at_start(loaded.path, loaded.configuration);
    let (told, around) = (address.clone(), engine.clone());
    engine.spawn(async move { look_after(around, &told).await });
    tracing::info!(
        address,
        data_dir = %dir.path().display(),
        store = engine.db().engine_name(),
        live_runs_max = engine.config().live_runs_max,
        "wakeful {} listens on {address}",
        env!("CARGO_PKG_VERSION")
    );
    loop {
        tokio::select! {
            () = &mut serving => return Ok(()),
            () = signals.stop() => break,
            () = signals.reload() => settled.reload(),
            () = engine.db().given_up() => {
                let told = "the disk did not keep what was written to the store, so nothing that is in memory can be trusted";
                return Err(Failure::new(FAILED, told)
                    .hint("start it again: the store is read anew, and live runs have gone on; look after the disk (`dmesg`)"));
            }
        }
    }
    let live_runs = engine.host().live_runs;
    tracing::info!(live_runs, "stopping; live runs go on and are found again at the next start");
    notify::stopping(live_runs);
    let drain = settled.settings().daemon.drain;
    let ending = async {
        engine.stop(drain).await;
        is_over.notify_one();
        tokio::time::sleep(drain).await;
        tracing::warn!("some requests did not end within {drain:?}");
    };
    tokio::select! {
        () = &mut serving => {}
        () = ending => {}
        // Asked twice, it ends at once.
        () = signals.stop() => {
            tracing::warn!("asked again: stopping at once");
            return Ok(());
        }
    }
    if let Some(exporter) = exporter {
        exporter.close().await;
    }
    Ok(())
}

/// Tells the service manager when the server is ready, and feeds its watchdog.
async fn look_after(engine: Engine, address: &str) {
    let ready = async {
        while !engine.has_recovered() {
            tokio::time::sleep(READY_LOOK_EVERY).await;
        }
        notify::ready(address);
        notify::feed_watchdog(engine.clone()).await;
    };
    tokio::select! {
        () = engine.stopping() => {}
        () = ready => {}
    }
}

/// Notes that this life has gone on for longer than a failed start.
async fn settle(dir: &DataDir) -> Infallible {
    tokio::time::sleep(lives::SETTLED_AFTER).await;
    if let Err(failure) = lives::settle(dir) {
        tracing::warn!("that the start went well could not be noted: {failure}");
    }
    std::future::pending().await
}

/// Opens the store, for this server alone, and what its secrets are sealed under.
async fn open(dir: &DataDir, settings: &Settings) -> Result<(Db, MasterKey), Failure> {
    let location = match &settings.store.database {
        Some(url) => Location::Postgres(url.clone()),
        None => Location::File(dir.store_file()),
    };
    let db = Db::open(&location).await.map_err(|error| Failure::new(FAILED, error.to_string()))?;
    let owner = format!("process {} with the data directory {}", std::process::id(), dir.path().display());
    db.hold_alone(&owner).await.map_err(|error| Failure::new(REFUSED, error.to_string()))?;
    let key = keys::master_key(&db, dir, &settings.server).await?;
    Ok((db, key))
}

fn config(dir: &DataDir, settings: &Settings, key: MasterKey, is_in_safe_mode: bool) -> Result<EngineConfig, Failure> {
    let program = environment::program()
        .map_err(|error| Failure::failed(format!("the path of this program is not known: {error}")))?;
    Ok(EngineConfig {
        data_dir: dir.path().to_owned(),
        program,
        environment: environment::inherited(),
        live_runs_max: settings.server.max_live_runs,
        is_root: rustix::process::geteuid().is_root(),
        reserve: settings.limits.reserve(),
        public_url: settings.server.public_url.as_ref().map(|url| url.trim_end_matches('/').to_owned()),
        guard: Guard::new(&settings.server.http_allow)
            .map_err(|error| Failure::usage(format!("server.http_allow: {error}")))?,
        vault: Vault::new(key),
        is_in_safe_mode,
        held: None,
        retention: settings.retention.policy(),
    })
}

/// The restore that nobody has said yes to so far, told to whoever reads the log.
async fn held(db: &Db) -> Result<Option<Restored>, Failure> {
    let held = db.read("restore.held", (), |tx, ()| Box::pin(restore::held(tx))).await;
    let held = held.map_err(|refusal| Failure::failed(refusal.to_string()))?;
    if let Some(restored) = &held {
        tracing::warn!(
            "restored from the backup of {}: nothing starts before `wakeful restore --go-on`",
            restored.taken_at
        );
    }
    Ok(held)
}

/// An address at which this machine reaches itself: `0.0.0.0` is none.
fn reachable(local: SocketAddr) -> SocketAddr {
    let ip = match local.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, local.port())
}

/// A new store has one company, so that the first agent needs no ceremony.
async fn ensure_default_company(engine: &Engine) -> Result<(), Failure> {
    let now = clock::now();
    let company = Company {
        id: engine.new_id(),
        slug: "default".into(),
        name: "Default".into(),
        time_zone: "UTC".into(),
        max_concurrent_runs: MAX_CONCURRENT_RUNS_DEFAULT,
        max_runs_per_root_hour: MAX_RUNS_PER_ROOT_HOUR_DEFAULT,
        state: CompanyState::Active,
        state_reason: None,
        live_runs: 0,
        created_at: now,
        updated_at: now,
    };
    engine
        .db()
        .write("company.default", company, |tx, company| {
            Box::pin(async move {
                match companies::list(tx, None, None, 1).await?.items.is_empty() {
                    true => companies::insert(tx, company).await,
                    false => Ok(()),
                }
            })
        })
        .await
        .map_err(|refusal| Failure::failed(refusal.to_string()))
}
