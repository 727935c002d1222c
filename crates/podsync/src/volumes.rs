//! What a pod's volumes hold: files out of ConfigMaps, Secrets, the pod itself, and tokens.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use api::quantity;
use k8s_openapi::api::core::v1::{
    ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod, Secret, ServiceAccountTokenProjection,
    Volume, VolumeProjection,
};
use thiserror::Error;

use crate::{
    env::{pod_field, resource_field},
    observed::Observed,
};

/// Mode of files where neither item nor volume says one.
const MODE: i32 = 0o644;
/// Seconds a token lives where the pod does not say. Source: kubernetes v1.36 API defaults.
const TOKEN_LIFE_S: i64 = 3600;

/// What a volume is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeWish {
    /// An empty folder for the pod's life.
    Empty {
        /// In memory.
        memory: bool,
        /// Most bytes.
        size_limit_bytes: Option<u64>,
    },
    /// A path of the node.
    HostPath {
        /// Absolute.
        path: String,
        /// `DirectoryOrCreate` …, or empty: no check.
        kind: String,
    },
    /// What a claim is bound to.
    Claim {
        /// The claim's name.
        name: String,
        /// Not writable.
        read_only: bool,
    },
    /// Files made here.
    Files {
        /// By relative path.
        files: BTreeMap<String, FileWish>,
        /// Kept in memory, never on disk.
        memory: bool,
    },
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FileWish {
    /// Permission bits.
    pub mode: u32,
    /// What is in it.
    pub content: Content,
}

/// What is in a file.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// A token for the pod's service account, fetched by the agent and renewed.
    Token {
        /// Empty: the API server's own.
        audience: String,
        /// Seconds it is to live.
        expiration_s: i64,
    },
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Content::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            Content::Token { audience, expiration_s } => {
                write!(f, "token for {audience:?}, {expiration_s} s")
            }
        }
    }
}

/// Why a volume cannot be made; follows `MountVolume.SetUp failed for volume "x" : `.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum VolumeError {
    /// Create the object, or mark the volume optional.
    #[error("{kind} \"{name}\" not found")]
    NoObject {
        /// `configmap` or `secret`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// Add the key, or mark the volume optional.
    #[error("references non-existent {kind} key: {key}")]
    NoKey {
        /// `config` or `secret`.
        kind: &'static str,
        /// Which key.
        key: String,
    },
    /// Correct the pod.
    #[error("{0}")]
    Field(String),
    /// This node has nothing that makes such volumes.
    #[error("volume plugin {0} is not supported on this node")]
    Unsupported(&'static str),
}

/// The objects that a pod's environment, volumes and image pulls name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct References {
    /// ConfigMaps of its namespace.
    pub config_maps: BTreeSet<String>,
    /// Secrets of its namespace.
    pub secrets: BTreeSet<String>,
    /// Claims of its namespace.
    pub claims: BTreeSet<String>,
}

/// Every object of its namespace that the pod names.
#[must_use]
pub fn references(pod: &Pod) -> References {
    let mut all = References::default();
    let Some(spec) = &pod.spec else { return all };
    for unit in crate::containers::units(pod) {
        for source in unit.container.env_from.iter().flatten() {
            all.config_maps.extend(source.config_map_ref.iter().map(|r| r.name.clone()));
            all.secrets.extend(source.secret_ref.iter().map(|r| r.name.clone()));
        }
        for source in unit.container.env.iter().flatten().filter_map(|v| v.value_from.as_ref()) {
            all.config_maps.extend(source.config_map_key_ref.iter().map(|r| r.name.clone()));
            all.secrets.extend(source.secret_key_ref.iter().map(|r| r.name.clone()));
        }
    }
    for volume in spec.volumes.iter().flatten() {
        all.config_maps.extend(volume.config_map.iter().map(|source| source.name.clone()));
        all.secrets.extend(volume.secret.iter().filter_map(|source| source.secret_name.clone()));
        all.claims.extend(claim_name(pod, volume));
        for part in volume.projected.iter().flat_map(|p| p.sources.iter().flatten()) {
            all.config_maps.extend(part.config_map.iter().map(|source| source.name.clone()));
            all.secrets.extend(part.secret.iter().map(|source| source.name.clone()));
        }
    }
    all.secrets
        .extend(spec.image_pull_secrets.iter().flatten().map(|reference| reference.name.clone()));
    all.secrets.remove("");
    all.config_maps.remove("");
    all
}

fn claim_name(pod: &Pod, volume: &Volume) -> Option<String> {
    if let Some(claim) = &volume.persistent_volume_claim {
        return Some(claim.claim_name.clone());
    }
    volume.ephemeral.as_ref()?;
    let pod = pod.metadata.name.as_deref().unwrap_or("");
    Some(format!("{pod}-{}", volume.name))
}

/// What `volume` is, with its files' contents as they are now.
///
/// # Errors
/// [`VolumeError`] in upstream's words.
pub fn volume_wish(
    pod: &Pod,
    volume: &Volume,
    seen: &Observed,
    addresses: &[IpAddr],
) -> Result<VolumeWish, VolumeError> {
    if let Some(empty) = &volume.empty_dir {
        let limit = empty.size_limit.as_ref().map(|limit| quantity::of(limit).value());
        return Ok(VolumeWish::Empty {
            memory: empty.medium.as_deref() == Some("Memory"),
            size_limit_bytes: limit
                .and_then(|limit| u64::try_from(limit).ok())
                .filter(|limit| *limit > 0),
        });
    }
    if let Some(path) = &volume.host_path {
        return Ok(VolumeWish::HostPath {
            path: path.path.clone(),
            kind: path.type_.clone().unwrap_or_default(),
        });
    }
    if let Some(name) = claim_name(pod, volume) {
        let read_only = volume.persistent_volume_claim.as_ref().and_then(|c| c.read_only);
        return Ok(VolumeWish::Claim { name, read_only: read_only == Some(true) });
    }
    let maker = Maker { pod, seen, addresses };
    let mut files = BTreeMap::new();
    if let Some(source) = &volume.config_map {
        let mode = source.default_mode.unwrap_or(MODE);
        let optional = source.optional == Some(true);
        maker.config_map(&source.name, source.items.as_deref(), optional, mode, &mut files)?;
        return Ok(VolumeWish::Files { files, memory: false });
    }
    if let Some(source) = &volume.secret {
        let name = source.secret_name.as_deref().unwrap_or("");
        let mode = source.default_mode.unwrap_or(MODE);
        let optional = source.optional == Some(true);
        maker.secret(name, source.items.as_deref(), optional, mode, &mut files)?;
        return Ok(VolumeWish::Files { files, memory: true });
    }
    if let Some(source) = &volume.downward_api {
        let mode = source.default_mode.unwrap_or(MODE);
        maker.downward(source.items.as_deref().unwrap_or(&[]), mode, &mut files)?;
        return Ok(VolumeWish::Files { files, memory: true });
    }
    if let Some(source) = &volume.projected {
        let mode = source.default_mode.unwrap_or(MODE);
        for part in source.sources.iter().flatten() {
            maker.projection(part, mode, &mut files)?;
        }
        return Ok(VolumeWish::Files { files, memory: true });
    }
    Err(VolumeError::Unsupported(plugin(volume)))
}

/// Upstream's name of a plugin that is not here.
fn plugin(volume: &Volume) -> &'static str {
    let known = [
        (volume.nfs.is_some(), "kubernetes.io/nfs"),
        (volume.csi.is_some(), "kubernetes.io/csi"),
        (volume.iscsi.is_some(), "kubernetes.io/iscsi"),
        (volume.fc.is_some(), "kubernetes.io/fc"),
        (volume.image.is_some(), "kubernetes.io/image"),
    ];
    known.into_iter().find(|(present, _)| *present).map_or("unknown", |(_, name)| name)
}

struct Maker<'a> {
    pod: &'a Pod,
    seen: &'a Observed,
    addresses: &'a [IpAddr],
}

type Files = BTreeMap<String, FileWish>;

impl Maker<'_> {
    fn projection(
        &self,
        part: &VolumeProjection,
        mode: i32,
        files: &mut Files,
    ) -> Result<(), VolumeError> {
        if let Some(source) = &part.config_map {
            let optional = source.optional == Some(true);
            self.config_map(&source.name, source.items.as_deref(), optional, mode, files)?;
        }
        if let Some(source) = &part.secret {
            let optional = source.optional == Some(true);
            self.secret(&source.name, source.items.as_deref(), optional, mode, files)?;
        }
        if let Some(source) = &part.downward_api {
            self.downward(source.items.as_deref().unwrap_or(&[]), mode, files)?;
        }
        if let Some(token) = &part.service_account_token {
            files.insert(token.path.clone(), self.token(token, mode));
        }
        Ok(())
    }

    /// A token is for its owner's eyes, and for the group's where the pod has an fsGroup.
    fn token(&self, token: &ServiceAccountTokenProjection, mode: i32) -> FileWish {
        let spec = self.pod.spec.as_ref();
        let context = spec.and_then(|s| s.security_context.as_ref());
        let mode = if context.and_then(|c| c.fs_group).is_some() { 0o600 } else { mode };
        FileWish {
            mode: bits(mode),
            content: Content::Token {
                audience: token.audience.clone().unwrap_or_default(),
                expiration_s: token.expiration_seconds.unwrap_or(TOKEN_LIFE_S),
            },
        }
    }

    fn config_map(
        &self,
        name: &str,
        items: Option<&[KeyToPath]>,
        optional: bool,
        mode: i32,
        files: &mut Files,
    ) -> Result<(), VolumeError> {
        let map: &ConfigMap = match self.seen.config_maps.get(name).and_then(Option::as_ref) {
            Some(map) => map,
            None if optional => return Ok(()),
            None => {
                let (kind, name) = ("configmap", name.to_owned());
                return Err(VolumeError::NoObject { kind, name });
            }
        };
        let text = map.data.iter().flatten().map(|(k, v)| (k, v.as_bytes()));
        let binary = map.binary_data.iter().flatten().map(|(k, v)| (k, v.0.as_slice()));
        let payload: BTreeMap<&String, &[u8]> = text.chain(binary).collect();
        place(&payload, items, optional, mode, "config", files)
    }

    fn secret(
        &self,
        name: &str,
        items: Option<&[KeyToPath]>,
        optional: bool,
        mode: i32,
        files: &mut Files,
    ) -> Result<(), VolumeError> {
        let secret: &Secret = match self.seen.secrets.get(name).and_then(Option::as_ref) {
            Some(secret) => secret,
            None if optional => return Ok(()),
            None => {
                let (kind, name) = ("secret", name.to_owned());
                return Err(VolumeError::NoObject { kind, name });
            }
        };
        let payload: BTreeMap<&String, &[u8]> =
            secret.data.iter().flatten().map(|(k, v)| (k, v.0.as_slice())).collect();
        place(&payload, items, optional, mode, "secret", files)
    }

    fn downward(
        &self,
        items: &[DownwardAPIVolumeFile],
        mode: i32,
        files: &mut Files,
    ) -> Result<(), VolumeError> {
        for item in items {
            let text = if let Some(field) = &item.field_ref {
                pod_field(self.pod, &field.field_path, &self.seen.node, self.addresses)
            } else if let Some(resource) = &item.resource_field_ref {
                let none = k8s_openapi::api::core::v1::Container::default();
                resource_field(self.pod, &none, resource, &self.seen.node)
            } else {
                continue;
            };
            let text = text.map_err(|error| VolumeError::Field(error.to_string()))?;
            files.insert(
                item.path.clone(),
                FileWish {
                    mode: bits(item.mode.unwrap_or(mode)),
                    content: Content::Bytes(text.into_bytes()),
                },
            );
        }
        Ok(())
    }
}

fn place(
    payload: &BTreeMap<&String, &[u8]>,
    items: Option<&[KeyToPath]>,
    optional: bool,
    mode: i32,
    kind: &'static str,
    files: &mut Files,
) -> Result<(), VolumeError> {
    let file = |bytes: &[u8], mode: i32| FileWish {
        mode: bits(mode),
        content: Content::Bytes(bytes.to_vec()),
    };
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        for (key, bytes) in payload {
            files.insert((*key).clone(), file(bytes, mode));
        }
        return Ok(());
    };
    for item in items {
        match payload.get(&item.key) {
            Some(bytes) => {
                files.insert(item.path.clone(), file(bytes, item.mode.unwrap_or(mode)));
            }
            None if optional => {}
            None => {
                return Err(VolumeError::NoKey { kind, key: item.key.clone() });
            }
        }
    }
    Ok(())
}

fn bits(mode: i32) -> u32 {
    u32::try_from(mode).unwrap_or(0o644) & 0o7777
}
