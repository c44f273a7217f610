//! What happened, one line a step, in names a person can follow: `w12`, `r3`, `a1`. Nothing of the machine is in it,
//! so the same seed writes the same bytes.

use std::collections::BTreeMap;
use std::fmt::Write;

use wakeful_domain::id::{Id, Kind};
use wakeful_domain::time::Timestamp;

/// When every life begins.
pub const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// The lines so far.
#[derive(Debug, Default)]
pub struct Trace {
    text: String,
    names: BTreeMap<(&'static str, u128), usize>,
    counts: BTreeMap<&'static str, usize>,
    pub step: u32,
}

impl Trace {
    /// Adds a line.
    pub fn tell(&mut self, now: Timestamp, told: &str) {
        let passed = now.as_micros() - START.as_micros();
        let (seconds, millis) = (passed.div_euclid(1_000_000), passed.rem_euclid(1_000_000) / 1_000);
        // Writing into a string cannot fail.
        writeln!(self.text, "{:>5} {seconds:>7}.{millis:03} {told}", self.step).ok();
    }

    /// The short name of a thing: the first of its kind that is named is number 0.
    pub fn name<K: Kind>(&mut self, id: Id<K>) -> String {
        let count = self.counts.entry(K::PREFIX).or_default();
        let number = *self.names.entry((K::PREFIX, id.uuid().as_u128())).or_insert_with(|| {
            *count += 1;
            *count - 1
        });
        format!("{}{number}", &K::PREFIX[..1])
    }

    /// Every line.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The last lines.
    pub fn tail(&self, count: usize) -> Vec<String> {
        let lines: Vec<&str> = self.text.lines().collect();
        lines[lines.len().saturating_sub(count)..].iter().map(|line| (*line).to_owned()).collect()
    }

    /// Replaces ids in a text by their short names.
    pub fn shortened(&self, text: &str) -> String {
        let mut short = text.to_owned();
        for ((prefix, bits), number) in &self.names {
            let id = long(prefix, *bits);
            if short.contains(&id) {
                short = short.replace(&id, &format!("{}{number}", &prefix[..1]));
            }
        }
        short
    }
}

fn long(prefix: &str, bits: u128) -> String {
    use wakeful_domain::id::{AgentId, CompanyId, RunId, SubscriptionId, TaskId, WakeupId};
    let uuid = uuid_of(bits);
    match prefix {
        "wak" => WakeupId::from_uuid(uuid).to_string(),
        "run" => RunId::from_uuid(uuid).to_string(),
        "agt" => AgentId::from_uuid(uuid).to_string(),
        "sub" => SubscriptionId::from_uuid(uuid).to_string(),
        "tsk" => TaskId::from_uuid(uuid).to_string(),
        _ => CompanyId::from_uuid(uuid).to_string(),
    }
}

fn uuid_of(bits: u128) -> uuid::Uuid {
    uuid::Uuid::from_u128(bits)
}
