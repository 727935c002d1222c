//! Layers of the image folder: unpacked once, wanted while an import runs, swept when nobody names them.

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use super::{
    Fault,
    folder::remove_folder,
    store::{State, Store},
    stream::{Hashed, Unpacked},
    unpack::unpack,
};

/// Keeps layers from being swept until the index names them.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    store: &'a Store,
    layers: Vec<String>,
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        let mut state = self.store.lock();
        for layer in &self.layers {
            if let Some(count) = state.wanted.get_mut(layer) {
                *count -= 1;
                if *count == 0 {
                    state.wanted.remove(layer);
                }
            }
        }
        // What a failed import unpacked is nobody's.
        self.store.sweep_layers(&state, &self.layers);
    }
}

impl Store {
    /// Announces layers that will be added, so that no removal takes them meanwhile.
    pub(super) fn want(&self, layers: &[String]) -> Wanted<'_> {
        let mut state = self.lock();
        for layer in layers {
            *state.wanted.entry(layer.clone()).or_default() += 1;
        }
        Wanted { store: self, layers: layers.to_vec() }
    }

    /// Whether the layer is here already.
    pub(super) fn has_layer(&self, diff_id: &str) -> bool {
        self.layer_size(diff_id).is_ok() && self.layer(diff_id).is_dir()
    }

    /// Unpacks one layer; `diff_id` is what its uncompressed stream must hash to (or whatever it
    /// hashes to, where `None`). Returns the digest.
    pub(super) fn add_layer(
        &self,
        packed: impl Read,
        diff_id: Option<&str>,
    ) -> Result<String, Fault> {
        let temporary = self.temporary();
        fs::create_dir(&temporary).map_err(|source| Fault::system(temporary.display(), source))?;
        let result = self.add_layer_in(&temporary, packed, diff_id);
        remove_folder(&temporary)?;
        result
    }

    fn add_layer_in(
        &self,
        temporary: &Path,
        packed: impl Read,
        diff_id: Option<&str>,
    ) -> Result<String, Fault> {
        let damaged = |error: io::Error| match error.raw_os_error() {
            Some(_) => Fault::system("reading a layer", error),
            None => Fault::Bad(format!("a layer is damaged: {error}")),
        };
        nix::sys::stat::fchmodat(
            None,
            temporary,
            nix::sys::stat::Mode::from_bits_truncate(0o755),
            nix::sys::stat::FchmodatFlags::FollowSymlink,
        )
        .map_err(|errno| Fault::system(temporary.display(), errno.into()))?;
        let mut stream = Hashed::new(Unpacked::new(packed).map_err(damaged)?);
        let size_bytes = unpack(&mut stream, temporary)?;
        let found = stream.finish().map_err(damaged)?;
        if let Some(wanted) = diff_id
            && wanted != found
        {
            return Err(Fault::Bad(format!("a layer's content is {found}, not {wanted}")));
        }
        let target = self.layer(&found);
        let size_file = target.with_extension("size");
        fs::write(&size_file, size_bytes.to_string())
            .map_err(|source| Fault::system(size_file.display(), source))?;
        match fs::rename(temporary, &target) {
            // Someone else was faster; theirs is the same.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOTEMPTY | libc::EEXIST)) => {}
            result => result.map_err(|source| Fault::system(target.display(), source))?,
        }
        Ok(found)
    }

    /// Removes those of `layers` that neither the index nor a running import names.
    pub(super) fn sweep_layers(&self, state: &State, layers: &[String]) {
        for layer in layers {
            let is_named = state.wanted.contains_key(layer)
                || state.index.images.values().any(|entry| entry.layers.contains(layer));
            if is_named {
                continue;
            }
            let path = self.layer(layer);
            // Out of the way first, so that a crash in the middle leaves no half of a layer.
            let temporary = self.temporary();
            let result = match fs::rename(&path, &temporary) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                Err(source) => Err(Fault::system(path.display(), source)),
                Ok(()) => remove_folder(&temporary),
            };
            let result = result.and_then(|()| match fs::remove_file(path.with_extension("size")) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(Fault::system(path.display(), error))
                }
                _ => Ok(()),
            });
            if let Err(fault) = result {
                // The next opening tries again.
                tracing::warn!(layer, ?fault, "an unused layer could not be removed");
            }
        }
    }
}
