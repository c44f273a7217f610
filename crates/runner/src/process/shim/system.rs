//! The two system calls that neither std nor rustix offers.
//!
//! Signals are caught by a handler and turned into bytes of a pipe, not blocked and read from a
//! signalfd: a blocked signal would stay blocked in the agent, a handler ends with `exec`.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::pipe::{PipeFlags, pipe_with};

use super::super::record::ResourceUsage;

/// The signals that the shim takes as events instead of dying of them. HUP is taken and left alone.
const TAKEN: [libc::c_int; 4] = [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGHUP];

/// Where the handler writes.
static SIGNALS: AtomicI32 = AtomicI32::new(-1);

/// Signals that arrive as bytes.
pub struct SignalDescriptor {
    reader: OwnedFd,
}

/// Only calls `write`, which a handler may, and leaves `errno` as it was.
extern "C" fn on_signal(signal: libc::c_int) {
    let byte = u8::try_from(signal).unwrap_or(0);
    #[expect(unsafe_code, reason = "a signal handler may use nothing but system calls")]
    // SAFETY: the pointer is to one live byte. A full pipe takes nothing, but then it wakes the loop already.
    unsafe {
        let errno = libc::__errno_location();
        let saved = *errno;
        libc::write(SIGNALS.load(Ordering::Relaxed), std::ptr::from_ref(&byte).cast(), 1);
        *errno = saved;
    }
}

impl SignalDescriptor {
    /// Installs the handler. Once per process.
    #[expect(unsafe_code, reason = "neither std nor rustix installs handlers")]
    pub fn open() -> io::Result<SignalDescriptor> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Never closed: the handler would write into whatever gets its number next.
        SIGNALS.store(writer.into_raw_fd(), Ordering::Relaxed);
        for signal in TAKEN {
            // SAFETY: all zeroes is a valid sigaction; the handler is one that may run at any time.
            let installed = unsafe {
                let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
                action.sa_sigaction = on_signal as *const () as libc::sighandler_t;
                action.sa_flags = libc::SA_RESTART | libc::SA_NOCLDSTOP;
                libc::sigaction(signal, &raw const action, std::ptr::null_mut())
            };
            if installed != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(SignalDescriptor { reader })
    }

    /// The numbers of the signals that have arrived.
    pub fn take(&self) -> Vec<i32> {
        let mut bytes = [0; 256];
        let count = rustix::io::read(&self.reader, &mut bytes).unwrap_or(0);
        bytes[..count].iter().map(|number| i32::from(*number)).collect()
    }
}

impl AsFd for SignalDescriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

/// What all descendants that were waited for have used.
#[expect(unsafe_code, reason = "neither std nor rustix has getrusage")]
pub fn children_usage() -> ResourceUsage {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: getrusage writes a whole rusage to a valid pointer; all zeroes is a valid one as well.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr());
        usage.assume_init()
    };
    let ms = |time: libc::timeval| u64::try_from(time.tv_sec * 1_000 + time.tv_usec / 1_000).unwrap_or(0);
    ResourceUsage {
        user_ms: ms(usage.ru_utime),
        system_ms: ms(usage.ru_stime),
        max_rss_kb: u64::try_from(usage.ru_maxrss).unwrap_or(0),
    }
}
