//! Schedules through the public interface: tables, properties, and the oracle.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails loudly, in its helpers too")]

mod due;
mod oracle;
mod patterns;
mod properties;
mod triggers;
mod words;

use wakeful_domain::schedule::{Cron, Trigger, Zone};
use wakeful_domain::time::Timestamp;

fn zone(name: &str) -> Zone {
    name.parse().unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn cron(pattern: &str) -> Trigger {
    Trigger::Cron { cron: pattern.parse::<Cron>().unwrap(), time_zone: None }
}

/// The slots of a trigger after `after`, up to and with `until`, one by one.
fn slots(trigger: &Trigger, zone: &Zone, after: Timestamp, until: Timestamp) -> Vec<Timestamp> {
    let mut found = Vec::new();
    let mut from = after;
    while let Some(slot) = wakeful_domain::schedule::next(trigger, zone, Timestamp::from_millis(0), from) {
        assert!(slot > from, "{slot} is not after {from}");
        if slot > until {
            break;
        }
        found.push(slot);
        from = slot;
    }
    found
}
