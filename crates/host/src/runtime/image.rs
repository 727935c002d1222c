//! An image in the words of CRI: how to fetch it, and what is known of one that is here.

/// An image to fetch.
#[derive(Debug, Clone, Default)]
pub struct PullRequest {
    /// As the pod names it.
    pub reference: String,
    /// Pairs of registry host and credentials, from imagePullSecrets.
    pub credentials: Vec<Credential>,
}

/// One registry login.
#[derive(Clone, Default)]
pub struct Credential {
    /// Host, or host and path prefix, of the docker config's `auths`.
    pub registry: String,
    /// User.
    pub username: String,
    /// Password; never printed.
    pub password: String,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credential({}@{})", self.username, self.registry)
    }
}

/// An image that is here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    /// Digest of its config: `sha256:…`.
    pub id: String,
    /// Normalised names with tags: `docker.io/library/nginx:1.9.1`.
    pub tags: Vec<String>,
    /// Names with the manifest's digest.
    pub digests: Vec<String>,
    /// Unpacked size.
    pub size_bytes: u64,
    /// `User` of its config.
    pub user: String,
    /// `StopSignal` of its config, by number.
    pub stop_signal: Option<i32>,
    /// `Volumes` of its config.
    pub volumes: Vec<String>,
}
