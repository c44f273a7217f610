//! Whether the kernel killed a process for lack of memory, read from its log where we may.
//! Asked only after a KILL that was not ours, so that an ordinary run pays nothing for it.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

/// Records looked at; the ring holds fewer.
const RECORDS_MAX: usize = 100_000;

/// Whether the log says so. Within a container pids have other numbers there: then it does not.
pub fn says_out_of_memory(pid: i32, since_boot_us: u64) -> bool {
    let Ok(mut log) = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg") else {
        return false;
    };
    let mark = format!("Killed process {pid} (");
    let mut record = [0; 8192];
    for _ in 0..RECORDS_MAX {
        let count = match log.read(&mut record) {
            Ok(count) if count > 0 => count,
            // The ring has moved on; the next read goes on with what is there.
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => continue,
            Ok(_) | Err(_) => return false,
        };
        let text = String::from_utf8_lossy(&record[..count]);
        // `priority,sequence,microseconds since boot,flags;text`
        let at_us = text.split(',').nth(2).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        if at_us >= since_boot_us && text.contains(&mark) {
            return true;
        }
    }
    false
}
