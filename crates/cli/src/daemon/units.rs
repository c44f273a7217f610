//! The server as a service of this machine: units for systemd, a property list for launchd; written, enabled, removed.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::arguments::DaemonInstallArguments;
use crate::config::settings;
use crate::data_dir::DataDir;
use crate::environment;
use crate::failure::{Failure, NOT_FOUND};
use crate::output::Output;

const UNIT: &str = "wakeful.service";
const LABEL: &str = "dev.wakeful.server";
/// Where units of the system lie.
const SYSTEM_UNITS: &str = "/etc/systemd/system";

/// Writes the unit and has it started, or prints it.
pub fn install(dir: &DataDir, arguments: &DaemonInstallArguments, output: Output) -> Result<(), Failure> {
    let program = environment::program()
        .map_err(|error| Failure::failed(format!("the path of this program is not known: {error}")))?;
    let up = arguments.up.with_config_of_environment();
    let effective = settings::load(settings::found(dir, up.config.as_deref()), &up.settings)?.effective;
    let service = Service {
        program: &program,
        dir: dir.path(),
        options: &up.to_options(),
        variables: effective.variables(),
        drain: effective.settings.daemon.drain,
        system: arguments.system,
    };
    let text = if arguments.launchd { service.launchd() } else { service.systemd() };
    if arguments.print {
        output.show(&json!({ "unit": text }), || text.trim_end().to_owned());
        return Ok(());
    }
    let path = if arguments.launchd { launchd_path()? } else { systemd_path(arguments.system)? };
    let failed = |error: std::io::Error| Failure::failed(format!("cannot write {}: {error}", path.display()));
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).map_err(failed)?;
    // The options may hold the password of a database.
    dir.write(&path, text.as_bytes())?;
    let commands = if arguments.launchd { launchctl("load", &path) } else { systemctl(arguments.system, "enable") };
    let left = carry_out(commands);
    let told = json!({ "path": path, "left_to_do": left });
    output.show(&told, || said(&format!("{} is written", path.display()), &left));
    Ok(())
}

/// Has the service stopped and removes its unit. What it has kept stays.
pub fn uninstall(system: bool, output: Output) -> Result<(), Failure> {
    let (unit, property_list) = (systemd_path(system)?, launchd_path()?);
    let (path, commands) = match (unit.exists(), property_list.exists() && !system) {
        (true, _) => (unit, systemctl(system, "disable")),
        (false, true) => (property_list.clone(), launchctl("unload", &property_list)),
        (false, false) => {
            return Err(Failure::new(NOT_FOUND, format!("there is no unit at {}", unit.display()))
                .hint("`wakeful daemon install` writes one"));
        }
    };
    let left = carry_out(commands);
    std::fs::remove_file(&path)
        .map_err(|error| Failure::failed(format!("cannot remove {}: {error}", path.display())))?;
    output
        .show(&json!({ "path": path, "left_to_do": left }), || said(&format!("{} is removed", path.display()), &left));
    Ok(())
}

fn said(done: &str, left: &[String]) -> String {
    let mut told = done.to_owned();
    for command in left {
        // Writing to a text does not fail.
        write!(told, "\nstill to do: {command}").ok();
    }
    told
}

fn systemd_path(system: bool) -> Result<PathBuf, Failure> {
    match system {
        true => Ok(Path::new(SYSTEM_UNITS).join(UNIT)),
        false => {
            let config =
                environment::config_home().ok_or_else(|| Failure::usage("neither XDG_CONFIG_HOME nor HOME is set"))?;
            Ok(config.join("systemd/user").join(UNIT))
        }
    }
}

fn launchd_path() -> Result<PathBuf, Failure> {
    let home = environment::home().ok_or_else(|| Failure::usage("HOME is not set"))?;
    Ok(home.join("Library/LaunchAgents").join(format!("{LABEL}.plist")))
}

fn systemctl(system: bool, what: &str) -> Vec<Vec<String>> {
    let command = |words: &[&str]| -> Vec<String> {
        let scope = (!system).then_some("--user");
        ["systemctl"].into_iter().chain(scope).chain(words.iter().copied()).map(str::to_owned).collect()
    };
    match what {
        "enable" => vec![command(&["daemon-reload"]), command(&["enable", "--now", UNIT])],
        _ => vec![command(&["disable", "--now", UNIT])],
    }
}

fn launchctl(what: &str, path: &Path) -> Vec<Vec<String>> {
    vec![vec!["launchctl".into(), what.into(), "-w".into(), path.display().to_string()]]
}

/// Carries commands out; gives those that are left to a person, from the first that failed on.
fn carry_out(commands: Vec<Vec<String>>) -> Vec<String> {
    let succeeds = |words: &Vec<String>| {
        Command::new(&words[0]).args(&words[1..]).output().is_ok_and(|output| output.status.success())
    };
    commands.into_iter().skip_while(succeeds).map(|words| words.join(" ")).collect()
}

/// What a unit is written for.
struct Service<'a> {
    program: &'a Path,
    dir: &'a Path,
    options: &'a [String],
    /// Of the environment, that say settings.
    variables: Vec<String>,
    drain: Duration,
    system: bool,
}

/// As systemd reads it: quoted, with its own signs doubled.
fn quoted(word: &str) -> String {
    let escaped = word.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    format!("\"{escaped}\"")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

impl Service<'_> {
    fn words(&self) -> Vec<String> {
        let mut words = vec![self.program.display().to_string(), "--data-dir".into(), self.dir.display().to_string()];
        words.push("up".into());
        words.extend(self.options.iter().cloned());
        words.push("--service".into());
        words
    }

    /// Agents are started by the server and have to be able to work, so only what none of them needs is taken away.
    fn systemd(&self) -> String {
        let command = self.words().iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
        let wanted_by = if self.system { "multi-user.target" } else { "default.target" };
        let names = ["PATH", "HOME"].into_iter().chain(self.variables.iter().map(String::as_str));
        let environment: String = names
            .filter_map(|name| Some(format!("{name}={}", environment::variable(name)?)))
            .map(|variable| format!("Environment={}\n", quoted(&variable).replace("$$", "$")))
            .collect();
        // A stop waits twice, for calls and for requests.
        let stop_s = self.drain.as_secs() * 2 + 15;
        let hardening = match self.system {
            true => "ProtectKernelModules=yes\nProtectKernelLogs=yes\nProtectClock=yes\nRestrictRealtime=yes\n",
            false => "",
        };
        format!(
            "[Unit]
Description=Wakeful: wakes and runs AI agents
After=network-online.target
Wants=network-online.target
# A database that is late is waited for, for five minutes.
StartLimitIntervalSec=600
StartLimitBurst=30

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=10
# Fed by completed beats of the dispatcher.
WatchdogSec=60
TimeoutStartSec=90
TimeoutStopSec={stop_s}
# Live runs go on with their shims, and are found again.
KillMode=process
Delegate=yes
# Half of them are for clients: see docs/concepts/daemon.md.
LimitNOFILE=16384
UMask=0077
NoNewPrivileges=no
# As whoever installed it has them: agents are found and logged in by these.
{environment}{hardening}
[Install]
WantedBy={wanted_by}
"
        )
    }

    fn launchd(&self) -> String {
        let mut words = String::new();
        for word in self.words() {
            // Writing to a text does not fail.
            writeln!(words, "    <string>{}</string>", escaped(&word)).ok();
        }
        let log = escaped(&self.dir.join("wakeful.log").display().to_string());
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">
<plist version=\"1.0\">
<dict>
  <key>Label</key>
  <string>{LABEL}</string>
  <key>ProgramArguments</key>
  <array>
{words}  </array>
  <key>RunAtLoad</key>
  <true/>
  <key>KeepAlive</key>
  <dict>
    <key>SuccessfulExit</key>
    <false/>
  </dict>
  <key>AbandonProcessGroup</key>
  <true/>
  <key>ThrottleInterval</key>
  <integer>10</integer>
  <key>StandardErrorPath</key>
  <string>{log}</string>
</dict>
</plist>
"
        )
    }
}
