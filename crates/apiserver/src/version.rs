//! What `/version` says.

use serde::Serialize;

/// Which server this is; `gitVersion` parses as a semantic version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// `1`
    pub major: String,
    /// `36`
    pub minor: String,
    /// Version of the API the server speaks.
    pub emulation_major: String,
    /// As above.
    pub emulation_minor: String,
    /// `v1.36.2+stead.0.1.0`
    pub git_version: String,
    /// The commit the binary was built from; empty when unknown.
    pub git_commit: String,
    /// `clean`
    pub git_tree_state: String,
    /// When it was built, RFC 3339.
    pub build_date: String,
    /// What Go programs show here; ours says that there is none.
    pub go_version: String,
    /// As above.
    pub compiler: String,
    /// `linux/amd64`
    pub platform: String,
}

impl Default for Version {
    fn default() -> Self {
        let arch = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self {
            major: "1".to_owned(),
            minor: "36".to_owned(),
            emulation_major: "1".to_owned(),
            emulation_minor: "36".to_owned(),
            git_version: format!("v1.36.2+stead.{}", env!("CARGO_PKG_VERSION")),
            git_commit: option_env!("STEAD_COMMIT").unwrap_or_default().to_owned(),
            git_tree_state: "clean".to_owned(),
            build_date: option_env!("STEAD_DATE").unwrap_or("1970-01-01T00:00:00Z").to_owned(),
            go_version: "none".to_owned(),
            compiler: "rustc".to_owned(),
            platform: format!("linux/{arch}"),
        }
    }
}
