//! What volumes need of the kernel: memory file systems, safe sub paths, room on a disk.

use std::{
    fs, io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Component, Path, PathBuf},
};

use nix::{
    fcntl::{OFlag, openat},
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::stat::{Mode, mkdirat},
};

/// Mounts a memory file system at `target`, at most `size_bytes` large (0: the kernel's half of
/// memory), owned by root with mode 0777.
///
/// Does nothing when one is there already.
///
/// # Errors
/// What the kernel says.
pub fn memory(target: &Path, size_bytes: Option<u64>) -> io::Result<()> {
    if is_mount_point(target)? {
        return Ok(());
    }
    let size = size_bytes.map(|bytes| format!(",size={bytes}")).unwrap_or_default();
    let options = format!("mode=0777{size}");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), target, Some("tmpfs"), flags, Some(options.as_str()))?;
    Ok(())
}

/// Whether something is mounted at `path` itself.
///
/// # Errors
/// What the kernel says of `path` or its parent.
pub fn is_mount_point(path: &Path) -> io::Result<bool> {
    let Some(parent) = path.parent() else {
        return Ok(true);
    };
    let here = fs::symlink_metadata(path)?;
    let above = fs::metadata(parent)?;
    Ok(here.dev() != above.dev() || (here.ino() == above.ino() && here.dev() == above.dev()))
}

/// Everything mounted at or below `folder`, deepest first.
///
/// # Errors
/// When `/proc/self/mountinfo` cannot be read.
pub fn mounts_below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let text = fs::read_to_string("/proc/self/mountinfo")?;
    let mut found: Vec<PathBuf> = text
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|path| PathBuf::from(unescaped(path)))
        .filter(|path| path.starts_with(folder))
        .collect();
    // Later mounts are listed later, and cover earlier ones.
    found.reverse();
    found.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
    Ok(found)
}

/// mountinfo writes blanks, tabs, line ends and backslashes as octal numbers.
fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4).and_then(|code| u8::from_str_radix(code, 8).ok());
        match code {
            Some(code) => {
                out.push(char::from(code));
                rest = &rest[at + 4..];
            }
            None => {
                out.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// Unmounts everything at and below `folder`; what is in use goes when its last user does.
///
/// # Errors
/// The first refusal; the others are tried all the same.
pub fn unmount_below(folder: &Path) -> io::Result<()> {
    let mut result = Ok(());
    for path in mounts_below(folder)? {
        if let Err(error) = umount2(&path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            let what = format!("unmount {}: {error}", path.display());
            let error = io::Error::new(io::Error::from(error).kind(), what);
            if result.is_ok() {
                result = Err(error);
            }
        }
    }
    result
}

/// Binds `sub_path` of `root` to `target`, making missing folders of `sub_path`.
///
/// No component may be a symbolic link, so that a container that writes links into its volume
/// leads nobody out of it: each is opened from its parent's descriptor without following, and
/// what is bound is the descriptor, not the name.
///
/// # Errors
/// What the kernel says; `ELOOP` or `ENOTDIR` for a link on the way.
pub fn bind_within(root: &Path, sub_path: &Path, target: &Path) -> io::Result<()> {
    let inner = open_within(root, sub_path)?;
    let source = PathBuf::from(format!("/proc/self/fd/{}", inner.as_raw_fd()));
    if fs::metadata(&source)?.is_dir() {
        fs::create_dir_all(target)?;
    } else {
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::OpenOptions::new().append(true).create(true).open(target)?;
    }
    if is_mount_point(target)? {
        umount2(target, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)?;
    }
    let none: Option<&str> = None;
    mount(Some(&source), target, none, MsFlags::MS_BIND | MsFlags::MS_REC, none)?;
    Ok(())
}

fn open_within(root: &Path, sub_path: &Path) -> io::Result<OwnedFd> {
    let folder = OFlag::O_PATH | OFlag::O_CLOEXEC | OFlag::O_DIRECTORY;
    let last = OFlag::O_PATH | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let mut at = owned(nix::fcntl::open(root, folder, Mode::empty())?);
    let parts: Vec<Component<'_>> = sub_path.components().collect();
    for (position, part) in parts.iter().enumerate() {
        let Component::Normal(name) = part else {
            if *part == Component::CurDir {
                continue;
            }
            return Err(io::Error::from_raw_os_error(libc::EXDEV));
        };
        let is_last = position + 1 == parts.len();
        let flags = if is_last { last } else { last | OFlag::O_DIRECTORY };
        let name = Path::new(name);
        at = match openat(Some(at.as_raw_fd()), name, flags, Mode::empty()) {
            Ok(fd) => owned(fd),
            Err(nix::errno::Errno::ENOENT) => {
                // Others may make it at the same time.
                match mkdirat(Some(at.as_raw_fd()), name, Mode::from_bits_truncate(0o750)) {
                    Ok(()) | Err(nix::errno::Errno::EEXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                owned(openat(Some(at.as_raw_fd()), name, last | OFlag::O_DIRECTORY, Mode::empty())?)
            }
            Err(error) => return Err(error.into()),
        };
        if is_link(&at)? {
            return Err(io::Error::from_raw_os_error(libc::ELOOP));
        }
    }
    Ok(at)
}

/// `O_PATH | O_NOFOLLOW` opens a link itself.
fn is_link(fd: &OwnedFd) -> io::Result<bool> {
    let stat = nix::sys::stat::fstat(fd.as_raw_fd())?;
    Ok(stat.st_mode & libc::S_IFMT == libc::S_IFLNK)
}

fn owned(fd: i32) -> OwnedFd {
    // SAFETY: the kernel has just given us this descriptor, and nobody else knows its number.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// What growing a folder came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grown {
    /// A folder, or a file system that knows no size of its own or cannot be grown from here.
    Nothing,
    /// An ext4 file system now has all of its device, this many bytes.
    Whole(u64),
}

/// `EXT4_IOC_RESIZE_FS` and `BLKGETSIZE64`, which no safe crate here has.
mod calls {
    nix::ioctl_write_ptr!(ext4_resize, b'f', 16, u64);
    nix::ioctl_read!(device_bytes, 0x12, 114, u64);
}

/// Lets the ext4 file system that is mounted at `path` have all of its device, online.
///
/// # Errors
/// What the kernel says of the device or the file system.
pub fn grow(path: &Path) -> io::Result<Grown> {
    let path = path.canonicalize()?;
    let Some(device) = ext4_device(&fs::read_to_string("/proc/self/mountinfo")?, &path) else {
        return Ok(Grown::Nothing);
    };
    let mut bytes = 0_u64;
    let device = fs::File::open(device)?;
    // SAFETY: the descriptor is open and the kernel writes one u64 to where the pointer leads.
    unsafe { calls::device_bytes(device.as_raw_fd(), &raw mut bytes)? };
    let block_bytes = nix::sys::statvfs::statvfs(&path)?.block_size().max(1);
    let blocks = bytes / block_bytes;
    let root = fs::File::open(&path)?;
    // SAFETY: the descriptor is open and the kernel reads one u64 from where the pointer leads.
    unsafe { calls::ext4_resize(root.as_raw_fd(), &raw const blocks)? };
    Ok(Grown::Whole(blocks * block_bytes))
}

/// The device of the ext4 file system whose root is mounted at `path`.
fn ext4_device(mountinfo: &str, path: &Path) -> Option<PathBuf> {
    let mut mounts = mountinfo.lines().filter_map(|line| line.split_once(" - "));
    // A later mount covers an earlier one.
    let (place, kind) = mounts.rfind(|(place, _)| {
        place.split(' ').nth(4).is_some_and(|at| Path::new(&unescaped(at)) == path)
    })?;
    let mut kind = kind.split(' ');
    let whole = place.split(' ').nth(3) == Some("/");
    let device = (whole && kind.next() == Some("ext4")).then(|| kind.next()).flatten()?;
    Some(PathBuf::from(unescaped(device)))
}

/// Room on the disk that holds a path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Room {
    /// Bytes in all.
    pub bytes: u64,
    /// Bytes that anyone may still write.
    pub bytes_free: u64,
    /// Inodes in all.
    pub inodes: u64,
    /// Inodes still free.
    pub inodes_free: u64,
}

/// Room on the disk that holds `path`.
///
/// # Errors
/// What the kernel says.
pub fn room(path: &Path) -> io::Result<Room> {
    let all = nix::sys::statvfs::statvfs(path)?;
    Ok(Room {
        bytes: all.blocks() * all.fragment_size(),
        bytes_free: all.blocks_available() * all.fragment_size(),
        inodes: all.files(),
        inodes_free: all.files_available(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_nowhere() {
        let root = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc", root.path().join("out")).unwrap();
        fs::create_dir(root.path().join("in")).unwrap();
        for (path, found) in [
            ("in", true),
            ("in/new/deep", true),
            ("out", false),
            ("out/ssl", false),
            ("../x", false),
        ] {
            assert_eq!(open_within(root.path(), Path::new(path)).is_ok(), found, "{path}");
        }
        assert!(root.path().join("in/new/deep").is_dir());
    }

    #[test]
    fn only_a_whole_ext4_is_grown() {
        let mounts = "30 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n\
                      31 30 8:17 / /mnt/a\\040b rw - ext4 /dev/sdb1 rw\n\
                      32 30 8:1 /home /bound rw - ext4 /dev/sda1 rw\n\
                      33 30 0:9 / /mem rw - tmpfs tmpfs rw\n";
        for (path, device) in [
            ("/mnt/a b", Some("/dev/sdb1")),
            ("/", Some("/dev/sda1")),
            ("/bound", None),
            ("/mem", None),
            ("/mnt/a b/folder", None),
        ] {
            assert_eq!(ext4_device(mounts, Path::new(path)), device.map(PathBuf::from), "{path}");
        }
        assert_eq!(grow(tempfile::tempdir().unwrap().path()).unwrap(), Grown::Nothing);
    }

    #[test]
    fn octal_names_are_read() {
        assert_eq!(unescaped("/a\\040b\\134c\\x"), "/a b\\c\\x");
    }
}
