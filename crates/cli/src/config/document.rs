//! A configuration as it is written, TOML or JSON, with the place of every key and value, so that each
//! mistake can be told with its line and column.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use jsonc_parser::ast;
use jsonc_parser::common::Ranged;
use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A name that may be meant is at least this like what is written, from 0 to 1.
const LIKENESS_MIN: f64 = 0.7;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The byte at which it begins.
    pub at: usize,
    pub content: Content,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    Table(Vec<Entry>),
    List(Vec<Node>),
    /// Text, number, truth or nothing.
    Scalar(Value),
}

/// A key of a table, and what stands under it.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub key: String,
    pub at: usize,
    pub value: Node,
}

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The byte at which it stands.
    pub at: usize,
    pub message: String,
}

/// A mistake as it is printed: `file:line:column: message`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    pub file: String,
    /// Both from 1; columns are characters.
    pub line: usize,
    pub column: usize,
    pub message: String,
}

impl fmt::Display for Placed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)
    }
}

impl Mistake {
    pub fn new(at: usize, message: impl Into<String>) -> Mistake {
        Mistake { at, message: message.into() }
    }

    /// Says where it stands in the text.
    pub fn placed(&self, file: &Path, text: &str) -> Placed {
        let before = &text[..text.floor_char_boundary(self.at)];
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        Placed {
            file: file.display().to_string(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: self.message.clone(),
        }
    }
}

impl Node {
    /// Reads a text: JSON if the name of its file says so, TOML otherwise.
    pub fn parse(file: &Path, text: &str) -> Result<Node, Vec<Mistake>> {
        match file.extension().is_some_and(|extension| extension == "json") {
            true => parse_json(text).map_err(|mistake| vec![mistake]),
            false => parse_toml(text),
        }
    }

    /// The same without the places.
    pub fn to_json(&self) -> Value {
        match &self.content {
            Content::Table(entries) => {
                let fields = entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json()));
                Value::Object(fields.collect::<Map<_, _>>())
            }
            Content::List(items) => items.iter().map(Node::to_json).collect(),
            Content::Scalar(value) => value.clone(),
        }
    }

    pub fn entries(&self) -> &[Entry] {
        match &self.content {
            Content::Table(entries) => entries,
            Content::List(_) | Content::Scalar(_) => &[],
        }
    }

    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    pub fn text(&self, key: &str) -> Option<&str> {
        match &self.entry(key)?.value.content {
            Content::Scalar(Value::String(text)) => Some(text),
            Content::Table(_) | Content::List(_) | Content::Scalar(_) => None,
        }
    }

    /// The list under a key; nothing if there is none.
    pub fn list(&self, key: &str) -> &[Node] {
        match self.entry(key).map(|entry| &entry.value.content) {
            Some(Content::List(items)) => items,
            Some(Content::Table(_) | Content::Scalar(_)) | None => &[],
        }
    }

    /// Every key that is not known, with the one that is probably meant.
    pub fn unknown_keys(&self, known: &[&str]) -> Vec<Mistake> {
        let unknown = self.entries().iter().filter(|entry| !known.contains(&entry.key.as_str()));
        let told = |entry: &Entry| {
            let likeness = |name: &&&str| (strsim::jaro_winkler(&entry.key, name) * 1_000.0) as u32;
            let meant = known.iter().max_by_key(likeness);
            match meant.filter(|name| strsim::jaro_winkler(&entry.key, name) >= LIKENESS_MIN) {
                Some(name) => format!("unknown key `{}`: did you mean `{name}`?", entry.key),
                None => format!("unknown key `{}`: known are {}", entry.key, known.join(", ")),
            }
        };
        unknown.map(|entry| Mistake::new(entry.at, told(entry))).collect()
    }

    /// Where the field stands that a path names, as `adapter.env.A` or `heartbeat.actions[0].name`; as far as it goes.
    pub fn place_of(&self, path: &str) -> usize {
        let mut here = self;
        let mut at = self.at;
        for part in path.split(['.', '[']).filter(|part| !part.is_empty()) {
            let index = part.strip_suffix(']').and_then(|index| index.parse::<usize>().ok());
            let next = match (&here.content, index) {
                (Content::List(items), Some(index)) => items.get(index).map(|item| (item.at, item)),
                _ => here.entry(part).map(|entry| (entry.at, &entry.value)),
            };
            let Some((place, node)) = next else { break };
            (at, here) = (place, node);
        }
        at
    }
}

fn parse_toml(text: &str) -> Result<Node, Vec<Mistake>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let mistake = |error: &toml::de::Error| {
            Mistake::new(error.span().map_or(0, |span: Range<usize>| span.start), error.message().to_owned())
        };
        return Err(errors.iter().map(mistake).collect());
    }
    Ok(Node { at: 0, content: toml_table(document.get_ref()) })
}

fn toml_table(table: &DeTable<'_>) -> Content {
    let mut entries: Vec<Entry> = table
        .iter()
        .map(|(key, value)| Entry { key: key.get_ref().to_string(), at: key.span().start, value: toml_node(value) })
        .collect();
    entries.sort_by_key(|entry| entry.at);
    Content::Table(entries)
}

fn toml_node(value: &Spanned<DeValue<'_>>) -> Node {
    let content = match value.get_ref() {
        DeValue::String(text) => Content::Scalar(Value::String(text.to_string())),
        DeValue::Integer(number) => {
            let read = i64::from_str_radix(number.as_str(), number.radix());
            Content::Scalar(read.map_or_else(|_| Value::String(number.as_str().to_owned()), Value::from))
        }
        DeValue::Float(number) => {
            let read = number.as_str().parse::<f64>();
            Content::Scalar(read.map_or_else(|_| Value::String(number.as_str().to_owned()), Value::from))
        }
        DeValue::Boolean(truth) => Content::Scalar(Value::Bool(*truth)),
        DeValue::Datetime(time) => Content::Scalar(Value::String(time.to_string())),
        DeValue::Array(items) => Content::List(items.iter().map(toml_node).collect()),
        DeValue::Table(table) => toml_table(table),
    };
    Node { at: value.span().start, content }
}

fn parse_json(text: &str) -> Result<Node, Mistake> {
    let parsed = jsonc_parser::parse_to_ast(text, &Default::default(), &Default::default());
    let value = parsed.map_err(|error| Mistake::new(error.range().start, error.kind().to_string()))?.value;
    value.map(|value| json_node(&value)).ok_or_else(|| Mistake::new(0, "is empty: write an object, {} at least"))
}

fn json_node(value: &ast::Value<'_>) -> Node {
    let content = match value {
        ast::Value::StringLit(text) => Content::Scalar(Value::String(text.value.to_string())),
        ast::Value::NumberLit(number) => {
            let read = serde_json::from_str(number.value);
            Content::Scalar(read.unwrap_or_else(|_| Value::String(number.value.to_owned())))
        }
        ast::Value::BooleanLit(truth) => Content::Scalar(Value::Bool(truth.value)),
        ast::Value::NullKeyword(_) => Content::Scalar(Value::Null),
        ast::Value::Array(list) => Content::List(list.elements.iter().map(json_node).collect()),
        ast::Value::Object(object) => Content::Table(
            object
                .properties
                .iter()
                .map(|property| Entry {
                    key: property.name.as_str().to_owned(),
                    at: property.range.start,
                    value: json_node(&property.value),
                })
                .collect(),
        ),
    };
    Node { at: value.range().start, content }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_forms_say_the_same_and_know_where() {
        let toml = "# ours\n[[agents]]\nname = \"ann\"\nadapter = { type = \"process\", n = 0x10 }\n";
        let json = "{\n  \"agents\": [{\"name\": \"ann\",\n    \"adapter\": {\"type\": \"process\", \"n\": 16}}]\n}";
        let expected = json!({ "agents": [{ "name": "ann", "adapter": { "type": "process", "n": 16 } }] });
        let place = |file: &str, text: &str, path: &str| {
            let node = Node::parse(Path::new(file), text).unwrap();
            assert_eq!(node.to_json(), expected);
            let placed = Mistake::new(node.place_of(path), "x").placed(Path::new(file), text);
            (placed.line, placed.column)
        };
        assert_eq!(place("a.toml", toml, "agents[0].adapter.n"), (4, 31));
        assert_eq!(place("a.toml", toml, "agents[0].title"), (2, 1));
        assert_eq!(place("a.json", json, "agents[0].adapter.n"), (3, 36));
    }

    #[test]
    fn every_mistake_of_the_form_is_told_with_its_place() {
        let told = |file: &str, text: &str| {
            let mistakes = Node::parse(Path::new(file), text).unwrap_err();
            let mut mistakes = mistakes;
            mistakes.sort_by_key(|mistake| mistake.at);
            mistakes.iter().map(|mistake| mistake.placed(Path::new(file), text).to_string()).collect::<Vec<_>>()
        };
        let toml = told("a.toml", "a = 1\nb = \nc = 2\nd == 3\n");
        assert_eq!(toml.len(), 3, "{toml:?}");
        assert!(toml[0].starts_with("a.toml:2:") && toml[1].starts_with("a.toml:4:"), "{toml:?}");
        let json = told("a.json", "{\"ä\": 1,\n  \"b\": }");
        assert!(json[0].starts_with("a.json:2:"), "{json:?}");
        assert!(told("a.json", "")[0].contains("is empty"));
    }
}
