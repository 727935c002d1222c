//! Mounts that `libcontainer` does not make: overlay roots, detached trees, read-only copies.

use std::{
    ffi::CString,
    fs, io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use nix::mount::{MsFlags, mount};

/// Longest option string that mount(2) takes: one page, with its end.
const OPTIONS_MAX_BYTES: usize = 4095;

/// Attributes of `mount_setattr` that we set.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Attribute {
    /// `MOUNT_ATTR_RDONLY`.
    ReadOnly,
    /// `MOUNT_ATTR_NODEV`.
    NoDevices,
}

#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

fn named(error: impl Into<io::Error>, what: &str, path: &Path) -> io::Error {
    let error = error.into();
    io::Error::new(error.kind(), format!("{what} {}: {error}", path.display()))
}

/// Mounts an overlay at `target`: `lower` with the uppermost layer first, changes in `upper`.
///
/// Device files in it cannot be opened (`nodev`) and the option string may be at most a page, so
/// layers are named relative to their common folder, which is the working directory meanwhile.
pub(crate) fn overlay(
    lower: &[PathBuf],
    upper: &Path,
    work: &Path,
    target: &Path,
    devices: bool,
) -> io::Result<()> {
    let (base, options) = overlay_options(lower, upper, work);
    if options.len() > OPTIONS_MAX_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("overlay of {} layers is too long", lower.len()),
        ));
    }
    let flags = if devices { MsFlags::empty() } else { MsFlags::MS_NODEV };
    std::env::set_current_dir(&base).map_err(|error| named(error, "enter", &base))?;
    let result = mount(Some("overlay"), target, Some("overlay"), flags, Some(options.as_str()));
    std::env::set_current_dir("/")?;
    result.map_err(|error| named(error, "mount overlay", target))
}

fn overlay_options(lower: &[PathBuf], upper: &Path, work: &Path) -> (PathBuf, String) {
    let mut base = lower
        .first()
        .and_then(|path| path.parent())
        .unwrap_or_else(|| Path::new("/"))
        .to_path_buf();
    while !lower.iter().all(|path| path.starts_with(&base)) {
        if !base.pop() {
            break;
        }
    }
    let escape = |path: &Path| {
        let mut escaped = String::new();
        for letter in path.to_string_lossy().chars() {
            if matches!(letter, ':' | ',' | '\\') {
                escaped.push('\\');
            }
            escaped.push(letter);
        }
        escaped
    };
    let layers: Vec<_> =
        lower.iter().map(|path| escape(path.strip_prefix(&base).unwrap_or(path))).collect();
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        layers.join(":"),
        escape(upper),
        escape(work)
    );
    (base, options)
}

/// A copy of the mount at `path`, attached nowhere. `deep` takes what is mounted below too.
pub(crate) fn detached(path: &Path, deep: bool) -> io::Result<OwnedFd> {
    let c_path = c_path(path)?;
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    let deep = if deep { libc::AT_RECURSIVE.cast_unsigned() } else { 0 };
    // SAFETY: `c_path` ends with NUL and lives through the call; the result is checked.
    let fd = unsafe {
        libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, c_path.as_ptr(), flags | deep)
    };
    let fd = i32::try_from(fd).unwrap_or(-1);
    if fd < 0 {
        return Err(named(io::Error::last_os_error(), "open_tree", path));
    }
    // SAFETY: the kernel just gave us this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches a detached mount at `target`, which must be of its kind (file or folder).
pub(crate) fn attach(tree: &OwnedFd, target: &Path) -> io::Result<()> {
    const FROM_EMPTY_PATH: libc::c_uint = 4; // MOVE_MOUNT_F_EMPTY_PATH
    let c_target = c_path(target)?;
    // SAFETY: both strings end with NUL and live through the call; the descriptor is open.
    let result = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_FDCWD,
            c_target.as_ptr(),
            FROM_EMPTY_PATH,
        )
    };
    if result == 0 { Ok(()) } else { Err(named(io::Error::last_os_error(), "move_mount", target)) }
}

/// Sets an attribute on the mount that `tree` or, where it is `None`, `path` is the root of.
///
/// Needs Linux 5.12.
pub(crate) fn set_attribute(
    tree: Option<&OwnedFd>,
    path: &Path,
    attribute: Attribute,
    deep: bool,
) -> io::Result<()> {
    let set = match attribute {
        Attribute::ReadOnly => 1,
        Attribute::NoDevices => 4,
    };
    let attr = MountAttr { set, clear: 0, propagation: 0, userns_fd: 0 };
    let c_path = c_path(if tree.is_some() { Path::new("") } else { path })?;
    let at = tree.map_or(libc::AT_FDCWD, AsRawFd::as_raw_fd);
    let flags = if tree.is_some() { libc::AT_EMPTY_PATH } else { 0 }
        | if deep { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path ends with NUL, `attr` is a live value of the size passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            at,
            c_path.as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(named(io::Error::last_os_error(), "mount_setattr", path)) }
}

/// Opens `file` through a read-only mount of its own, so that nobody who finds the descriptor (or
/// `/proc/PID/exe` of what was started from it) can write to the file: CVE-2019-5736.
pub(crate) fn open_sealed(file: &Path) -> io::Result<OwnedFd> {
    let tree = detached(file, false)?;
    set_attribute(Some(&tree), file, Attribute::ReadOnly, false)?;
    Ok(tree)
}

/// Makes `path` a folder or an empty file, as `like` is.
pub(crate) fn make_target(path: &Path, like: &Path) -> io::Result<()> {
    if fs::metadata(like).map_err(|error| named(error, "stat", like))?.is_dir() {
        fs::create_dir_all(path)
    } else {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::OpenOptions::new().append(true).create(true).open(path).map(drop)
    }
}

/// Changes how mounts travel at `target` and below.
pub(crate) fn propagate(target: &Path, flag: MsFlags) -> io::Result<()> {
    let none: Option<&str> = None;
    mount(none, target, none, flag | MsFlags::MS_REC, none)
        .map_err(|error| named(error, "set propagation of", target))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn options_are_short() {
        let lower =
            [PathBuf::from("/var/lib/layers/a/diff"), PathBuf::from("/var/lib/layers/b:1/diff")];
        let (base, options) = overlay_options(&lower, Path::new("/c/upper"), Path::new("/c/work"));
        expect![[r"/var/lib/layers lowerdir=a/diff:b\:1/diff,upperdir=/c/upper,workdir=/c/work"]]
            .assert_eq(&format!("{} {options}", base.display()));
    }
}
