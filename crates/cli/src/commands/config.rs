//! `wakeful check` and `wakeful apply`.

use std::path::Path;

use serde_json::{Value, json};

use super::Session;
use crate::arguments::{ApplyArguments, ConfigArguments, Global};
use crate::config::apply::{Act, Manner, apply};
use crate::config::declared::{Configuration, read};
use crate::config::plan::Step;
use crate::failure::{Failure, REFUSED};
use crate::output::Output;

/// What a file declares; or a failure that says every mistake in it.
pub fn configuration_in(file: &Path) -> Result<Configuration, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", file.display())))?;
    read(file, &text).map_err(|mistakes| {
        let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        Failure::usage(lines.join("\n"))
    })
}

/// Says every mistake in a configuration.
pub fn check(global: &Global, arguments: &ConfigArguments) -> Result<(), Failure> {
    let count = configuration_in(&arguments.config)?.declared.len();
    let said = format!("{}: {count} objects declared, no mistakes", arguments.config.display());
    Output::new(global).show(&json!({ "objects": count, "mistakes": [] }), || said);
    Ok(())
}

/// Brings the server in line with a configuration.
pub async fn run(session: &Session, arguments: &ApplyArguments) -> Result<(), Failure> {
    let configuration = configuration_in(&arguments.file.config)?;
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
