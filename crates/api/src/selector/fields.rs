//! Field selectors: `status.phase!=Failed,spec.nodeName=n1`.

use std::{borrow::Cow, fmt};

use super::SelectorError;
use crate::{fields::canonical, resource::Names};

/// One comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// `spec.nodeName`
    pub field: String,
    /// The value it is compared with, unescaped.
    pub value: String,
    /// `=` and `==`, or `!=`.
    pub equal: bool,
}

/// Terms that must all hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields {
    terms: Vec<Term>,
}

impl Fields {
    /// Reads a selector; whatever fields it asks for.
    ///
    /// # Errors
    ///
    /// When a term has no operator, or a value an unescaped `,` or `=`.
    pub fn parse(selector: &str) -> Result<Self, SelectorError> {
        let mut parts = split_terms(selector);
        parts.sort_unstable();
        let mut terms = Vec::new();
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            let Some((field, equal, value)) = split_term(part) else {
                let why = format!("invalid selector: '{selector}'; can't understand '{part}'");
                return Err(SelectorError::Fields(why));
            };
            terms.push(Term { field: field.to_owned(), value: unescape(value)?, equal });
        }
        Ok(Self { terms })
    }

    /// The same, under the names that the kind's index has.
    ///
    /// # Errors
    ///
    /// When the kind does not know a field.
    pub fn of_kind(mut self, kind: &Names) -> Result<Self, SelectorError> {
        for term in &mut self.terms {
            let name = canonical(kind, &term.field).map_err(SelectorError::UnknownField)?;
            if term.field != name {
                name.clone_into(&mut term.field);
            }
        }
        Ok(self)
    }

    /// All terms, in the order of their text.
    #[must_use]
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// The one value that this field must have, if any: a watch on one name uses it.
    #[must_use]
    pub fn exact(&self, field: &str) -> Option<&str> {
        let found = self.terms.iter().find(|term| term.equal && term.field == field);
        found.map(|term| term.value.as_str())
    }

    /// Whether there is no term.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether all terms hold for these values; an absent field is empty.
    pub fn matches_with<'a>(&self, value: impl Fn(&str) -> &'a str) -> bool {
        self.terms.iter().all(|term| (value(&term.field) == term.value) == term.equal)
    }
}

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, term) in self.terms.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let operator = if term.equal { "=" } else { "!=" };
            write!(f, "{comma}{}{operator}{}", term.field, escape(&term.value))?;
        }
        Ok(())
    }
}

/// A value as it stands in a selector: `\`, `,` and `=` get a backslash.
#[must_use]
pub fn escape(value: &str) -> Cow<'_, str> {
    if !value.contains(['\\', ',', '=']) {
        return Cow::Borrowed(value);
    }
    let mut out = String::with_capacity(value.len() + 4);
    for letter in value.chars() {
        if matches!(letter, '\\' | ',' | '=') {
            out.push('\\');
        }
        out.push(letter);
    }
    Cow::Owned(out)
}

fn split_terms(selector: &str) -> Vec<&str> {
    let (mut terms, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, letter) in selector.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&selector[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&selector[start..]);
    terms
}

fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    let at = term.find(['!', '='].as_slice())?;
    // A lone `!` belongs to the name, as upstream reads it.
    let from = term[at..].find("!=").into_iter().chain(term[at..].find('=')).min()? + at;
    let rest = &term[from..];
    let (length, equal) = match () {
        () if rest.starts_with("!=") => (2, false),
        () if rest.starts_with("==") => (2, true),
        () => (1, true),
    };
    Some((&term[..from], equal, &rest[length..]))
}

fn unescape(value: &str) -> Result<String, SelectorError> {
    let wrong = |why: String| SelectorError::Fields(format!("invalid field selector: {why}"));
    let mut out = String::with_capacity(value.len());
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some(escaped @ ('\\' | ',' | '=')) => out.push(escaped),
                Some(other) => return Err(wrong(format!("invalid escape sequence: \\{other}"))),
                None => return Err(wrong("invalid escape sequence: \\".to_owned())),
            },
            ',' | '=' => {
                // Upstream prints the letter's number.
                let number = u32::from(letter);
                return Err(wrong(format!("unescaped character in value: {number}")));
            }
            _ => out.push(letter),
        }
    }
    Ok(out)
}
