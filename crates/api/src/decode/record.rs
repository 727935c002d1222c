//! A parser's events as a JSON value, noting fields that come twice.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value, error::Category};

use super::{Body, ParseError, STRICT_FINDINGS_MAX};

pub(super) fn json(bytes: &[u8]) -> Result<Body, ParseError> {
    let mut notes = Notes::default();
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    let value = Recorder { notes: &mut notes }.deserialize(&mut parser);
    let value = value.and_then(|value| parser.end().map(|()| value));
    match value {
        Ok(value) => Ok(Body { value, duplicates: notes.duplicates }),
        Err(why) => Err(ParseError::Json(as_go(&why, bytes))),
    }
}

pub(super) fn yaml(bytes: &[u8]) -> Result<Body, ParseError> {
    let text = str::from_utf8(bytes)
        .map_err(|_| ParseError::Yaml("invalid leading UTF-8 octet".to_owned()))?;
    let mut notes = Notes::default();
    let last_wins = serde_saphyr::options! {
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins,
    };
    let value = serde_saphyr::with_deserializer_from_str_with_options(text, last_wins, |parser| {
        Recorder { notes: &mut notes }.deserialize(parser)
    });
    let value = value.map_err(|why| ParseError::Yaml(located(&why)))?;
    if let Some(name) = notes.last_key(0) {
        // Upstream's YAML reader reports lines, not paths; a second reading finds the first.
        let line = first_duplicate_line(text).unwrap_or(1);
        let found =
            format!("yaml: unmarshal errors:\n  line {line}: key {name:?} already set in map");
        notes.duplicates = vec![found];
    }
    Ok(Body { value, duplicates: notes.duplicates })
}

fn first_duplicate_line(text: &str) -> Option<u64> {
    let first: Result<serde::de::IgnoredAny, _> = serde_saphyr::from_str(text);
    let location = first.err()?.location()?;
    Some(location.line())
}

fn located(why: &serde_saphyr::Error) -> String {
    let text = why.without_snippet().to_string();
    let text = text.lines().next().unwrap_or_default().to_owned();
    match why.location() {
        Some(location) => format!("line {}: {text}", location.line()),
        None => text,
    }
}

#[derive(Default)]
struct Notes {
    path: String,
    duplicates: Vec<String>,
    keys: Vec<String>,
}

impl Notes {
    fn duplicate(&mut self, key: &str) {
        if self.duplicates.len() < STRICT_FINDINGS_MAX {
            let dot = if self.path.is_empty() { "" } else { "." };
            self.duplicates.push(format!("duplicate field \"{}{dot}{key}\"", self.path));
            self.keys.push(key.to_owned());
        }
    }

    fn last_key(&self, at: usize) -> Option<&str> {
        self.keys.get(at).map(String::as_str)
    }
}

struct Recorder<'n> {
    notes: &'n mut Notes,
}

impl<'de> DeserializeSeed<'de> for Recorder<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Recorder<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        let length = self.notes.path.len();
        loop {
            fmt::Write::write_fmt(&mut self.notes.path, format_args!("[{}]", list.len()))
                .map_err(A::Error::custom)?;
            let item = items.next_element_seed(Recorder { notes: self.notes })?;
            self.notes.path.truncate(length);
            match item {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        let length = self.notes.path.len();
        while let Some(key) = entries.next_key::<String>()? {
            if map.contains_key(&key) {
                self.notes.duplicate(&key);
            }
            if length > 0 {
                self.notes.path.push('.');
            }
            self.notes.path.push_str(&key);
            let value = entries.next_value_seed(Recorder { notes: self.notes })?;
            self.notes.path.truncate(length);
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// serde_json's complaint as Go's parser would word it.
fn as_go(why: &serde_json::Error, bytes: &[u8]) -> String {
    if why.classify() == Category::Eof {
        return "unexpected end of JSON input".to_owned();
    }
    let text = why.to_string();
    let looking = [
        ("expected value", "looking for beginning of value"),
        ("expected ident", "in literal"),
        ("key must be a string", "looking for beginning of object key string"),
        ("trailing comma", "looking for beginning of value"),
        ("expected `,` or `}`", "after object key:value pair"),
        ("expected `,` or `]`", "after array element"),
        ("expected `:`", "after object key"),
        ("trailing characters", "after top-level value"),
        ("control character", "in string literal"),
        ("invalid escape", "in string escape code"),
        ("invalid number", "in numeric literal"),
    ];
    let Some((_, place)) = looking.iter().find(|(serde, _)| text.starts_with(serde)) else {
        return text;
    };
    let line = bytes.split(|byte| *byte == b'\n').nth(why.line().saturating_sub(1));
    let byte = line.and_then(|line| line.get(why.column().saturating_sub(1))).copied();
    match byte.map(char::from) {
        Some('\'') => format!("invalid character '\\'' {place}"),
        Some(letter) => format!("invalid character {letter:?} {place}"),
        None => format!("invalid character '\\n' {place}"),
    }
}
