//! `wakeful up`: the store is opened, the API listens, then what was running is found again.
//! A stop lets live runs go on with their shims.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Mutex, Notify};
use tracing_subscriber::EnvFilter;
use wakeful_api::{Api, ConfigurationView, Standing};
use wakeful_domain::company::{Company, CompanyState, MAX_CONCURRENT_RUNS_DEFAULT, MAX_RUNS_PER_ROOT_HOUR_DEFAULT};
use wakeful_engine::pressure::{Reserve, meminfo};
use wakeful_engine::secrets::{MasterKey, Vault};
use wakeful_engine::{Engine, EngineConfig, clock, hash_of, room};
use wakeful_runner::http::Guard;
use wakeful_store::ops::{companies, restore, secrets};
use wakeful_store::{Db, Location};
use zeroize::Zeroizing;

use crate::arguments::{Global, UpArguments};
use crate::backup;
use crate::client::Client;
use crate::commands::config::configuration_in;
use crate::config::apply::{Act, Manner, apply};
use crate::config::declared::Configuration;
use crate::daemon::{lives, notify};
use crate::data_dir::{DataDir, Lock};
use crate::environment;
use crate::failure::{FAILED, Failure, REFUSED, USAGE};

/// How long a stop waits for requests in flight.
const DRAIN: Duration = Duration::from_secs(30);
/// How long a stop waits for the tasks that follow runs to let go. Only a service that is being called takes long.
const LET_GO: Duration = Duration::from_secs(30);
/// Between two looks at whether everything has been found again.
const READY_LOOK_EVERY: Duration = Duration::from_millis(20);
const MIB: u64 = 1024 * 1024;
/// Memory that the default takes for one live run.
const MEMORY_PER_RUN: u64 = 512 * MIB;

/// Runs the server until it is asked to stop.
pub async fn up(global: &Global, arguments: &UpArguments) -> Result<(), Failure> {
    let dir = DataDir::of(global.data_dir.as_deref())?;
    start_logging();
    if arguments.service {
        // Away from whoever has started it; one that leads its session already is as far away as it can be.
        rustix::process::setsid().ok();
    }
    // Before anyone can find the server and ask it to stop.
    let signals = Signals::catch()?;
    let configuration = arguments.config.as_deref().map(configuration_in).transpose()?;
    dir.create()?;
    room::before_start(dir.path());
    let lock = dir.lock()?;
    backup::restore::refuse_unfinished(&dir)?;
    let birth = lives::begin(&dir, &arguments.to_options(), environment::is_systemd_unit())?;
    if let Some(crash) = &birth.crash {
        tracing::warn!(at = %crash.at, "the last server did not end by itself: {}; its last lines:\n{}", crash.exit, crash.log);
    }
    let crash_loop = birth.crash_loop.filter(|_| arguments.service);
    let safe_mode = crash_loop.or_else(|| arguments.safe_mode.then(|| "it was started with --safe-mode".to_owned()));
    let ended = tokio::select! {
        ended = serve(&dir, lock, signals, arguments, configuration, safe_mode) => ended,
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
    configuration: Option<Configuration>,
    safe_mode: Option<String>,
) -> Result<(), Failure> {
    if let Some(reason) = &safe_mode {
        tracing::warn!("safe mode, nothing is started: {reason}");
    }
    let (db, key) = tokio::select! {
        opened = open(dir, arguments) => opened?,
        () = signals.stop() => return Ok(()),
    };
    let admin_token = dir.admin_token()?;
    let held = db.read("restore.held", (), |tx, ()| Box::pin(restore::held(tx))).await;
    let held = held.map_err(|refusal| Failure::failed(refusal.to_string()))?;
    if let Some(restored) = &held {
        tracing::warn!(
            "restored from the backup of {}: nothing starts before `wakeful restore --go-on`",
            restored.taken_at
        );
    }
    let standing = Arc::new(Standing::new(clock::now(), safe_mode));
    let config = config(dir, arguments, key, standing.safe_mode.is_some())?;
    let engine = Engine::new(db, EngineConfig { held, ..config });
    ensure_default_company(&engine).await?;
    let listener = TcpListener::bind(&arguments.listen).await.map_err(|error| {
        Failure::new(USAGE, format!("cannot listen on {}: {error}", arguments.listen))
            .hint("name a free address with --listen, or port 0 for any")
    })?;
    let address = format!("http://{}", reachable(listener.local_addr()?));
    dir.publish_address(&mut lock, &address)?;
    let router = wakeful_api::router(Api::new(engine.clone(), &hash_of(&admin_token), Arc::clone(&standing)));
    let client = Client::new(&address, &admin_token)?;
    let path = arguments.config.as_deref();
    let is_over = Arc::new(Notify::new());
    let serving = {
        let is_over = Arc::clone(&is_over);
        // Answers are small: waiting for more to send only delays them.
        let listener = listener.tap_io(|stream| {
            stream.set_nodelay(true).ok();
        });
        async move { axum::serve(listener, router).with_graceful_shutdown(async move { is_over.notified().await }).await }
    };
    let mut serving = std::pin::pin!(serving);
    engine.start(&address);
    if let Some((path, configuration)) = path.zip(configuration) {
        let (path, client, standing) = (path.to_owned(), client.clone(), Arc::clone(&standing));
        engine.spawn(async move { configure(&path, Ok(configuration), &client, &standing).await });
    }
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
            ended = &mut serving => return Ok(ended?),
            () = signals.stop() => break,
            () = signals.reload() => reload(&engine, path, &client, &standing),
        }
    }
    let live_runs = engine.host().live_runs;
    tracing::info!(live_runs, "stopping; live runs go on and are found again at the next start");
    notify::stopping(live_runs);
    let ending = async {
        engine.stop(LET_GO).await;
        is_over.notify_one();
        tokio::time::sleep(DRAIN).await;
        tracing::warn!("some requests did not end within {DRAIN:?}");
    };
    tokio::select! {
        ended = &mut serving => ended?,
        () = ending => {}
        // Asked twice, it ends at once.
        () = signals.stop() => tracing::warn!("asked again: stopping at once"),
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
async fn open(dir: &DataDir, arguments: &UpArguments) -> Result<(Db, MasterKey), Failure> {
    let location = match &arguments.database {
        Some(url) => Location::Postgres(url.clone()),
        None => Location::File(dir.store_file()),
    };
    let db = Db::open(&location).await.map_err(|error| Failure::new(FAILED, error.to_string()))?;
    let owner = format!("process {} with the data directory {}", std::process::id(), dir.path().display());
    db.hold_alone(&owner).await.map_err(|error| Failure::new(REFUSED, error.to_string()))?;
    let key = master_key(&db, dir, arguments).await?;
    Ok((db, key))
}

/// Reads the configuration again, if there is one.
fn reload(engine: &Engine, path: Option<&Path>, client: &Client, standing: &Arc<Standing>) {
    let Some(path) = path.map(Path::to_owned) else {
        tracing::info!("asked to read the configuration again, but the server was started without one");
        return;
    };
    let (client, standing) = (client.clone(), Arc::clone(standing));
    engine.spawn(async move {
        notify::reloading();
        configure(&path, configuration_in(&path), &client, &standing).await;
        let error = standing.configuration().and_then(|configuration| configuration.error);
        notify::reloaded(&match error {
            None => "its configuration is applied".to_owned(),
            Some(error) => format!("its configuration is refused: {error}"),
        });
    });
}

/// Brings the server in line with its configuration, and notes what came of it. Whatever cannot be done is logged,
/// and the server goes on as it was.
async fn configure(path: &Path, configuration: Result<Configuration, Failure>, client: &Client, standing: &Standing) {
    let applied = match configuration {
        Ok(configuration) => apply(client, &configuration, Manner::default()).await,
        Err(failure) => Err(failure),
    };
    let error = match applied {
        Ok(acts) => {
            for line in acts.iter().filter_map(Act::said) {
                tracing::info!("configuration: {line}");
            }
            None
        }
        Err(failure) => {
            tracing::error!("the configuration could not be applied, and the old one stays: {failure}");
            Some(failure.to_string())
        }
    };
    let read_at = clock::now().to_string();
    standing.note_configuration(ConfigurationView { path: path.display().to_string(), read_at, error });
}

fn start_logging() {
    let filter = environment::log_filter().unwrap_or_else(|| "info".into());
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false);
    subscriber.init();
}

/// What the server is asked for from outside.
struct Signals {
    terminate: Mutex<Signal>,
    interrupt: Mutex<Signal>,
    hang_up: Mutex<Signal>,
}

impl Signals {
    /// From here on none of them ends the process by itself.
    fn catch() -> std::io::Result<Signals> {
        let caught = |kind| signal(kind).map(Mutex::new);
        Ok(Signals {
            terminate: caught(SignalKind::terminate())?,
            interrupt: caught(SignalKind::interrupt())?,
            hang_up: caught(SignalKind::hangup())?,
        })
    }

    /// Asked to stop.
    async fn stop(&self) {
        tokio::select! {
            _ = async { self.terminate.lock().await.recv().await } => {}
            _ = async { self.interrupt.lock().await.recv().await } => {}
        }
    }

    /// Asked to read the configuration again.
    async fn reload(&self) {
        self.hang_up.lock().await.recv().await;
    }
}

fn config(
    dir: &DataDir,
    arguments: &UpArguments,
    key: MasterKey,
    is_in_safe_mode: bool,
) -> Result<EngineConfig, Failure> {
    let program = environment::program()
        .map_err(|error| Failure::failed(format!("the path of this program is not known: {error}")))?;
    Ok(EngineConfig {
        data_dir: dir.path().to_owned(),
        program,
        environment: environment::inherited(),
        live_runs_max: arguments.max_live_runs.unwrap_or_else(live_runs_max_default),
        is_root: rustix::process::geteuid().is_root(),
        reserve: Reserve {
            memory_bytes: arguments.min_free_memory_mb.map_or_else(bytes_free_min_default, |mb| mb * MIB),
            disk_bytes: arguments.min_free_disk_mb * MIB,
        },
        public_url: arguments.public_url.as_ref().map(|url| url.trim_end_matches('/').to_owned()),
        guard: Guard::new(&arguments.http_allow).map_err(|error| Failure::usage(format!("--http-allow: {error}")))?,
        vault: Vault::new(key),
        is_in_safe_mode,
        held: None,
        retention: arguments.retain.policy(),
    })
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

/// From a command, a file, the environment, or the data directory, whichever is named first.
async fn master_key(db: &Db, dir: &DataDir, arguments: &UpArguments) -> Result<MasterKey, Failure> {
    let read = |text: &str, whence: &str| {
        MasterKey::read(text).map_err(|error| Failure::usage(format!("the master key of {whence}: {error}")))
    };
    if let Some(command) = &arguments.master_key_command {
        return read(&printed_by(command)?, "--master-key-command");
    }
    if let Some(path) = &arguments.master_key_file {
        let text = std::fs::read_to_string(path).map(Zeroizing::new);
        let text = text.map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))?;
        return read(&text, &format!("--master-key-file {}", path.display()));
    }
    if let Some(text) = environment::master_key().map(Zeroizing::new) {
        return read(&text, "WAKEFUL_MASTER_KEY");
    }
    if let Some(key) = dir.master_key()? {
        return Ok(key);
    }
    let count = db.read("secret.count", (), |tx, ()| Box::pin(secrets::count_of_other_keys(tx, ""))).await;
    match count.map_err(|refusal| Failure::failed(refusal.to_string()))? {
        0 => dir.make_master_key(),
        count => Err(Failure::usage(format!(
            "the store holds {count} secrets, and {} is gone: they cannot be opened without their master key",
            dir.master_key_file().display()
        ))
        .hint("put the key back, or name it with --master-key-file; with any other key the secrets must be set anew")),
    }
}

fn printed_by(command: &str) -> Result<Zeroizing<String>, Failure> {
    let output = std::process::Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(std::process::Stdio::null())
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|error| Failure::usage(format!("--master-key-command cannot be started: {error}")))?;
    if !output.status.success() {
        return Err(Failure::usage(format!("--master-key-command failed: {}", output.status)));
    }
    String::from_utf8(output.stdout)
        .map(Zeroizing::new)
        .map_err(|_| Failure::usage("--master-key-command printed no text"))
}

/// One live run per 512 MiB of memory, at least 4, at most 64: agents mostly wait for the network.
fn live_runs_max_default() -> usize {
    usize::try_from(meminfo("MemTotal").unwrap_or(0) / MEMORY_PER_RUN).unwrap_or(4).clamp(4, 64)
}

/// A twentieth of the memory, 512 MiB at most.
fn bytes_free_min_default() -> u64 {
    (meminfo("MemTotal").unwrap_or(0) / 20).min(MEMORY_PER_RUN)
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
