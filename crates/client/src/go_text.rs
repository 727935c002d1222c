//! Text as Go's encoder writes it, where bytes are compared.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// Escapes what Go's encoder escapes beyond JSON: `<`, `>`, `&`, U+2028 and U+2029.
///
/// The data of a ControllerRevision is compared byte by byte: by upstream's controller, which would
/// otherwise make a new revision each time, and by kubectl's `rollout undo`.
#[derive(Debug, Clone, Copy, Default)]
pub struct GoText;

impl Formatter for GoText {
    fn write_string_fragment<W: Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        // Most texts have none; 0xe2 begins the two separators.
        if !fragment.bytes().any(|byte| matches!(byte, b'<' | b'>' | b'&' | 0xe2)) {
            return writer.write_all(fragment.as_bytes());
        }
        let special = ['<', '>', '&', '\u{2028}', '\u{2029}'];
        let mut rest = fragment;
        while let Some(at) = rest.find(special) {
            writer.write_all(&rest.as_bytes()[..at])?;
            let mut after = rest[at..].chars();
            if let Some(escaped) = after.next() {
                write!(writer, "\\u{:04x}", u32::from(escaped))?;
            }
            rest = after.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

/// JSON with Go's escapes: what a server stores of it byte by byte is what Go's clients would have sent.
///
/// # Errors
///
/// serde's, of values that have no JSON.
pub(crate) fn to_vec(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut bytes, GoText))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Source: Go `encoding/json`, `Marshal` with HTML escaping.
    #[test]
    fn keys_are_sorted_and_what_html_knows_is_escaped() {
        let value =
            json!({"z": "a<b>c & d\u{2028}\u{2029} \u{2030}", "<k>": ["\"", "\n", 1.5, null]});
        let text = String::from_utf8(to_vec(&value).unwrap()).unwrap();
        let wanted = r#"{"\u003ck\u003e":["\"","\n",1.5,null],"z":"a\u003cb\u003ec \u0026 d\u2028\u2029 ‰"}"#;
        assert_eq!(text, wanted);
    }
}
