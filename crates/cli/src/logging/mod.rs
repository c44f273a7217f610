//! The log of the server: levels by module, which change while it runs; text, or one JSON object a line; always to
//! standard error. Where that is the data directory's own file, the file is kept within bounds ([`file`]); under
//! systemd it is the journal. Not here: what is logged. No value of a secret ever is, at any level.

mod file;
mod levels;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, Write};
use std::panic::{self, PanicHookInfo};
use std::sync::Mutex;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

use crate::config::settings::{Log, LogFormat};
use crate::data_dir::DataDir;
use crate::failure::Failure;

use file::LogFile;

pub use file::{numbered, open};
pub use levels::Levels;

/// The running log.
#[derive(Debug, Clone)]
pub struct Logging {
    levels: reload::Handle<Targets, Registry>,
}

/// Starts the log of this process.
pub fn start(settings: &Log, dir: &DataDir) -> Result<Logging, Failure> {
    let bytes_max = settings.max_file_mb * 1024 * 1024;
    let file = LogFile::of_standard_error(&dir.log_file(), bytes_max, settings.max_files);
    let sink = Mutex::new(Sink { file, lost: 0, format: settings.format });
    // As fine as can be until it has begun: what logs through `log` is asked for no more than the first level says.
    let (filter, levels) = reload::Layer::new(Targets::new().with_default(tracing::Level::TRACE));
    let layer = fmt::layer().with_writer(sink).with_ansi(false).log_internal_errors(false);
    let layer = match settings.format {
        LogFormat::Text => layer.with_target(false).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
    };
    let failed = |error: &dyn std::fmt::Display| Failure::failed(format!("the log cannot be started: {error}"));
    tracing_subscriber::registry().with(filter).with(layer).try_init().map_err(|error| failed(&error))?;
    panic::set_hook(Box::new(panicked));
    let logging = Logging { levels };
    logging.set_levels(&settings.level).map_err(|error| failed(&error))?;
    Ok(logging)
}

impl Logging {
    /// Logs by these levels from now on.
    pub fn set_levels(&self, levels: &Levels) -> Result<(), reload::Error> {
        self.levels.reload(levels.targets())
    }
}

/// A panic is a line as any other.
fn panicked(info: &PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    let words = info.payload_as_str().unwrap_or("without words");
    tracing::error!(place, backtrace, "a part of the server has panicked: {words}");
}

/// Standard error, whose lines are whole. One that cannot be written is counted and told later: a full disk must not
/// stop what is logged.
#[derive(Debug)]
struct Sink {
    file: Option<LogFile>,
    lost: u64,
    format: LogFormat,
}

impl Sink {
    fn put(&mut self, line: &[u8]) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            file.make_room(line.len())?;
        }
        io::stderr().write_all(line)
    }

    fn tell_lost(&mut self) -> io::Result<()> {
        let told = format!("{} lines before this one could not be written", self.lost);
        let line = match self.format {
            LogFormat::Text => format!("{told}\n"),
            LogFormat::Json => format!("{}\n", serde_json::json!({ "level": "WARN", "message": told })),
        };
        self.put(line.as_bytes())
    }
}

impl Write for Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.lost > 0 && self.tell_lost().is_ok() {
            self.lost = 0;
        }
        if self.put(line).is_err() {
            self.lost += 1;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// What has been written, for a test to look at.
    #[derive(Debug, Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_panic_is_one_line_of_the_log_with_its_place() {
        let kept = Kept::default();
        let writer = kept.clone();
        let layer = fmt::layer().json().flatten_event(true).with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(layer);
        panic::set_hook(Box::new(panicked));
        tracing::subscriber::with_default(subscriber, || panic::catch_unwind(|| panic!("the sky has fallen")))
            .unwrap_err();
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(line["message"].as_str().unwrap().ends_with("the sky has fallen"), "{line}");
        assert!(line["place"].as_str().unwrap().contains("logging/mod.rs"), "{line}");
        assert_eq!(line["level"], "ERROR");
    }
}
