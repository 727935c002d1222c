//! Files that change all at once: a folder by number, and one link that moves to the newest.
//!
//! ```text
//!   volume/..1/key                 the files
//!   volume/..data -> ..1           renamed over, so that all change together
//!   volume/key    -> ..data/key    what containers open
//! ```
//!
//! Source of the scheme: kubernetes v1.36 `pkg/volume/util/atomic_writer.go`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Component, Path, PathBuf},
};

/// One file.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct File {
    pub(super) mode: u32,
    pub(super) bytes: Vec<u8>,
}

/// The link that moves.
const DATA: &str = "..data";

/// Makes the folder show exactly `files`; nothing is written when it does already.
pub(super) fn write(
    folder: &Path,
    files: &BTreeMap<String, File>,
    group: Option<u32>,
) -> io::Result<()> {
    for path in files.keys() {
        check(path)?;
    }
    let data = folder.join(DATA);
    let old = fs::read_link(&data).ok();
    if let Some(old) = &old
        && same(&folder.join(old), files, group)?
    {
        return links(folder, files);
    }
    let name = (0..u32::MAX)
        .map(|number| format!("..{number}"))
        .find(|name| !folder.join(name).exists())
        .ok_or_else(|| io::Error::other("no free name"))?;
    let fresh = folder.join(&name);
    fs::create_dir(&fresh)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))?;
    for (path, file) in files {
        let path = fresh.join(path);
        make_parents(&fresh, &path)?;
        fs::write(&path, &file.bytes)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode(file, group)))?;
        if let Some(group) = group {
            std::os::unix::fs::chown(&path, None, Some(group))?;
        }
    }
    let moving = folder.join("..data_tmp");
    if fs::symlink_metadata(&moving).is_ok() {
        fs::remove_file(&moving)?;
    }
    symlink(&name, &moving)?;
    fs::rename(&moving, &data)?;
    links(folder, files)?;
    // Older folders go, also those that a crash left half made.
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let stale = entry.file_name().to_string_lossy().starts_with("..");
        if stale && entry.file_type()?.is_dir() && entry.path() != fresh {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Group members may read what the owner may. Source: upstream `volume_linux.go`, `roMask`.
fn mode(file: &File, group: Option<u32>) -> u32 {
    if group.is_some() { file.mode | 0o440 } else { file.mode }
}

fn check(path: &str) -> io::Result<()> {
    let whole = !path.is_empty()
        && !path.starts_with("..")
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if whole {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("invalid path: {path:?}")))
}

fn make_parents(root: &Path, path: &Path) -> io::Result<()> {
    let Some(parent) = path.parent().filter(|parent| *parent != root) else {
        return Ok(());
    };
    fs::create_dir_all(parent)?;
    fs::set_permissions(parent, fs::Permissions::from_mode(0o755))
}

/// The folder holds these files with these modes, and no others.
fn same(folder: &Path, files: &BTreeMap<String, File>, group: Option<u32>) -> io::Result<bool> {
    let mut found = BTreeSet::new();
    if folder.exists() {
        list(folder, folder, &mut found)?;
    }
    let wanted: BTreeSet<PathBuf> = files.keys().map(PathBuf::from).collect();
    if found != wanted {
        return Ok(false);
    }
    for (path, file) in files {
        let path = folder.join(path);
        let meta = fs::metadata(&path)?;
        let fits = meta.mode() & 0o7777 == mode(file, group)
            && group.is_none_or(|group| meta.gid() == group)
            && fs::read(&path)? == file.bytes;
        if !fits {
            return Ok(false);
        }
    }
    Ok(true)
}

fn list(root: &Path, folder: &Path, found: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            list(root, &entry.path(), found)?;
        } else if let Ok(path) = entry.path().strip_prefix(root) {
            found.insert(path.to_path_buf());
        }
    }
    Ok(())
}

/// One link for each first component; others go.
fn links(folder: &Path, files: &BTreeMap<String, File>) -> io::Result<()> {
    let wanted: BTreeSet<&str> = files.keys().filter_map(|path| path.split('/').next()).collect();
    for name in &wanted {
        let link = folder.join(name);
        let target = Path::new(DATA).join(name);
        match fs::read_link(&link) {
            Ok(known) if known == target => {}
            Ok(_) => {
                fs::remove_file(&link)?;
                symlink(&target, &link)?;
            }
            Err(_) => symlink(&target, &link)?,
        }
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with("..") && !wanted.contains(name.as_ref()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(all: &[(&str, &str, u32)]) -> BTreeMap<String, File> {
        all.iter()
            .map(|(path, text, mode)| {
                ((*path).to_owned(), File { mode: *mode, bytes: text.as_bytes().to_vec() })
            })
            .collect()
    }

    #[test]
    fn all_files_change_together() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write(folder, &files(&[("a", "1", 0o644), ("d/b", "2", 0o400)]), None).unwrap();
        assert_eq!(fs::read_to_string(folder.join("a")).unwrap(), "1");
        assert_eq!(fs::metadata(folder.join("d/b")).unwrap().mode() & 0o777, 0o400);
        let before = fs::read_link(folder.join("..data")).unwrap();
        write(folder, &files(&[("a", "1", 0o644), ("d/b", "2", 0o400)]), None).unwrap();
        assert_eq!(fs::read_link(folder.join("..data")).unwrap(), before);
        write(folder, &files(&[("c", "3", 0o644)]), None).unwrap();
        assert_ne!(fs::read_link(folder.join("..data")).unwrap(), before);
        assert!(!folder.join("a").exists() && !folder.join("d").exists());
        assert_eq!(fs::read_to_string(folder.join("c")).unwrap(), "3");
        assert!(!folder.join(before).exists());
    }

    #[test]
    fn paths_stay_inside() {
        for path in ["../x", "/x", "a/../../x", "..x", ""] {
            assert!(check(path).is_err(), "{path}");
        }
        assert!(check("a/b.c/..d").is_ok());
    }
}
