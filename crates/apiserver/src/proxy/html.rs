//! Links of pages that come through a proxy: those to the page's own host go through it as well.
//!
//! Only the values of the attributes that bear URLs are touched; every other byte stays.
//!
//! Source: kubernetes v1.36 `apimachinery/pkg/util/proxy/transport.go` (which attributes, which URLs).

/// Attributes that bear URLs, by tag.
const LINKS: [(&str, &[&str]); 25] = [
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "usemap", "formaction"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("video", &["poster", "src"]),
];

/// Tags whose content is text up to their own end tag.
const RAW: [&str; 8] =
    ["iframe", "noembed", "noframes", "script", "style", "textarea", "title", "xmp"];

/// Where a page came from, and the path that leads there.
#[derive(Debug, Clone)]
pub(super) struct Page {
    /// `10.244.0.5:8080`: what was dialled.
    pub(super) host: String,
    /// The `Host` that the client sent.
    pub(super) asked: String,
    /// `/api/v1/namespaces/default/pods/web-0/proxy`.
    pub(super) prefix: String,
}

impl Page {
    /// The URL through the proxy; `None` where it stays as it is.
    pub(super) fn link(&self, url: &str) -> Option<String> {
        let (scheme, rest) = split_scheme(url);
        let (host, rest) = match rest.strip_prefix("//") {
            Some(rest) => rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len())),
            None => ("", rest),
        };
        let foreign = !host.is_empty() && host != self.host && host != self.asked;
        // A scheme without a host is no address on this page (`mailto:`).
        let opaque = host.is_empty() && !scheme.is_empty();
        if foreign || opaque || !rest.starts_with('/') {
            return None;
        }
        let front = match host {
            "" => String::new(),
            host if host == self.asked && scheme.is_empty() => format!("//{host}"),
            host if host == self.asked => format!("{scheme}://{host}"),
            _ => String::new(),
        };
        let prefix = if rest.starts_with(&self.prefix) { "" } else { &self.prefix };
        Some(format!("{front}{prefix}{rest}"))
    }

    /// The page with its links rewritten.
    pub(super) fn rewrite(&self, html: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(html.len() + html.len() / 8);
        let (mut at, mut copied) = (0, 0);
        while let Some(found) = find(html, at, b"<") {
            let rest = &html[found..];
            if rest.starts_with(b"<!--") {
                at = find(html, found + 4, b"-->").map_or(html.len(), |end| end + 3);
                continue;
            }
            let name = word(rest, 1);
            if !name.first().is_some_and(u8::is_ascii_alphabetic) {
                at = found + 1;
                continue;
            }
            at = found + 1 + name.len();
            let name = String::from_utf8_lossy(name).to_ascii_lowercase();
            let links = LINKS.iter().find(|(tag, _)| *tag == name);
            let links = links.map(|(_, links)| *links).unwrap_or_default();
            while let Some(attribute) = next_attribute(html, &mut at) {
                let Some(value) = attribute.value else { continue };
                let known =
                    links.iter().any(|link| attribute.name.eq_ignore_ascii_case(link.as_bytes()));
                let text = std::str::from_utf8(&html[value.clone()]).ok();
                if known && let Some(new) = text.and_then(|text| self.link(text)) {
                    out.extend_from_slice(&html[copied..value.start]);
                    out.extend_from_slice(new.as_bytes());
                    copied = value.end;
                }
            }
            if RAW.contains(&name.as_str()) {
                at = end_of_raw(html, at, &name);
            }
        }
        out.extend_from_slice(&html[copied..]);
        out
    }
}

fn split_scheme(url: &str) -> (&str, &str) {
    let is_scheme = |text: &str| {
        text.starts_with(|first: char| first.is_ascii_alphabetic())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    };
    match url.split_once(':') {
        Some((scheme, rest)) if is_scheme(scheme) => (scheme, rest),
        _ => ("", url),
    }
}

struct Attribute<'a> {
    name: &'a [u8],
    value: Option<std::ops::Range<usize>>,
}

/// The next attribute of a tag; at its end `None`, and `at` behind it.
fn next_attribute<'a>(html: &'a [u8], at: &mut usize) -> Option<Attribute<'a>> {
    while html.get(*at).is_some_and(|byte| byte.is_ascii_whitespace() || *byte == b'/') {
        *at += 1;
    }
    match html.get(*at) {
        None => return None,
        Some(b'>') => {
            *at += 1;
            return None;
        }
        Some(_) => {}
    }
    let start = *at;
    // An equals sign in front belongs to the name, so that each turn moves on.
    *at += 1;
    let rest = word(html, *at);
    *at += rest.iter().take_while(|byte| **byte != b'=').count();
    let name = &html[start..*at];
    let mut ahead = *at;
    skip_space(html, &mut ahead);
    if html.get(ahead) != Some(&b'=') {
        return Some(Attribute { name, value: None });
    }
    ahead += 1;
    skip_space(html, &mut ahead);
    let value = match html.get(ahead) {
        Some(quote @ (b'"' | b'\'')) => {
            let end = find(html, ahead + 1, &[*quote]).unwrap_or(html.len());
            *at = (end + 1).min(html.len());
            ahead + 1..end
        }
        _ => {
            let ends = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'>';
            let length = html[ahead.min(html.len())..].iter().position(ends);
            *at = length.map_or(html.len(), |length| ahead + length);
            ahead.min(*at)..*at
        }
    };
    Some(Attribute { name, value: Some(value) })
}

fn skip_space(html: &[u8], at: &mut usize) {
    while html.get(*at).is_some_and(u8::is_ascii_whitespace) {
        *at += 1;
    }
}

/// The bytes from here to whitespace, a slash or the tag's end.
fn word(html: &[u8], at: usize) -> &[u8] {
    let rest = html.get(at..).unwrap_or_default();
    let ends = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'/' | b'>');
    &rest[..rest.iter().position(ends).unwrap_or(rest.len())]
}

fn find(html: &[u8], from: usize, what: &[u8]) -> Option<usize> {
    let rest = html.get(from..)?;
    rest.windows(what.len()).position(|window| window == what).map(|place| from + place)
}

fn end_of_raw(html: &[u8], from: usize, name: &str) -> usize {
    let mut at = from;
    while let Some(found) = find(html, at, b"</") {
        let tag = html.get(found + 2..found + 2 + name.len()).unwrap_or_default();
        if tag.eq_ignore_ascii_case(name.as_bytes()) {
            return found;
        }
        at = found + 2;
    }
    html.len()
}
