//! A pod's volumes on the node: made before its first container, kept true, taken away after.
//!
//! ```text
//!   <data>/pods/<uid>/volumes/<name>/            emptyDir, configMap, secret, projected, …
//!   <data>/pods/<uid>/subpaths/<container>/<n>   one bound path each
//! ```

mod claim;
mod files;
mod host_path;
mod owner;
pub(crate) mod reclaim;
mod token;

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use host::runtime::{Device, Mount};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Volume};
use podsync::{
    Observed,
    config::{ContainerWish, Source},
    volumes::{Content, FileWish, VolumeWish, volume_wish},
};

use crate::{config::Config, folders, shared::Shared};
pub(crate) use token::Tokens;

/// One volume, where containers can have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mounted {
    pub(crate) path: PathBuf,
    pub(crate) read_only: bool,
}

/// A pod's volumes as they stand.
#[derive(Debug, Clone, Default)]
pub(crate) struct Volumes {
    pub(crate) mounted: BTreeMap<String, Mounted>,
    /// Sentences for FailedMount events.
    pub(crate) failures: Vec<String>,
    /// Tokens in use, and when the first is to be renewed.
    pub(crate) tokens: Tokens,
}

impl Volumes {
    pub(crate) fn renew_at(&self) -> Option<Timestamp> {
        self.tokens.renew_at()
    }
}

/// Makes all volumes of the pod, or makes their files anew.
pub(crate) async fn mount(
    shared: &Arc<Shared>,
    pod: &Pod,
    seen: &Observed,
    tokens: Tokens,
) -> Volumes {
    let mut all = Volumes { tokens, ..Volumes::default() };
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    for volume in volumes {
        match one(shared, pod, volume, seen, &mut all.tokens).await {
            Ok(mounted) => {
                all.mounted.insert(volume.name.clone(), mounted);
            }
            Err(Wrong { what, why }) => all.failures.push(format!("{what}{why}")),
        }
    }
    all
}

/// What an event says: its beginning, and the cause.
#[derive(Debug)]
pub(crate) struct Wrong {
    what: String,
    why: String,
}

impl Wrong {
    fn set_up(name: &str, why: impl std::fmt::Display) -> Wrong {
        Wrong {
            what: format!("MountVolume.SetUp failed for volume \"{name}\" : "),
            why: why.to_string(),
        }
    }
}

async fn one(
    shared: &Arc<Shared>,
    pod: &Pod,
    volume: &Volume,
    seen: &Observed,
    tokens: &mut Tokens,
) -> Result<Mounted, Wrong> {
    let name = volume.name.as_str();
    let wrong = |why: &dyn std::fmt::Display| Wrong::set_up(name, why);
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    let folder = shared.config.pod_folder(&uid).join("volumes").join(name);
    let addresses = seen.sandbox.as_ref().map_or(&[][..], |sandbox| sandbox.addresses.as_slice());
    let wish = volume_wish(pod, volume, seen, addresses).map_err(|error| wrong(&error))?;
    let group = owner::Group::of(pod);
    match wish {
        VolumeWish::Empty { memory, size_limit_bytes } => blocking(move || {
            let new = !folder.exists();
            make_folder(&folder, 0o777)?;
            if memory {
                host::volume::memory(&folder, size_limit_bytes)?;
            }
            if new {
                owner::apply(&folder, &group, false)?;
            }
            Ok(Mounted { path: folder, read_only: false })
        })
        .await
        .map_err(|error| wrong(&error)),
        VolumeWish::HostPath { path, kind } => {
            let path = PathBuf::from(path);
            let checked = path.clone();
            blocking(move || Ok(host_path::check(&checked, &kind)))
                .await
                .map_err(|error| wrong(&error))?
                .map_err(|why| wrong(&why))?;
            Ok(Mounted { path, read_only: false })
        }
        VolumeWish::Claim { name: claim, read_only } => {
            claim::mount(shared, pod, name, &claim, read_only, group).await
        }
        VolumeWish::Files { files, memory } => {
            let files = with_tokens(shared, pod, files, tokens).await.map_err(|why| wrong(&why))?;
            blocking(move || {
                make_folder(&folder, 0o755)?;
                if memory {
                    host::volume::memory(&folder, None)?;
                }
                files::write(&folder, &files, group.id)?;
                Ok(Mounted { path: folder, read_only: true })
            })
            .await
            .map_err(|error| wrong(&error))
        }
    }
}

/// Files with the tokens in them.
async fn with_tokens(
    shared: &Shared,
    pod: &Pod,
    wishes: BTreeMap<String, FileWish>,
    tokens: &mut Tokens,
) -> Result<BTreeMap<String, files::File>, String> {
    let mut all = BTreeMap::new();
    for (path, wish) in wishes {
        let bytes = match wish.content {
            Content::Bytes(bytes) => bytes,
            Content::Token { audience, expiration_s } => {
                tokens.get(shared, pod, &audience, expiration_s).await?.into_bytes()
            }
        };
        all.insert(path, files::File { mode: wish.mode, bytes });
    }
    Ok(all)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    crate::blocking::blocking(work).await.map_err(io::Error::other)?
}

/// Makes a folder with exactly this mode, whatever the umask; one that is there stays as it is.
fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    fs::create_dir_all(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// Takes the pod's volumes away: mounts go, and what lived only as long as the pod.
pub(crate) async fn unmount(config: &Config, uid: &str) -> io::Result<()> {
    let config = config.clone();
    let uid = uid.to_owned();
    blocking(move || {
        let folder = config.pod_folder(&uid);
        if uid.is_empty() || !folder.exists() {
            return Ok(());
        }
        host::volume::unmount_below(&folder)?;
        for part in ["volumes", "subpaths"] {
            let path = folder.join(part);
            if path.exists() && host::volume::mounts_below(&path)?.is_empty() {
                fs::remove_dir_all(&path)?;
            }
        }
        Ok(())
    })
    .await
}

/// A container's mounts and devices, their sources on the node; sub paths are bound.
pub(crate) async fn mounts(
    config: &Config,
    uid: &str,
    wish: &ContainerWish,
    volumes: &BTreeMap<String, Mounted>,
) -> Result<(Vec<Mount>, Vec<Device>), String> {
    let config = config.clone();
    let uid = uid.to_owned();
    let wish = wish.clone();
    let volumes = volumes.clone();
    let work = move || {
        let pod = config.pod_folder(&uid);
        let mut mounts = Vec::new();
        for wanted in &wish.mounts {
            let (source, read_only) = match &wanted.source {
                Source::Hosts => (pod.join("etc-hosts"), false),
                Source::Hostname => (pod.join("hostname"), false),
                Source::ResolvConf => (pod.join("resolv.conf"), false),
                Source::TerminationLog => {
                    let file = folders::termination_file(&config, &uid, &wish.name, wish.attempt);
                    if let Err(error) = folders::make_termination_file(&file) {
                        return Ok(Err(format!("failed to make {}: {error}", file.display())));
                    }
                    (file, false)
                }
                Source::Volume { name, sub_path, position } => {
                    let Some(volume) = volumes.get(name) else {
                        return Ok(Err(format!(
                            "cannot find volume \"{name}\" to mount into container \"{}\"",
                            wish.name
                        )));
                    };
                    let source = match sub_path {
                        None => volume.path.clone(),
                        Some(sub) => {
                            let place =
                                pod.join("subpaths").join(&wish.name).join(position.to_string());
                            if let Err(error) =
                                host::volume::bind_within(&volume.path, Path::new(sub), &place)
                            {
                                tracing::warn!(%error, sub, "a sub path was refused");
                                return Ok(Err(format!(
                                    "failed to prepare subPath for volumeMount \"{name}\" of container \"{}\"",
                                    wish.name
                                )));
                            }
                            place
                        }
                    };
                    (source, volume.read_only)
                }
            };
            mounts.push(Mount {
                source,
                target: wanted.target.clone(),
                read_only: read_only || wanted.read_only,
                propagation: wanted.propagation.clone(),
            });
        }
        let devices = wish
            .devices
            .iter()
            .filter_map(|(name, target)| {
                Some(Device {
                    source: volumes.get(name)?.path.clone(),
                    target: target.clone(),
                    access: "rwm".to_owned(),
                })
            })
            .collect();
        Ok(Ok((mounts, devices)))
    };
    blocking(work).await.map_err(|error| error.to_string())?
}
