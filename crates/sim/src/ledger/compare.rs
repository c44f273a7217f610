//! The ledger's rows beside the store's: where they differ, an invariant does not hold. Which one is told by the kind
//! of the difference and by what was done.

use std::collections::BTreeMap;
use std::fmt::Debug;

use wakeful_domain::invariant::Invariant;
use wakeful_domain::wakeup::{Source, WakeupStatus};

use crate::deed::Deed;
use crate::invariants::{
    ACCEPTED_AS_ASKED, ACCEPTED_IS_KEPT, ATTEMPTS_ARE_EXACT, BATCH_IS_DUE, Broken, FATE_AS_DECIDED, FENCE_RISES,
    LATE_WAKE_WAITS, NOTHING_ELSE_CHANGES, READ_WITH_ITS_WAKEUP, STOP_IS_OBEYED, SUBSCRIBED_IS_TOLD,
};
use crate::mirror::{Mirror, Wakeup};

/// All rows are the same, but for why a wakeup that is not skipped stands as it does.
pub fn rows(deed: &Deed, expected: &Mirror, found: &Mirror) -> Result<(), Broken> {
    wakeups(deed, &expected.wakeups, &found.wakeups)?;
    let of_run = |before: Option<&crate::mirror::Run>, after: Option<&crate::mirror::Run>| match (before, after) {
        (Some(one), Some(other)) if one.fence != other.fence => FENCE_RISES,
        (Some(one), Some(other)) if one.stop_puts_back.or(other.stop_puts_back).is_some() => STOP_IS_OBEYED,
        _ => NOTHING_ELSE_CHANGES,
    };
    same(deed, &expected.runs, &found.runs, of_run)?;
    let of_lane = |one: Option<&crate::mirror::LaneRow>, other: Option<&crate::mirror::LaneRow>| {
        let fence = |row: Option<&crate::mirror::LaneRow>| row.map(|row| row.fence);
        if fence(one) == fence(other) { NOTHING_ELSE_CHANGES } else { FENCE_RISES }
    };
    same(deed, &expected.lanes, &found.lanes, of_lane)?;
    same(deed, &expected.agents, &found.agents, |_, _| NOTHING_ELSE_CHANGES)?;
    same(deed, &expected.companies, &found.companies, |_, _| NOTHING_ELSE_CHANGES)?;
    same(deed, &expected.tasks, &found.tasks, |_, _| NOTHING_ELSE_CHANGES)?;
    same(deed, &expected.blockers, &found.blockers, |_, _| NOTHING_ELSE_CHANGES)?;
    same(deed, &expected.letters, &found.letters, |_, _| READ_WITH_ITS_WAKEUP)?;
    same(deed, &expected.subscriptions, &found.subscriptions, |_, _| SUBSCRIBED_IS_TOLD)?;
    same(deed, &expected.matches, &found.matches, |_, _| SUBSCRIBED_IS_TOLD)?;
    same(deed, &expected.batches, &found.batches, |_, _| BATCH_IS_DUE)
}

/// The same rows under the same keys.
fn same<K: Ord + Debug, V: PartialEq + Debug>(
    deed: &Deed,
    expected: &BTreeMap<K, V>,
    found: &BTreeMap<K, V>,
    name: impl Fn(Option<&V>, Option<&V>) -> Invariant,
) -> Result<(), Broken> {
    if expected == found {
        return Ok(());
    }
    for key in expected.keys().chain(found.keys()) {
        let (one, other) = (expected.get(key), found.get(key));
        if one != other {
            let told = format!("{key:?}: expected {one:?}, found {other:?}, after {deed:?}");
            return Err(Broken::new(name(one, other), told));
        }
    }
    Ok(())
}

fn wakeups<K: Ord + Debug>(
    deed: &Deed,
    expected: &BTreeMap<K, Wakeup>,
    found: &BTreeMap<K, Wakeup>,
) -> Result<(), Broken> {
    let is_same = |one: &Wakeup, other: &Wakeup| {
        one == other
            || one.status != WakeupStatus::Skipped
                && *one == Wakeup { status_reason: one.status_reason.clone(), ..other.clone() }
    };
    for (key, one) in expected {
        let other = found.get(key);
        if !other.is_some_and(|other| is_same(one, other)) {
            let told = format!("{key:?}: expected {one:?}, found {other:?}, after {deed:?}");
            return Err(Broken::new(name(deed, Some(one), other), told));
        }
    }
    match found.iter().find(|(key, _)| !expected.contains_key(key)) {
        Some((key, other)) => Err(Broken::new(name(deed, None, Some(other)), format!("{key:?}: unexpected {other:?}"))),
        None => Ok(()),
    }
}

/// The invariant that such a difference breaks.
fn name(deed: &Deed, expected: Option<&Wakeup>, found: Option<&Wakeup>) -> Invariant {
    let (Some(one), Some(other)) = (expected, found) else {
        return if found.is_none() { ACCEPTED_IS_KEPT } else { NOTHING_ELSE_CHANGES };
    };
    if one.status == other.status && one.attempt != other.attempt {
        return ATTEMPTS_ARE_EXACT;
    }
    match deed {
        Deed::Accept(_) | Deed::AcceptAll(_) => {
            let is_folded = matches!(other.status, WakeupStatus::Claimed | WakeupStatus::Coalesced);
            if is_folded && other.source != Source::Timer { LATE_WAKE_WAITS } else { ACCEPTED_AS_ASKED }
        }
        Deed::Dispatch { .. } => BATCH_IS_DUE,
        Deed::Acknowledge(_) => LATE_WAKE_WAITS,
        Deed::Finish(_) if one.status == WakeupStatus::Pending && other.status == WakeupStatus::Completed => {
            LATE_WAKE_WAITS
        }
        Deed::Finish(_) => FATE_AS_DECIDED,
        Deed::Started(_)
        | Deed::Cancel { .. }
        | Deed::Retry { .. }
        | Deed::AgentState { .. }
        | Deed::CompanyState { .. }
        | Deed::Stop { .. }
        | Deed::AgentChange { .. }
        | Deed::CompanyChange { .. }
        | Deed::TaskInsert { .. }
        | Deed::TaskChange { .. }
        | Deed::Comment { .. }
        | Deed::Send { .. }
        | Deed::ReadOutside { .. }
        | Deed::Subscribe(_)
        | Deed::Unsubscribe(_)
        | Deed::Publish { .. }
        | Deed::CheckOut(_)
        | Deed::LetGo(_)
        | Deed::Tell
        | Deed::Late => NOTHING_ELSE_CHANGES,
    }
}
