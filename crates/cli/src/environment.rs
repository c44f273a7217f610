//! The only place that reads the environment.
#![expect(clippy::disallowed_methods, reason = "this is where the environment is read")]

use std::env;
use std::io::IsTerminal;
use std::path::PathBuf;

/// Whether this process is the shim of a run.
pub fn is_shim() -> bool {
    env::args_os().nth(1).is_some_and(|argument| argument == "shim")
}

/// What runs inherit: everything of ours but what tells *us* who we are.
pub fn inherited() -> Vec<(String, String)> {
    env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| !name.starts_with("WAKEFUL_"))
        .collect()
}

/// `WAKEFUL_URL`, set within runs.
pub fn url() -> Option<String> {
    env::var("WAKEFUL_URL").ok().filter(|url| !url.is_empty())
}

/// `WAKEFUL_TOKEN`, set within runs.
pub fn token() -> Option<String> {
    env::var("WAKEFUL_TOKEN").ok().filter(|token| !token.is_empty())
}

/// The master key itself.
pub fn master_key() -> Option<String> {
    env::var("WAKEFUL_MASTER_KEY").ok().filter(|key| !key.is_empty())
}

/// `WAKEFUL_COMPANY`, set within runs.
pub fn company() -> Option<String> {
    env::var("WAKEFUL_COMPANY").ok().filter(|company| !company.is_empty())
}

/// `WAKEFUL_RUN`, set within runs.
pub fn run() -> Option<String> {
    env::var("WAKEFUL_RUN").ok().filter(|run| !run.is_empty())
}

/// `WAKEFUL_TASK`, set within runs that have one.
pub fn task() -> Option<String> {
    env::var("WAKEFUL_TASK").ok().filter(|task| !task.is_empty())
}

/// `WAKEFUL_AGENT_NAME`, set within runs.
pub fn agent_name() -> Option<String> {
    env::var("WAKEFUL_AGENT_NAME").ok().filter(|name| !name.is_empty())
}

/// Where data is kept unless something else is said: the XDG state directory.
pub fn default_data_dir() -> Option<PathBuf> {
    let named = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    named("WAKEFUL_DATA_DIR")
        .or_else(|| named("XDG_STATE_HOME").map(|dir| dir.join("wakeful")))
        .or_else(|| named("HOME").map(|home| home.join(".local/state/wakeful")))
}

/// A setting of the server, if it is said and not empty. What is no text is as it can be shown.
pub fn variable(name: &str) -> Option<String> {
    env::var_os(name).filter(|value| !value.is_empty()).map(|value| value.to_string_lossy().into_owned())
}

/// Variables of ours that are no settings.
const NO_SETTINGS: &[&str] = &[
    "AGENT",
    "AGENT_NAME",
    "COMPANY",
    "CONFIG",
    "CONTEXT_FILE",
    "DATA_DIR",
    "MASTER_KEY",
    "REASON",
    "RESULT_FILE",
    "RUN",
    "SOURCE",
    "TASK",
    "TOKEN",
    "URL",
];

/// The variables that may be meant as settings, without their `WAKEFUL_`.
pub fn said_settings() -> Vec<String> {
    let names = env::vars_os().filter_map(|(name, _)| name.to_str()?.strip_prefix("WAKEFUL_").map(str::to_owned));
    names.filter(|name| !NO_SETTINGS.contains(&name.as_str())).collect()
}

/// `WAKEFUL_CONFIG`: the configuration.
pub fn config_file() -> Option<PathBuf> {
    env::var_os("WAKEFUL_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// The time zone of this machine, if it says which.
pub fn time_zone() -> Option<String> {
    jiff::tz::TimeZone::system().iana_name().map(str::to_owned)
}

/// Whether standard output may be coloured.
pub fn allows_colour() -> bool {
    env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && std::io::stdout().is_terminal()
}

/// Whether a variable is there and holds something.
pub fn is_set(name: &str) -> bool {
    env::var_os(name).is_some_and(|value| !value.is_empty())
}

/// The home directory.
pub fn home() -> Option<PathBuf> {
    env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from)
}

/// Whether systemd has started this process as a unit.
pub fn is_systemd_unit() -> bool {
    is_set("INVOCATION_ID") && is_set("NOTIFY_SOCKET")
}

/// Where configurations of the user lie.
pub fn config_home() -> Option<PathBuf> {
    let named = env::var_os("XDG_CONFIG_HOME").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    named.or_else(|| home().map(|home| home.join(".config")))
}

/// Whether standard output is a terminal.
pub fn prints_to_a_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// The directories of `PATH`.
pub fn path() -> Vec<PathBuf> {
    env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default()
}

/// This program.
pub fn program() -> std::io::Result<PathBuf> {
    env::current_exe()
}
