//! What is wrong with the places where a container sees volumes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{SecurityContext, VolumeDevice, VolumeMount};

use super::volume::{Known, descending_path, has_backsteps};
use crate::validation::report::{At, Report, text};

/// Mounts of one container; `volumes` are the pod's.
pub(super) fn mounts(
    mounts: &[VolumeMount],
    devices: &[VolumeDevice],
    volumes: &BTreeMap<&str, Known>,
    security: Option<&SecurityContext>,
    at: At<'_>,
    out: &mut Report,
) {
    for (index, mount) in mounts.iter().enumerate() {
        let item = at.index(index);
        if mount.name.is_empty() {
            out.required(item.field("name"), "");
        }
        let volume = volumes.get(mount.name.as_str());
        if volume.is_none() {
            out.not_found(item.field("name"), &mount.name);
        }
        if mount.mount_path.is_empty() {
            out.required(item.field("mountPath"), "");
        }
        if mounts[..index].iter().any(|earlier| earlier.mount_path == mount.mount_path) {
            out.invalid(item.field("mountPath"), &*mount.mount_path, "must be unique");
        }
        if devices.iter().any(|device| device.name == mount.name) {
            let why = "must not already exist in volumeDevices";
            out.invalid(item.field("name"), &*mount.name, why);
        }
        if devices.iter().any(|device| device.device_path == mount.mount_path) {
            let why = "must not already exist as a path in volumeDevices";
            out.invalid(item.field("mountPath"), &*mount.mount_path, why);
        }
        sub_paths(mount, volume == Some(&Known::Image), item, at, out);
        propagation(mount, security, at.field("mountPropagation"), out);
        recursive_read_only(mount, at.field("recursiveReadOnly"), out);
    }
}

/// Upstream names the list, not the mount, where a path is bad.
fn sub_paths(mount: &VolumeMount, image: bool, item: At<'_>, list: At<'_>, out: &mut Report) {
    let (path, expression) = (text(&mount.sub_path), text(&mount.sub_path_expr));
    for (field, value) in [("subPath", path), ("subPathExpr", expression)] {
        if image && !value.is_empty() {
            out.invalid(item.field(field), value, "not allowed in image volume sources");
        }
    }
    if !path.is_empty() {
        descending_path(path, list.field("subPath"), out);
    }
    if !expression.is_empty() {
        if !path.is_empty() {
            let why = "subPathExpr and subPath are mutually exclusive";
            out.invalid(item.field("subPathExpr"), expression, why);
        }
        descending_path(expression, list.field("subPathExpr"), out);
    }
}

fn propagation(
    mount: &VolumeMount,
    security: Option<&SecurityContext>,
    at: At<'_>,
    out: &mut Report,
) {
    let Some(mode) = &mount.mount_propagation else { return };
    out.known(at, mode, &["Bidirectional", "HostToContainer", "None"]);
    let privileged = security.and_then(|context| context.privileged) == Some(true);
    if mode == "Bidirectional" && !privileged {
        let why = "Bidirectional mount propagation is available only to privileged containers";
        out.forbidden(at, why);
    }
}

fn recursive_read_only(mount: &VolumeMount, at: At<'_>, out: &mut Report) {
    match mount.recursive_read_only.as_deref() {
        None | Some("Disabled") => {}
        Some("Enabled" | "IfPossible") => {
            if mount.read_only != Some(true) {
                out.forbidden(at, "may only be specified when readOnly is true");
            }
            if mount.mount_propagation.as_ref().is_some_and(|mode| mode != "None") {
                let why = "may only be specified when mountPropagation is None or not specified";
                out.forbidden(at, why);
            }
        }
        Some(other) => out.not_supported(at, other, &["Disabled", "Enabled", "IfPossible"]),
    }
}

/// Block devices of one container.
pub(super) fn devices(
    devices: &[VolumeDevice],
    mounts: &[VolumeMount],
    volumes: &BTreeMap<&str, Known>,
    at: At<'_>,
    out: &mut Report,
) {
    for (index, device) in devices.iter().enumerate() {
        let item = at.index(index);
        let (at_name, at_path) = (item.field("name"), item.field("devicePath"));
        if device.name.is_empty() {
            out.required(at_name, "");
        }
        if devices[..index].iter().any(|earlier| earlier.name == device.name) {
            out.invalid(at_name, &*device.name, "must be unique");
        }
        match volumes.get(device.name.as_str()) {
            Some(Known::Claim) => {}
            Some(_) => {
                let why = "can only use volume source type of PersistentVolumeClaim or Ephemeral \
                           for block mode";
                out.invalid(at_name, &*device.name, why);
            }
            None => out.not_found(at_name, &device.name),
        }
        if device.device_path.is_empty() {
            out.required(at_path, "");
        }
        if devices[..index].iter().any(|earlier| earlier.device_path == device.device_path) {
            out.invalid(at_path, &*device.device_path, "must be unique");
        }
        if has_backsteps(&device.device_path) {
            out.invalid(at_path, &*device.device_path, "can not contain backsteps ('..')");
        }
        if mounts.iter().any(|mount| mount.name == device.name) {
            out.invalid(at_name, &*device.name, "must not already exist in volumeMounts");
        }
        if mounts.iter().any(|mount| mount.mount_path == device.device_path) {
            let why = "must not already exist as a path in volumeMounts";
            out.invalid(at_path, &*device.device_path, why);
        }
    }
}
