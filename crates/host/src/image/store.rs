//! The folder that holds images: its index, its layers, and what may be removed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    os::{fd::AsRawFd, unix::fs::DirBuilderExt},
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use super::{
    Config, Fault, Images, Name,
    config::Document,
    folder::{names_in, remove_folder},
    index::{Entry, Index, is_id, read_index, write_durably},
    stream::digest,
};
use crate::runtime::{Image, ImageError};

/// The folder and what memory knows of it.
#[derive(Debug)]
pub(super) struct Store {
    root: PathBuf,
    state: Mutex<State>,
    /// Tells temporary folders apart.
    serial: AtomicU64,
    /// One pull of a name at a time: the second finds what the first brought.
    pub(super) pulls: Mutex<BTreeMap<String, std::sync::Arc<tokio::sync::Mutex<()>>>>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) index: Index,
    /// Layers that someone is about to name in the index, with how many are.
    pub(super) wanted: BTreeMap<String, usize>,
    /// When containers were last seen to use an image. Absent since the start: never.
    used_at: BTreeMap<String, SystemTime>,
}

/// An image that was just stored.
#[derive(Debug, Clone)]
pub struct Stored {
    pub(super) config: Vec<u8>,
    /// Manifests and indexes by which it is known.
    pub(super) manifests: Vec<Vec<u8>>,
    pub(super) tags: Vec<String>,
    pub(super) digests: Vec<String>,
    /// A registry has it.
    pub(super) pulled: bool,
}

/// An image that no container uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unused {
    /// The image.
    pub image: Image,
    /// When it was last used, or else when it was added.
    pub used_at: SystemTime,
    /// A registry has it; what a person imported may have no other copy.
    pub pulled: bool,
}

impl Images {
    /// Opens the folder, making it where it is absent, and sweeps what a crash left.
    ///
    /// # Errors
    /// [`ImageError::Archive`] naming the index file where it cannot be read or is newer than
    /// this program; [`ImageError::System`] where the disk says no.
    pub fn open(root: &Path) -> Result<Self, ImageError> {
        let store = Store::open(root).map_err(|fault| fault.of_file(&root.join("index.json")))?;
        Ok(Self { store: std::sync::Arc::new(store) })
    }

    /// The image that a name, a name with digest, or an image id means, if it is here.
    ///
    /// # Errors
    /// [`ImageError::Name`] for what is no name.
    pub fn image(&self, reference: &str) -> Result<Option<Image>, ImageError> {
        let state = self.store.lock();
        let id = state.index.find(reference)?;
        Ok(id.and_then(|id| self.store.view(&state, &id)))
    }

    /// Every image here, by id.
    #[must_use]
    pub fn images(&self) -> Vec<Image> {
        let state = self.store.lock();
        state.index.images.keys().filter_map(|id| self.store.view(&state, id)).collect()
    }

    /// The folders of an image's layers, top first: overlayfs's `lowerdir`, in its order.
    ///
    /// # Errors
    /// [`ImageError::Absent`].
    pub fn layers(&self, image_id: &str) -> Result<Vec<PathBuf>, ImageError> {
        let state = self.store.lock();
        let entry = state
            .index
            .images
            .get(image_id)
            .ok_or_else(|| ImageError::Absent(image_id.to_owned()))?;
        Ok(entry.layers.iter().rev().map(|layer| self.store.layer(layer)).collect())
    }

    /// How an image wants to be run.
    ///
    /// # Errors
    /// [`ImageError::Absent`], or [`ImageError::Archive`] where the blob is damaged.
    pub fn config(&self, image_id: &str) -> Result<Config, ImageError> {
        if !self.store.lock().index.images.contains_key(image_id) {
            return Err(ImageError::Absent(image_id.to_owned()));
        }
        let path = self.store.blob(image_id);
        self.store
            .document(image_id)
            .map(|document| document.config())
            .map_err(|fault| fault.of_file(&path))
    }

    /// Forgets a name, or all names of an image id; the last name takes the image along.
    ///
    /// `users` are the containers by the image id that they use: a used image keeps its last name.
    ///
    /// # Errors
    /// [`ImageError::Absent`], [`ImageError::InUse`], [`ImageError::System`].
    pub fn remove(
        &self,
        reference: &str,
        users: &BTreeMap<String, String>,
    ) -> Result<(), ImageError> {
        let mut state = self.store.lock();
        let absent = || ImageError::Absent(reference.to_owned());
        let id = state.index.find(reference)?.ok_or_else(absent)?;
        let mut index = state.index.clone();
        let entry = index.images.get_mut(&id).ok_or_else(absent)?;
        if is_id(reference) {
            entry.tags.clear();
        } else {
            let name = Name::parse(reference)?;
            let text = name.to_string();
            entry.tags.remove(&text);
            entry.digests.remove(&text);
            // Digests of a repository stay only as long as a tag of it, or were asked for alone.
            if !entry.tags.iter().any(|tag| tag.starts_with(&format!("{}:", name.familiar()))) {
                let prefix = format!("{}@", name.familiar());
                entry.digests.retain(|digest| !digest.starts_with(&prefix));
            }
        }
        if entry.tags.is_empty() && (is_id(reference) || entry.digests.is_empty()) {
            if let Some(user) = users.get(&id) {
                return Err(ImageError::InUse {
                    reference: reference.to_owned(),
                    user: user.clone(),
                });
            }
            index.images.remove(&id);
        }
        self.store.replace(&mut state, index).map_err(|fault| fault.of_reference(reference))
    }

    /// Notes that containers use these images now, for [`Images::unused`].
    pub fn note_used<'a>(&self, image_ids: impl IntoIterator<Item = &'a str>, now: SystemTime) {
        let mut state = self.store.lock();
        for id in image_ids {
            state.used_at.insert(id.to_owned(), now);
        }
    }

    /// Images that no container uses, the longest unused first: what disk pressure may take.
    #[must_use]
    pub fn unused(&self, users: &BTreeMap<String, String>) -> Vec<Unused> {
        let state = self.store.lock();
        let mut unused: Vec<Unused> = state
            .index
            .images
            .iter()
            .filter(|(id, _)| !users.contains_key(*id))
            .filter_map(|(id, entry)| {
                let added_at = SystemTime::UNIX_EPOCH + Duration::from_secs(entry.added_at_s);
                let used_at = state.used_at.get(id).copied().unwrap_or(added_at);
                Some(Unused { image: self.store.view(&state, id)?, used_at, pulled: entry.pulled })
            })
            .collect();
        unused.sort_by(|a, b| (a.used_at, &a.image.id).cmp(&(b.used_at, &b.image.id)));
        unused
    }

    /// Bytes of all layers together, each counted once.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        // Images that share layers share their bytes; the sizes of layers stand beside them.
        let state = self.store.lock();
        let layers: BTreeSet<&String> =
            state.index.images.values().flat_map(|entry| &entry.layers).collect();
        layers.into_iter().filter_map(|layer| self.store.layer_size(layer).ok()).sum()
    }
}

impl Store {
    fn open(root: &Path) -> Result<Self, Fault> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        let make = |path: PathBuf| {
            builder.create(&path).map_err(|source| Fault::system(path.display(), source))
        };
        make(root.to_owned())?;
        make(root.join("blobs/sha256"))?;
        make(root.join("layers"))?;
        let temporary = root.join("tmp");
        remove_folder(&temporary)?;
        make(temporary)?;
        let index = read_index(&root.join("index.json"))?;
        let store = Self {
            root: root.to_owned(),
            state: Mutex::new(State { index, wanted: BTreeMap::new(), used_at: BTreeMap::new() }),
            serial: AtomicU64::new(0),
            pulls: Mutex::default(),
        };
        let state = store.lock();
        let layers = names_in(&root.join("layers"))?;
        let layers: Vec<String> = layers
            .into_iter()
            .filter(|name| !name.ends_with(".size"))
            .map(|name| format!("sha256:{name}"))
            .collect();
        store.sweep_layers(&state, &layers);
        drop(state);
        Ok(store)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn blob(&self, digest: &str) -> PathBuf {
        self.root.join("blobs/sha256").join(hex_of(digest))
    }

    pub(super) fn layer(&self, diff_id: &str) -> PathBuf {
        self.root.join("layers").join(hex_of(diff_id))
    }

    pub(super) fn layer_size(&self, diff_id: &str) -> Result<u64, Fault> {
        let path = self.layer(diff_id).with_extension("size");
        let text =
            fs::read_to_string(&path).map_err(|source| Fault::system(path.display(), source))?;
        text.trim().parse().map_err(|_| Fault::Bad(format!("{}: no size", path.display())))
    }

    fn document(&self, id: &str) -> Result<Document, Fault> {
        let path = self.blob(id);
        let bytes = fs::read(&path).map_err(|source| Fault::system(path.display(), source))?;
        if digest(&bytes) != id {
            return Err(Fault::Bad("does not match its digest".to_owned()));
        }
        Document::read(&bytes)
    }

    fn view(&self, state: &State, id: &str) -> Option<Image> {
        let entry = state.index.images.get(id)?;
        let config = match self.document(id) {
            Ok(document) => document.config(),
            Err(fault) => {
                tracing::warn!(image = id, ?fault, "the image's config cannot be read");
                return None;
            }
        };
        Some(Image {
            id: id.to_owned(),
            tags: entry.tags.iter().cloned().collect(),
            digests: entry.digests.iter().cloned().collect(),
            size_bytes: entry.size_bytes,
            user: config.user,
            stop_signal: config.stop_signal,
            volumes: config.volumes,
        })
    }

    /// A fresh name for a temporary file or folder.
    pub(super) fn temporary(&self) -> PathBuf {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        self.root.join("tmp").join(serial.to_string())
    }

    /// Makes images known, all of them or none; their layers must be here, and wanted.
    pub(super) fn add(&self, images: Vec<Stored>, now: SystemTime) -> Result<Vec<Image>, Fault> {
        let mut ids = Vec::new();
        let mut entries = Vec::new();
        for image in images {
            let document = Document::read(&image.config)?;
            let id = digest(&image.config);
            self.write_blob(&id, &image.config)?;
            for manifest in &image.manifests {
                self.write_blob(&digest(manifest), manifest)?;
            }
            let layers = document.diff_ids().to_vec();
            let distinct: BTreeSet<&String> = layers.iter().collect();
            let sizes: Result<Vec<u64>, Fault> =
                distinct.into_iter().map(|layer| self.layer_size(layer)).collect();
            let added_at_s =
                now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
            ids.push(id.clone());
            entries.push((
                id,
                Entry {
                    tags: image.tags.into_iter().collect(),
                    digests: image.digests.into_iter().collect(),
                    layers,
                    size_bytes: sizes?.into_iter().sum(),
                    added_at_s,
                    pulled: image.pulled,
                },
            ));
        }
        // Everything that the index will name is on the disk before it does.
        let folder =
            File::open(&self.root).map_err(|source| Fault::system(self.root.display(), source))?;
        nix::unistd::syncfs(folder.as_raw_fd())
            .map_err(|errno| Fault::system(self.root.display(), errno.into()))?;
        let mut state = self.lock();
        let mut index = state.index.clone();
        for (id, entry) in entries {
            index.add(id, entry);
        }
        self.replace(&mut state, index)?;
        Ok(ids.iter().filter_map(|id| self.view(&state, id)).collect())
    }

    /// Adds names to an image that is here.
    pub(super) fn name_again(
        &self,
        id: &str,
        tag: Option<String>,
        digests: Vec<String>,
        now: SystemTime,
    ) -> Result<Option<Image>, Fault> {
        let mut state = self.lock();
        let Some(entry) = state.index.images.get(id) else { return Ok(None) };
        let mut entry = entry.clone();
        entry.tags = tag.into_iter().collect();
        entry.digests = digests.into_iter().collect();
        let mut index = state.index.clone();
        index.add(id.to_owned(), entry);
        self.replace(&mut state, index)?;
        state.used_at.insert(id.to_owned(), now);
        Ok(self.view(&state, id))
    }

    fn write_blob(&self, digest: &str, bytes: &[u8]) -> Result<(), Fault> {
        let target = self.blob(digest);
        if target.exists() {
            return Ok(());
        }
        let temporary = self.temporary();
        fs::write(&temporary, bytes)
            .and_then(|()| fs::rename(&temporary, &target))
            .map_err(|source| Fault::system(target.display(), source))
    }

    /// Writes the index durably, then takes away what it no longer names.
    fn replace(&self, state: &mut State, index: Index) -> Result<(), Fault> {
        if index.images == state.index.images {
            return Ok(());
        }
        let path = self.root.join("index.json");
        write_durably(&self.root, &path, &index)
            .map_err(|source| Fault::system(path.display(), source))?;
        let old = std::mem::replace(&mut state.index, index);
        let gone: Vec<(&String, &Entry)> =
            old.images.iter().filter(|(id, _)| !state.index.images.contains_key(*id)).collect();
        for (id, entry) in gone {
            state.used_at.remove(id);
            self.remove_blob(id);
            for digest in &entry.digests {
                if let Some((_, digest)) = digest.split_once('@') {
                    self.remove_blob(digest);
                }
            }
            self.sweep_layers(state, &entry.layers);
        }
        Ok(())
    }

    /// A blob that stays costs a few kilobytes and is found again by its digest.
    fn remove_blob(&self, digest: &str) {
        let path = self.blob(digest);
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "a blob could not be removed");
        }
    }
}

fn hex_of(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap_or(digest)
}
