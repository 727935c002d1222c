//! What upstream fills in where a field of a volume or a claim is absent.
//!
//! Source: kubernetes v1.36 `pkg/apis/core/v1/defaults.go` and its generated companion.

use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, EmptyDirVolumeSource, EphemeralVolumeSource, HostPathVolumeSource,
    ISCSIVolumeSource, PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec,
    PersistentVolumeSpec, ProjectedVolumeSource, Volume,
};

use super::{
    omit::{metadata, omit, text},
    pod::divisor,
};
use crate::quantity;

/// Modes of files that name none: 0644.
const DEFAULT_MODE: i32 = 0o644;

pub(super) fn volume(volume: &mut Volume) {
    if is_empty(volume) {
        volume.empty_dir = Some(EmptyDirVolumeSource::default());
    }
    if let Some(source) = &mut volume.empty_dir {
        omit(&mut source.medium);
        if let Some(limit) = &mut source.size_limit {
            quantity::canonicalise(limit);
        }
    }
    if let Some(source) = &mut volume.config_map {
        source.default_mode.get_or_insert(DEFAULT_MODE);
        omit(&mut source.items);
    }
    if let Some(source) = &mut volume.secret {
        source.default_mode.get_or_insert(DEFAULT_MODE);
        omit(&mut source.items);
        omit(&mut source.secret_name);
    }
    if let Some(source) = &mut volume.downward_api {
        source.default_mode.get_or_insert(DEFAULT_MODE);
        omit(&mut source.items);
        source.items.iter_mut().flatten().for_each(downward_file);
    }
    if let Some(source) = &mut volume.persistent_volume_claim {
        omit(&mut source.read_only);
    }
    if let Some(source) = &mut volume.nfs {
        omit(&mut source.read_only);
    }
    if let Some(source) = &mut volume.image
        && source.pull_policy.as_ref().is_none_or(String::is_empty)
    {
        let reference = source.reference.as_deref().unwrap_or_default();
        let latest = super::pod::is_latest(reference);
        source.pull_policy = Some(if latest { "Always" } else { "IfNotPresent" }.to_owned());
    }
    volume.host_path.iter_mut().for_each(host_path);
    volume.projected.iter_mut().for_each(projected);
    volume.ephemeral.iter_mut().for_each(ephemeral);
    of_old_plugins(volume);
}

/// Whether no source is named at all, which means an emptyDir.
fn is_empty(volume: &mut Volume) -> bool {
    let name = std::mem::take(&mut volume.name);
    let empty = *volume == Volume::default();
    volume.name = name;
    empty
}

fn of_old_plugins(volume: &mut Volume) {
    if let Some(ISCSIVolumeSource { iscsi_interface, .. }) = &mut volume.iscsi {
        text(iscsi_interface, "default");
    }
    if let Some(source) = &mut volume.rbd {
        text(&mut source.pool, "rbd");
        text(&mut source.user, "admin");
        text(&mut source.keyring, "/etc/ceph/keyring");
    }
    if let Some(source) = &mut volume.azure_disk {
        source.caching_mode.get_or_insert_with(|| "ReadWrite".to_owned());
        source.fs_type.get_or_insert_with(|| "ext4".to_owned());
        source.kind.get_or_insert_with(|| "Shared".to_owned());
        source.read_only.get_or_insert(false);
    }
    if let Some(source) = &mut volume.scale_io {
        text(&mut source.storage_mode, "ThinProvisioned");
        text(&mut source.fs_type, "xfs");
    }
}

fn host_path(source: &mut HostPathVolumeSource) {
    source.type_.get_or_insert_default();
}

fn projected(source: &mut ProjectedVolumeSource) {
    source.default_mode.get_or_insert(DEFAULT_MODE);
    for part in source.sources.iter_mut().flatten() {
        if let Some(token) = &mut part.service_account_token {
            token.expiration_seconds.get_or_insert(3600);
            omit(&mut token.audience);
        }
        if let Some(downward) = &mut part.downward_api {
            omit(&mut downward.items);
            downward.items.iter_mut().flatten().for_each(downward_file);
        }
        if let Some(map) = &mut part.config_map {
            omit(&mut map.items);
        }
        if let Some(secret) = &mut part.secret {
            omit(&mut secret.items);
        }
        if let Some(certificate) = &mut part.pod_certificate {
            certificate.max_expiration_seconds.get_or_insert(86400);
        }
    }
}

fn downward_file(file: &mut DownwardAPIVolumeFile) {
    if let Some(field) = &mut file.field_ref {
        text(&mut field.api_version, "v1");
    }
    if let Some(resource) = &mut file.resource_field_ref {
        divisor(resource);
    }
}

fn ephemeral(source: &mut EphemeralVolumeSource) {
    if let Some(template) = &mut source.volume_claim_template {
        metadata(template.metadata.get_or_insert_default());
        claim_spec(&mut template.spec);
    }
}

pub(crate) fn persistent_volume_claim(claim: &mut PersistentVolumeClaim) {
    metadata(&mut claim.metadata);
    claim_spec(claim.spec.get_or_insert_default());
    let status = claim.status.get_or_insert_default();
    text(&mut status.phase, "Pending");
    omit(&mut status.access_modes);
    omit(&mut status.conditions);
    let lists = [&mut status.capacity, &mut status.allocated_resources];
    lists.into_iter().flatten().for_each(quantity::canonicalise_list);
}

pub(super) fn claim_spec(spec: &mut PersistentVolumeClaimSpec) {
    spec.volume_mode.get_or_insert_with(|| "Filesystem".to_owned());
    omit(&mut spec.access_modes);
    omit(&mut spec.volume_name);
    let resources = spec.resources.get_or_insert_default();
    omit(&mut resources.limits);
    omit(&mut resources.requests);
    let lists = [&mut resources.limits, &mut resources.requests];
    lists.into_iter().flatten().for_each(quantity::canonicalise_list);
    source_both_ways(spec);
}

/// The old field and the new one name the same source, as long as it is in the same namespace.
fn source_both_ways(spec: &mut PersistentVolumeClaimSpec) {
    use k8s_openapi::api::core::v1::{TypedLocalObjectReference, TypedObjectReference};
    match (&spec.data_source, &spec.data_source_ref) {
        (Some(old), None) => {
            spec.data_source_ref = Some(TypedObjectReference {
                api_group: old.api_group.clone(),
                kind: old.kind.clone(),
                name: old.name.clone(),
                namespace: None,
            });
        }
        (None, Some(new)) if new.namespace.as_ref().is_none_or(String::is_empty) => {
            spec.data_source = Some(TypedLocalObjectReference {
                api_group: new.api_group.clone(),
                kind: new.kind.clone(),
                name: new.name.clone(),
            });
        }
        _ => {}
    }
}

pub(crate) fn persistent_volume(volume: &mut PersistentVolume) {
    metadata(&mut volume.metadata);
    volume_spec(volume.spec.get_or_insert_default());
    text(&mut volume.status.get_or_insert_default().phase, "Pending");
}

fn volume_spec(spec: &mut PersistentVolumeSpec) {
    text(&mut spec.persistent_volume_reclaim_policy, "Retain");
    spec.volume_mode.get_or_insert_with(|| "Filesystem".to_owned());
    omit(&mut spec.access_modes);
    omit(&mut spec.capacity);
    omit(&mut spec.mount_options);
    omit(&mut spec.storage_class_name);
    if let Some(capacity) = &mut spec.capacity {
        quantity::canonicalise_list(capacity);
    }
    spec.host_path.iter_mut().for_each(host_path);
    if let Some(source) = &mut spec.nfs {
        omit(&mut source.read_only);
    }
    if let Some(source) = &mut spec.csi {
        omit(&mut source.read_only);
        omit(&mut source.fs_type);
        omit(&mut source.volume_attributes);
    }
    if let Some(source) = &mut spec.iscsi {
        text(&mut source.iscsi_interface, "default");
    }
    if let Some(reference) = &mut spec.claim_ref {
        omit(&mut reference.api_version);
        omit(&mut reference.field_path);
        omit(&mut reference.resource_version);
        omit(&mut reference.uid);
    }
}
