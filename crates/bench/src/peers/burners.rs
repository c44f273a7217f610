//! Processes that do nothing but burn CPU, as agents beside a queue do.

use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

/// How many; the aim speaks of two.
const BURNERS: usize = 2;
/// Looks now and then whether its parent still lives, so that a killed benchmark leaves none behind.
const SCRIPT: &str = "while kill -0 $PPID 2>/dev/null; do i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done; done";

/// They end with this value.
#[derive(Debug)]
pub struct Burners(Vec<Child>);

impl Burners {
    pub fn start() -> Result<Burners> {
        let mut burners = Burners(Vec::new());
        for _ in 0..BURNERS {
            let mut command = Command::new("sh");
            command.args(["-c", SCRIPT]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            burners.0.push(command.spawn().context("`sh` cannot be started")?);
        }
        Ok(burners)
    }
}

impl Drop for Burners {
    fn drop(&mut self) {
        for child in &mut self.0 {
            child.kill().ok();
            child.wait().ok();
        }
    }
}
