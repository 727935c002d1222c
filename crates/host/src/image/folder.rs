//! Folders, listed and removed whatever state a crash left them in.

use std::{fs, io, path::Path};

use super::Fault;

pub(super) fn names_in(folder: &Path) -> Result<Vec<String>, Fault> {
    let failed = |source| Fault::system(folder.display(), source);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

/// Removes a folder or file with all in it; one that is absent is fine.
pub(super) fn remove_folder(path: &Path) -> Result<(), Fault> {
    let result = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Fault::system(path.display(), error))
        }
        _ => Ok(()),
    }
}
