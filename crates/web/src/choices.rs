//! What forms and filters let people choose from: agents, tasks, projects and goals by their names, states in words.

use askama::Template;
use askama::filters::HtmlSafe;
use serde::Deserialize;

use crate::failure::Failure;
use crate::seen::List;
use crate::visit::Visit;

/// Something to choose.
#[derive(Debug, Clone, Deserialize)]
pub struct Choice {
    pub id: String,
    pub name: String,
}

#[derive(Debug, Deserialize)]
struct Titled {
    id: String,
    title: String,
}

/// Offered of each kind at most: in a longer list nobody finds anything.
const OFFERED: &str = "limit=200";

/// The agents of the company.
pub async fn agents(visit: &Visit) -> Result<Vec<Choice>, Failure> {
    let found: List<Choice> = visit.calls.get(&visit.of_company(&format!("agents?{OFFERED}"))).await?;
    Ok(found.items)
}

/// Its projects.
pub async fn projects(visit: &Visit) -> Result<Vec<Choice>, Failure> {
    let found: List<Choice> = visit.calls.get(&visit.of_company(&format!("projects?{OFFERED}"))).await?;
    Ok(found.items)
}

/// Its goals.
pub async fn goals(visit: &Visit) -> Result<Vec<Choice>, Failure> {
    let found: List<Titled> = visit.calls.get(&visit.of_company(&format!("goals?{OFFERED}"))).await?;
    Ok(found.items.into_iter().map(|Titled { id, title }| Choice { id, name: title }).collect())
}

/// The name of one of them.
pub fn name_of<'a>(choices: &'a [Choice], id: &'a str) -> &'a str {
    choices.iter().find(|choice| choice.id == id).map_or(id, |choice| &choice.name)
}

/// The options of a `select`.
#[derive(Debug, Template)]
#[template(
    ext = "html",
    source = r#"{% for (value, word) in offered %}<option value="{{ value }}"{% if **value == *chosen %} selected{% endif %}>{{ word }}</option>{% endfor %}"#
)]
pub struct Options<'a> {
    offered: Vec<(&'a str, String)>,
    chosen: &'a str,
}

impl HtmlSafe for Options<'_> {}

/// Options for things; one that is chosen and not offered, being older than those, is offered too.
pub fn options<'a>(choices: &'a [Choice], chosen: &'a str) -> Options<'a> {
    let mut offered: Vec<_> = choices.iter().map(|choice| (choice.id.as_str(), choice.name.clone())).collect();
    if !chosen.is_empty() && !offered.iter().any(|(id, _)| *id == chosen) {
        offered.push((chosen, chosen.to_owned()));
    }
    Options { offered, chosen }
}

/// Options for states and the like, in words.
pub fn words<'a>(names: &[&'a str], chosen: &'a str) -> Options<'a> {
    Options { offered: names.iter().map(|name| (*name, name.replace('_', " "))).collect(), chosen }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_chosen_is_always_offered() {
        let choices = [Choice { id: "agt_1".into(), name: "<ann>".into() }];
        let check = |chosen: &str, expected: &str| assert_eq!(options(&choices, chosen).to_string(), expected);
        check("agt_1", "<option value=\"agt_1\" selected>&#60;ann&#62;</option>");
        check("agt_2", "<option value=\"agt_1\">&#60;ann&#62;</option><option value=\"agt_2\" selected>agt_2</option>");
        assert_eq!(words(&["in_review"], "").to_string(), "<option value=\"in_review\">in review</option>");
    }
}
