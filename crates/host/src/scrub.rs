//! Empties folders that containers have written: no link is followed, no mount is entered.
//!
//! ```text
//!   folder ─▶ openat2(beneath it, same mount, no link) ─▶ its names ─▶ unlinkat, deepest first
//! ```
//!
//! What a container leaves behind may be made to harm: links that lead out, a mount, a tree deeper
//! than a stack. Every folder is opened from its parent's descriptor, and a very deep one is first
//! moved up to the top.

use std::{
    ffi::{CString, OsString},
    fs, io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, renameat},
    sys::stat::Mode,
    unistd::{UnlinkatFlags, unlinkat},
};

/// Folders within each other that are held open at once; deeper ones are moved to the top first.
const DEPTH_MAX: usize = 64;

/// Removes everything in `folder`, which itself stays.
///
/// # Errors
/// What the kernel says, with the name that it says it of; `EXDEV` where something is mounted
/// inside. What was removed before stays removed.
pub fn empty(folder: &Path) -> io::Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let top = owned(nix::fcntl::open(folder, flags, Mode::empty())?);
    let mut moved = 0;
    loop {
        let names = names(&top)?;
        if names.is_empty() {
            return Ok(());
        }
        for name in names {
            remove_in(&top, &top, &name, 1, &mut moved)?;
        }
    }
}

/// Removes `folder` with everything in it; one that is not there is a success.
///
/// # Errors
/// As [`empty`]; `ELOOP` or `ENOTDIR` when it is a link or no folder.
pub fn remove(folder: &Path) -> io::Result<()> {
    match fs::symlink_metadata(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(meta) if meta.is_symlink() => return Err(Errno::ELOOP.into()),
        Ok(_) => {}
    }
    empty(folder)?;
    fs::remove_dir(folder)
}

/// Removes one name of `parent`, a folder `depth` levels below `top`.
fn remove_in(
    top: &OwnedFd,
    parent: &OwnedFd,
    name: &OsString,
    depth: usize,
    moved: &mut u64,
) -> io::Result<()> {
    let at = Some(parent.as_raw_fd());
    match unlinkat(at, name.as_os_str(), UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => return Ok(()),
        Err(Errno::EISDIR) => {}
        Err(error) => return Err(of(name, error)),
    }
    if depth >= DEPTH_MAX {
        *moved += 1;
        let higher = format!(".stead-scrub-{}-{moved}", std::process::id());
        return renameat(at, name.as_os_str(), Some(top.as_raw_fd()), higher.as_str())
            .map_err(|error| of(name, error));
    }
    let folder = open_below(parent, name).map_err(|error| of(name, error))?;
    for inner in names(&folder)? {
        remove_in(top, &folder, &inner, depth + 1, moved)?;
    }
    match unlinkat(at, name.as_os_str(), UnlinkatFlags::RemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        // A folder was moved away from below it, or a name came meanwhile: the next round.
        Err(Errno::ENOTEMPTY) if depth == 1 => Ok(()),
        Err(error) => Err(of(name, error)),
    }
}

fn of(name: &OsString, error: Errno) -> io::Error {
    let source = io::Error::from(error);
    io::Error::new(source.kind(), format!("{}: {source}", name.to_string_lossy()))
}

/// The names in a folder. Reading it through its descriptor reads that folder, whatever its path
/// leads to by now.
fn names(folder: &OwnedFd) -> io::Result<Vec<OsString>> {
    let path = format!("/proc/self/fd/{}", folder.as_raw_fd());
    fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect()
}

/// Opens a folder directly below `parent`: no link, and nothing mounted on it.
fn open_below(parent: &OwnedFd, name: &OsString) -> Result<OwnedFd, Errno> {
    let path = CString::new(name.as_bytes()).map_err(|_| Errno::EINVAL)?;
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: `open_how` is three integers, for which zero is a value.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = u64::try_from(flags).unwrap_or_default();
    how.resolve = libc::RESOLVE_BENEATH
        | libc::RESOLVE_NO_XDEV
        | libc::RESOLVE_NO_SYMLINKS
        | libc::RESOLVE_NO_MAGICLINKS;
    // SAFETY: the path ends with a zero byte and `how` is as large as is said; both outlive the
    // call, which keeps neither. No safe crate here has this call.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_openat2,
            parent.as_raw_fd(),
            path.as_ptr(),
            std::ptr::from_ref(&how),
            size_of::<libc::open_how>(),
        )
    };
    let fd = Errno::result(fd)?;
    i32::try_from(fd).map(owned).map_err(|_| Errno::EBADF)
}

fn owned(fd: i32) -> OwnedFd {
    // SAFETY: the kernel has just given us this descriptor, and nobody else knows its number.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn everything_goes_and_links_lead_nowhere() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("kept"), "x").unwrap();
        let volume = tempfile::tempdir().unwrap();
        let path = volume.path();
        fs::create_dir_all(path.join("a/b/c")).unwrap();
        fs::write(path.join("a/b/file"), "x").unwrap();
        fs::write(path.join(".hidden"), "x").unwrap();
        symlink(outside.path(), path.join("out")).unwrap();
        symlink(outside.path(), path.join("a/out")).unwrap();
        symlink("/nowhere", path.join("dangling")).unwrap();
        empty(path).unwrap();
        assert_eq!(fs::read_dir(path).unwrap().count(), 0);
        assert!(outside.path().join("kept").exists());
        empty(path).unwrap();
        assert!(empty(&path.join("none")).is_err());
    }

    #[test]
    fn a_tree_deeper_than_a_stack_goes() {
        let volume = tempfile::tempdir().unwrap();
        // Made from within: such a path is too long to be written out.
        let mut at = owned(nix::fcntl::open(volume.path(), OFlag::O_PATH, Mode::empty()).unwrap());
        for _ in 0..400 {
            nix::sys::stat::mkdirat(Some(at.as_raw_fd()), "d", Mode::S_IRWXU).unwrap();
            let below = nix::fcntl::openat(Some(at.as_raw_fd()), "d", OFlag::O_PATH, Mode::empty());
            at = owned(below.unwrap());
        }
        empty(volume.path()).unwrap();
        assert_eq!(fs::read_dir(volume.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_mount_is_not_entered() {
        let root = owned(nix::fcntl::open("/", OFlag::O_PATH, Mode::empty()).unwrap());
        assert_eq!(open_below(&root, &"proc".into()).unwrap_err(), Errno::EXDEV);
    }

    #[test]
    fn a_folder_goes_but_not_through_a_link() {
        let place = tempfile::tempdir().unwrap();
        let (folder, link) = (place.path().join("folder"), place.path().join("link"));
        fs::create_dir_all(folder.join("in")).unwrap();
        symlink(&folder, &link).unwrap();
        assert!(remove(&link).is_err());
        assert!(folder.join("in").exists());
        remove(&folder).unwrap();
        assert!(!folder.exists());
        remove(&folder).unwrap();
    }
}
