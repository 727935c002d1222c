//! The index of images: which names mean which image. One file, replaced whole and durably.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::{Fault, Name};
use crate::runtime::ImageError;

/// Format of the file; a newer one is refused.
const FORMAT: u32 = 1;

/// What the index file says.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Index {
    format: u32,
    /// By config digest.
    pub(super) images: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Normalised names with tags.
    pub(super) tags: BTreeSet<String>,
    /// Names with a manifest's digest.
    pub(super) digests: BTreeSet<String>,
    /// Digests of uncompressed layers, lowest first.
    pub(super) layers: Vec<String>,
    /// Bytes of the files in its layers.
    pub(super) size_bytes: u64,
    /// Seconds since 1970.
    pub(super) added_at_s: u64,
    /// A registry has it; false where a person gave it, who may have no other copy.
    #[serde(default)]
    pub(super) pulled: bool,
}

impl Index {
    pub(super) fn find(&self, reference: &str) -> Result<Option<String>, ImageError> {
        if is_id(reference) {
            return Ok(self.images.contains_key(reference).then(|| reference.to_owned()));
        }
        let name = Name::parse(reference)?;
        let wanted = match &name.digest {
            // A digest decides alone; the tag beside it is for people.
            Some(digest) => format!("{}@{digest}", name.familiar()),
            None => name.to_string(),
        };
        Ok(self
            .images
            .iter()
            .find(|(_, entry)| entry.tags.contains(&wanted) || entry.digests.contains(&wanted))
            .map(|(id, _)| id.clone()))
    }
}

impl Index {
    /// Adds an image or more names for one; a name that meant another image moves.
    pub(super) fn add(&mut self, id: String, new: Entry) {
        for (other, entry) in &mut self.images {
            if *other != id {
                entry.tags.retain(|tag| !new.tags.contains(tag));
            }
        }
        let entry = self.images.entry(id).or_insert_with(|| Entry {
            tags: BTreeSet::new(),
            digests: BTreeSet::new(),
            ..new.clone()
        });
        entry.tags.extend(new.tags);
        entry.digests.extend(new.digests);
        entry.pulled &= new.pulled;
        self.format = FORMAT;
    }
}

pub(super) fn is_id(reference: &str) -> bool {
    super::name::is_digest(reference)
}

pub(super) fn read_index(path: &Path) -> Result<Index, Fault> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Index::default()),
        result => result.map_err(|source| Fault::system(path.display(), source))?,
    };
    let index: Index = serde_json::from_slice(&bytes)
        .map_err(|error| Fault::Bad(format!("the index of images is damaged: {error}")))?;
    if index.format > FORMAT {
        return Err(Fault::Bad(format!(
            "the index of images has format {}, this program knows {FORMAT}",
            index.format
        )));
    }
    Ok(index)
}

pub(super) fn write_durably(folder: &Path, path: &Path, index: &Index) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(&serde_json::to_vec_pretty(index)?)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(folder)?.sync_all()
}
