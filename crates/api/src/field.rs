//! What is wrong with which field of an object, in upstream's words.

use std::fmt;

/// A path into an object: `spec.containers[0].name`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Path(String);

impl Path {
    /// The path of one top-level field; several names are joined by dots.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// The path of a field within this one.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        if self.0.is_empty() { Self::new(name) } else { Self(format!("{}.{name}", self.0)) }
    }

    /// The path of an item of this list.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// The path of an entry of this map.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        Self(format!("{}[{key}]", self.0))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What sort of fault a field has.
///
/// Source: apimachinery v1.36 `pkg/util/validation/field/errors.go`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `Required value`
    Required,
    /// `Invalid value`
    Invalid,
    /// `Unsupported value`
    NotSupported,
    /// `Forbidden`
    Forbidden,
    /// `Duplicate value`
    Duplicate,
    /// `Not found`
    NotFound,
    /// `Too long`
    TooLong,
    /// `Too many`
    TooMany,
    /// `Internal error`
    Internal,
}

impl Fault {
    /// The machine's word in `status.details.causes[].reason`.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Fault::Required => "FieldValueRequired",
            Fault::Invalid => "FieldValueInvalid",
            Fault::NotSupported => "FieldValueNotSupported",
            Fault::Forbidden => "FieldValueForbidden",
            Fault::Duplicate => "FieldValueDuplicate",
            Fault::NotFound => "FieldValueNotFound",
            Fault::TooLong => "FieldValueTooLong",
            Fault::TooMany => "FieldValueTooMany",
            Fault::Internal => "InternalError",
        }
    }
}

/// One fault of one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Where.
    pub field: Path,
    /// What sort.
    pub fault: Fault,
    /// All that follows `field: `, as a person reads it.
    pub message: String,
}

impl Cause {
    /// `Required value[: detail]`
    #[must_use]
    pub fn required(field: Path, detail: &str) -> Self {
        Self { field, fault: Fault::Required, message: with_detail("Required value", detail) }
    }

    /// `Invalid value: VALUE: detail`; strings are quoted, other values are their JSON.
    #[must_use]
    pub fn invalid(field: Path, value: impl Into<serde_json::Value>, detail: &str) -> Self {
        let message = with_detail(&format!("Invalid value: {}", value.into()), detail);
        Self { field, fault: Fault::Invalid, message }
    }

    /// `Unsupported value: VALUE: supported values: "A", "B"`
    #[must_use]
    pub fn not_supported(field: Path, value: &str, supported: &[&str]) -> Self {
        let known: Vec<String> = supported.iter().map(|word| format!("{word:?}")).collect();
        let tail = format!("supported values: {}", known.join(", "));
        let detail = if known.is_empty() { "" } else { &tail };
        let message = with_detail(&format!("Unsupported value: {value:?}"), detail);
        Self { field, fault: Fault::NotSupported, message }
    }

    /// `Forbidden: detail`
    #[must_use]
    pub fn forbidden(field: Path, detail: &str) -> Self {
        Self { field, fault: Fault::Forbidden, message: with_detail("Forbidden", detail) }
    }

    /// `Duplicate value: VALUE`
    #[must_use]
    pub fn duplicate(field: Path, value: impl Into<serde_json::Value>) -> Self {
        let message = format!("Duplicate value: {}", value.into());
        Self { field, fault: Fault::Duplicate, message }
    }

    /// `Not found: VALUE`
    #[must_use]
    pub fn not_found(field: Path, value: impl Into<serde_json::Value>) -> Self {
        Self { field, fault: Fault::NotFound, message: format!("Not found: {}", value.into()) }
    }

    /// `Too long: may not be more than N bytes`
    #[must_use]
    pub fn too_long(field: Path, max_bytes: usize) -> Self {
        let message = format!("Too long: may not be more than {max_bytes} bytes");
        Self { field, fault: Fault::TooLong, message }
    }

    /// `Too many: ACTUAL: must have at most N items`
    #[must_use]
    pub fn too_many(field: Path, actual: usize, max: usize) -> Self {
        let message = format!("Too many: {actual}: must have at most {max} items");
        Self { field, fault: Fault::TooMany, message }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

fn with_detail(head: &str, detail: &str) -> String {
    if detail.is_empty() { head.to_owned() } else { format!("{head}: {detail}") }
}
