//! One layer: a tar stream turned into a folder that overlayfs can stack.
//!
//! The stream is hostile input. Every name is resolved by the kernel inside the layer's own root
//! (`openat2` with `RESOLVE_IN_ROOT`), so that neither `..` nor a link leads out of it. Whiteouts
//! become overlayfs's own: a character device 0:0 hides a name, an `opaque` attribute hides all
//! that a lower folder holds.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::{Component, Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2},
    sys::{
        stat::{
            Mode, SFlag, UtimensatFlags, fchmod, fstatat, futimens, makedev, mkdirat, mknodat,
            utimensat,
        },
        time::TimeSpec,
    },
    unistd::{Gid, Uid, UnlinkatFlags, fchown, fchownat, linkat, symlinkat, unlinkat},
};
use tar::{Archive, Entry, EntryType};
use xattr::FileExt;

use super::Fault;

/// Marks a folder of which nothing lower is seen.
const OPAQUE: &str = "trusted.overlay.opaque";
/// Prefix of a name that hides one of a lower layer.
const WHITEOUT: &[u8] = b".wh.";
/// The name that makes its folder opaque.
const WHITEOUT_OPAQUE: &[u8] = b".wh..wh..opq";
/// Prefix of pax records that carry extended attributes.
const PAX_XATTR: &str = "SCHILY.xattr.";

/// Unpacks the tar stream `from` into the empty folder `into`; returns the bytes of its files.
pub(super) fn unpack(from: impl Read, into: &Path) -> Result<u64, Fault> {
    let root = File::open(into).map_err(|source| Fault::system(into.display(), source))?;
    let mut layer = Layer {
        root: root.into(),
        size_bytes: 0,
        hidden: BTreeSet::new(),
        placed: BTreeSet::new(),
        folders: Vec::new(),
    };
    let mut archive = Archive::new(from);
    let entries = archive.entries().map_err(broken)?;
    for entry in entries {
        layer.place(entry.map_err(broken)?)?;
    }
    layer.date_folders()?;
    Ok(layer.size_bytes)
}

fn broken(error: io::Error) -> Fault {
    Fault::Bad(format!("a layer is damaged: {error}"))
}

struct Layer {
    root: OwnedFd,
    size_bytes: u64,
    /// Names that a whiteout of this layer hides.
    hidden: BTreeSet<PathBuf>,
    /// Names that this layer brings, which its own whiteouts do not touch.
    placed: BTreeSet<PathBuf>,
    /// Folders whose dates are set last, because filling them changes them.
    folders: Vec<(PathBuf, i64)>,
}

/// What a tar header says beside name and content.
struct Meta {
    uid: Uid,
    gid: Gid,
    mode: Mode,
    mtime_s: i64,
    xattrs: Vec<(String, Vec<u8>)>,
}

impl Layer {
    fn place<R: Read>(&mut self, mut entry: Entry<'_, R>) -> Result<(), Fault> {
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader) {
            return Ok(());
        }
        let path = inside(&entry.path_bytes())?;
        let meta = meta(&mut entry, &path)?;
        let Some(name) = path.file_name().map(OsStr::to_owned) else {
            // The root itself.
            return self.folder_meta(&path, &meta);
        };
        let parent_path = path.parent().unwrap_or_else(|| Path::new("")).to_owned();
        if name.as_bytes().starts_with(WHITEOUT) {
            return self.whiteout(&parent_path, name.as_bytes());
        }
        let parent = self.folder(&parent_path)?;
        let at = parent.as_raw_fd();
        let failed = |errno: Errno| Fault::system(path.display(), errno.into());
        let was_hidden = self.hidden.remove(&path);
        if kind != EntryType::Directory || was_hidden {
            make_way(at, &name).map_err(failed)?;
        }
        match kind {
            EntryType::Directory => self.make_folder(at, &path, &name, was_hidden, &meta)?,
            EntryType::Symlink => {
                let target = link_name(&entry, &path)?;
                symlinkat(target.as_os_str(), Some(at), name.as_os_str()).map_err(failed)?;
                own_link(at, &name, &meta).map_err(failed)?;
            }
            EntryType::Link => {
                let target = inside(link_name(&entry, &path)?.as_os_str().as_bytes())?;
                self.link(&target, at, &name)
                    .map_err(|errno| Fault::system(target.display(), errno.into()))?;
            }
            EntryType::Char | EntryType::Block | EntryType::Fifo => {
                make_node(at, &name, kind, &entry, &meta)
                    .map_err(|source| content_fault(&path, source))?;
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let written = write_file(at, &name, &mut entry, &meta)
                    .map_err(|source| content_fault(&path, source))?;
                self.size_bytes = self.size_bytes.saturating_add(written);
            }
            other => {
                return Err(Fault::Bad(format!(
                    "a layer holds {} of the unknown type {other:?}",
                    path.display()
                )));
            }
        }
        self.placed.insert(path);
        Ok(())
    }

    /// A whiteout hides what lower layers have; what this layer itself brings stays.
    fn whiteout(&mut self, parent_path: &Path, name: &[u8]) -> Result<(), Fault> {
        let parent = self.folder(parent_path)?;
        let at = parent.as_raw_fd();
        if name == WHITEOUT_OPAQUE {
            return self.make_opaque(parent_path);
        }
        let hides = OsStr::from_bytes(&name[WHITEOUT.len()..]);
        if hides.as_bytes().starts_with(WHITEOUT) || hides.is_empty() {
            // Left-overs of aufs (`.wh..wh.plnk` and such) mean nothing here.
            return Ok(());
        }
        if hides == "." || hides == ".." {
            return Err(Fault::Bad(format!("a layer hides {}", hides.display())));
        }
        let path = parent_path.join(hides);
        if self.placed.contains(&path) || !self.hidden.insert(path.clone()) {
            return Ok(());
        }
        match mknodat(Some(at), hides, SFlag::S_IFCHR, Mode::empty(), makedev(0, 0)) {
            // A folder of this name was made because something in it came first.
            Err(Errno::EEXIST) => {
                self.hidden.remove(&path);
                self.make_opaque(&path)
            }
            result => result.map_err(|errno| Fault::system(path.display(), errno.into())),
        }
    }

    fn make_opaque(&self, path: &Path) -> Result<(), Fault> {
        self.open_folder(path)
            .map_err(io::Error::from)
            .and_then(|folder| File::from(folder).set_xattr(OPAQUE, b"y"))
            .map_err(|source| Fault::system(path.display(), source))
    }

    fn make_folder(
        &mut self,
        at: RawFd,
        path: &Path,
        name: &OsStr,
        was_hidden: bool,
        meta: &Meta,
    ) -> Result<(), Fault> {
        let failed = |errno: Errno| Fault::system(path.display(), errno.into());
        match mkdirat(Some(at), name, Mode::from_bits_truncate(0o755)) {
            Ok(()) => {}
            Err(Errno::EEXIST) => {
                let found =
                    fstatat(Some(at), name, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(failed)?;
                if SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT != SFlag::S_IFDIR {
                    make_way(at, name).map_err(failed)?;
                    mkdirat(Some(at), name, Mode::from_bits_truncate(0o755)).map_err(failed)?;
                }
            }
            Err(errno) => return Err(failed(errno)),
        }
        if was_hidden {
            self.make_opaque(path)?;
        }
        self.folder_meta(path, meta)
    }

    fn folder_meta(&mut self, path: &Path, meta: &Meta) -> Result<(), Fault> {
        let failed = |source: io::Error| Fault::system(path.display(), source);
        let folder = File::from(self.open_folder(path).map_err(|errno| failed(errno.into()))?);
        set_meta(&folder, meta).map_err(failed)?;
        self.folders.push((path.to_owned(), meta.mtime_s));
        Ok(())
    }

    fn date_folders(&self) -> Result<(), Fault> {
        for (path, mtime_s) in self.folders.iter().rev() {
            // One that a later entry replaced by something else has no date to keep.
            let folder = match self.open_folder(path) {
                Err(Errno::ENOENT | Errno::ENOTDIR) => continue,
                result => result.map_err(|errno| Fault::system(path.display(), errno.into()))?,
            };
            let time = TimeSpec::new(*mtime_s, 0);
            futimens(folder.as_raw_fd(), &time, &time)
                .map_err(|errno| Fault::system(path.display(), errno.into()))?;
        }
        Ok(())
    }

    fn link(&self, target: &Path, at: RawFd, name: &OsStr) -> nix::Result<()> {
        let file_name = target.file_name().ok_or(Errno::EPERM)?;
        let parent =
            self.resolve(target.parent().unwrap_or_else(|| Path::new("")), OFlag::O_PATH)?;
        linkat(Some(parent.as_raw_fd()), file_name, Some(at), name, AtFlags::empty())
    }

    /// The folder of this path, made with its parents where the stream did not bring them.
    fn folder(&self, path: &Path) -> Result<OwnedFd, Fault> {
        let failed = |errno: Errno| Fault::system(path.display(), errno.into());
        match self.resolve(path, OFlag::O_PATH) {
            Err(Errno::ENOENT) => {}
            result => return result.map_err(failed),
        }
        let mut walked = PathBuf::new();
        for part in path.components() {
            let parent = self.resolve(&walked, OFlag::O_PATH).map_err(failed)?;
            match mkdirat(
                Some(parent.as_raw_fd()),
                part.as_os_str(),
                Mode::from_bits_truncate(0o755),
            ) {
                Ok(()) | Err(Errno::EEXIST) => walked.push(part),
                Err(errno) => return Err(failed(errno)),
            }
        }
        self.resolve(path, OFlag::O_PATH).map_err(failed)
    }

    fn open_folder(&self, path: &Path) -> nix::Result<OwnedFd> {
        self.resolve(path, OFlag::O_RDONLY)
    }

    fn resolve(&self, path: &Path, how: OFlag) -> nix::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let how = OpenHow::new()
            .flags(how | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let fd = openat2(self.root.as_raw_fd(), path, how)?;
        // SAFETY: openat2 just returned this descriptor, and nobody else holds it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

/// The entry's path below the root: no leading `/`, no `.`; `..` is refused.
fn inside(path: &[u8]) -> Result<PathBuf, Fault> {
    let mut kept = PathBuf::new();
    for part in Path::new(OsStr::from_bytes(path)).components() {
        match part {
            Component::Normal(part) => kept.push(part),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(Fault::Bad(format!(
                    "a layer holds {}, which leads out of it",
                    String::from_utf8_lossy(path)
                )));
            }
        }
    }
    Ok(kept)
}

fn meta<R: Read>(entry: &mut Entry<'_, R>, path: &Path) -> Result<Meta, Fault> {
    let mut xattrs = Vec::new();
    if let Some(records) = entry.pax_extensions().map_err(broken)? {
        for record in records {
            let record = record.map_err(broken)?;
            let Some(name) = record.key().ok().and_then(|key| key.strip_prefix(PAX_XATTR)) else {
                continue;
            };
            // Overlayfs's own attributes steer the kernel; they are ours to write, not a layer's.
            if !name.starts_with("trusted.overlay.") && !name.starts_with("user.overlay.") {
                xattrs.push((name.to_owned(), record.value_bytes().to_vec()));
            }
        }
    }
    let header = entry.header();
    let odd = |error: io::Error| Fault::Bad(format!("a layer's {}: {error}", path.display()));
    let id = |id: u64| u32::try_from(id).map_err(|error| odd(io::Error::other(error)));
    // Blank fields, which some writers leave, mean 0.
    Ok(Meta {
        uid: Uid::from_raw(id(header.uid().unwrap_or(0))?),
        gid: Gid::from_raw(id(header.gid().unwrap_or(0))?),
        mode: Mode::from_bits_truncate(header.mode().map_err(odd)? & 0o7777),
        mtime_s: i64::try_from(header.mtime().unwrap_or(0)).unwrap_or(0),
        xattrs,
    })
}

fn link_name<R: Read>(entry: &Entry<'_, R>, path: &Path) -> Result<PathBuf, Fault> {
    entry
        .link_name_bytes()
        .filter(|target| !target.is_empty())
        .map(|target| PathBuf::from(OsStr::from_bytes(&target)))
        .ok_or_else(|| Fault::Bad(format!("a layer's link {} leads nowhere", path.display())))
}

/// Removes what stands at this name, if anything does.
fn make_way(at: RawFd, name: &OsStr) -> nix::Result<()> {
    match unlinkat(Some(at), name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(Errno::EISDIR) => unlinkat(Some(at), name, UnlinkatFlags::RemoveDir),
        Err(errno) => Err(errno),
    }
}

fn own_link(at: RawFd, name: &OsStr, meta: &Meta) -> nix::Result<()> {
    fchownat(Some(at), name, Some(meta.uid), Some(meta.gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
    let time = TimeSpec::new(meta.mtime_s, 0);
    utimensat(Some(at), name, &time, &time, UtimensatFlags::NoFollowSymlink)
}

fn make_node<R: Read>(
    at: RawFd,
    name: &OsStr,
    kind: EntryType,
    entry: &Entry<'_, R>,
    meta: &Meta,
) -> io::Result<()> {
    let header = entry.header();
    let device = |header: &tar::Header| -> io::Result<u64> {
        let major = u64::from(header.device_major()?.unwrap_or(0));
        Ok(makedev(major, u64::from(header.device_minor()?.unwrap_or(0))))
    };
    let (kind, device) = match kind {
        EntryType::Char => (SFlag::S_IFCHR, device(header)?),
        EntryType::Block => (SFlag::S_IFBLK, device(header)?),
        _ => (SFlag::S_IFIFO, 0),
    };
    mknodat(Some(at), name, kind, meta.mode, device)?;
    own_link(at, name, meta)?;
    // mknod obeys the umask and chown drops setuid; what the layer says wins.
    nix::sys::stat::fchmodat(
        Some(at),
        name,
        meta.mode,
        nix::sys::stat::FchmodatFlags::FollowSymlink,
    )?;
    Ok(())
}

fn write_file(at: RawFd, name: &OsStr, content: &mut impl Read, meta: &Meta) -> io::Result<u64> {
    let flags =
        OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let fd = openat(Some(at), name, flags, Mode::from_bits_truncate(0o600))?;
    // SAFETY: openat just returned this descriptor, and nobody else holds it.
    let mut file = unsafe { File::from_raw_fd(fd) };
    let written = io::copy(content, &mut file)?;
    set_meta(&file, meta)?;
    let time = TimeSpec::new(meta.mtime_s, 0);
    futimens(file.as_raw_fd(), &time, &time)?;
    Ok(written)
}

/// Owner first, because a change of owner clears setuid bits and file capabilities.
fn set_meta(file: &File, meta: &Meta) -> io::Result<()> {
    fchown(file.as_raw_fd(), Some(meta.uid), Some(meta.gid))?;
    fchmod(file.as_raw_fd(), meta.mode)?;
    for (name, value) in &meta.xattrs {
        match file.set_xattr(name, value) {
            // The file system of the data folder may not know this kind; the layer still works.
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                tracing::debug!(name, "the data folder's file system keeps no such attribute");
            }
            result => result?,
        }
    }
    Ok(())
}

/// Tells a damaged stream from a full disk: only system calls leave an error number.
fn content_fault(path: &Path, source: io::Error) -> Fault {
    if source.raw_os_error().is_some() {
        Fault::system(path.display(), source)
    } else {
        Fault::Bad(format!("a layer's {} is damaged: {source}", path.display()))
    }
}
