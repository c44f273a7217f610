//! The settings of the server as options: made from the table, one option a setting.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use serde_json::Value;

use crate::config::settings::{Kind, Setting, settings};

/// The settings that the command line says.
#[derive(Debug, Clone, Default)]
pub struct SettingOptions(Vec<(&'static Setting, Value)>);

impl SettingOptions {
    /// What a setting is said to be.
    pub fn value(&self, setting: &Setting) -> Option<&Value> {
        self.0.iter().find(|(said, _)| said.option == setting.option).map(|(_, value)| value)
    }

    /// The options that say the same again, wherever they are read.
    pub fn to_options(&self) -> Vec<String> {
        let one = |setting: &Setting, value: &Value| match value {
            Value::String(path) if matches!(setting.kind, Kind::File) => {
                let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
                format!("--{}={}", setting.option, path.display())
            }
            Value::String(text) => format!("--{}={text}", setting.option),
            other => format!("--{}={other}", setting.option),
        };
        let all = |(setting, value): &(&'static Setting, Value)| match value {
            Value::Array(items) => items.iter().map(|item| one(setting, item)).collect(),
            value => vec![one(setting, value)],
        };
        self.0.iter().flat_map(all).collect()
    }
}

fn option(setting: &'static Setting) -> Arg {
    let more = if setting.kind.is_list() { "; may be repeated" } else { "" };
    Arg::new(setting.option)
        .long(setting.option)
        .value_name(setting.kind.placeholder())
        .value_parser(|text: &str| setting.kind.of_text(text))
        .action(if setting.kind.is_list() { ArgAction::Append } else { ArgAction::Set })
        .help(format!("{}{more} [default: {}]", setting.says, setting.unset))
}

impl Args for SettingOptions {
    fn augment_args(command: Command) -> Command {
        settings().fold(command, |command, setting| command.arg(option(setting)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        SettingOptions::augment_args(command)
    }
}

impl FromArgMatches for SettingOptions {
    fn from_arg_matches(matches: &ArgMatches) -> Result<SettingOptions, clap::Error> {
        let said = settings().filter_map(|setting| {
            let mut values = matches.get_many::<Value>(setting.option)?;
            let value = match setting.kind.is_list() {
                true => values.filter_map(Value::as_array).flatten().cloned().collect(),
                false => values.next_back()?.clone(),
            };
            Some((setting, value))
        });
        Ok(SettingOptions(said.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = SettingOptions::from_arg_matches(matches)?;
        Ok(())
    }
}
