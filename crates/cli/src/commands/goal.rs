//! `wakeful goal …`

use serde_json::{Value, json};
use wakeful_domain::url::percent_encoded;

use super::Session;
use crate::arguments::GoalVerb;
use crate::failure::Failure;
use crate::output::{items, short, text};

pub async fn run(session: &Session, verb: &GoalVerb) -> Result<(), Failure> {
    match verb {
        GoalVerb::Add { title, parent, description } => {
            let body = json!({ "title": title, "parent": parent, "description": description });
            let goal = session.client.post(&session.of_company("/goals"), &body).await?;
            session.output.show(&goal, || {
                let id = text(&goal, "/id");
                format!("{id} added; a task serves it with: wakeful task add TITLE --goal {id}")
            });
            Ok(())
        }
        GoalVerb::Ls => list(session).await,
        GoalVerb::Show { goal } => {
            let goal = session.client.get(&format!("/api/v1/goals/{}", percent_encoded(goal))).await?;
            session.output.show(&goal, || say(&goal));
            Ok(())
        }
        GoalVerb::Decompose { goal, agent, message } => {
            let body = json!({ "agent": session.agent_id(agent).await?, "reason": message });
            let path = format!("/api/v1/goals/{}/decompose", percent_encoded(goal));
            let wakeup = session.client.post(&path, &body).await?;
            session.output.show(&wakeup, || format!("{} {}", text(&wakeup, "/id"), text(&wakeup, "/status")));
            Ok(())
        }
    }
}

async fn list(session: &Session) -> Result<(), Failure> {
    let goals = session.client.get(&session.of_company("/goals?limit=200")).await?;
    session.output.show(&goals, || match items(&goals).is_empty() {
        true => "no goals yet; add one with: wakeful goal add TITLE".into(),
        false => session.output.table(&["id", "goal"], tree(items(&goals))),
    });
    Ok(())
}

/// The goals in the order of their tree, indented by depth; oldest first among sisters.
fn tree(goals: &[Value]) -> Vec<Vec<String>> {
    let is_listed = |id: &str| goals.iter().any(|goal| text(goal, "/id") == id);
    let mut rows = Vec::with_capacity(goals.len());
    // Newest first, as listed: the stack gives the oldest back first.
    let mut open: Vec<(usize, &Value)> =
        goals.iter().filter(|goal| !is_listed(&text(goal, "/parent"))).map(|goal| (0, goal)).collect();
    while let Some((depth, goal)) = open.pop() {
        let id = text(goal, "/id");
        open.extend(goals.iter().filter(|below| text(below, "/parent") == id).map(|below| (depth + 1, below)));
        rows.push(vec![id, format!("{}{}", "  ".repeat(depth), short(&text(goal, "/title"), 60))]);
    }
    rows
}

fn say(goal: &Value) -> String {
    let mut lines = vec![format!("{} ({})", text(goal, "/title"), text(goal, "/id"))];
    if !text(goal, "/parent").is_empty() {
        lines.push(format!("  serves     {}", text(goal, "/parent")));
    }
    if !text(goal, "/description").is_empty() {
        lines.push(format!("\n{}", text(goal, "/description")));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_stand_below_what_they_serve() {
        let goal = |id: &str, parent: Option<&str>| json!({ "id": id, "title": id, "parent": parent });
        let listed = [goal("d", Some("a")), goal("c", None), goal("b", Some("a")), goal("a", Some("on the next page"))];
        let shown: Vec<String> = tree(&listed).into_iter().map(|mut row| row.remove(1)).collect();
        assert_eq!(shown, ["a", "  b", "  d", "c"]);
    }
}
