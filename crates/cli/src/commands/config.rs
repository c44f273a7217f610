//! `wakeful init`, `wakeful check`, `wakeful config` and `wakeful apply`.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Session;
use crate::arguments::{ApplyArguments, ConfigArguments, ConfigVerb, Global, SettingOptions};
use crate::config::apply::{Act, Manner, apply};
use crate::config::beginning::Beginning;
use crate::config::declared::Configuration;
use crate::config::plan::Step;
use crate::config::schema::schema;
use crate::config::settings::{self, Held, Loaded};
use crate::data_dir::DataDir;
use crate::environment;
use crate::failure::{Failure, REFUSED};
use crate::output::Output;

/// The configuration that is meant; there must be one.
fn path_of(global: &Global, file: &ConfigArguments) -> Result<PathBuf, Failure> {
    let dir = DataDir::of(global.data_dir.as_deref())?;
    settings::found(&dir, file.config.as_deref()).ok_or_else(|| {
        let told =
            format!("there is no configuration: neither --config, WAKEFUL_CONFIG nor {}", dir.config_file().display());
        Failure::usage(told).hint("`wakeful init` writes one")
    })
}

fn load(path: Option<PathBuf>) -> Result<Loaded, Failure> {
    settings::load(path, &SettingOptions::default())
}

fn configuration_in(path: PathBuf) -> Result<Configuration, Failure> {
    load(Some(path))?.configuration.ok_or_else(|| Failure::failed("the configuration was not read"))
}

/// Says every mistake in a configuration.
pub fn check(global: &Global, arguments: &ConfigArguments) -> Result<(), Failure> {
    let path = path_of(global, arguments)?;
    let Configuration { declared, settings, .. } = configuration_in(path.clone())?;
    let (objects, count) = (declared.len(), settings.len());
    let said = format!("{}: {count} settings, {objects} objects declared, no mistakes", path.display());
    let document = json!({ "path": path, "settings": count, "objects": objects, "mistakes": [] });
    Output::new(global).show(&document, || said);
    Ok(())
}

/// Shows the settings of the server, or the schema of the file.
pub fn show(global: &Global, verb: &ConfigVerb) -> Result<(), Failure> {
    let output = Output::new(global);
    match verb {
        ConfigVerb::Schema => {
            let schema = schema();
            output.show(&schema, || serde_json::to_string_pretty(&schema).unwrap_or_default());
        }
        ConfigVerb::Show { file, settings: options } => {
            let dir = DataDir::of(global.data_dir.as_deref())?;
            let Loaded { path, effective, .. } =
                settings::load(settings::found(&dir, file.config.as_deref()), options)?;
            let (lines, documents): (Vec<String>, Vec<Value>) = effective.held.iter().map(Held::shown).unzip();
            output.show(&json!({ "path": path, "settings": documents }), || {
                let head = match &path {
                    Some(path) => format!("configuration: {}", path.display()),
                    None => format!("configuration: none ({} is not there)", dir.config_file().display()),
                };
                [head].into_iter().chain(lines).collect::<Vec<_>>().join("\n")
            });
        }
    }
    Ok(())
}

/// Writes a configuration for this machine to begin with.
pub fn init(global: &Global, arguments: &ConfigArguments) -> Result<(), Failure> {
    let dir = DataDir::of(global.data_dir.as_deref())?;
    let named = arguments.config.clone().or_else(environment::config_file);
    let path = named.clone().unwrap_or_else(|| dir.config_file());
    let path = std::path::absolute(&path).unwrap_or(path);
    if path.extension().is_some_and(|extension| extension == "json") {
        return Err(Failure::usage(format!("{}: `init` writes comments, which JSON has none of", path.display()))
            .hint("give it a name that ends in .toml"));
    }
    if named.is_none() {
        dir.create()?;
    }
    let beginning = Beginning::here();
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::AlreadyExists => Failure::new(REFUSED, format!("{} is there already", path.display()))
            .hint("`wakeful check` says what is wrong with it; name another file with --config"),
        _ => Failure::failed(format!("cannot write {}: {error}", path.display())),
    };
    // It may come to hold the password of a database.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
    file.write_all(beginning.text().as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    let option = |name: &str, value: &Path| format!(" --{name} {}", value.display());
    let data_dir = global.data_dir.as_deref().map(|dir| option("data-dir", dir)).unwrap_or_default();
    let config = named.map(|_| option("config", &path)).unwrap_or_default();
    let next = [
        format!("wakeful{data_dir} up{config}"),
        format!("wakeful{data_dir} wake {} -m \"Say hello\" --wait", beginning.agent()),
    ];
    Output::new(global).show(&json!({ "path": path, "agent": beginning.agent(), "next": next }), || {
        format!(
            "{} is written: read it, it says what there is. Then, in two terminals:\n  {}",
            path.display(),
            next.join("\n  ")
        )
    });
    Ok(())
}

/// Brings the server in line with a configuration.
pub async fn run(global: &Global, session: &Session, arguments: &ApplyArguments) -> Result<(), Failure> {
    let configuration = configuration_in(path_of(global, &arguments.file)?)?;
    let manner = Manner { is_dry: arguments.dry_run, adopts: arguments.adopt };
    let acts = apply(&session.client, &configuration, manner).await?;
    let document: Vec<Value> = acts.iter().map(Act::to_json).collect();
    session.output.show(&json!({ "dry_run": manner.is_dry, "items": document }), || said(&acts));
    let refused = acts.iter().filter(|act| matches!(act.step, Step::Refuse { .. })).count();
    match refused {
        0 => Ok(()),
        count => Err(Failure::new(REFUSED, format!("{count} of {} objects were left alone", acts.len()))),
    }
}

/// The acts in lines, and how many objects stay as they are.
pub fn said(acts: &[Act]) -> String {
    let same = acts.iter().filter(|act| act.step == Step::Same).count();
    let lines = acts.iter().filter_map(Act::said);
    lines.chain((same > 0).then(|| format!("= {same} as declared"))).collect::<Vec<_>>().join("\n")
}
