//! Which registry login fits an image: the rules of `imagePullSecrets`.
//!
//! A key of the docker config's `auths` is a host, perhaps with a scheme, a port, `*` within parts
//! of the host, and a path that the image's must begin with. Longer keys go first.

use super::Name;
use crate::runtime::Credential;

/// The logins that fit, the most exact first.
pub(super) fn matching<'a>(credentials: &'a [Credential], name: &Name) -> Vec<&'a Credential> {
    let mut fitting: Vec<&Credential> =
        credentials.iter().filter(|credential| fits(&credential.registry, name)).collect();
    fitting.sort_by_key(|credential| std::cmp::Reverse(credential.registry.len()));
    fitting
}

fn fits(key: &str, name: &Name) -> bool {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let (host, path) = key.split_once('/').unwrap_or((key, ""));
    // `https://index.docker.io/v1/`: the path is the API's, not the image's.
    let path = path.trim_end_matches('/');
    let path = if matches!(path, "v1" | "v2") { "" } else { path };
    if is_docker_hub(host) {
        return is_docker_hub(&name.registry) && begins_with(&name.repository, path);
    }
    let (host, port) = host.split_once(':').map_or((host, None), |(host, port)| (host, Some(port)));
    let (own_host, own_port) = name
        .registry
        .split_once(':')
        .map_or((name.registry.as_str(), None), |(host, port)| (host, Some(port)));
    port == own_port && host_fits(host, own_host) && begins_with(&name.repository, path)
}

fn is_docker_hub(host: &str) -> bool {
    matches!(host, "docker.io" | "index.docker.io" | "registry-1.docker.io")
}

/// Whether the path is the repository's, or a folder above it.
fn begins_with(repository: &str, path: &str) -> bool {
    path.is_empty()
        || repository
            .strip_prefix(path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// As many parts, each alike; `*` stands for any letters within one part.
fn host_fits(pattern: &str, host: &str) -> bool {
    let (patterns, parts): (Vec<_>, Vec<_>) =
        (pattern.split('.').collect(), host.split('.').collect());
    patterns.len() == parts.len()
        && patterns.iter().zip(parts).all(|(pattern, part)| part_fits(pattern, part))
}

fn part_fits(pattern: &str, part: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == part };
    let Some(mut left) = part.strip_prefix(start) else { return false };
    let mut pieces: Vec<&str> = rest.split('*').collect();
    let end = pieces.pop().unwrap_or("");
    for piece in pieces {
        match left.find(piece) {
            Some(at) => left = &left[at + piece.len()..],
            None => return false,
        }
    }
    left.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_docker_configs() {
        for (key, image, wanted) in [
            ("https://index.docker.io/v1/", "nginx", true),
            ("docker.io", "a/b", true),
            ("docker.io/a", "a/b", true),
            ("docker.io/a", "ab/b", false),
            ("r.example.com", "r.example.com/x", true),
            ("https://r.example.com/v2/", "r.example.com/x", true),
            ("r.example.com", "r.example.com:5000/x", false),
            ("r.example.com:5000", "r.example.com:5000/x", true),
            ("r.example.com/team", "r.example.com/team/x", true),
            ("r.example.com/team", "r.example.com/other/x", false),
            ("*.example.com", "r.example.com/x", true),
            ("*.example.com", "a.r.example.com/x", false),
            ("r*y.example.com", "registry.example.com/x", true),
            ("r*z.example.com", "registry.example.com/x", false),
            ("r.example.com", "nginx", false),
            ("", "nginx", false),
        ] {
            let name = Name::parse(image).unwrap();
            assert_eq!(fits(key, &name), wanted, "{key} {image}");
        }
    }

    #[test]
    fn the_most_exact_goes_first() {
        let credential =
            |registry: &str| Credential { registry: registry.to_owned(), ..Credential::default() };
        let all = [credential("r.example.com"), credential("x"), credential("r.example.com/team")];
        let name = Name::parse("r.example.com/team/x").unwrap();
        let order: Vec<&str> =
            matching(&all, &name).into_iter().map(|it| it.registry.as_str()).collect();
        assert_eq!(order, ["r.example.com/team", "r.example.com"]);
    }
}
