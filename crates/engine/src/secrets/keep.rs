//! What a run was given, kept for as long as it lives: in memory, and sealed in its directory, so
//! that a server that finds it again keeps it out of what the run brings, too.

use std::io;

use serde::{Deserialize, Serialize};
use wakeful_domain::id::{Id, Kind, RunId};
use wakeful_domain::outcome::{Outcome, SessionChange};
use wakeful_runner::scrub::Scrubber;
use wakeful_store::ops::secrets::Sealed;
use zeroize::Zeroizing;

use crate::engine::Engine;
use crate::run::write_private;

/// The sealed values, in the directory of the run.
const FILE: &str = "secrets.json";

/// [`Sealed`], as it is written.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SealedText {
    text: String,
    key_id: String,
}

impl From<Sealed> for SealedText {
    fn from(Sealed { text, key_id }: Sealed) -> Self {
        SealedText { text, key_id }
    }
}

impl From<SealedText> for Sealed {
    fn from(SealedText { text, key_id }: SealedText) -> Self {
        Sealed { text, key_id }
    }
}

fn place_of(run: RunId) -> String {
    format!("run {run}")
}

impl Engine {
    /// The key that requests about something are signed with: to the service of an agent, unless its settings name
    /// another; to the gate or the action of a schedule; through a channel.
    pub fn signing_key<K: Kind>(&self, about: Id<K>) -> Zeroizing<[u8; 32]> {
        self.inner.config.vault.key().derive(&format!("signing {about}"))
    }

    /// Takes the secrets of a run out of what it brings.
    pub fn scrubber(&self, run: RunId) -> Scrubber {
        if let Some(known) = self.live().get(&run).and_then(|live| live.scrubber.clone()) {
            return known;
        }
        // It is starting, or an earlier server started it and it is not found again yet.
        match kept(self, run) {
            Ok(values) => Scrubber::new(&values),
            Err(error) => {
                tracing::error!(run.id = %run, "the secrets of run {run} are not known any more, so nothing it says is let through: {error}");
                Scrubber::blind()
            }
        }
    }

    pub(crate) fn set_scrubber(&self, run: RunId, scrubber: Scrubber) {
        if let Some(live) = self.live().get_mut(&run) {
            live.scrubber = Some(scrubber);
        }
    }
}

/// Keeps what a run is given, beside what it was given before. The directory of the run is there.
pub(crate) fn keep(engine: &Engine, run: RunId, values: &[String]) -> io::Result<()> {
    let mut all = kept(engine, run)?;
    all.extend(values.iter().filter(|value| !all.contains(value)).cloned().collect::<Vec<_>>());
    engine.set_scrubber(run, Scrubber::new(&all));
    let sealed = engine.config().vault.seal(&place_of(run), &serde_json::to_string(&all)?).map_err(io::Error::other)?;
    write_private(&engine.run_dir(run).join(FILE), &serde_json::to_vec(&SealedText::from(sealed))?)
}

/// What the run was given, also by an earlier server; nothing if it was never started.
fn kept(engine: &Engine, run: RunId) -> io::Result<Vec<String>> {
    let bytes = match std::fs::read(engine.run_dir(run).join(FILE)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let sealed: SealedText = serde_json::from_slice(&bytes)?;
    let opened = engine.config().vault.open(&place_of(run), &sealed.into()).map_err(io::Error::other)?;
    Ok(serde_json::from_str(&opened)?)
}

/// Takes out of an outcome what the run was given.
pub(crate) fn scrub_outcome(scrubber: &Scrubber, outcome: &mut Outcome) {
    for text in [&mut outcome.error, &mut outcome.summary, &mut outcome.model].into_iter().flatten() {
        scrubber.scrub(text);
    }
    if let Some(result) = &mut outcome.result {
        scrubber.json(result);
    }
    if let SessionChange::Set(session) = &mut outcome.session {
        scrubber.json(&mut session.params);
        scrubber.scrub(&mut session.display_id);
    }
}
