//! The result as a Markdown table, and its place in a document.

use std::fmt::Write;

use crate::{End, Told};

const BEGIN: &str = "<!-- begin of the generated table -->";
const END: &str = "<!-- end of the generated table -->";

/// One line a case.
pub fn table(told: &[Told]) -> String {
    let mut text = String::from("| case | rows | provoked | must hold | measured |\n|---|---|---|---|---|\n");
    for Told { case, end, took } in told {
        let measured = match end {
            End::Held(measured) => format!("held: {measured}"),
            End::Broken(found) => format!("**broken**: {}", found.chars().take(300).collect::<String>()),
            End::Skipped(reason) => format!("skipped: {reason}"),
        };
        let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
        writeln!(
            text,
            "| `{}` | {} | {} | {} | {} ({:.0} s) |",
            case.name,
            case.rows,
            cell(case.provoked),
            cell(case.must_hold),
            cell(&measured),
            took.as_secs_f64()
        )
        .ok();
    }
    text
}

/// The document with this table in the place of its last one; `None` if it has no such place.
pub fn put(document: &str, table: &str) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{table}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_table_takes_the_place_of_the_last_one() {
        let told = |end| Told { case: &crate::cases::ALL[0], end, took: Duration::from_secs(3) };
        let text = table(&[told(End::Held("a | b".into())), told(End::Broken("two\nlines".into()))]);
        assert!(text.contains("| held: a \\| b (3 s) |\n") && text.contains("**broken**: two lines"), "{text}");
        let document = format!("before\n{BEGIN}\nearlier\n{END}\nafter\n");
        let put_once = put(&document, &text).unwrap();
        assert!(put_once.starts_with("before\n") && put_once.ends_with("\nafter\n") && !put_once.contains("earlier"));
        assert_eq!(put(&put_once, &text).unwrap(), put_once);
        assert_eq!(put("no place", &text), None);
    }
}
