//! What runs have cost on days that are over, kept in memory: nothing ends in the past, so a day is added up once in a
//! while, and a question about a month costs what its last day costs.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use wakeful_domain::id::CompanyId;
use wakeful_domain::time::Timestamp;
use wakeful_store::ops::costs::{self, Group, Sums, Window};

use crate::{Api, Problem};

/// In microseconds, as times are kept.
const DAY: i64 = 86_400 * 1_000_000;
/// Another node's clock may be behind: until then a day is not over.
const OVER_AFTER: Duration = Duration::from_secs(3_600);
/// Then a day is added up anew: runs may have been removed since.
const KEPT_FOR: Duration = Duration::from_secs(3_600);
/// Sums that are kept, of some 150 bytes each; with more it is begun anew.
const KEPT_MAX: usize = 200_000;

type Groups = Arc<Vec<(String, Sums)>>;
/// A company, what is told apart, and the number of a day of universal time.
type Key = (CompanyId, Group, i64);

/// The sums of days that are over, and when they were added up.
#[derive(Debug, Default)]
pub struct KeptSums(Mutex<HashMap<Key, (Timestamp, Groups)>>);

impl KeptSums {
    fn of(&self, now: Timestamp, key: Key) -> Option<Groups> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(&key).filter(|(at, _)| *at + KEPT_FOR > now).map(|(_, groups)| Arc::clone(groups))
    }

    fn keep(&self, now: Timestamp, key: Key, groups: &Groups) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Of a day without runs the entry counts as well.
        let count: usize = kept.values().map(|(_, groups)| groups.len() + 1).sum();
        if count + groups.len() > KEPT_MAX {
            kept.clear();
        }
        kept.insert(key, (now, Arc::clone(groups)));
    }
}

/// A window cut at the midnights of universal time; with the number of the day where a part is one whole and over.
fn parts(now: Timestamp, of: &Window) -> Vec<(Window, Option<i64>)> {
    let (end, mut from) = (of.to.as_micros(), of.from.as_micros());
    let mut parts = Vec::new();
    while from < end {
        let day = from.div_euclid(DAY);
        let to = end.min((day + 1) * DAY);
        let part = Window { from: Timestamp::from_micros(from), to: Timestamp::from_micros(to), ..*of };
        let is_over = to - from == DAY && part.to + OVER_AFTER <= now;
        parts.push((part, is_over.then_some(day)));
        from = to;
    }
    parts
}

/// The sums of each group in a window, the most expensive first.
pub async fn grouped(api: &Api, now: Timestamp, of: &Window, by: Group) -> Result<Vec<(String, Sums)>, Problem> {
    let mut found: Vec<Groups> = Vec::new();
    let mut missing = Vec::new();
    for (part, day) in parts(now, of) {
        match day.and_then(|day| api.sums.of(now, (of.company, by, day))) {
            Some(groups) => found.push(groups),
            None => missing.push((part, day)),
        }
    }
    let read = api.engine.db().read("cost.by_group", (missing.clone(), by), |tx, (missing, by)| {
        Box::pin(async move {
            let mut added = Vec::with_capacity(missing.len());
            for (part, _) in missing {
                added.push(Arc::new(costs::grouped(tx, part, *by).await?));
            }
            Ok(added)
        })
    });
    for (groups, (_, day)) in read.await?.into_iter().zip(missing) {
        if let Some(day) = day {
            api.sums.keep(now, (of.company, by, day), &groups);
        }
        found.push(groups);
    }
    let mut together: BTreeMap<&str, Sums> = BTreeMap::new();
    for (key, sums) in found.iter().flat_map(|groups| groups.iter()) {
        let sum = together.entry(key).or_default();
        *sum = sum.and(*sums);
    }
    let mut groups: Vec<(String, Sums)> = together.into_iter().map(|(key, sums)| (key.to_owned(), sums)).collect();
    groups.sort_by_key(|(_, sums)| std::cmp::Reverse((sums.cost_micros, sums.input_tokens, sums.output_tokens)));
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_cut_at_midnights_and_only_whole_days_that_are_over_are_kept() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let company = CompanyId::first_of(at("2026-01-01T00:00:00Z"));
        let of = Window { company, from: at("2026-11-19T06:00:00Z"), to: at("2026-11-22T00:00:00Z") };
        let check = |now: &str, expected: &[(u64, bool)]| {
            let parts = parts(at(now), &of);
            let found: Vec<_> =
                parts.iter().map(|(part, day)| (part.to.since(part.from).as_secs() / 3_600, day.is_some())).collect();
            assert_eq!(found, expected, "{now}");
        };
        check("2026-11-23T00:00:00Z", &[(18, false), (24, true), (24, true)]);
        check("2026-11-22T00:30:00Z", &[(18, false), (24, true), (24, false)]);
    }
}
