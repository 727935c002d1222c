//! Images from files: OCI layouts, as a folder or a tar, and what `docker save` writes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, BufReader, Read, Seek, SeekFrom},
    path::{Component, Path, PathBuf},
    time::SystemTime,
};

use serde::Deserialize;

use super::{
    Fault, Images, Name,
    config::{Document, node_architecture},
    name::is_digest,
    store::{Store, Stored},
    stream::{Hashed, Unpacked, digest},
};
use crate::runtime::{Image, ImageError};

/// Manifests, indexes and configs are read into memory; real ones have kilobytes.
const DOCUMENT_MAX_BYTES: u64 = 8 << 20;
/// An index may name indexes; deeper nesting than this is no honest image.
const NESTING_MAX: usize = 3;
/// Links of old docker archives lead to a member at once, never further than this.
const LINKS_MAX: usize = 8;

/// A reference to a blob.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    pub(super) media_type: String,
    pub(super) digest: String,
    #[serde(default)]
    pub(super) platform: Option<Platform>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Platform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
}

/// An index or a manifest: whichever lists are there tell.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Manifest {
    #[serde(default)]
    pub(super) manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    pub(super) config: Option<Descriptor>,
    #[serde(default)]
    pub(super) layers: Option<Vec<Descriptor>>,
}

impl Manifest {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Fault> {
        let manifest: Self = serde_json::from_slice(bytes)
            .map_err(|error| Fault::Bad(format!("a manifest is no manifest: {error}")))?;
        let lists = [&manifest.manifests, &manifest.layers];
        let named = lists.into_iter().flatten().flatten().chain(&manifest.config);
        for descriptor in named {
            if !is_digest(&descriptor.digest) {
                return Err(Fault::Bad(format!(
                    "a manifest names {:?}, which is no digest",
                    descriptor.digest
                )));
            }
        }
        Ok(manifest)
    }

    /// The manifest of an index that is for this machine.
    pub(super) fn for_this_node(&self) -> Result<&Descriptor, Fault> {
        let choices = self.manifests.as_deref().unwrap_or_default();
        let fits = |platform: &Platform| {
            platform.os == "linux" && platform.architecture == node_architecture()
        };
        if let Some(fit) = choices.iter().find(|it| it.platform.as_ref().is_some_and(fits)) {
            return Ok(fit);
        }
        // Without a platform the config will tell.
        if let Some(untold) = choices.iter().find(|it| it.platform.is_none()) {
            return Ok(untold);
        }
        let found: BTreeSet<String> = choices
            .iter()
            .filter_map(|it| it.platform.as_ref())
            .map(|it| format!("{}/{}", it.os, it.architecture))
            .collect();
        Err(Fault::Platform(found.into_iter().collect::<Vec<_>>().join(", ")))
    }
}

/// One image of docker's `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

impl Images {
    /// Adds the images of an OCI layout (folder or tar) or a docker archive; all or none.
    ///
    /// Unpacks on a thread for blocking work. `now` dates the images.
    ///
    /// # Errors
    /// [`ImageError::Archive`] naming the file, [`ImageError::Platform`], [`ImageError::Name`],
    /// [`ImageError::System`].
    pub async fn import(&self, file: PathBuf, now: SystemTime) -> Result<Vec<Image>, ImageError> {
        let images = self.clone();
        let path = file.clone();
        tokio::task::spawn_blocking(move || {
            import(&images.store, &file, now).map_err(|fault| fault.of_file(&file))
        })
        .await
        .unwrap_or_else(|error| {
            Err(ImageError::System { what: path.display().to_string(), source: error.into() })
        })
    }
}

fn import(store: &Store, file: &Path, now: SystemTime) -> Result<Vec<Image>, Fault> {
    let temporary = store.temporary();
    let result = Source::open(file, &temporary).and_then(|source| {
        let import = Import { store, source: &source };
        if source.has("manifest.json") {
            import.docker(now)
        } else if source.has("index.json") {
            import.layout(now)
        } else {
            Err(Fault::Bad("it is neither an OCI layout nor a docker archive".to_owned()))
        }
    });
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Fault::system(temporary.display(), error))
        }
        _ => result,
    }
}

/// An image of the archive, found and checked, its layers not yet unpacked.
struct Found {
    stored: Stored,
    /// Member and digest of the packed blob, if it has one, beside the uncompressed digest.
    layers: Vec<(String, Option<String>, String)>,
}

struct Import<'a> {
    store: &'a Store,
    source: &'a Source,
}

impl Import<'_> {
    fn docker(&self, now: SystemTime) -> Result<Vec<Image>, Fault> {
        let bytes = self.source.document("manifest.json")?;
        let saved: Vec<Saved> = serde_json::from_slice(&bytes)
            .map_err(|error| Fault::Bad(format!("its manifest.json is damaged: {error}")))?;
        let mut found = Vec::new();
        for image in saved {
            let config = self.source.document(&image.config)?;
            check_name(&image.config, &config)?;
            let document = Document::read(&config)?;
            document.check_platform()?;
            let layers = image.layers.unwrap_or_default();
            let pairs = pair(document.diff_ids(), layers)?
                .map(|(member, diff_id)| (member, None, diff_id))
                .collect();
            let tags: Result<Vec<String>, Fault> =
                image.repo_tags.unwrap_or_default().iter().map(|tag| whole_name(tag)).collect();
            found.push(Found {
                stored: Stored {
                    config,
                    manifests: Vec::new(),
                    tags: tags?,
                    digests: Vec::new(),
                    pulled: false,
                },
                layers: pairs,
            });
        }
        self.add(found, now)
    }

    fn layout(&self, now: SystemTime) -> Result<Vec<Image>, Fault> {
        let index = Manifest::read(&self.source.document("index.json")?)?;
        let mut found = Vec::new();
        for descriptor in index.manifests.iter().flatten() {
            let annotation = |key: &str| {
                descriptor.annotations.as_ref().and_then(|annotations| annotations.get(key))
            };
            let tag = annotation("io.containerd.image.name")
                .or_else(|| annotation("org.opencontainers.image.ref.name"))
                .map(|tag| whole_name(tag))
                .transpose()?;
            found.push(self.manifest(descriptor, tag)?);
        }
        self.add(found, now)
    }

    /// Follows a descriptor, through indexes, to this machine's image.
    fn manifest(&self, descriptor: &Descriptor, tag: Option<String>) -> Result<Found, Fault> {
        let mut manifests = Vec::new();
        let mut digests = Vec::new();
        let mut next = descriptor.clone();
        for _ in 0..NESTING_MAX {
            let bytes = self.blob(&next.digest)?;
            let manifest = Manifest::read(&bytes)?;
            manifests.push(bytes);
            digests.push(next.digest.clone());
            let Some(config) = &manifest.config else {
                next = manifest.for_this_node()?.clone();
                continue;
            };
            let config = self.blob(&config.digest)?;
            let document = Document::read(&config)?;
            document.check_platform()?;
            let layers = pair(document.diff_ids(), manifest.layers.unwrap_or_default())?
                .map(|(layer, diff_id)| (member_of(&layer.digest), Some(layer.digest), diff_id))
                .collect();
            let familiar = tag.as_deref().and_then(|tag| Name::parse(tag).ok());
            let digests = familiar
                .iter()
                .flat_map(|name| digests.iter().map(|it| format!("{}@{it}", name.familiar())))
                .collect();
            let tags = tag.into_iter().collect();
            let stored = Stored { config, manifests, tags, digests, pulled: false };
            return Ok(Found { stored, layers });
        }
        Err(Fault::Bad(format!("its indexes are nested more than {NESTING_MAX} deep")))
    }

    /// Unpacks what is missing, then makes all images known at once.
    fn add(&self, found: Vec<Found>, now: SystemTime) -> Result<Vec<Image>, Fault> {
        if found.is_empty() {
            return Err(Fault::Bad("it holds no image".to_owned()));
        }
        if found.iter().all(|image| image.stored.tags.is_empty()) {
            return Err(Fault::Bad(
                "none of its images has a name (save it by name: docker save NAME:TAG)".to_owned(),
            ));
        }
        let layers: Vec<String> =
            found.iter().flat_map(|it| &it.layers).map(|(_, _, diff_id)| diff_id.clone()).collect();
        let _wanted = self.store.want(&layers);
        for (member, packed, diff_id) in found.iter().flat_map(|image| &image.layers) {
            if self.store.has_layer(diff_id) {
                continue;
            }
            let mut stream = Hashed::new(self.source.read(member)?);
            self.store.add_layer(&mut stream, Some(diff_id))?;
            let found = stream.finish().map_err(|source| Fault::system(member, source))?;
            if packed.as_ref().is_some_and(|packed| *packed != found) {
                return Err(Fault::Bad(format!("{member} does not match its digest")));
            }
        }
        let named = found.into_iter().map(|image| image.stored);
        self.store.add(named.filter(|image| !image.tags.is_empty()).collect(), now)
    }

    fn blob(&self, wanted: &str) -> Result<Vec<u8>, Fault> {
        let member = member_of(wanted);
        let bytes = self.source.document(&member)?;
        if digest(&bytes) != wanted {
            return Err(Fault::Bad(format!("{member} does not match its digest")));
        }
        Ok(bytes)
    }
}

/// Layers beside the digests that their config gives them.
pub(super) fn pair<T>(
    diff_ids: &[String],
    layers: Vec<T>,
) -> Result<impl Iterator<Item = (T, String)>, Fault> {
    if diff_ids.len() != layers.len() {
        return Err(Fault::Bad(format!(
            "its config names {} layers, its manifest {}",
            diff_ids.len(),
            layers.len()
        )));
    }
    Ok(layers.into_iter().zip(diff_ids.to_vec()))
}

fn whole_name(text: &str) -> Result<String, Fault> {
    Name::parse(text).map(|name| name.to_string()).map_err(|error| Fault::Bad(error.to_string()))
}

/// A docker archive names a config by its digest: `<hex>.json` or `blobs/sha256/<hex>`.
fn check_name(member: &str, bytes: &[u8]) -> Result<(), Fault> {
    let file = member.rsplit('/').next().unwrap_or(member);
    let named = format!("sha256:{}", file.strip_suffix(".json").unwrap_or(file));
    if is_digest(&named) && digest(bytes) != named {
        return Err(Fault::Bad(format!("{member} does not match its digest")));
    }
    Ok(())
}

fn member_of(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

/// Where members are read from.
enum Source {
    Folder(PathBuf),
    Tar { file: PathBuf, members: BTreeMap<String, Member> },
}

enum Member {
    Bytes { offset: u64, length: u64 },
    Link(String),
}

impl Source {
    /// Looks through the file; a packed one is unpacked to `temporary` first.
    fn open(file: &Path, temporary: &Path) -> Result<Self, Fault> {
        let failed = |source: io::Error| Fault::system(file.display(), source);
        if fs::metadata(file).map_err(failed)?.is_dir() {
            return Ok(Self::Folder(file.to_owned()));
        }
        let mut unpacked = Unpacked::new(File::open(file).map_err(failed)?).map_err(failed)?;
        if matches!(unpacked, Unpacked::Plain(_)) {
            return Self::tar(file);
        }
        let mut copy =
            File::create(temporary).map_err(|source| Fault::system(temporary.display(), source))?;
        io::copy(&mut unpacked, &mut copy).map_err(|source| match source.raw_os_error() {
            Some(_) => failed(source),
            None => Fault::Bad(format!("it is damaged: {source}")),
        })?;
        Self::tar(temporary)
    }

    fn tar(file: &Path) -> Result<Self, Fault> {
        let opened = File::open(file).map_err(|source| Fault::system(file.display(), source))?;
        let length =
            opened.metadata().map_err(|source| Fault::system(file.display(), source))?.len();
        // What stands in the headers of a damaged one is not for a terminal: the error quotes it.
        let damaged =
            |_: io::Error| Fault::Bad("it is no tar archive, or a damaged one".to_owned());
        let mut archive = tar::Archive::new(BufReader::new(opened));
        let mut members = BTreeMap::new();
        for entry in archive.entries_with_seek().map_err(damaged)? {
            let entry = entry.map_err(damaged)?;
            let Some(name) = plain_path(&entry.path().map_err(damaged)?) else { continue };
            let kind = entry.header().entry_type();
            let member = if kind.is_file() {
                let (offset, size) = (entry.raw_file_position(), entry.size());
                if offset.checked_add(size).is_none_or(|end| end > length) {
                    return Err(Fault::Bad(format!("it is cut short within {name}")));
                }
                Member::Bytes { offset, length: size }
            } else if kind.is_symlink() || kind.is_hard_link() {
                let Some(target) = entry.link_name().map_err(damaged)? else { continue };
                let base = if kind.is_symlink() {
                    Path::new(&name).parent().unwrap_or_else(|| Path::new("")).join(target)
                } else {
                    target.into_owned()
                };
                let Some(target) = plain_path(&base) else { continue };
                Member::Link(target)
            } else {
                continue;
            };
            members.insert(name, member);
        }
        Ok(Self::Tar { file: file.to_owned(), members })
    }

    fn has(&self, member: &str) -> bool {
        match self {
            Self::Folder(root) => root.join(member).is_file(),
            Self::Tar { members, .. } => members.contains_key(member),
        }
    }

    fn read(&self, member: &str) -> Result<Box<dyn Read>, Fault> {
        let missing = || Fault::Bad(format!("it lacks {member}"));
        let plain = plain_path(Path::new(member)).ok_or_else(missing)?;
        match self {
            Self::Folder(root) => match File::open(root.join(plain)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing()),
                result => Ok(Box::new(
                    result.map_err(|source| Fault::system(root.join(member).display(), source))?,
                )),
            },
            Self::Tar { file, members } => {
                let mut name = plain;
                for _ in 0..LINKS_MAX {
                    match members.get(&name).ok_or_else(missing)? {
                        Member::Link(target) => name.clone_from(target),
                        Member::Bytes { offset, length } => {
                            let failed = |source| Fault::system(file.display(), source);
                            let mut opened = File::open(file).map_err(failed)?;
                            opened.seek(SeekFrom::Start(*offset)).map_err(failed)?;
                            return Ok(Box::new(opened.take(*length)));
                        }
                    }
                }
                Err(Fault::Bad(format!("{member} is a link without an end")))
            }
        }
    }

    fn document(&self, member: &str) -> Result<Vec<u8>, Fault> {
        let mut bytes = Vec::new();
        self.read(member)?
            .take(DOCUMENT_MAX_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(|source| Fault::system(member, source))?;
        if bytes.len() as u64 > DOCUMENT_MAX_BYTES {
            return Err(Fault::Bad(format!("{member} has more than {DOCUMENT_MAX_BYTES} bytes")));
        }
        Ok(bytes)
    }
}

/// The path without `.` and with `..` worked out; `None` where it leads out.
fn plain_path(path: &Path) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir => {
                parts.pop()?;
            }
            Component::Prefix(_) => return None,
        }
    }
    Some(parts.join("/"))
}
