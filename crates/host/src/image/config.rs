//! An image's configuration, as far as starting a container needs it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Fault;

/// What the image says about how to run it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// Program and first arguments.
    pub entrypoint: Vec<String>,
    /// Further arguments, or the program where there is no entrypoint.
    pub cmd: Vec<String>,
    /// `NAME=value`, in order.
    pub env: Vec<String>,
    /// `user[:group]`, names or numbers; empty for root.
    pub user: String,
    /// Empty for `/`.
    pub working_dir: String,
    /// By number.
    pub stop_signal: Option<i32>,
    /// Paths that want a volume, in order.
    pub volumes: Vec<String>,
}

/// The parts of the config blob that stead reads; null and absent mean the same in it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Document {
    #[serde(default)]
    pub(super) architecture: Option<String>,
    #[serde(default)]
    pub(super) os: Option<String>,
    #[serde(default)]
    pub(super) config: Option<Process>,
    pub(super) rootfs: Rootfs,
}

/// `config` of the blob.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Process {
    #[serde(default)]
    pub(super) entrypoint: Option<Vec<String>>,
    #[serde(default)]
    pub(super) cmd: Option<Vec<String>>,
    #[serde(default)]
    pub(super) env: Option<Vec<String>>,
    #[serde(default)]
    pub(super) user: Option<String>,
    #[serde(default)]
    pub(super) working_dir: Option<String>,
    #[serde(default)]
    pub(super) stop_signal: Option<String>,
    #[serde(default)]
    pub(super) volumes: Option<BTreeMap<String, serde_json::Value>>,
}

/// `rootfs` of the blob: the digests of the uncompressed layers, lowest first.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Rootfs {
    #[serde(rename = "type", default)]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) diff_ids: Option<Vec<String>>,
}

impl Document {
    /// Reads a config blob.
    pub(super) fn read(blob: &[u8]) -> Result<Self, Fault> {
        let document: Self = serde_json::from_slice(blob)
            .map_err(|error| Fault::Bad(format!("its config is no image config: {error}")))?;
        if let Some(bad) = document.diff_ids().iter().find(|id| !super::name::is_digest(id)) {
            return Err(Fault::Bad(format!(
                "its config names a layer {bad:?}, which is no digest"
            )));
        }
        Ok(document)
    }

    /// Refuses an image made for another kind of machine.
    pub(super) fn check_platform(&self) -> Result<(), Fault> {
        let os = self.os.as_deref().unwrap_or("linux");
        let architecture = self.architecture.as_deref().unwrap_or("");
        if os == "linux" && architecture == node_architecture() {
            return Ok(());
        }
        Err(Fault::Platform(format!("{os}/{architecture}")))
    }

    pub(super) fn diff_ids(&self) -> &[String] {
        self.rootfs.diff_ids.as_deref().unwrap_or_default()
    }

    pub(super) fn config(&self) -> Config {
        let Some(process) = &self.config else { return Config::default() };
        let list = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
        Config {
            entrypoint: list(&process.entrypoint),
            cmd: list(&process.cmd),
            env: list(&process.env),
            user: process.user.clone().unwrap_or_default(),
            working_dir: process.working_dir.clone().unwrap_or_default(),
            stop_signal: process.stop_signal.as_deref().and_then(signal_number),
            volumes: process.volumes.iter().flatten().map(|(path, _)| path.clone()).collect(),
        }
    }
}

/// This node's architecture in the words of images (Go's).
#[must_use]
pub fn node_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// `SIGTERM`, `TERM`, `15` or `SIGRTMIN+3` as a number; `None` for anything else.
#[must_use]
pub fn signal_number(text: &str) -> Option<i32> {
    let text = text.trim();
    if let Ok(number) = text.parse::<i32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(rest) = name.strip_prefix("RTMIN") {
        let plus = if rest.is_empty() { 0 } else { rest.strip_prefix('+')?.parse::<i32>().ok()? };
        return (0..=30).contains(&plus).then(|| libc::SIGRTMIN() + plus);
    }
    if let Some(rest) = name.strip_prefix("RTMAX") {
        let minus =
            if rest.is_empty() { 0 } else { rest.strip_prefix('-')?.parse::<i32>().ok()? };
        return (0..=30).contains(&minus).then(|| libc::SIGRTMAX() - minus);
    }
    format!("SIG{name}").parse::<nix::sys::signal::Signal>().ok().map(|signal| signal as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_by_name_and_number() {
        for (text, wanted) in [
            ("SIGTERM", Some(15)),
            ("quit", Some(3)),
            ("9", Some(9)),
            ("SIGRTMIN+3", Some(libc::SIGRTMIN() + 3)),
            ("SIGRTMIN", Some(libc::SIGRTMIN())),
            ("RTMAX-1", Some(libc::SIGRTMAX() - 1)),
            ("0", None),
            ("65", None),
            ("SIGNONE", None),
            ("", None),
        ] {
            assert_eq!(signal_number(text), wanted, "{text}");
        }
    }

    #[test]
    fn null_and_absent_are_empty() {
        let blob = br#"{"architecture":"amd64","os":"linux","config":{"Env":null,"Cmd":["a"],
            "Volumes":{"/b":{},"/a":{}},"StopSignal":"SIGQUIT"},"rootfs":{"type":"layers","diff_ids":null}}"#;
        let config = Document::read(blob).unwrap().config();
        assert_eq!(config.cmd, ["a"]);
        assert_eq!(config.volumes, ["/a", "/b"]);
        assert_eq!(config.stop_signal, Some(3));
        assert!(Document::read(br#"{"rootfs":{"diff_ids":["../x"]}}"#).is_err());
        assert!(Document::read(b"[]").is_err());
    }
}
