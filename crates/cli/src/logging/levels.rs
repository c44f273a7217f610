//! How much is logged, by module: `info,wakeful_engine=debug`.

use std::str::FromStr;

use serde::Deserialize;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

/// A level for everything, and others for modules whose names begin so.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Levels {
    all: LevelFilter,
    modules: Vec<(String, LevelFilter)>,
}

/// Why a text says no levels.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no level: off, error, warn, info, debug or trace, for a module as in `info,wakeful_engine=debug`")]
pub struct LevelsError(String);

const NAMES: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

fn level(name: &str) -> Option<LevelFilter> {
    NAMES.contains(&name).then(|| name.parse().ok()).flatten()
}

impl FromStr for Levels {
    type Err = LevelsError;

    fn from_str(text: &str) -> Result<Levels, LevelsError> {
        let mut levels = Levels { all: LevelFilter::INFO, modules: Vec::new() };
        for part in text.split(',').map(str::trim) {
            let refused = || LevelsError(part.to_owned());
            match part.split_once('=') {
                None => levels.all = level(part).ok_or_else(refused)?,
                Some((module, name)) if !module.is_empty() => {
                    levels.modules.push((module.to_owned(), level(name).ok_or_else(refused)?));
                }
                Some(_) => return Err(refused()),
            }
        }
        Ok(levels)
    }
}

impl TryFrom<String> for Levels {
    type Error = LevelsError;

    fn try_from(text: String) -> Result<Levels, LevelsError> {
        text.parse()
    }
}

impl Levels {
    pub fn targets(&self) -> Targets {
        Targets::new().with_default(self.all).with_targets(self.modules.iter().cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_and_a_name_that_is_none_is_no_module() {
        let levels: Levels = "warn, wakeful_engine=debug,wakeful_store=off".parse().unwrap();
        let targets = levels.targets();
        assert!(targets.would_enable("wakeful_engine::beat", &tracing::Level::DEBUG));
        assert!(!targets.would_enable("wakeful_api", &tracing::Level::INFO));
        assert!(!targets.would_enable("wakeful_store", &tracing::Level::ERROR));
        for text in ["", "inof", "info,", "=debug", "wakeful_engine=loud", "5"] {
            assert!(text.parse::<Levels>().unwrap_err().to_string().contains("is no level"), "{text}");
        }
    }
}
