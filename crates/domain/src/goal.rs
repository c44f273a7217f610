//! A goal: what tasks are for. Goals of a company form trees.

use crate::id::{CompanyId, GoalId};
use crate::time::Timestamp;

/// Longer titles are refused.
pub const TITLE_CHARS_MAX: usize = 500;
/// Longer descriptions are refused.
pub const DESCRIPTION_BYTES_MAX: usize = 64 * 1024;
/// Goals from a root to a leaf. Deeper trees help nobody, and every look up a chain is bounded by it.
pub const DEPTH_MAX: usize = 32;

/// What tasks are for.
#[derive(Debug, Clone, PartialEq)]
pub struct Goal {
    pub id: GoalId,
    pub company: CompanyId,
    pub parent: Option<GoalId>,
    pub title: String,
    pub description: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What is wrong with a title, if anything.
pub fn title_problem(title: &str) -> Option<String> {
    let is_good = !title.trim().is_empty() && title.chars().count() <= TITLE_CHARS_MAX && !title.contains('\0');
    (!is_good).then(|| format!("must have 1 to {TITLE_CHARS_MAX} characters"))
}

/// What is wrong with a description, if anything.
pub fn description_problem(description: &str) -> Option<String> {
    let is_good = description.len() <= DESCRIPTION_BYTES_MAX && !description.contains('\0');
    (!is_good).then(|| format!("must have at most {DESCRIPTION_BYTES_MAX} bytes and no NUL character"))
}

/// What is wrong with putting `goal` (none while it is being made) with `height` goals from itself to its deepest
/// leaf below a parent, given the goals from that parent to the root.
pub fn parent_problem(goal: Option<GoalId>, height: usize, ancestors: &[GoalId]) -> Option<String> {
    if goal.is_some_and(|goal| ancestors.contains(&goal)) {
        return Some("would make the goal its own ancestor: choose one that is not below it".into());
    }
    let depth = ancestors.len() + height;
    (depth > DEPTH_MAX).then(|| format!("would make the tree {depth} goals deep; {DEPTH_MAX} is the limit"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::IdSource;

    #[test]
    fn goals_are_trees_of_bounded_depth() {
        let mut ids = IdSource::new(1);
        let chain: Vec<GoalId> = (0..DEPTH_MAX).map(|n| ids.next(Timestamp::from_millis(n as i64))).collect();
        assert_eq!(parent_problem(None, 1, &chain[1..]), None);
        assert!(parent_problem(None, 1, &chain).is_some(), "too deep");
        assert!(parent_problem(None, 2, &chain[1..]).is_some(), "too deep with what hangs below it");
        assert!(parent_problem(Some(chain[0]), 1, &chain[..1]).is_some(), "its own parent");
        assert!(parent_problem(Some(chain[2]), 1, &chain[..3]).is_some(), "its own grandparent");
        assert_eq!(parent_problem(Some(chain[3]), 1, &chain[..3]), None);
    }

    #[test]
    fn titles_are_short_and_not_empty() {
        assert_eq!(title_problem("Ship it"), None);
        for bad in ["", "  ", &"x".repeat(TITLE_CHARS_MAX + 1)] {
            assert!(title_problem(bad).is_some());
        }
        assert!(description_problem(&"x".repeat(DESCRIPTION_BYTES_MAX + 1)).is_some());
    }
}
