//! Options of the server and of its configuration, described.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::SettingOptions;
use crate::environment;

#[derive(Debug, Clone, Args)]
pub struct ConfigArguments {
    /// TOML, or JSON if its name ends so [default: WAKEFUL_CONFIG, or wakeful.toml of the data directory]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

#[derive(Debug, Clone, Subcommand)]
pub enum ConfigVerb {
    /// Show what every setting of the server would be at a start, and who says so
    Show {
        #[command(flatten)]
        file: ConfigArguments,
        #[command(flatten)]
        settings: SettingOptions,
    },
    /// Print the JSON Schema of the file, for editors
    Schema,
}

#[derive(Debug, Clone, Args)]
pub struct ApplyArguments {
    #[command(flatten)]
    pub file: ConfigArguments,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Take over what is there under a declared name and was made otherwise
    #[arg(long)]
    pub adopt: bool,
}

#[derive(Debug, Clone, Args)]
pub struct UpArguments {
    /// Start with the settings of this file, and apply what it declares once the server is up; one with a mistake is
    /// refused before [default: WAKEFUL_CONFIG, or wakeful.toml of the data directory if it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub settings: SettingOptions,
    /// Start nothing, so that you can look first; everything else works
    #[arg(long)]
    pub safe_mode: bool,
    /// Run under a service manager: after three crashes in a row, each within 10 s, start in safe mode
    #[arg(long, hide = true)]
    pub service: bool,
}

impl UpArguments {
    /// The same for a process that has another environment.
    pub fn with_config_of_environment(&self) -> UpArguments {
        UpArguments { config: self.config.clone().or_else(environment::config_file), ..self.clone() }
    }

    /// The options that give these again, but for `--service`. Whoever reads them may stand in another directory.
    pub fn to_options(&self) -> Vec<String> {
        let config = self.config.as_ref().map(|path| {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            format!("--config={}", path.display())
        });
        let safe_mode = self.safe_mode.then(|| "--safe-mode".to_owned());
        config.into_iter().chain(self.settings.to_options()).chain(safe_mode).collect()
    }
}

#[derive(Debug, Clone, Subcommand)]
pub enum DaemonVerb {
    /// Start the server in the background, and return when it is ready
    Start(DaemonStartArguments),
    /// Stop it; live runs go on and are found again at the next start
    Stop {
        /// How long requests and calls in flight are waited for [default: 60s, or longer if the setting daemon.drain is]
        #[arg(long, value_name = "DURATION")]
        timeout: Option<String>,
    },
    /// Stop it, and start it with the options it was started with; live runs go on
    Restart {
        /// How long requests and calls in flight are waited for [default: 60s, or longer if the setting daemon.drain is]
        #[arg(long, value_name = "DURATION")]
        timeout: Option<String>,
    },
    /// Say how it stands; exit code 3 if it does not run
    Status,
    /// Have it read its configuration again; one with a mistake is refused and the old one stays
    Reload,
    /// Show its log
    Logs {
        /// Show what comes, too
        #[arg(short, long)]
        follow: bool,
        /// Lines to begin with
        #[arg(short = 'n', long, default_value_t = 50, value_name = "N")]
        lines: usize,
    },
    /// Make it a service of this machine (systemd; launchd with --launchd), and start it
    Install(DaemonInstallArguments),
    /// Stop the service and remove its unit; the data directory stays
    Uninstall {
        /// The one of the system, not the user's own
        #[arg(long)]
        system: bool,
    },
}

#[derive(Debug, Clone, Args)]
pub struct DaemonStartArguments {
    #[command(flatten)]
    pub up: UpArguments,
}

#[derive(Debug, Clone, Args)]
pub struct DaemonInstallArguments {
    #[command(flatten)]
    pub up: UpArguments,
    /// A unit of the system, not the user's own
    #[arg(long)]
    pub system: bool,
    /// A property list for launchd instead
    #[arg(long, conflicts_with = "system")]
    pub launchd: bool,
    /// Print the unit, and do nothing
    #[arg(long)]
    pub print: bool,
}

#[derive(Debug, Clone, Args)]
pub struct DoctorArguments {
    /// Carry out the remedies that can do no harm: make the data directory, take from others what is for us alone
    #[arg(long)]
    pub fix: bool,
}
