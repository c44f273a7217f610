//! Options of the server and of its configuration, described.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::backups::RetainArguments;

#[derive(Debug, Clone, Args)]
pub struct ConfigArguments {
    /// TOML, or JSON if its name ends so
    #[arg(long, default_value = "wakeful.toml", value_name = "FILE")]
    pub config: PathBuf,
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
    /// Apply this configuration once the server is up; one with a mistake is refused before
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:7777", value_name = "ADDRESS")]
    pub listen: String,
    /// postgres://… instead of the embedded SQLite
    #[arg(long, value_name = "URL")]
    pub database: Option<String>,
    /// Live runs on this host [default: one per 512 MiB of memory, 4 to 64]
    #[arg(long, value_name = "N")]
    pub max_live_runs: Option<usize>,
    /// Start nothing while less memory than this is available; 0 for no such limit [default: a twentieth, 512 at most]
    #[arg(long, value_name = "MIB")]
    pub min_free_memory_mb: Option<u64>,
    /// Start nothing while less room than this is left on the disk of the data directory; 0 for no such limit
    #[arg(long, default_value_t = 64, value_name = "MIB")]
    pub min_free_disk_mb: u64,
    #[command(flatten)]
    pub retain: RetainArguments,
    /// File with the master key that secrets are sealed under [default: WAKEFUL_MASTER_KEY, or master.key of the data directory]
    #[arg(long, value_name = "FILE", conflicts_with = "master_key_command")]
    pub master_key_file: Option<PathBuf>,
    /// Command that prints the master key, for a shell
    #[arg(long, value_name = "COMMAND")]
    pub master_key_command: Option<String>,
    /// Base URL under which services on other machines reach this server, for callbacks [default: where it listens]
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
    /// Let http agents be at this private address or network, as 10.0.0.0/8; `all` for any; may be repeated
    #[arg(long, value_name = "NETWORK")]
    pub http_allow: Vec<String>,
    /// Start nothing, so that you can look first; everything else works
    #[arg(long)]
    pub safe_mode: bool,
    /// Run under a service manager: after three crashes in a row, each within 10 s, start in safe mode
    #[arg(long, hide = true)]
    pub service: bool,
}

impl UpArguments {
    /// The options that give these again, but for `--service`.
    pub fn to_options(&self) -> Vec<String> {
        let mut options: Vec<String> = Vec::new();
        let mut add = |name: &str, value: String| options.push(format!("{name}={value}"));
        // Whoever reads them again may stand in another directory.
        let absolute =
            |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string();
        self.config.iter().for_each(|path| add("--config", absolute(path)));
        add("--listen", self.listen.clone());
        self.database.iter().for_each(|url| add("--database", url.clone()));
        self.max_live_runs.iter().for_each(|count| add("--max-live-runs", count.to_string()));
        self.min_free_memory_mb.iter().for_each(|count| add("--min-free-memory-mb", count.to_string()));
        add("--min-free-disk-mb", self.min_free_disk_mb.to_string());
        self.retain.each().for_each(|(name, value)| add(name, value.to_string()));
        self.master_key_file.iter().for_each(|path| add("--master-key-file", absolute(path)));
        self.master_key_command.iter().for_each(|command| add("--master-key-command", command.clone()));
        self.public_url.iter().for_each(|url| add("--public-url", url.clone()));
        self.http_allow.iter().for_each(|network| add("--http-allow", network.clone()));
        if self.safe_mode {
            options.push("--safe-mode".into());
        }
        options
    }
}

#[derive(Debug, Clone, Subcommand)]
pub enum DaemonVerb {
    /// Start the server in the background, and return when it is ready
    Start(DaemonStartArguments),
    /// Stop it; live runs go on and are found again at the next start
    Stop {
        /// How long requests and calls in flight are waited for
        #[arg(long, default_value = "60s", value_name = "DURATION")]
        timeout: String,
    },
    /// Stop it, and start it with the options it was started with; live runs go on
    Restart {
        /// How long requests and calls in flight are waited for
        #[arg(long, default_value = "60s", value_name = "DURATION")]
        timeout: String,
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
