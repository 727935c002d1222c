//! One walk over a value beside its type: unknown fields, and the first value of a wrong type.

use std::fmt::Write as _;

use base64::{DecodeError, Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Number, Value};

use super::STRICT_FINDINGS_MAX;
use crate::{
    facts::{self, Shape},
    quantity::Quantity,
};

/// What a walk finds.
#[derive(Debug, Default)]
pub(super) struct Inspection {
    /// `unknown field "spec.foo"`, in order.
    pub(super) unknown: Vec<String>,
    /// Upstream's sentence about the first value of a wrong type.
    pub(super) wrong_type: Option<String>,
    /// With indexes and map keys, for unknown fields.
    path: String,
    /// The names of fields alone, for wrong types.
    fields: Vec<&'static str>,
    /// The type that the last of `fields` belongs to.
    owner: &'static str,
}

/// What Go calls the type of a JSON value.
pub(crate) fn word(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

impl Inspection {
    pub(super) fn visit(&mut self, shape: Shape, value: &Value) {
        if value.is_null() {
            return;
        }
        match (shape, value) {
            (Shape::Struct(id), Value::Object(map)) => {
                let own = facts::types().get(id);
                let (length, owner) = (self.path.len(), self.owner);
                for (key, value) in map {
                    if length > 0 {
                        self.path.push('.');
                    }
                    self.path.push_str(key);
                    if let Some(field) = own.field(key) {
                        self.owner = own.short_name();
                        self.fields.push(field.name);
                        self.visit(field.shape, value);
                        self.fields.pop();
                    } else if self.unknown.len() < STRICT_FINDINGS_MAX {
                        self.unknown.push(format!("unknown field \"{}\"", self.path));
                    }
                    self.path.truncate(length);
                }
                self.owner = owner;
            }
            (Shape::List(_), Value::Array(items)) => {
                let (inner, length) = (facts::types().inside(shape), self.path.len());
                for (at, item) in items.iter().enumerate() {
                    // Writing to a String cannot fail.
                    write!(self.path, "[{at}]").unwrap_or(());
                    self.visit(inner, item);
                    self.path.truncate(length);
                }
            }
            (Shape::Map(_), Value::Object(map)) => {
                let (inner, length) = (facts::types().inside(shape), self.path.len());
                for (key, value) in map {
                    self.path.push('.');
                    self.path.push_str(key);
                    self.visit(inner, value);
                    self.path.truncate(length);
                }
            }
            _ => {
                if let Some(why) = self.scalar_fault(shape, value) {
                    self.wrong_type.get_or_insert(why);
                }
            }
        }
    }

    fn scalar_fault(&self, shape: Shape, value: &Value) -> Option<String> {
        match (shape, value) {
            (Shape::Any, _)
            | (Shape::Text, Value::String(_))
            | (Shape::Number, Value::Number(_))
            | (Shape::Boolean, Value::Bool(_))
            | (Shape::IntOrText, Value::String(_)) => None,
            (Shape::Int32 | Shape::IntOrText, Value::Number(number))
                if number.as_i64().is_some_and(|it| i32::try_from(it).is_ok()) =>
            {
                None
            }
            (Shape::Int64, Value::Number(number)) if number.is_i64() => None,
            (Shape::Bytes, Value::String(text)) => base64_fault(text),
            (Shape::Time, Value::String(text)) => time_fault(text, ""),
            (Shape::MicroTime, Value::String(text)) => time_fault(text, ".000000"),
            (Shape::Quantity, Value::String(text)) => {
                Quantity::parse(text.trim()).err().map(|why| why.to_string())
            }
            (Shape::Quantity, Value::Number(number)) => {
                Quantity::parse(&number.to_string()).err().map(|why| why.to_string())
            }
            (Shape::Quantity, _) => Some(crate::quantity::QuantityError::Shape.to_string()),
            // These read themselves in Go, and know no path.
            (Shape::Time | Shape::MicroTime, _) => {
                Some(format!("json: cannot unmarshal {} into Go value of type string", word(value)))
            }
            (Shape::IntOrText, _) => Some(format!(
                "json: cannot unmarshal {} into Go value of type int32",
                number_word(value)
            )),
            _ => Some(self.unmarshal(shape, value)),
        }
    }

    fn unmarshal(&self, shape: Shape, value: &Value) -> String {
        let found = match shape {
            Shape::Int32 | Shape::Int64 => number_word(value),
            _ => word(value).to_owned(),
        };
        let (wanted, path) = (go_type(shape), self.fields.join("."));
        if path.is_empty() {
            return format!("json: cannot unmarshal {found} into Go value of type {wanted}");
        }
        format!(
            "json: cannot unmarshal {found} into Go struct field {}.{path} of type {wanted}",
            self.owner
        )
    }
}

fn number_word(value: &Value) -> String {
    match value {
        Value::Number(number) => format!("number {}", plain(number)),
        other => word(other).to_owned(),
    }
}

fn plain(number: &Number) -> String {
    number.to_string()
}

fn go_type(shape: Shape) -> String {
    let types = facts::types();
    match shape {
        Shape::Text | Shape::Time | Shape::MicroTime | Shape::Quantity => "string".to_owned(),
        Shape::Bytes => "[]uint8".to_owned(),
        Shape::Int32 | Shape::IntOrText => "int32".to_owned(),
        Shape::Int64 => "int64".to_owned(),
        Shape::Number => "float64".to_owned(),
        Shape::Boolean => "bool".to_owned(),
        Shape::Any => "interface {}".to_owned(),
        Shape::Struct(id) => {
            let mut parts = types.get(id).name.rsplit('.');
            let (kind, package) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
            format!("{package}.{kind}")
        }
        Shape::List(_) => format!("[]{}", go_type(types.inside(shape))),
        Shape::Map(_) => format!("map[string]{}", go_type(types.inside(shape))),
    }
}

fn base64_fault(text: &str) -> Option<String> {
    let at = match STANDARD.decode(text) {
        Ok(_) => return None,
        Err(DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _)) => at,
        // Go reads in fours and names where the incomplete one begins.
        Err(DecodeError::InvalidLength(length)) => length - length % 4,
        Err(DecodeError::InvalidPadding) => text.len() - text.len() % 4,
    };
    Some(format!("illegal base64 data at input byte {at}"))
}

fn time_fault(text: &str, fraction: &str) -> Option<String> {
    let read: Result<Timestamp, _> = text.parse();
    let shaped = text.as_bytes().get(10).is_some_and(|byte| *byte == b'T');
    if read.is_ok() && shaped {
        return None;
    }
    let layout = format!("2006-01-02T15:04:05{fraction}Z07:00");
    Some(format!("parsing time {text:?} as {layout:?}: cannot parse {text:?} as \"2006\""))
}
