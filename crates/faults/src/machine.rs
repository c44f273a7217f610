//! What the kernel says about processes: memory, time, parents, command lines.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use wakeful_test_server::{shim_pid, signal, variable};

/// The wall clock in nanoseconds, as one process compares it with another's.
#[expect(clippy::disallowed_methods, reason = "two processes compare it; no rule of the product sees it")]
pub fn now_ns() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_nanos()
}

/// A field of `/proc/<pid>/status` in KiB; 0 if the process is gone.
pub fn status_kib(pid: u32, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
}

/// A field of `/proc/<pid>/stat`, counted from 1 as in its manual page.
fn stat_field(pid: u32, field: usize) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    rest.split(' ').nth(field - 3)?.parse().ok()
}

/// Time on a processor, in user and kernel mode.
pub fn cpu(pid: u32) -> Duration {
    let ticks = stat_field(pid, 14).unwrap_or(0) + stat_field(pid, 15).unwrap_or(0);
    Duration::from_millis(ticks * 1_000 / rustix::param::clock_ticks_per_second())
}

/// When it began, in ticks since boot.
pub fn start_time(pid: u32) -> Option<u64> {
    stat_field(pid, 22)
}

/// Whether the process table has it at all, a zombie included.
pub fn is_listed(pid: u32) -> bool {
    fs::exists(format!("/proc/{pid}")).unwrap_or(false)
}

pub fn command_of(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    format!("{pid} {}", String::from_utf8_lossy(&line).replace('\0', " ").chars().take(60).collect::<String>())
}

/// Kills the process if it is one of this run; whether it was.
pub fn kill_of_run(pid: u32, run: &str) -> bool {
    let is_it = variable(pid, "WAKEFUL_RUN").as_deref() == Some(run);
    if is_it {
        signal(pid, Signal::KILL);
    }
    is_it
}

/// The shim of a run's newest launch that left its record.
pub fn shim_of(server: &wakeful_test_server::Server, run: &str) -> Option<u32> {
    shim_pid(&server.run_dir(run).join("shim-1.json"))
}

/// A process of ours that belongs to no run; it ends with this.
pub struct Stranger(Child);

impl Stranger {
    pub fn start() -> Stranger {
        let mut command = Command::new("sleep");
        command.arg("600").env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Stranger(command.spawn().unwrap())
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        // It may be dead already, which is what its case is about.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[cfg(test)]
mod tests {
    use wakeful_test_server::is_alive;

    use super::*;

    #[test]
    fn the_kernel_is_read_rightly() {
        let own = std::process::id();
        assert!(status_kib(own, "VmHWM") > 500 && status_kib(own, "VmRSS") > 500 && status_kib(own, "None") == 0);
        let began = cpu(own);
        while cpu(own) < began + Duration::from_millis(20) {}
        let stranger = Stranger::start();
        assert!(is_alive(stranger.pid()) && is_listed(stranger.pid()));
        assert!(start_time(stranger.pid()) >= start_time(own));
        assert!(!kill_of_run(stranger.pid(), "run_1"), "a stranger is never killed");
        assert!(is_alive(stranger.pid()));
    }
}
