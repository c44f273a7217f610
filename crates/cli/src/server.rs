//! `wakeful up`: the store is opened, the API listens, then what was running is found again.
//! A stop lets live runs go on with their shims.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tracing_subscriber::EnvFilter;
use wakeful_api::Api;
use wakeful_domain::company::{Company, CompanyState, MAX_CONCURRENT_RUNS_DEFAULT, MAX_RUNS_PER_ROOT_HOUR_DEFAULT};
use wakeful_engine::pressure::{Reserve, meminfo};
use wakeful_engine::secrets::{MasterKey, Vault};
use wakeful_engine::{Engine, EngineConfig, clock, hash_of};
use wakeful_runner::http::Guard;
use wakeful_store::ops::{companies, secrets};
use wakeful_store::{Db, Location};
use zeroize::Zeroizing;

use crate::arguments::{Global, UpArguments};
use crate::client::Client;
use crate::commands::config::configuration_in;
use crate::config::apply::{Act, Manner, apply};
use crate::config::declared::Configuration;
use crate::data_dir::DataDir;
use crate::environment;
use crate::failure::{FAILED, Failure, REFUSED, USAGE};

/// How long a stop waits for requests in flight.
const DRAIN: Duration = Duration::from_secs(30);
/// How long a stop waits for the tasks that follow runs to let go. Only a service that is being called takes long.
const LET_GO: Duration = Duration::from_secs(30);
const MIB: u64 = 1024 * 1024;
/// Memory that the default takes for one live run.
const MEMORY_PER_RUN: u64 = 512 * MIB;

/// Runs the server until it is asked to stop.
pub async fn up(global: &Global, arguments: &UpArguments) -> Result<(), Failure> {
    start_logging();
    let configuration = arguments.config.as_deref().map(configuration_in).transpose()?;
    let dir = DataDir::of(global.data_dir.as_deref())?;
    dir.create()?;
    let mut lock = dir.lock()?;
    let location = match &arguments.database {
        Some(url) => Location::Postgres(url.clone()),
        None => Location::File(dir.store_file()),
    };
    let db = Db::open(&location).await.map_err(|error| Failure::new(FAILED, error.to_string()))?;
    let owner = format!("process {} with the data directory {}", std::process::id(), dir.path().display());
    db.hold_alone(&owner).await.map_err(|error| Failure::new(REFUSED, error.to_string()))?;
    let admin_token = dir.admin_token()?;
    let key = master_key(&db, &dir, arguments).await?;
    let engine = Engine::new(db, config(&dir, arguments, key)?);
    ensure_default_company(&engine).await?;
    // Before anyone can find the server and ask it to stop.
    let mut signals = StopSignals::catch()?;
    let listener = TcpListener::bind(&arguments.listen).await.map_err(|error| {
        Failure::new(USAGE, format!("cannot listen on {}: {error}", arguments.listen))
            .hint("name a free address with --listen, or port 0 for any")
    })?;
    let address = format!("http://{}", reachable(listener.local_addr()?));
    dir.publish_address(&mut lock, &address)?;
    let router = wakeful_api::router(Api::new(engine.clone(), &hash_of(&admin_token)));
    let configured = configure(configuration, Client::new(&address, &admin_token)?);
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
    engine.spawn(configured);
    tracing::info!(
        address,
        data_dir = %dir.path().display(),
        store = engine.db().engine_name(),
        live_runs_max = engine.config().live_runs_max,
        "wakeful {} listens on {address}",
        env!("CARGO_PKG_VERSION")
    );
    tokio::select! {
        ended = &mut serving => ended?,
        () = signals.next() => {
            tracing::info!(live_runs = engine.host().live_runs, "stopping; live runs go on and are found again at the next start");
            engine.stop(LET_GO).await;
            is_over.notify_one();
            tokio::select! {
                ended = &mut serving => ended?,
                () = signals.next() => {}
                () = tokio::time::sleep(DRAIN) => tracing::warn!("some requests did not end within {DRAIN:?}"),
            }
        }
    }
    Ok(())
}

/// Brings the server in line with its configuration. Whatever cannot be done is logged, and the server goes on.
async fn configure(configuration: Option<Configuration>, client: Client) {
    let Some(configuration) = configuration else { return };
    match apply(&client, &configuration, Manner::default()).await {
        Ok(acts) => {
            for line in acts.iter().filter_map(Act::said) {
                tracing::info!("configuration: {line}");
            }
        }
        Err(failure) => tracing::error!("the configuration could not be applied: {failure}"),
    }
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

/// The ways in which the server is asked to stop.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// From here on a signal does not end the process by itself.
    fn catch() -> std::io::Result<StopSignals> {
        Ok(StopSignals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn config(dir: &DataDir, arguments: &UpArguments, key: MasterKey) -> Result<EngineConfig, Failure> {
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
        is_in_safe_mode: arguments.safe_mode,
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
