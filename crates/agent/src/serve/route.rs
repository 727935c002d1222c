//! What a URL of the kubelet API asks for.

use http::Uri;

/// One request, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    Health,
    Pods,
    Summary,
    Metrics(Page),
    Log(LogAsked),
    Exec(ExecAsked),
    PortForward(PodAsked),
    /// `/stead/v1/images`, and the name that `?name=` gives.
    Images(Option<String>),
}

/// A page of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Page {
    Kubelet,
    Resource,
    Cadvisor,
}

/// A pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PodAsked {
    pub(crate) namespace: String,
    pub(crate) pod: String,
}

/// A container's log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LogAsked {
    pub(crate) of: PodAsked,
    pub(crate) container: String,
    pub(crate) follow: bool,
    pub(crate) previous: bool,
    pub(crate) timestamps: bool,
    pub(crate) tail_lines: Option<u64>,
    pub(crate) limit_bytes: Option<u64>,
    pub(crate) since_s: Option<i64>,
    pub(crate) since_time: Option<jiff::Timestamp>,
    /// `Stdout`, `Stderr` or, absent, both.
    pub(crate) stream: Option<String>,
}

/// A program in a container, or (without a command) the container itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ExecAsked {
    pub(crate) of: PodAsked,
    pub(crate) container: String,
    /// `None` attaches.
    pub(crate) command: Option<Vec<String>>,
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
    pub(crate) tty: bool,
}

impl Route {
    /// The subresource of `nodes` that stands for it. Source: kubelet v1.36 `server/auth.go`.
    pub(crate) fn subresource(&self) -> &'static str {
        match self {
            Route::Health => "healthz",
            Route::Pods => "pods",
            Route::Summary => "stats",
            Route::Metrics(_) => "metrics",
            Route::Log(_) | Route::Exec(_) | Route::PortForward(_) | Route::Images(_) => "proxy",
        }
    }
}

/// Reads a URL; `None` where nothing is served.
pub(crate) fn parse(uri: &Uri) -> Option<Route> {
    let query = Query::of(uri);
    let path: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
    let pod = |namespace: &str, pod: &str| PodAsked {
        namespace: namespace.to_owned(),
        pod: pod.to_owned(),
    };
    Some(match path.as_slice() {
        ["healthz"] => Route::Health,
        ["pods" | "runningpods"] => Route::Pods,
        ["stats", "summary"] => Route::Summary,
        ["metrics"] => Route::Metrics(Page::Kubelet),
        ["metrics", "resource"] => Route::Metrics(Page::Resource),
        ["metrics", "cadvisor"] => Route::Metrics(Page::Cadvisor),
        ["containerLogs", namespace, name, container] => {
            Route::Log(query.log(pod(namespace, name), container))
        }
        ["exec", namespace, name, container] => {
            Route::Exec(query.exec(pod(namespace, name), container, true))
        }
        ["exec", namespace, name, _uid, container] => {
            Route::Exec(query.exec(pod(namespace, name), container, true))
        }
        ["attach", namespace, name, container] | ["attach", namespace, name, _, container] => {
            Route::Exec(query.exec(pod(namespace, name), container, false))
        }
        ["portForward", namespace, name] | ["portForward", namespace, name, _] => {
            Route::PortForward(pod(namespace, name))
        }
        ["stead", "v1", "images"] => Route::Images(query.one("name")),
        _ => return None,
    })
}

/// The pairs after the question mark, decoded.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(uri: &Uri) -> Self {
        let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let decoded = pairs.map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        });
        Self(decoded.collect())
    }

    fn one(&self, key: &str) -> Option<String> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone())
    }

    fn yes(&self, keys: &[&str]) -> bool {
        keys.iter()
            .any(|key| self.one(key).is_some_and(|value| matches!(value.as_str(), "1" | "true")))
    }

    fn number<T: std::str::FromStr>(&self, key: &str) -> Option<T> {
        self.one(key)?.parse().ok()
    }

    fn log(&self, of: PodAsked, container: &str) -> LogAsked {
        LogAsked {
            of,
            container: container.to_owned(),
            follow: self.yes(&["follow"]),
            previous: self.yes(&["previous"]),
            timestamps: self.yes(&["timestamps"]),
            tail_lines: self.number("tailLines"),
            limit_bytes: self.number("limitBytes"),
            since_s: self.number("sinceSeconds"),
            since_time: self.number("sinceTime"),
            stream: self.one("stream").filter(|stream| stream != "All"),
        }
    }

    /// Both the API server's names (`stdin`) and the kubelet's (`input`) are understood.
    fn exec(&self, of: PodAsked, container: &str, program: bool) -> ExecAsked {
        let words = self.0.iter().filter(|(key, _)| key == "command");
        let tty = self.yes(&["tty"]);
        ExecAsked {
            of,
            container: container.to_owned(),
            command: program.then(|| words.map(|(_, word)| word.clone()).collect()),
            stdin: self.yes(&["input", "stdin"]),
            stdout: self.yes(&["output", "stdout"]),
            stderr: self.yes(&["error", "stderr"]) && !tty,
            tty,
        }
    }
}

/// Percent-decoding, `+` for a space; broken escapes stay as they are.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = |digits: &[u8]| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 16).ok()
        };
        match (first, after.get(..2).and_then(hex)) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = after;
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let parsed = |url: &str| parse(&url.parse().unwrap());
        let Some(Route::Exec(asked)) =
            parsed("/exec/n/web-0/c?command=sh&command=-c&command=echo+a%26b&output=1&tty=true")
        else {
            panic!("no exec");
        };
        assert_eq!(asked.command.unwrap(), ["sh", "-c", "echo a&b"]);
        assert!(asked.stdout && asked.tty && !asked.stdin);
        let Some(Route::Log(asked)) = parsed("/containerLogs/n/web-0/c?tailLines=3&follow=true")
        else {
            panic!("no log");
        };
        assert_eq!((asked.tail_lines, asked.follow), (Some(3), true));
        assert_eq!(parsed("/healthz"), Some(Route::Health));
        assert_eq!(parsed("/stead/v1/images?name=a%2Fb"), Some(Route::Images(Some("a/b".into()))));
        assert_eq!(parsed("/nothing"), None);
        assert_eq!(decode("100%"), "100%");
    }
}
