//! The shapes that names, labels, keys and ports must have, with upstream's sentences.
//!
//! Each function answers with what is wrong, one sentence a fault, none when the text is fine.
//! Source: apimachinery v1.36 `pkg/util/validation/validation.go` and `pkg/api/validate/content`.

/// What is wrong with a text; empty (and without an allocation) when nothing is.
pub type Faults = Vec<String>;

/// Longest DNS label, and label key or value.
pub const LABEL_MAX_BYTES: usize = 63;

/// Longest DNS subdomain.
pub const SUBDOMAIN_MAX_BYTES: usize = 253;

/// All annotations of an object together, keys and values.
pub const ANNOTATIONS_MAX_BYTES: usize = 256 * 1024;

/// Where the base of a generated name is cut, so that name and suffix fit a DNS label.
const GENERATED_BASE_MAX_BYTES: usize = 58;

const GENERATED_SUFFIX_BYTES: usize = 5;

/// The letters of generated suffixes: no vowels, no look-alikes.
const GENERATED_ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const SUBDOMAIN_WITH_UNDERSCORE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const HTTP_HEADER: &str = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')";
const PERCENT: &str = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";

/// `must be no more than N bytes`
#[must_use]
pub fn too_long(max_bytes: usize) -> String {
    format!("must be no more than {max_bytes} bytes")
}

/// `must be between LOW and HIGH, inclusive`
#[must_use]
pub fn out_of_range(low: i64, high: i64) -> String {
    format!("must be between {low} and {high}, inclusive")
}

/// A DNS label of RFC 1123: `my-name`, `123-abc`.
#[must_use]
pub fn dns_label(text: &str) -> Faults {
    let mut faults = limited(text, LABEL_MAX_BYTES);
    if !is_label(text) {
        let dots = is_subdomain(text, false);
        faults.push(if dots { "must not contain dots" } else { LABEL }.to_owned());
    }
    faults
}

/// A DNS subdomain of RFC 1123: `example.com`.
#[must_use]
pub fn dns_subdomain(text: &str) -> Faults {
    let mut faults = limited(text, SUBDOMAIN_MAX_BYTES);
    if !is_subdomain(text, false) {
        faults.push(SUBDOMAIN.to_owned());
    }
    faults
}

/// A DNS subdomain that may have underscores, as search paths have.
#[must_use]
pub fn dns_subdomain_with_underscore(text: &str) -> Faults {
    let mut faults = limited(text, SUBDOMAIN_MAX_BYTES);
    if !is_subdomain(text, true) {
        faults.push(SUBDOMAIN_WITH_UNDERSCORE.to_owned());
    }
    faults
}

/// A DNS label of RFC 1035, which starts with a letter: names of Services.
#[must_use]
pub fn dns_1035_label(text: &str) -> Faults {
    let mut faults = limited(text, LABEL_MAX_BYTES);
    if !(is_label(text) && text.as_bytes()[0].is_ascii_lowercase()) {
        faults.push(LABEL_1035.to_owned());
    }
    faults
}

/// `name` or `prefix/name`: keys of labels, names of finalizers and resources.
#[must_use]
pub fn qualified_name(text: &str) -> Faults {
    let mut faults = Faults::new();
    let mut parts = text.split('/');
    let (first, second, third) = (parts.next().unwrap_or(""), parts.next(), parts.next());
    let name = match (second, third) {
        (None, _) => first,
        (Some(name), None) => {
            if first.is_empty() {
                faults.push("prefix part must be non-empty".to_owned());
            } else {
                faults.extend(dns_subdomain(first).iter().map(|why| format!("prefix part {why}")));
            }
            name
        }
        (Some(_), Some(_)) => {
            let tail = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            faults.push(format!("a qualified name {QUALIFIED} {tail}"));
            return faults;
        }
    };
    if name.is_empty() {
        faults.push("name part must be non-empty".to_owned());
    } else if name.len() > LABEL_MAX_BYTES {
        faults.push(format!("name part {}", too_long(LABEL_MAX_BYTES)));
    }
    if !is_bracketed(name) {
        faults.push(format!("name part {QUALIFIED}"));
    }
    faults
}

/// The value of a label; may be empty.
#[must_use]
pub fn label_value(text: &str) -> Faults {
    let mut faults = limited(text, LABEL_MAX_BYTES);
    if !text.is_empty() && !is_bracketed(text) {
        faults.push(LABEL_VALUE.to_owned());
    }
    faults
}

/// The name of a port (`IANA_SVC_NAME`): `http`, `metrics-2`.
#[must_use]
pub fn port_name(text: &str) -> Faults {
    let mut faults = limited(text, 15);
    let bytes = text.as_bytes();
    let known = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
    if bytes.is_empty() || !bytes.iter().all(known) {
        let why = "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)";
        faults.push(why.to_owned());
    }
    if !bytes.iter().any(u8::is_ascii_lowercase) {
        faults.push("must contain at least one letter (a-z)".to_owned());
    }
    if text.contains("--") {
        faults.push("must not contain consecutive hyphens".to_owned());
    }
    if text.starts_with('-') || text.ends_with('-') {
        faults.push("must not begin or end with a hyphen".to_owned());
    }
    faults
}

/// A port number, 1 to 65535.
#[must_use]
pub fn port_number(port: i32) -> Faults {
    if (1..=65535).contains(&port) { Faults::new() } else { vec![out_of_range(1, 65535)] }
}

/// A user or group id, 0 to 2³²-1.
#[must_use]
pub fn user_id(id: i64) -> Faults {
    let max = i64::from(u32::MAX);
    if (0..=max).contains(&id) { Faults::new() } else { vec![out_of_range(0, max)] }
}

/// A name that is one segment of a URL's path: names of roles.
#[must_use]
pub fn path_segment(text: &str) -> Faults {
    if text == "." || text == ".." {
        return vec![format!("may not be '{text}'")];
    }
    let bad = ["/", "%"].into_iter().filter(|bad| text.contains(bad));
    bad.map(|bad| format!("may not contain '{bad}'")).collect()
}

/// The start of a name that is one segment of a URL's path.
#[must_use]
pub fn path_segment_prefix(text: &str) -> Faults {
    let bad = ["/", "%"].into_iter().filter(|bad| text.contains(bad));
    bad.map(|bad| format!("may not contain '{bad}'")).collect()
}

/// A key of a ConfigMap or Secret: a file name.
#[must_use]
pub fn config_key(text: &str) -> Faults {
    let mut faults = limited(text, SUBDOMAIN_MAX_BYTES);
    let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if text.is_empty() || !text.bytes().all(known) {
        faults.push(CONFIG_KEY.to_owned());
    }
    match text {
        "." => faults.push("must not be '.'".to_owned()),
        ".." => faults.push("must not be '..'".to_owned()),
        _ if text.starts_with("..") => faults.push("must not start with '..'".to_owned()),
        _ => {}
    }
    faults
}

/// The name of an environment variable: printable ASCII without `=`.
#[must_use]
pub fn env_name(text: &str) -> Faults {
    if text.is_empty() {
        return vec!["environment variable name must be non-empty".to_owned()];
    }
    if text.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=') {
        return Faults::new();
    }
    let why = "a valid environment variable name must consist only of printable ASCII characters \
               other than '='";
    vec![why.to_owned()]
}

/// The name of an HTTP header.
#[must_use]
pub fn http_header_name(text: &str) -> Faults {
    let fine = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if fine { Faults::new() } else { vec![HTTP_HEADER.to_owned()] }
}

/// `93%`
#[must_use]
pub fn percent(text: &str) -> Faults {
    let digits = text.strip_suffix('%').unwrap_or("");
    let fine = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if fine { Faults::new() } else { vec![PERCENT.to_owned()] }
}

/// The name that `generateName` gets: its base cut at 58 bytes and 5 letters from `random`.
///
/// At most 63 bytes, as long as the base was; every byte of `random` chooses one letter.
/// Source: apiserver v1.36 `pkg/storage/names/generate.go`.
#[must_use]
pub fn generated(base: &str, random: [u8; GENERATED_SUFFIX_BYTES]) -> String {
    let mut end = base.len().min(GENERATED_BASE_MAX_BYTES);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    let mut name = String::with_capacity(end + GENERATED_SUFFIX_BYTES);
    name.push_str(&base[..end]);
    let letters = random.map(|byte| GENERATED_ALPHABET[usize::from(byte) % 27]);
    name.extend(letters.map(char::from));
    name
}

/// A prefix with its trailing dash made fit for the rule of whole names.
///
/// `web-` becomes `weba`: dashes may end what will be continued.
#[must_use]
pub fn unprefixed(prefix: &str) -> std::borrow::Cow<'_, str> {
    match prefix.strip_suffix('-') {
        Some(head) => format!("{head}a").into(),
        None => prefix.into(),
    }
}

fn limited(text: &str, max_bytes: usize) -> Faults {
    if text.len() > max_bytes { vec![too_long(max_bytes)] } else { Faults::new() }
}

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let edge = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let inner = |b: &u8| edge(b) || *b == b'-';
    bytes.first().is_some_and(edge) && bytes.last().is_some_and(edge) && bytes.iter().all(inner)
}

fn is_subdomain(text: &str, underscore: bool) -> bool {
    text.split('.').all(|label| {
        if !underscore {
            return is_label(label);
        }
        let label = label.strip_prefix('_').unwrap_or(label).as_bytes();
        let edge = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let inner = |b: &u8| edge(b) || matches!(b, b'-' | b'_');
        label.first().is_some_and(edge) && label.last().is_some_and(edge) && label.iter().all(inner)
    })
}

/// Alphanumeric at both ends, with `-`, `_` and `.` between.
fn is_bracketed(text: &str) -> bool {
    let bytes = text.as_bytes();
    let inner = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: fn(&str) -> Faults, text: &str, wanted: &[&str]) {
        assert_eq!(rule(text), wanted, "{text:?}");
    }

    #[test]
    fn labels() {
        let long = "a".repeat(64);
        let too_long = "must be no more than 63 bytes";
        for text in ["a", "0", "a-b", "123-abc", &"a".repeat(63)] {
            check(dns_label, text, &[]);
        }
        check(dns_label, &long, &[too_long]);
        check(dns_label, "a.b", &["must not contain dots"]);
        for text in ["", "-a", "a-", "A", "a_b", "ä", "a..b"] {
            check(dns_label, text, &[LABEL]);
        }
        check(dns_1035_label, "abc-123", &[]);
        check(dns_1035_label, "1a", &[LABEL_1035]);
        check(dns_1035_label, "", &[LABEL_1035]);
    }

    #[test]
    fn subdomains() {
        for text in ["a", "example.com", "0.1", "a-b.c"] {
            check(dns_subdomain, text, &[]);
        }
        for text in ["", ".", "a.", ".a", "a..b", "a_b", "A.b"] {
            check(dns_subdomain, text, &[SUBDOMAIN]);
        }
        check(dns_subdomain, &"a".repeat(254), &["must be no more than 253 bytes"]);
        check(dns_subdomain_with_underscore, "_dns.a_b.c", &[]);
        check(dns_subdomain_with_underscore, "a_.b", &[SUBDOMAIN_WITH_UNDERSCORE]);
    }

    #[test]
    fn qualified_names_and_values() {
        for text in ["a", "MyName", "example.com/My_name.1", "0/0"] {
            check(qualified_name, text, &[]);
        }
        check(qualified_name, "/a", &["prefix part must be non-empty"]);
        let name = format!("name part {QUALIFIED}");
        check(qualified_name, "a/", &["name part must be non-empty", &name]);
        check(qualified_name, "a b", &[&name]);
        check(qualified_name, "A/b", &[&format!("prefix part {SUBDOMAIN}")]);
        let long = "a".repeat(64);
        check(qualified_name, &long, &["name part must be no more than 63 bytes"]);
        assert!(qualified_name("a/b/c")[0].starts_with("a qualified name must consist of"));
        check(label_value, "", &[]);
        check(label_value, "-", &[LABEL_VALUE]);
        check(label_value, &long, &["must be no more than 63 bytes"]);
    }

    #[test]
    fn ports_keys_and_segments() {
        check(port_name, "http-2", &[]);
        check(
            port_name,
            "-8--0-",
            &[
                "must contain at least one letter (a-z)",
                "must not contain consecutive hyphens",
                "must not begin or end with a hyphen",
            ],
        );
        check(
            port_name,
            "sixteen-letters-",
            &["must be no more than 15 bytes", "must not begin or end with a hyphen"],
        );
        check(config_key, "a.b-c_D", &[]);
        check(config_key, "..", &["must not be '..'"]);
        check(config_key, "..a", &["must not start with '..'"]);
        check(config_key, "a b", &[CONFIG_KEY]);
        check(path_segment, "system:a", &[]);
        check(path_segment, "..", &["may not be '..'"]);
        check(path_segment, "a/b%", &["may not contain '/'", "may not contain '%'"]);
        check(env_name, "1 a.b", &[]);
        check(env_name, "", &["environment variable name must be non-empty"]);
        check(percent, "93%", &[]);
        check(percent, "%", &[PERCENT]);
    }

    #[test]
    fn generated_names_have_63_bytes_at_most() {
        assert_eq!(generated("web-", [0, 1, 26, 27, 255]), "web-bc9bq");
        let name = generated(&"x".repeat(80), [0; 5]);
        assert_eq!((name.len(), &name[56..]), (63, "xxbbbbb"));
        assert_eq!(unprefixed("web-"), "weba");
    }
}
