//! The system calls that neither std nor rustix offers.
//!
//! Signals are caught by a handler and turned into bytes of a pipe, not blocked and read from a
//! signalfd: a blocked signal would stay blocked in the agent, a handler ends with `exec`.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::pipe::{PipeFlags, pipe_with};

use super::super::record::ResourceUsage;

/// The signals that the shim takes as events instead of dying of them. HUP and XFSZ are taken and
/// left alone; after the latter, a write beyond the file size limit fails like one to a full disk.
const TAKEN: [libc::c_int; 5] = [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGXFSZ];

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
    /// Installs the handler, and undoes what a server started by `nohup` or in the background hands
    /// down: an agent that inherits an ignored INT could not be stopped by it. Once per process.
    #[expect(unsafe_code, reason = "neither std nor rustix installs handlers")]
    pub fn open() -> io::Result<SignalDescriptor> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Never closed: the handler would write into whatever gets its number next.
        SIGNALS.store(writer.into_raw_fd(), Ordering::Relaxed);
        forget_inherited_signals();
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

/// Ignored signals get their default action back, blocked ones are let through. PIPE is std's business.
#[expect(unsafe_code, reason = "neither std nor rustix sets dispositions or masks")]
fn forget_inherited_signals() {
    for signal in (1..32).filter(|signal| *signal != libc::SIGPIPE) {
        // SAFETY: both pointers are to whole sigactions that live through the calls; all zeroes is a
        // valid one and means the default action. KILL and STOP are refused, which changes nothing.
        unsafe {
            let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
            libc::sigaction(signal, std::ptr::null(), &raw mut action);
            if action.sa_sigaction == libc::SIG_IGN {
                let default: libc::sigaction = MaybeUninit::zeroed().assume_init();
                libc::sigaction(signal, &raw const default, std::ptr::null_mut());
            }
        }
    }
    // SAFETY: sigemptyset initialises the set before it is read; there is a single thread.
    unsafe {
        let mut none = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
    }
}

impl AsFd for SignalDescriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

/// Runs before everybody else, if we may: a tree of thousands that all want to run must not keep us from ending it.
/// What is started by us would not inherit it. For the little that is left to do once a tree is killed.
#[expect(unsafe_code, reason = "neither std nor rustix sets policies of scheduling")]
pub fn hurry() {
    // SAFETY: the pointer is to a whole sched_param that lives through the call; all zeroes is a valid one.
    unsafe {
        let mut parameters: libc::sched_param = MaybeUninit::zeroed().assume_init();
        parameters.sched_priority = 1;
        libc::sched_setscheduler(0, libc::SCHED_RR | libc::SCHED_RESET_ON_FORK, &raw const parameters);
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
