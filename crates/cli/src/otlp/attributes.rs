//! Attributes of OTLP, and the resource that everything is sent for.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};

/// A list of attributes that grows by what is known.
#[derive(Debug, Clone, Default)]
pub struct Attributes(Vec<KeyValue>);

impl Attributes {
    pub fn text(&mut self, key: &str, value: impl Into<String>) -> &mut Self {
        self.push(key, Value::StringValue(value.into()))
    }

    pub fn text_if(&mut self, key: &str, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.text(key, value),
            None => self,
        }
    }

    pub fn number(&mut self, key: &str, value: i64) -> &mut Self {
        self.push(key, Value::IntValue(value))
    }

    pub fn list(self) -> Vec<KeyValue> {
        self.0
    }

    fn push(&mut self, key: &str, value: Value) -> &mut Self {
        self.0.push(KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue { value: Some(value) }),
            ..KeyValue::default()
        });
        self
    }
}

/// Who made the spans and the metrics.
pub fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "wakeful".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        ..InstrumentationScope::default()
    }
}
