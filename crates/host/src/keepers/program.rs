//! The program that keepers run: a copy by content hash, which an upgrade does not touch and
//! nothing that runs in a container can write to.

use std::{
    fs,
    io::{self, Read},
    os::{fd::OwnedFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
};

use crate::mount;

/// Copies `source` to `bin/HASH/stead` below `data_dir` unless it is there, and opens it sealed.
///
/// Reads the whole program once: a few tens of milliseconds.
pub(super) fn open(source: &Path, data_dir: &Path) -> io::Result<OwnedFd> {
    let folder = data_dir.join("bin").join(hash(source)?);
    let program = folder.join("stead");
    if !program.exists() {
        copy(source, &folder, &program)?;
    }
    match mount::open_sealed(&program) {
        Ok(sealed) => Ok(sealed),
        Err(error)
            if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL))
                || error.kind() == io::ErrorKind::Unsupported =>
        {
            tracing::warn!(%error, "the keepers' program cannot be sealed: Linux 5.12 is needed");
            Ok(fs::File::open(&program)?.into())
        }
        Err(error) => Err(error),
    }
}

fn copy(source: &Path, folder: &Path, program: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let fresh: PathBuf = folder.join(format!("stead.{}", std::process::id()));
    fs::copy(source, &fresh)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o500))?;
    fs::File::open(&fresh)?.sync_all()?;
    fs::rename(fresh, program)
}

fn hash(file: &Path) -> io::Result<String> {
    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    let mut open = fs::File::open(file)?;
    let mut chunk = vec![0; 1 << 18];
    loop {
        match open.read(&mut chunk)? {
            0 => break,
            length => digest.update(&chunk[..length]),
        }
    }
    Ok(digest.finish().as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect())
}
