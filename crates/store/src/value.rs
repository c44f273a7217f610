//! Values on their way into and out of a statement. Both engines know text, integers,
//! reals and blobs; everything else is written as one of these.

use std::borrow::Cow;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde::de::value::StrDeserializer;
use wakeful_domain::id::{Id, Kind};
use wakeful_domain::time::Timestamp;

use crate::Error;

/// A value of a parameter or a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    Null,
    Int(i64),
    Real(f64),
    Text(Cow<'a, str>),
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Value::Int(number)
    }
}

impl From<bool> for Value<'_> {
    fn from(claim: bool) -> Self {
        Value::Int(i64::from(claim))
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Value::Text(Cow::Borrowed(text))
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(text: &'a String) -> Self {
        Value::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Value::Text(Cow::Owned(text))
    }
}

impl From<Timestamp> for Value<'_> {
    fn from(at: Timestamp) -> Self {
        Value::Int(at.as_micros())
    }
}

impl<K: Kind> From<Id<K>> for Value<'_> {
    fn from(id: Id<K>) -> Self {
        Value::Text(Cow::Owned(id.to_string()))
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

impl<'a> From<&'a Option<String>> for Value<'a> {
    fn from(text: &'a Option<String>) -> Self {
        text.as_deref().into()
    }
}

/// A JSON document as a parameter.
pub fn json<T: Serialize>(document: &T) -> Value<'static> {
    serde_json::to_string(document).map_or(Value::Null, |text| Value::Text(Cow::Owned(text)))
}

/// A JSON document as a parameter, if there is one.
pub fn json_option<T: Serialize>(document: Option<&T>) -> Value<'static> {
    document.map_or(Value::Null, json)
}

/// The name of a variant as serde writes it.
pub fn name<T: Serialize>(variant: &T) -> Value<'static> {
    match serde_json::to_value(variant) {
        Ok(serde_json::Value::String(text)) => Value::Text(Cow::Owned(text)),
        Ok(_) | Err(_) => Value::Null,
    }
}

/// A task as part of a lane's key: the empty text for the agent's own lane.
pub fn task_key(task: Option<wakeful_domain::id::TaskId>) -> Value<'static> {
    Value::Text(Cow::Owned(task.map(|id| id.to_string()).unwrap_or_default()))
}

/// A document that is kept here. Requests are refused if they are nested deeper than 128; what is told of them stands a
/// few levels deeper in what is kept, and must be read all the same.
fn document<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer.disable_recursion_limit();
    let document = T::deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(document)
}

/// A row of an answer, read column by column in the order of the statement.
#[derive(Debug)]
pub struct Row {
    values: std::vec::IntoIter<Value<'static>>,
    place: usize,
}

impl Row {
    /// A row of these values.
    pub fn new(values: Vec<Value<'static>>) -> Self {
        Self { values: values.into_iter(), place: 0 }
    }

    /// The next column.
    pub fn get<T: FromValue>(&mut self) -> Result<T, Error> {
        self.place += 1;
        let value = self.values.next().unwrap_or(Value::Null);
        T::from_value(value).map_err(|what| Error::Column { place: self.place, what })
    }

    /// The next column, a JSON document.
    pub fn json<T: DeserializeOwned>(&mut self) -> Result<T, Error> {
        let text: String = self.get()?;
        document(&text).map_err(|error| Error::Column { place: self.place, what: error.to_string() })
    }

    /// The next column, a JSON document or null.
    pub fn json_option<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Error> {
        let text: Option<String> = self.get()?;
        text.map(|text| document(&text))
            .transpose()
            .map_err(|error| Error::Column { place: self.place, what: error.to_string() })
    }

    /// The next column, the name of a variant.
    pub fn name<T: DeserializeOwned>(&mut self) -> Result<T, Error> {
        let text: String = self.get()?;
        T::deserialize(StrDeserializer::<serde::de::value::Error>::new(&text))
            .map_err(|error| Error::Column { place: self.place, what: error.to_string() })
    }

    /// The next column, a task of a lane's key.
    pub fn task(&mut self) -> Result<Option<wakeful_domain::id::TaskId>, Error> {
        let text: String = self.get()?;
        if text.is_empty() {
            return Ok(None);
        }
        text.parse()
            .map(Some)
            .map_err(|error: wakeful_domain::id::IdError| Error::Column { place: self.place, what: error.to_string() })
    }
}

/// What a column can be read as.
pub trait FromValue: Sized {
    /// Reads it, or says what is there instead.
    fn from_value(value: Value<'static>) -> Result<Self, String>;
}

impl FromValue for i64 {
    fn from_value(value: Value<'static>) -> Result<Self, String> {
        match value {
            Value::Int(number) => Ok(number),
            other @ (Value::Null | Value::Real(_) | Value::Text(_)) => {
                Err(format!("expected an integer, found {other:?}"))
            }
        }
    }
}

impl FromValue for bool {
    fn from_value(value: Value<'static>) -> Result<Self, String> {
        i64::from_value(value).map(|number| number != 0)
    }
}

impl FromValue for String {
    fn from_value(value: Value<'static>) -> Result<Self, String> {
        match value {
            Value::Text(text) => Ok(text.into_owned()),
            other @ (Value::Null | Value::Real(_) | Value::Int(_)) => Err(format!("expected text, found {other:?}")),
        }
    }
}

impl FromValue for Timestamp {
    fn from_value(value: Value<'static>) -> Result<Self, String> {
        i64::from_value(value).map(Timestamp::from_micros)
    }
}

impl<K: Kind> FromValue for Id<K> {
    fn from_value(value: Value<'static>) -> Result<Self, String> {
        let text = String::from_value(value)?;
        text.parse().map_err(|error: wakeful_domain::id::IdError| error.to_string())
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value<'static>) -> Result<Self, String> {
        match value {
            Value::Null => Ok(None),
            present @ (Value::Int(_) | Value::Real(_) | Value::Text(_)) => T::from_value(present).map(Some),
        }
    }
}
