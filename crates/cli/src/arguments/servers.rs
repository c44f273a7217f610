//! Options of the server and of its configuration, described.

use std::path::PathBuf;

use clap::Args;

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
}
