//! `wakeful check` and `wakeful apply`.

use std::path::Path;

use serde_json::{Value, json};
use wakeful_engine::clock;

use super::Session;
use crate::arguments::{ApplyArguments, ConfigArguments, Global};
use crate::config::apply::{Act, Manner, apply};
use crate::config::declared::{Declared, read};
use crate::config::plan::Step;
use crate::failure::{Failure, REFUSED};
use crate::output::Output;

/// What a file declares; or a failure that says every mistake in it.
pub fn declared_in(file: &Path) -> Result<Vec<Declared>, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", file.display())))?;
    read(file, &text, clock::now()).map_err(|mistakes| {
        let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        Failure::usage(lines.join("\n"))
    })
}

/// Says every mistake in a configuration.
pub fn check(global: &Global, arguments: &ConfigArguments) -> Result<(), Failure> {
    let declared = declared_in(&arguments.config)?;
    let said = format!("{}: {} objects declared, no mistakes", arguments.config.display(), declared.len());
    Output::new(global).show(&json!({ "objects": declared.len(), "mistakes": [] }), || said);
    Ok(())
}

/// Brings the server in line with a configuration.
pub async fn run(session: &Session, arguments: &ApplyArguments) -> Result<(), Failure> {
    let declared = declared_in(&arguments.file.config)?;
    let manner = Manner { is_dry: arguments.dry_run, adopts: arguments.adopt };
    let acts = apply(&session.client, &declared, manner).await?;
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
