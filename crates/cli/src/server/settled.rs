//! What the server was started with, and what became of it since: its file read again, what can change while it runs
//! changed, what cannot said.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wakeful_api::{ConfigurationView, Standing};
use wakeful_engine::{Engine, clock};

use crate::arguments::{SettingOptions, UpArguments};
use crate::client::Client;
use crate::config::apply::{Act, Manner, apply};
use crate::config::declared::Configuration;
use crate::config::settings::{self, Effective, Settings};
use crate::daemon::notify;
use crate::data_dir::DataDir;
use crate::failure::Failure;
use crate::logging::Logging;

/// The settings of a running server.
#[derive(Debug)]
pub struct Settled {
    dir: DataDir,
    options: SettingOptions,
    /// As it was named at the start.
    named: Option<PathBuf>,
    effective: Mutex<Effective>,
    logging: Logging,
    engine: Engine,
    client: Client,
    standing: Arc<Standing>,
}

impl Settled {
    pub fn new(
        dir: &DataDir,
        arguments: &UpArguments,
        effective: Effective,
        logging: Logging,
        engine: Engine,
        client: Client,
        standing: Arc<Standing>,
    ) -> Settled {
        let (options, named) = (arguments.settings.clone(), arguments.config.clone());
        Settled {
            dir: dir.clone(),
            options,
            named,
            effective: Mutex::new(effective),
            logging,
            engine,
            client,
            standing,
        }
    }

    /// The settings as they are by now.
    pub fn settings(&self) -> Settings {
        self.effective().settings.clone()
    }

    fn effective(&self) -> MutexGuard<'_, Effective> {
        self.effective.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies what the file declares, if there is one.
    pub fn apply_at_start(self: &Arc<Self>, path: Option<PathBuf>, configuration: Option<Configuration>) {
        if let Some((path, configuration)) = path.zip(configuration) {
            let own = Arc::clone(self);
            self.engine.spawn(async move {
                let applied = own.apply(Some(&configuration)).await;
                own.note(path, applied, Vec::new());
            });
        }
    }

    /// Reads the configuration again, if there is one. One with a mistake changes nothing.
    pub fn reload(self: &Arc<Self>) {
        // One that has gone is a mistake, not a wish for the defaults.
        let known = self.standing.configuration().map(|known| PathBuf::from(known.path));
        let Some(path) = known.or_else(|| settings::found(&self.dir, self.named.as_deref())) else {
            tracing::info!("asked to read the configuration again, but there is none");
            return;
        };
        let own = Arc::clone(self);
        self.engine.spawn(async move {
            notify::reloading();
            let error = own.read_again(path).await;
            notify::reloaded(&match error {
                None => "its configuration is applied".to_owned(),
                Some(error) => format!("its configuration is refused: {error}"),
            });
        });
    }

    async fn read_again(&self, path: PathBuf) -> Option<String> {
        let (applied, needs_restart) = match settings::load(Some(path.clone()), &self.options) {
            Err(failure) => (Err(failure), self.needs_restart()),
            Ok(loaded) => match self.change(&loaded.effective) {
                Err(failure) => (Err(failure), self.needs_restart()),
                Ok(needs_restart) => (self.apply(loaded.configuration.as_ref()).await, needs_restart),
            },
        };
        self.note(path, applied, needs_restart)
    }

    /// Those that the file read last wants otherwise and that only a restart changes.
    fn needs_restart(&self) -> Vec<String> {
        self.standing.configuration().map(|known| known.needs_restart).unwrap_or_default()
    }

    /// Changes what can change while the server runs; gives the names of the others.
    fn change(&self, wanted: &Effective) -> Result<Vec<String>, Failure> {
        let mut running = self.effective();
        let mut needs_restart = Vec::new();
        for held in &wanted.held {
            match running.differs(held) {
                true if held.setting.changes_while_running => {
                    tracing::info!("{} is {} now", held.setting.name(), held.value);
                }
                true => needs_restart.push(held.setting.name()),
                false => {}
            }
        }
        if !needs_restart.is_empty() {
            tracing::warn!("a restart is needed for what has changed of {}", needs_restart.join(", "));
        }
        running.take_changeable(wanted)?;
        let Settings { server, limits, log, .. } = &running.settings;
        self.logging.set_levels(&log.level).map_err(|error| Failure::failed(format!("the log: {error}")))?;
        self.engine.set_limits(server.max_live_runs, limits.reserve());
        Ok(needs_restart)
    }

    /// Brings the server in line with what a configuration declares. What cannot be done is logged, and the server goes
    /// on as it was.
    async fn apply(&self, configuration: Option<&Configuration>) -> Result<(), Failure> {
        let Some(configuration) = configuration else { return Ok(()) };
        let acts = apply(&self.client, configuration, Manner::default()).await?;
        for line in acts.iter().filter_map(Act::said) {
            tracing::info!("configuration: {line}");
        }
        Ok(())
    }

    /// Notes what came of reading it; gives why it was refused, if it was.
    fn note(&self, path: PathBuf, applied: Result<(), Failure>, needs_restart: Vec<String>) -> Option<String> {
        let error = applied.err().map(|failure| failure.to_string());
        if let Some(error) = &error {
            tracing::error!("the configuration could not be applied, and the old one stays: {error}");
        }
        let (path, read_at) = (path.display().to_string(), clock::now().to_string());
        self.standing.note_configuration(ConfigurationView { path, read_at, error: error.clone(), needs_restart });
        error
    }
}
