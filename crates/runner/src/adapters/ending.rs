//! What is said of a process that ended without telling how its work went.

use wakeful_domain::outcome::{Outcome, SessionChange};

use super::failures::Failure;
use super::{Exit, reset_time};

/// The judgement on an agent that promised a terminal event and gave none.
pub(super) fn without_result(exit: &Exit, program: &str, last_line: Option<&str>) -> Outcome {
    match (exit.signal, exit.code) {
        (Some(signal), _) => killed(signal),
        (None, Some(0)) => {
            Outcome::failed("no_result", with_last_line(&format!("{program} exited without a result"), last_line))
        }
        (None, code) => exit_nonzero(program, code, last_line),
    }
}

/// The same for an agent whose output could not all be read: what it ended with may have been among that.
pub(super) fn without_result_among(unreadable: u64, exit: &Exit, program: &str, last_line: Option<&str>) -> Outcome {
    let outcome = without_result(exit, program, last_line);
    match (unreadable, outcome.error_code.as_deref()) {
        (1.., Some("no_result")) => {
            let sentence = format!("{program} exited without a result that could be read ({unreadable} broken events)");
            Outcome::failed("bad_output", with_last_line(&sentence, last_line))
        }
        _ => outcome,
    }
}

/// An outcome with another judgement: what the run used and made stays.
pub(super) fn judged_by(judgement: Outcome, base: Outcome) -> Outcome {
    Outcome { end: judgement.end, error_code: judgement.error_code, error: judgement.error, ..base }
}

/// The outcome of a run that failed, for a reason that a table knows, at `base`. A summary is of success.
pub(super) fn failed(failure: Failure, error: &str, exit: &Exit, base: Outcome) -> Outcome {
    let is_limited = failure.code == "usage_limit";
    let judged = judged_by(Outcome::failed(failure.code, error), base);
    Outcome {
        summary: None,
        session: if failure.ends_session { SessionChange::Clear } else { judged.session.clone() },
        retry_at: if is_limited { reset_time::read(error, exit.at, &jiff::tz::TimeZone::system()) } else { None },
        ..judged
    }
}

/// Death by a signal.
pub(super) fn killed(signal: i32) -> Outcome {
    Outcome::failed("killed", format!("the process was killed by {}", signal_name(signal)))
}

/// An exit status that says that something went wrong.
pub(super) fn exit_nonzero(program: &str, code: Option<i32>, last_line: Option<&str>) -> Outcome {
    let sentence = match code {
        Some(code) => format!("{program} exited with status {code}"),
        None => format!("{program} ended, how is not known"),
    };
    Outcome::failed("exit_nonzero", with_last_line(&sentence, last_line))
}

/// A sentence and the last line that the process wrote to standard error.
pub(super) fn with_last_line(sentence: &str, last_line: Option<&str>) -> String {
    match last_line {
        Some(line) => format!("{sentence}: {line}"),
        None => sentence.to_owned(),
    }
}

fn signal_name(signal: i32) -> String {
    let names = [
        (libc::SIGHUP, "SIGHUP"),
        (libc::SIGINT, "SIGINT"),
        (libc::SIGQUIT, "SIGQUIT"),
        (libc::SIGILL, "SIGILL"),
        (libc::SIGTRAP, "SIGTRAP"),
        (libc::SIGABRT, "SIGABRT"),
        (libc::SIGBUS, "SIGBUS"),
        (libc::SIGFPE, "SIGFPE"),
        (libc::SIGKILL, "SIGKILL"),
        (libc::SIGUSR1, "SIGUSR1"),
        (libc::SIGSEGV, "SIGSEGV"),
        (libc::SIGUSR2, "SIGUSR2"),
        (libc::SIGPIPE, "SIGPIPE"),
        (libc::SIGALRM, "SIGALRM"),
        (libc::SIGTERM, "SIGTERM"),
        (libc::SIGXCPU, "SIGXCPU"),
        (libc::SIGXFSZ, "SIGXFSZ"),
        (libc::SIGSYS, "SIGSYS"),
    ];
    match names.iter().find(|(number, _)| *number == signal) {
        Some((_, name)) => (*name).to_owned(),
        None => format!("signal {signal}"),
    }
}

#[cfg(test)]
mod tests {
    use wakeful_domain::time::Timestamp;

    use super::*;

    #[test]
    fn ends_without_a_result_are_told_apart() {
        let check = |code, signal, last_line, expected_code: &str, sentence: &str| {
            let exit = Exit { code, signal, result_file: None, at: Timestamp::from_millis(0) };
            let outcome = without_result(&exit, "claude", last_line);
            assert_eq!(outcome.error_code.as_deref(), Some(expected_code));
            assert_eq!(outcome.error.as_deref(), Some(sentence));
        };
        check(Some(0), None, None, "no_result", "claude exited without a result");
        check(Some(2), None, Some("boom"), "exit_nonzero", "claude exited with status 2: boom");
        check(Some(137), None, None, "exit_nonzero", "claude exited with status 137");
        check(None, Some(9), Some("boom"), "killed", "the process was killed by SIGKILL");
        check(None, Some(63), None, "killed", "the process was killed by signal 63");
        check(None, None, None, "exit_nonzero", "claude ended, how is not known");
        let exit = |code| Exit { code: Some(code), signal: None, result_file: None, at: Timestamp::from_millis(0) };
        let code = |unreadable, code| without_result_among(unreadable, &exit(code), "claude", None).error_code;
        assert_eq!(code(2, 0).as_deref(), Some("bad_output"));
        assert_eq!(code(0, 0).as_deref(), Some("no_result"));
        assert_eq!(code(2, 1).as_deref(), Some("exit_nonzero"));
    }
}
