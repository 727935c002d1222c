//! The query string, as Go's servers read it.

/// The decoded pairs of a query string, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads `a=b&c=d`.
    pub(crate) fn parse(query: &str) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode_form(key), decode_form(value))
        });
        Self(pairs.collect())
    }

    /// The first value of this parameter, empty ones as none.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.given(key).filter(|value| !value.is_empty())
    }

    /// The first value of this parameter, even an empty one.
    pub(crate) fn given(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| found == key).map(|(_, value)| value.as_str())
    }

    /// Every value of this parameter.
    pub(crate) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(found, _)| found == key).map(|(_, value)| value.as_str())
    }

    /// Whether a switch is on: present, and neither `0` nor `false`.
    pub(crate) fn flag(&self, key: &str) -> bool {
        self.switch(key).unwrap_or(false)
    }

    /// A switch that may be absent.
    pub(crate) fn switch(&self, key: &str) -> Option<bool> {
        self.given(key).map(|value| !(value == "0" || value.eq_ignore_ascii_case("false")))
    }

    /// Adds `metadata.name=NAME` to the field selector.
    pub(crate) fn select_name(&mut self, name: &str) {
        let selector = match self.get("fieldSelector") {
            Some(selector) => format!("{selector},metadata.name={name}"),
            None => format!("metadata.name={name}"),
        };
        self.0.retain(|(key, _)| key != "fieldSelector");
        self.0.push(("fieldSelector".to_owned(), selector));
    }

    /// The name that a field selector `metadata.name=NAME` pins, if it does.
    pub(crate) fn selected_name(&self) -> Option<String> {
        let selector = self.get("fieldSelector")?;
        let mut terms = selector.split(',');
        let name = terms.find_map(|term| {
            let rest = term.strip_prefix("metadata.name=")?;
            Some(rest.strip_prefix('=').unwrap_or(rest).to_owned())
        });
        name.filter(|name| !name.is_empty())
    }
}

/// Undoes `%XX`; what is no valid escape stays as it is.
pub(crate) fn decode_percent(text: &str) -> String {
    decode(text, false)
}

fn decode_form(text: &str) -> String {
    decode(text, true)
}

fn decode(text: &str, plus_is_space: bool) -> String {
    if !text.contains(['%', '+']) {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[at], escaped) {
            (_, Some(byte)) => {
                out.push(byte);
                at += 3;
                continue;
            }
            (b'+', None) if plus_is_space => out.push(b' '),
            (byte, None) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}
