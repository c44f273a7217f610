//! Who says what a setting is: nobody, the file, the environment or the command line, each over the one before.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::table::{self, Setting};
use super::{Kind, Settings};
use crate::arguments::SettingOptions;
use crate::config::declared::{Configuration, read};
use crate::data_dir::DataDir;
use crate::environment;
use crate::failure::Failure;

/// A variable is meant for a setting from this likeness on, from 0 to 1.
const SPELT_LIKE: f64 = 0.9;

/// A setting as a file has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    pub name: String,
    pub value: Value,
    /// `file:line`.
    pub place: String,
}

/// Who has said what a setting is; later ones prevail.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    Default,
    /// At this `file:line`.
    File(String),
    Environment,
    Option,
}

/// A setting and what it is.
#[derive(Debug, Clone)]
pub struct Held {
    pub setting: &'static Setting,
    pub value: Value,
    pub layer: Layer,
}

/// Every setting as it is, all layers taken together.
#[derive(Debug, Clone)]
pub struct Effective {
    pub settings: Settings,
    pub held: Vec<Held>,
}

/// What a server is started with.
#[derive(Debug)]
pub struct Loaded {
    /// The file, if there is one.
    pub path: Option<PathBuf>,
    pub configuration: Option<Configuration>,
    pub effective: Effective,
}

/// Reads the file and the environment under the options; or says every mistake in them. `path` is the file, if one
/// is named or found.
pub fn load(path: Option<PathBuf>, options: &SettingOptions) -> Result<Loaded, Failure> {
    let mut mistakes = Vec::new();
    let configuration = path.as_deref().and_then(|path| match configuration(path) {
        Ok(configuration) => Some(configuration),
        Err(told) => {
            mistakes.extend(told);
            None
        }
    });
    let mut held: Vec<Held> = table::settings()
        .map(|setting| Held { setting, value: setting.unset.value(), layer: Layer::Default })
        .collect();
    for one in &mut held {
        let name = one.setting.name();
        let written = configuration.iter().flat_map(|configuration| &configuration.settings);
        if let Some(written) = written.rev().find(|written| written.name == name) {
            let value = beside(path.as_deref(), one.setting.kind, &written.value);
            (one.value, one.layer) = (value, Layer::File(written.place.clone()));
        }
        match environment::variable(&one.setting.variable()).map(|text| of_environment(one.setting, &text)) {
            Some(Ok(value)) => (one.value, one.layer) = (value, Layer::Environment),
            Some(Err(mistake)) => mistakes.push(mistake),
            None => {}
        }
        if let Some(value) = options.value(one.setting) {
            (one.value, one.layer) = (value.clone(), Layer::Option);
        }
    }
    mistakes.extend(environment::said_settings().iter().filter_map(|name| misspelt(name)));
    one_master_key(&mut held);
    if !mistakes.is_empty() {
        return Err(Failure::usage(mistakes.join("\n")));
    }
    Ok(Loaded { path, configuration, effective: Effective { settings: typed(&held)?, held } })
}

/// What a file declares; or every mistake in it.
fn configuration(path: &Path) -> Result<Configuration, Vec<String>> {
    let text =
        std::fs::read_to_string(path).map_err(|error| vec![format!("cannot read {}: {error}", path.display())])?;
    read(path, &text).map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
}

/// A variable that is no setting and is spelt much like one.
fn misspelt(name: &str) -> Option<String> {
    let variables: Vec<String> = table::settings().map(Setting::variable).collect();
    let is_like = |variable: &&String| strsim::jaro(name, variable.trim_start_matches("WAKEFUL_")) >= SPELT_LIKE;
    let given = format!("WAKEFUL_{name}");
    let meant = variables.iter().find(is_like).filter(|_| !variables.contains(&given))?;
    Some(format!("{given} is no setting: did you mean {meant}?"))
}

fn of_environment(setting: &Setting, text: &str) -> Result<Value, String> {
    let variable = setting.variable();
    let value = setting.kind.of_text(text).map_err(|told| format!("{variable} {told}"))?;
    // It is read again by servers that stand elsewhere.
    match setting.kind {
        Kind::File if !Path::new(text).is_absolute() => {
            Err(format!("{variable} must be an absolute path; it is {value}"))
        }
        _ => Ok(value),
    }
}

/// A file that a configuration names lies beside it.
fn beside(configuration: Option<&Path>, kind: Kind, value: &Value) -> Value {
    match (kind, value.as_str(), configuration.and_then(Path::parent)) {
        (Kind::File, Some(file), Some(dir)) => json!(dir.join(file)),
        _ => value.clone(),
    }
}

/// There is one master key: whoever says it last says where it is; in one breath a command goes before a file, and a
/// file before `WAKEFUL_MASTER_KEY`.
fn one_master_key(held: &mut [Held]) {
    let layer_of =
        |key: &str| held.iter().find(|one| one.setting.key == key).map_or(Layer::Default, |one| one.layer.clone());
    let (command, file) = (layer_of("master_key_command"), layer_of("master_key_file"));
    let variable = environment::master_key().map_or(Layer::Default, |_| Layer::Environment);
    let kept = match () {
        () if command >= file && command >= variable => "master_key_command",
        () if file >= variable => "master_key_file",
        () => "",
    };
    for one in held.iter_mut().filter(|one| one.setting.key.starts_with("master_key_") && one.setting.key != kept) {
        (one.value, one.layer) = (one.setting.unset.value(), Layer::Default);
    }
}

/// The configuration: the one that is named, else that of the environment, else `wakeful.toml` of the data directory
/// if it is there.
pub fn found(dir: &DataDir, named: Option<&Path>) -> Option<PathBuf> {
    let named = named.map(Path::to_owned).or_else(environment::config_file);
    let path = named.or_else(|| Some(dir.config_file()).filter(|path| path.exists()))?;
    Some(std::path::absolute(&path).unwrap_or(path))
}

impl Effective {
    /// The variables that say something here.
    pub fn variables(&self) -> Vec<String> {
        let said = self.held.iter().filter(|one| one.layer == Layer::Environment);
        said.map(|one| one.setting.variable()).collect()
    }

    /// Whether a setting is another than here.
    pub fn differs(&self, other: &Held) -> bool {
        self.held.iter().any(|one| one.setting.option == other.setting.option && one.value != other.value)
    }

    /// Takes over what may change while the server runs.
    pub fn take_changeable(&mut self, wanted: &Effective) -> Result<(), Failure> {
        for (one, wanted) in self.held.iter_mut().zip(&wanted.held).filter(|(one, _)| one.setting.changes_while_running)
        {
            *one = wanted.clone();
        }
        self.settings = typed(&self.held)?;
        Ok(())
    }
}

fn typed(held: &[Held]) -> Result<Settings, Failure> {
    let values = held.iter().map(|one| (one.setting, &one.value));
    Settings::of(values).map_err(|error| Failure::failed(format!("the settings cannot be read: {error}")))
}

impl Held {
    /// A line for people, and a document for programs.
    pub fn shown(&self) -> (String, Value) {
        let Held { setting, layer, .. } = self;
        let value = setting.kind.shown(&self.value);
        let (word, from) = match layer {
            Layer::Default => ("default", setting.unset.to_string()),
            Layer::File(place) => ("file", place.clone()),
            Layer::Environment => ("environment", setting.variable()),
            Layer::Option => ("option", format!("--{}", setting.option)),
        };
        let said = if value.is_null() { "-".to_owned() } else { value.to_string() };
        let line = format!("{:26} {said:24} {word}: {from}", setting.name());
        let document = json!({
            "name": setting.name(),
            "value": value,
            "layer": word,
            "from": from,
            "variable": setting.variable(),
            "option": format!("--{}", setting.option),
            "changes_while_running": setting.changes_while_running,
        });
        (line, document)
    }
}
