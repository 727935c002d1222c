//! One server a cluster: whoever holds the lock of its pid file is it.

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io::{Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
};

use anyhow::{Context as _, Result, bail};
use cli::Instance;

/// Held while this process serves the cluster.
#[derive(Debug)]
pub(crate) struct Seat(#[expect(dead_code, reason = "held for its lock")] File);

/// Takes the seat of a cluster, making its folder where there is none.
pub(crate) fn take(instance: &Instance) -> Result<Seat> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&instance.folder);
    made.with_context(|| format!("could not make {}", instance.folder.display()))?;
    let path = instance.pid_file();
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("could not open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => (),
        Err(TryLockError::WouldBlock) => {
            let pid = holder(instance).map(|pid| format!(" (process {pid})")).unwrap_or_default();
            bail!("cluster `{}` is running already{pid}: `stead status` says more", instance.name)
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("could not lock {}", path.display()));
        }
    }
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())?;
    Ok(Seat(file))
}

/// The process that serves a cluster, if one does.
pub(crate) fn holder(instance: &Instance) -> Option<u32> {
    let mut file = File::open(instance.pid_file()).ok()?;
    if file.try_lock_shared().is_ok() {
        return None; // Nobody holds it; the lock goes with the file.
    }
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Writes a file that only its owner may read, whole or not at all.
pub(crate) fn write_private(path: &std::path::Path, text: &str) -> Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&beside)
        .with_context(|| format!("could not write {}", beside.display()))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path).with_context(|| format!("could not write {}", path.display()))
}
