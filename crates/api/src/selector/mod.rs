//! Which objects a list, a watch or a controller means: selectors by labels and by fields.
//!
//! ```text
//!   labelSelector=app in (a,b),!old  ──▶ Labels ─┐
//!   spec.selector (LabelSelector)    ──▶ Labels  ├─▶ Selector ── matches_index(&[u8])
//!   fieldSelector=spec.nodeName=n1   ──▶ Fields ─┘               (index::encode, beside each value)
//! ```
//!
//! Source: apimachinery v1.36 `pkg/labels`, `pkg/fields`.

mod fields;
pub mod index;
mod labels;
pub mod nodes;
#[cfg(test)]
mod tests;

use thiserror::Error;

pub use self::{
    fields::{Fields, Term, escape},
    labels::{Labels, Operator, Requirement},
};
use crate::resource::Names;

/// Why a selector cannot be read; the sentence is upstream's, the answer a 400.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SelectorError {
    /// A label selector breaks the grammar, or a key or value has the wrong shape.
    #[error("{0}")]
    Labels(String),
    /// A field selector breaks the grammar.
    #[error("{0}")]
    Fields(String),
    /// The kind does not know this field.
    #[error("{0}")]
    UnknownField(String),
}

/// What a list or watch asks for: both must match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    /// By labels; empty matches all.
    pub labels: Labels,
    /// By fields; empty matches all.
    pub fields: Fields,
}

impl Selector {
    /// Reads the query parameters `labelSelector` and `fieldSelector` (empty when absent).
    ///
    /// # Errors
    ///
    /// When either cannot be read, or asks for a field that the kind does not know.
    pub fn parse(labels: &str, fields: &str, kind: &Names) -> Result<Self, SelectorError> {
        Ok(Self { labels: Labels::parse(labels)?, fields: Fields::parse(fields)?.of_kind(kind)? })
    }

    /// Whether it matches whatever there is.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }

    /// Whether the object with this index matches; reads nothing else and allocates nothing.
    ///
    /// An index that `index::encode` did not make matches as if it had no labels and fields
    /// from the damage on.
    #[must_use]
    pub fn matches_index(&self, index: &[u8]) -> bool {
        if self.is_everything() {
            return true;
        }
        let entries = index::Index::read(index);
        self.labels.matches_with(|key| entries.label(key))
            && self.fields.matches_with(|field| entries.field(field))
    }
}
