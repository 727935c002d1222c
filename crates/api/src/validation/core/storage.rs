//! What is wrong with claims and persistent volumes.

use k8s_openapi::api::core::v1::{
    CSIPersistentVolumeSource, PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec,
    PersistentVolumeSpec, SecretReference,
};

use super::{
    resources::positive,
    volume::{ONE_TYPE, host_path, nfs, no_backsteps},
};
use crate::{
    field::Cause,
    names,
    quantity::{self, Quantity},
    resource::Part,
    validation::{
        report::{At, Report, difference, entries, items, text},
        selector::{label_selector, node_selector},
    },
};

const ACCESS_MODES: [&str; 4] =
    ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
const VOLUME_MODES: [&str; 2] = ["Block", "Filesystem"];

pub(crate) fn persistent_volume_claim(
    claim: &PersistentVolumeClaim,
    old: Option<&PersistentVolumeClaim>,
    part: Part,
) -> Vec<Cause> {
    let mut out = Report::default();
    let empty = PersistentVolumeClaimSpec::default();
    let spec = claim.spec.as_ref().unwrap_or(&empty);
    match (old, part) {
        (Some(_), Part::Status) => claim_status(claim, &mut out),
        (old, _) => {
            claim_spec(spec, At::new("spec"), &mut out);
            if let Some(old) = old {
                claim_update(claim, spec, old, &mut out);
            }
        }
    }
    out.into_causes()
}

/// The wish for a volume, in a claim or in a template of claims.
pub(in crate::validation) fn claim_spec(
    spec: &PersistentVolumeClaimSpec,
    at: At<'_>,
    out: &mut Report,
) {
    let modes = items(&spec.access_modes);
    if modes.is_empty() {
        out.required(at.field("accessModes"), "at least 1 access mode is required");
    }
    if let Some(selector) = &spec.selector {
        label_selector(selector, at.field("selector"), out);
    }
    access_modes(modes, at.field("accessModes"), out);
    let resources = at.field("resources");
    let at_size = resources.key("storage");
    let requests = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    match requests.and_then(|requests| requests.get("storage")) {
        Some(size) => positive(size, at_size, out),
        None => out.required(at_size, ""),
    }
    class_name(&spec.storage_class_name, at.field("storageClassName"), out);
    if let Some(mode) = &spec.volume_mode {
        out.known(at.field("volumeMode"), mode, &VOLUME_MODES);
    }
    data_source(spec, at, out);
    class_name(&spec.volume_attributes_class_name, at.field("volumeAttributesClassName"), out);
}

fn access_modes(modes: &[String], at: At<'_>, out: &mut Report) {
    for mode in modes {
        out.known(at, mode, &ACCESS_MODES);
    }
    let alone = modes.iter().any(|mode| mode == "ReadWriteOncePod");
    let others = modes.iter().any(|mode| ACCESS_MODES[..3].contains(&mode.as_str()));
    if alone && others {
        out.forbidden(at, "may not use ReadWriteOncePod with other access modes");
    }
}

fn class_name(name: &Option<String>, at: At<'_>, out: &mut Report) {
    if let Some(name) = name.as_ref().filter(|name| !name.is_empty()) {
        out.faults(at, name, names::dns_subdomain(name));
    }
}

fn data_source(spec: &PersistentVolumeClaimSpec, at: At<'_>, out: &mut Report) {
    let old = spec.data_source.as_ref().map(|from| (&from.api_group, &from.kind, &from.name));
    let new = spec.data_source_ref.as_ref().map(|from| (&from.api_group, &from.kind, &from.name));
    for (field, source) in [("dataSource", old), ("dataSourceRef", new)] {
        let Some((group, kind, name)) = source else { continue };
        let at = at.field(field);
        if name.is_empty() {
            out.required(at.field("name"), "");
        }
        if kind.is_empty() {
            out.required(at.field("kind"), "");
        }
        let group = text(group);
        if group.is_empty() && kind != "PersistentVolumeClaim" {
            let why = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
            out.invalid(at, &**kind, why);
        }
        if !group.is_empty() {
            out.faults(at.field("apiGroup"), group, names::dns_subdomain(group));
        }
    }
    let namespace = spec.data_source_ref.as_ref().map_or("", |from| text(&from.namespace));
    if !namespace.is_empty() && old.is_some() {
        let why = "may not be specified when dataSourceRef.namespace is specified";
        out.invalid(at, "spec.dataSource", why);
    } else if namespace.is_empty() && old.is_some() && new.is_some() && old != new {
        out.invalid(at, "spec.dataSource", "must match dataSourceRef");
    }
}

fn claim_update(
    claim: &PersistentVolumeClaim,
    new: &PersistentVolumeClaimSpec,
    old: &PersistentVolumeClaim,
    out: &mut Report,
) {
    let empty = PersistentVolumeClaimSpec::default();
    let before = old.spec.as_ref().unwrap_or(&empty);
    let at = At::new("spec");
    if new != before {
        let rest = claim_without_changes(claim, new, before);
        if rest != *before {
            let why = "spec is immutable after creation except resources.requests and \
                       volumeAttributesClassName for bound claims";
            let changes = difference("core.PersistentVolumeClaimSpec", before, &rest);
            out.forbidden(at, &format!("{why}\n{changes}"));
        }
    }
    let size = |spec: &PersistentVolumeClaimSpec| {
        let resources = spec.resources.as_ref();
        quantity::in_list(resources.and_then(|list| list.requests.as_ref()), "storage")
    };
    let has = old.status.as_ref().and_then(|status| status.capacity.as_ref());
    if size(new) < size(before) && size(new) <= quantity::in_list(has, "storage") {
        let resources = at.field("resources");
        let requests = resources.field("requests");
        out.forbidden(requests.field("storage"), "field can not be less than status.capacity");
    }
    out.immutable(At::new("volumeMode"), &new.volume_mode, &before.volume_mode);
    if before.volume_attributes_class_name.is_some() {
        let at = at.field("volumeAttributesClassName");
        match new.volume_attributes_class_name.as_deref() {
            None => out.forbidden(at, "update from non-nil value to nil is forbidden"),
            Some("") => {
                out.forbidden(at, "update from non-nil value to an empty string is forbidden");
            }
            Some(_) => {}
        }
    }
}

/// The new spec with the old values of everything that may change.
fn claim_without_changes(
    claim: &PersistentVolumeClaim,
    new: &PersistentVolumeClaimSpec,
    before: &PersistentVolumeClaimSpec,
) -> PersistentVolumeClaimSpec {
    let mut rest = new.clone();
    if text(&before.volume_name).is_empty() {
        rest.volume_name.clone_from(&before.volume_name);
    }
    if before.storage_class_name.is_none() {
        rest.storage_class_name = None;
    }
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
    if phase != Some("Bound") {
        return rest;
    }
    let requests = rest.resources.as_mut().and_then(|resources| resources.requests.as_mut());
    if let Some(requests) = requests {
        let old = before.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        if let Some(size) = old.and_then(|requests| requests.get("storage")) {
            requests.insert("storage".to_owned(), size.clone());
        }
    }
    if rest.volume_attributes_class_name.is_some() {
        rest.volume_attributes_class_name.clone_from(&before.volume_attributes_class_name);
    }
    rest
}

fn claim_status(claim: &PersistentVolumeClaim, out: &mut Report) {
    let Some(status) = &claim.status else { return };
    let at = At::new("status");
    for (field, list) in
        [("capacity", &status.capacity), ("allocatedResources", &status.allocated_resources)]
    {
        for (name, written) in entries(list) {
            if let Err(error) = Quantity::parse(&written.0) {
                out.invalid(at.field(field).key(name), &*written.0, &error.to_string());
            } else if quantity::of(written).is_negative() {
                let value = quantity::of(written).value();
                let why = "must be a valid resource quantity";
                out.invalid(at.field(field).key(name), value, why);
            }
        }
    }
}

pub(crate) fn persistent_volume(
    volume: &PersistentVolume,
    old: Option<&PersistentVolume>,
    part: Part,
) -> Vec<Cause> {
    let mut out = Report::default();
    if old.is_some() && part == Part::Status {
        return Vec::new();
    }
    let empty = PersistentVolumeSpec::default();
    let spec = volume.spec.as_ref().unwrap_or(&empty);
    volume_spec(spec, At::new("spec"), &mut out);
    if let Some(old) = old {
        volume_update(spec, old.spec.as_ref().unwrap_or(&empty), &mut out);
    }
    out.into_causes()
}

fn volume_spec(spec: &PersistentVolumeSpec, at: At<'_>, out: &mut Report) {
    let modes = items(&spec.access_modes);
    if modes.is_empty() {
        out.required(at.field("accessModes"), "");
    }
    access_modes(modes, at.field("accessModes"), out);
    capacity(spec, at.field("capacity"), out);
    let policy = text(&spec.persistent_volume_reclaim_policy);
    if !policy.is_empty() {
        let known = ["Delete", "Recycle", "Retain"];
        out.known(at.field("persistentVolumeReclaimPolicy"), policy, &known);
    }
    if let Some(affinity) = &spec.node_affinity {
        let at = at.field("nodeAffinity");
        match &affinity.required {
            Some(required) => node_selector(required, at.field("required"), out),
            None => {
                out.required(at.field("required"), "must specify required node constraints");
            }
        }
    }
    volume_source(spec, at, out);
    let root = spec.host_path.as_ref().is_some_and(|source| {
        !source.path.is_empty() && source.path.split('/').all(|part| part.is_empty() || part == ".")
    });
    if root && policy == "Recycle" {
        let why = "may not be 'recycle' for a hostPath mount of '/'";
        out.forbidden(at.field("persistentVolumeReclaimPolicy"), why);
    }
    class_name(&spec.storage_class_name, at.field("storageClassName"), out);
    if let Some(mode) = &spec.volume_mode {
        out.known(at.field("volumeMode"), mode, &VOLUME_MODES);
    }
    if let Some(class) = &spec.volume_attributes_class_name {
        let at_class = at.field("volumeAttributesClassName");
        if class.is_empty() {
            out.required(at_class, "an empty string is disallowed");
        }
        class_name(&spec.volume_attributes_class_name, at_class, out);
        if spec.csi.is_none() {
            let why = "has to be specified when using volumeAttributesClassName";
            out.required(at.field("csi"), why);
        }
    }
}

fn capacity(spec: &PersistentVolumeSpec, at: At<'_>, out: &mut Report) {
    let empty = std::collections::BTreeMap::new();
    let capacity = spec.capacity.as_ref().unwrap_or(&empty);
    if capacity.is_empty() {
        out.required(at, "");
    }
    if !capacity.contains_key("storage") || capacity.len() > 1 {
        let list = serde_json::to_string(capacity).unwrap_or_default();
        out.not_supported(at, &list, &["storage"]);
    }
    for (name, written) in capacity {
        positive(written, at.key(name), out);
    }
}

fn volume_source(spec: &PersistentVolumeSpec, at: At<'_>, out: &mut Report) {
    let present = [
        ("hostPath", spec.host_path.is_some()),
        ("gcePersistentDisk", spec.gce_persistent_disk.is_some()),
        ("awsElasticBlockStore", spec.aws_elastic_block_store.is_some()),
        ("glusterfs", spec.glusterfs.is_some()),
        ("flocker", spec.flocker.is_some()),
        ("nfs", spec.nfs.is_some()),
        ("rbd", spec.rbd.is_some()),
        ("quobyte", spec.quobyte.is_some()),
        ("cephFS", spec.cephfs.is_some()),
        ("iscsi", spec.iscsi.is_some()),
        ("cinder", spec.cinder.is_some()),
        ("fc", spec.fc.is_some()),
        ("flexVolume", spec.flex_volume.is_some()),
        ("azureFile", spec.azure_file.is_some()),
        ("vsphereVolume", spec.vsphere_volume.is_some()),
        ("photonPersistentDisk", spec.photon_persistent_disk.is_some()),
        ("portworxVolume", spec.portworx_volume.is_some()),
        ("azureDisk", spec.azure_disk.is_some()),
        ("scaleIO", spec.scale_io.is_some()),
        ("local", spec.local.is_some()),
        ("storageos", spec.storageos.is_some()),
        ("csi", spec.csi.is_some()),
    ];
    let mut present = present.into_iter().filter(|(_, there)| *there).map(|(field, _)| field);
    let Some(first) = present.next() else {
        out.required(at, "must specify a volume type");
        return;
    };
    let at_source = at.field(first);
    match first {
        "hostPath" => spec.host_path.iter().for_each(|source| host_path(source, at_source, out)),
        "nfs" => spec.nfs.iter().for_each(|source| nfs(source, at_source, out)),
        "csi" => spec.csi.iter().for_each(|source| csi(source, at_source, out)),
        "local" => {
            if let Some(source) = &spec.local {
                if source.path.is_empty() {
                    out.required(at_source.field("path"), "");
                } else {
                    no_backsteps(&source.path, at_source.field("path"), out);
                }
            }
            if spec.node_affinity.is_none() {
                out.required(at.field("nodeAffinity"), "Local volume requires node affinity");
            }
        }
        _ => {}
    }
    for another in present {
        out.forbidden(at.field(another), ONE_TYPE);
    }
}

/// The name of a CSI driver.
pub(super) fn driver_name(name: &str, at: At<'_>, out: &mut Report) {
    if name.is_empty() {
        out.required(at, "");
    }
    if name.len() > 63 {
        out.too_long(at, 63);
    }
    out.faults(at, name, names::dns_subdomain(&name.to_ascii_lowercase()));
}

fn csi(source: &CSIPersistentVolumeSource, at: At<'_>, out: &mut Report) {
    driver_name(&source.driver, at.field("driver"), out);
    if source.volume_handle.is_empty() {
        out.required(at.field("volumeHandle"), "");
    }
    for (field, secret) in [
        ("controllerPublishSecretRef", &source.controller_publish_secret_ref),
        ("controllerExpandSecretRef", &source.controller_expand_secret_ref),
        ("nodePublishSecretRef", &source.node_publish_secret_ref),
        ("nodeExpandSecretRef", &source.node_expand_secret_ref),
    ] {
        if let Some(SecretReference { name, namespace }) = secret {
            let at = at.field(field);
            let (name, namespace) = (text(name), text(namespace));
            if name.is_empty() {
                out.required(at.field("name"), "");
            } else {
                out.faults(at.field("name"), name, names::dns_subdomain(name));
            }
            if namespace.is_empty() {
                out.required(at.field("namespace"), "");
            } else {
                out.faults(at.field("namespace"), namespace, names::dns_label(namespace));
            }
        }
    }
}

fn volume_update(new: &PersistentVolumeSpec, old: &PersistentVolumeSpec, out: &mut Report) {
    let (mut now, before) = (source_only(new), source_only(old));
    if let (Some(now), Some(before)) = (&mut now.csi, &before.csi)
        && before.controller_expand_secret_ref.is_none()
    {
        now.controller_expand_secret_ref = None;
    }
    if now != before {
        let changes = difference("core.PersistentVolumeSource", &before, &now);
        let why = format!("spec.persistentvolumesource is immutable after creation\n{changes}");
        out.forbidden(At::new("spec").field("persistentvolumesource"), &why);
    }
    out.immutable(At::new("volumeMode"), &new.volume_mode, &old.volume_mode);
    if old.node_affinity.is_some() && new.node_affinity != old.node_affinity {
        let why = "field is immutable, except for updating from beta label to GA";
        out.invalid_object(At::new("nodeAffinity"), &new.node_affinity, why);
    }
    let (class, was) = (&new.volume_attributes_class_name, &old.volume_attributes_class_name);
    if was.is_some() && class.is_none() {
        let why = "update from non-nil value to nil is forbidden";
        out.forbidden(At::new("spec").field("volumeAttributesClassName"), why);
    }
}

/// The spec without all that is not where the bytes are.
fn source_only(spec: &PersistentVolumeSpec) -> PersistentVolumeSpec {
    PersistentVolumeSpec {
        access_modes: None,
        capacity: None,
        claim_ref: None,
        mount_options: None,
        node_affinity: None,
        persistent_volume_reclaim_policy: None,
        storage_class_name: None,
        volume_attributes_class_name: None,
        volume_mode: None,
        ..spec.clone()
    }
}
