//! OpenMetrics text, as `/metrics` answers it, read back: so that what is sent is what is shown there, and nothing is
//! measured twice.

use std::collections::BTreeMap;

/// A metric with everything that is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    pub name: String,
    pub kind: Kind,
    pub help: String,
    pub unit: String,
    pub samples: Vec<Sample>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// One line: `wakeful_tokens_total{kind="input"} 12`.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// What comes behind the family's name: `_total`, `_bucket`, …
    pub suffix: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// The families of a text. What is of no kind that is known is left out.
pub fn families(text: &str) -> Vec<Family> {
    let mut found: Vec<Family> = Vec::new();
    let (mut helps, mut units) = (BTreeMap::new(), BTreeMap::new());
    for line in text.lines() {
        if let Some((name, help)) = told(line, "# HELP ") {
            helps.insert(name, help);
        } else if let Some((name, unit)) = told(line, "# UNIT ") {
            units.insert(name, unit);
        } else if let Some((name, kind)) = told(line, "# TYPE ") {
            let kind = match kind {
                "counter" => Kind::Counter,
                "gauge" => Kind::Gauge,
                "histogram" => Kind::Histogram,
                _ => continue,
            };
            let (help, unit) = (String::new(), String::new());
            found.push(Family { name: name.to_owned(), kind, help, unit, samples: Vec::new() });
        } else if let (Some(family), false) = (found.last_mut(), line.starts_with('#')) {
            family.samples.extend(sample(&family.name, line));
        }
    }
    for family in &mut found {
        family.help = helps.get(family.name.as_str()).copied().unwrap_or_default().to_owned();
        family.unit = units.get(family.name.as_str()).copied().unwrap_or_default().to_owned();
    }
    found
}

fn told<'a>(line: &'a str, mark: &str) -> Option<(&'a str, &'a str)> {
    line.strip_prefix(mark)?.split_once(' ')
}

fn sample(family: &str, line: &str) -> Option<Sample> {
    let rest = line.strip_prefix(family)?;
    let end = rest.find(['{', ' '])?;
    let (suffix, rest) = rest.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (BTreeMap::new(), rest),
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { suffix: suffix.to_owned(), labels, value })
}

/// The labels up to the brace that closes them, and what comes behind.
fn labels(mut rest: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        rest = rest.trim_start_matches(',');
        if let Some(behind) = rest.strip_prefix('}') {
            return Some((labels, behind));
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut letters = quoted.char_indices();
        loop {
            match letters.next()? {
                (at, '"') => {
                    rest = &quoted[at + 1..];
                    break;
                }
                (_, '\\') => value.push(match letters.next()?.1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, letter) => value.push(letter),
            }
        }
        labels.insert(name.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let text = "# HELP a Things.\n# TYPE a counter\na_total{kind=\"x,}\\\"\\\\\\n\",b=\"\"} 3\n\
                    # HELP b_seconds Time.\n# TYPE b_seconds histogram\n# UNIT b_seconds seconds\n\
                    b_seconds_sum 1.5\nb_seconds_count 2\nb_seconds_bucket{le=\"+Inf\"} 2\n\
                    # TYPE c info\nc_info 1\n# EOF\n";
        let found = families(text);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].kind, found[0].help.as_str()), (Kind::Counter, "Things."));
        let sample = &found[0].samples[0];
        assert_eq!((sample.suffix.as_str(), sample.value), ("_total", 3.0));
        assert_eq!((sample.labels["kind"].as_str(), sample.labels["b"].as_str()), ("x,}\"\\\n", ""));
        assert_eq!((found[1].unit.as_str(), found[1].samples.len()), ("seconds", 3));
        assert_eq!(found[1].samples[2].labels["le"], "+Inf");
    }
}
