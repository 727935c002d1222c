//! Whose a volume is: the pod's fsGroup.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt, lchown},
    path::Path,
};

use k8s_openapi::api::core::v1::Pod;

/// The pod's group for volumes, and when to change a volume to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) id: Option<u32>,
    /// Only when the volume's top does not fit: `fsGroupChangePolicy: OnRootMismatch`.
    only_on_mismatch: bool,
}

impl Group {
    pub(super) fn of(pod: &Pod) -> Group {
        let context = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
        Group {
            id: context.and_then(|c| c.fs_group).and_then(|group| u32::try_from(group).ok()),
            only_on_mismatch: context.and_then(|c| c.fs_group_change_policy.as_deref())
                == Some("OnRootMismatch"),
        }
    }
}

/// Gives everything in `path` to the group: readable, writable, and new files inherit it.
///
/// Source: kubernetes v1.36 `pkg/volume/volume_linux.go`, `SetVolumeOwnership`.
pub(super) fn apply(path: &Path, group: &Group, read_only: bool) -> io::Result<()> {
    let Some(id) = group.id else { return Ok(()) };
    if group.only_on_mismatch && fits(path, id, read_only)? {
        return Ok(());
    }
    change(path, id, read_only)
}

fn bits(is_folder: bool, read_only: bool) -> u32 {
    let files = if read_only { 0o440 } else { 0o660 };
    if is_folder { files | 0o2110 } else { files }
}

fn fits(path: &Path, group: u32, read_only: bool) -> io::Result<bool> {
    let meta = fs::metadata(path)?;
    let bits = bits(true, read_only);
    Ok(meta.gid() == group && meta.mode() & bits == bits)
}

fn change(path: &Path, group: u32, read_only: bool) -> io::Result<()> {
    let meta = fs::symlink_metadata(path)?;
    if meta.is_dir() {
        for entry in fs::read_dir(path)? {
            change(&entry?.path(), group, read_only)?;
        }
    }
    lchown(path, None, Some(group))?;
    if !meta.is_symlink() {
        let mode = (meta.mode() & 0o7777) | bits(meta.is_dir(), read_only);
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}
