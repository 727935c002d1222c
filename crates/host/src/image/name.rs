//! Names of images: what people write, made whole.
//!
//! `redis:7.0` means `docker.io/library/redis:7.0`; no tag and no digest means `:latest`. Texts of
//! refusals are those of the reference grammar that every runtime shares, since events quote them.

use std::fmt;

use crate::runtime::ImageError;

/// Registry that a name without one means.
const DEFAULT_REGISTRY: &str = "docker.io";
/// Longest repository with its registry, by the reference grammar.
const NAME_LENGTH_MAX: usize = 255;
/// Longest tag, by the reference grammar.
const TAG_LENGTH_MAX: usize = 128;

/// A complete image name. Its `Display` is the normalised text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// Host, perhaps with a port: `docker.io`, `localhost:5000`.
    pub registry: String,
    /// Path within the registry: `library/nginx`.
    pub repository: String,
    /// Tag; `latest` where neither tag nor digest was given.
    pub tag: Option<String>,
    /// `sha256:…`, which wins over the tag.
    pub digest: Option<String>,
}

impl Name {
    /// Parses what a pod, a person or an archive wrote.
    ///
    /// # Errors
    /// [`ImageError::Name`] with the reference grammar's own wording.
    pub fn parse(reference: &str) -> Result<Self, ImageError> {
        parse(reference).map_err(|why| ImageError::Name { reference: reference.to_owned(), why })
    }

    /// `docker.io/library/nginx`: neither tag nor digest.
    #[must_use]
    pub fn familiar(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// Whether the registry is this machine's own loopback, where plain HTTP is allowed.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let host = if let Some(rest) = self.registry.strip_prefix('[') {
            rest.split(']').next().unwrap_or("")
        } else {
            self.registry.split(':').next().unwrap_or("")
        };
        host == "localhost"
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

fn parse(reference: &str) -> Result<Name, String> {
    let invalid = || "invalid reference format".to_owned();
    if reference.len() == 64 && reference.bytes().all(is_lower_hex) {
        return Err(format!(
            "invalid repository name ({reference}), cannot specify 64-byte hexadecimal strings"
        ));
    }
    let (registry, remainder) = split_registry(reference);
    let (named, digest) = match remainder.split_once('@') {
        Some((named, digest)) => (named, Some(digest)),
        None => (remainder.as_str(), None),
    };
    let (repository, tag) = match named.split_once(':') {
        Some((repository, tag)) => (repository, Some(tag)),
        None => (named, None),
    };
    if repository.chars().any(char::is_uppercase) {
        return Err(format!(
            "invalid reference format: repository name ({repository}) must be lowercase"
        ));
    }
    if !is_registry(&registry) || repository.split('/').any(|part| !is_path_component(part)) {
        return Err(invalid());
    }
    if tag.is_some_and(|tag| !is_tag(tag)) || digest.is_some_and(|digest| !is_digest(digest)) {
        return Err(invalid());
    }
    if registry.len() + 1 + repository.len() > NAME_LENGTH_MAX {
        return Err(format!("repository name must not be more than {NAME_LENGTH_MAX} characters"));
    }
    let tag = match (tag, digest) {
        (None, None) => Some("latest".to_owned()),
        (tag, _) => tag.map(str::to_owned),
    };
    Ok(Name { registry, repository: repository.to_owned(), tag, digest: digest.map(str::to_owned) })
}

/// The registry is what stands before the first slash, if it looks like a host.
fn split_registry(reference: &str) -> (String, String) {
    let (registry, remainder) = match reference.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.chars().any(char::is_uppercase) =>
        {
            (first, rest)
        }
        _ => (DEFAULT_REGISTRY, reference),
    };
    let registry = if registry == "index.docker.io" { DEFAULT_REGISTRY } else { registry };
    if registry == DEFAULT_REGISTRY && !remainder.contains('/') {
        return (registry.to_owned(), format!("library/{remainder}"));
    }
    (registry.to_owned(), remainder.to_owned())
}

fn is_registry(registry: &str) -> bool {
    let (host, port) = match registry.rfind(':') {
        Some(colon) if !registry.ends_with(']') => {
            (&registry[..colon], Some(&registry[colon + 1..]))
        }
        _ => (registry, None),
    };
    if port.is_some_and(|port| port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit())) {
        return false;
    }
    if let Some(inside) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inside.parse::<std::net::Ipv6Addr>().is_ok();
    }
    host.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    })
}

/// Runs of lower-case letters and digits, joined by `.`, `_`, `__` or any number of `-`.
fn is_path_component(part: &str) -> bool {
    let bytes = part.as_bytes();
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else { return false };
    if !is_word(first) || !is_word(last) {
        return false;
    }
    bytes.split(|&b| is_word(b)).all(|joint| match joint {
        [] | b"." | b"_" | b"__" => true,
        dashes => dashes.iter().all(|&b| b == b'-'),
    })
}

fn is_tag(tag: &str) -> bool {
    let bytes = tag.as_bytes();
    bytes.len() <= TAG_LENGTH_MAX
        && bytes.first().is_some_and(|&b| b.is_ascii_alphanumeric() || b == b'_')
        && bytes.iter().all(|&b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// `sha256:` and 64 lower-case hexadecimal digits, the one algorithm in use.
pub(super) fn is_digest(digest: &str) -> bool {
    digest
        .strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(is_lower_hex))
}

fn is_lower_hex(b: u8) -> bool {
    b.is_ascii_digit() || (b'a'..=b'f').contains(&b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(reference: &str, wanted: &str) {
        let found = match Name::parse(reference) {
            Ok(name) => name.to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, wanted);
    }

    #[test]
    fn names_are_made_whole() {
        check("nginx", "docker.io/library/nginx:latest");
        check("redis:7.0", "docker.io/library/redis:7.0");
        check("luksa/kubia-pet", "docker.io/luksa/kubia-pet:latest");
        check("docker.io/nginx:1", "docker.io/library/nginx:1");
        check("index.docker.io/nginx:1", "docker.io/library/nginx:1");
        check("registry.k8s.io/a/b_c__d/e--f:v1.0", "registry.k8s.io/a/b_c__d/e--f:v1.0");
        check("localhost/x", "localhost/x:latest");
        check("localhost:5000/x:y", "localhost:5000/x:y");
        check("[::1]:5000/x:y", "[::1]:5000/x:y");
        let digest = format!("sha256:{}", "a".repeat(64));
        check(&format!("nginx@{digest}"), &format!("docker.io/library/nginx@{digest}"));
        check(&format!("nginx:1@{digest}"), &format!("docker.io/library/nginx:1@{digest}"));
    }

    #[test]
    fn refusals_are_worded_as_upstreams() {
        check("", "couldn't parse image name \"\": invalid reference format");
        check("a b", "couldn't parse image name \"a b\": invalid reference format");
        check("nginx:", "couldn't parse image name \"nginx:\": invalid reference format");
        check("a/", "couldn't parse image name \"a/\": invalid reference format");
        check("a//b", "couldn't parse image name \"a//b\": invalid reference format");
        check("../x", "couldn't parse image name \"../x\": invalid reference format");
        check("x@sha256:12", "couldn't parse image name \"x@sha256:12\": invalid reference format");
        check(
            "Nginx:1",
            "couldn't parse image name \"Nginx:1\": invalid reference format: \
             repository name (library/Nginx) must be lowercase",
        );
        let long = "a".repeat(250);
        check(
            &long,
            &format!(
                "couldn't parse image name \"{long}\": repository name must not be more than 255 \
                 characters"
            ),
        );
    }

    #[test]
    fn only_loopback_is_loopback() {
        for (reference, wanted) in [
            ("localhost:5000/x", true),
            ("127.0.0.2:5000/x", true),
            ("[::1]:5000/x", true),
            ("10.0.0.1:5000/x", false),
            ("localhost.example.com/x", false),
            ("x", false),
        ] {
            assert_eq!(Name::parse(reference).unwrap().is_loopback(), wanted, "{reference}");
        }
    }
}
