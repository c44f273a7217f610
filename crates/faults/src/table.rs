//! The result as a Markdown table, and its place in a document.

use crate::{End, Told, cases};

const BEGIN: &str = "<!-- begin of the generated table -->";
const END: &str = "<!-- end of the generated table -->";

const HEAD: &str = "| case | rows | provoked | must hold | measured |\n|---|---|---|---|---|\n";

/// The line of a case.
fn line(told: &Told) -> String {
    let measured = match &told.end {
        End::Held(measured) => format!("held: {measured}"),
        End::Broken(found) => format!("**broken**: {}", found.chars().take(300).collect::<String>()),
        End::Skipped(reason) => format!("skipped: {reason}"),
    };
    let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
    let (case, took) = (told.case, told.took.as_secs_f64());
    let (provoked, must_hold, measured) = (cell(case.provoked), cell(case.must_hold), cell(&measured));
    format!("{}{} | {provoked} | {must_hold} | {measured} ({took:.0} s) |\n", beginning(case.name), case.rows)
}

fn beginning(name: &str) -> String {
    format!("| `{name}` | ")
}

/// The document with these cases in its table; those that were not tried keep their lines. `None` if it has no place
/// for a table.
pub fn put(document: &str, told: &[Told]) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (earlier, after) = rest.split_once(END)?;
    let mut text = String::from(HEAD);
    for case in cases::ALL {
        let new = told.iter().find(|one| one.case.name == case.name).map(line);
        let kept =
            || earlier.lines().find(|line| line.starts_with(&beginning(case.name))).map(|line| format!("{line}\n"));
        text.push_str(&new.or_else(kept).unwrap_or_default());
    }
    Some(format!("{before}{BEGIN}\n{text}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_cases_that_were_tried_have_new_lines_and_the_others_keep_theirs() {
        let told = |number: usize, end| Told { case: &cases::ALL[number], end, took: Duration::from_secs(3) };
        let document = format!("before\n{BEGIN}\n{END}\nafter\n");
        let once = put(&document, &[told(1, End::Held("a | b".into())), told(0, End::Broken("two\nlines".into()))]);
        let once = once.unwrap();
        assert!(once.starts_with("before\n") && once.ends_with("\nafter\n") && once.contains(HEAD), "{once}");
        assert!(once.contains("| held: a \\| b (3 s) |\n") && once.contains("**broken**: two lines"), "{once}");
        assert!(once.find(cases::ALL[0].name) < once.find(cases::ALL[1].name), "{once}");
        let twice = put(&once, &[told(0, End::Held("mended".into()))]).unwrap();
        assert!(twice.contains("mended") && !twice.contains("two lines") && twice.contains("a \\| b"), "{twice}");
        assert_eq!(put("no place", &[]), None);
    }
}
