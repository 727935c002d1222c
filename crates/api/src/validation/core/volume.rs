//! What is wrong with the volumes of a pod.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        CSIVolumeSource, ConfigMapVolumeSource, EphemeralVolumeSource, HostPathVolumeSource,
        ISCSIVolumeSource, NFSVolumeSource, SecretVolumeSource, Volume,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{
    projected::{downward_file, key_paths, mode, projected},
    storage::claim_spec,
};
use crate::{
    names,
    quantity::Quantity,
    validation::{
        metadata::{annotations, labels},
        report::{At, Report, items, text},
    },
};

pub(super) const ONE_TYPE: &str = "may not specify more than 1 volume type";

/// What mounts need to know of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// A claim, which may be a block device.
    Claim,
    /// An image, mounted whole.
    Image,
    /// Any other.
    Other,
}

/// Judges the volumes and answers with those that mounts may name.
///
/// `claims` are the names of a set's claim templates: volumes that its pods will have.
pub(super) fn volumes<'a>(
    list: &'a [Volume],
    claims: &[&'a str],
    pod_name: &str,
    at: At<'_>,
    out: &mut Report,
) -> BTreeMap<&'a str, Known> {
    let mut known = BTreeMap::new();
    let created: Vec<String> = list
        .iter()
        .filter(|volume| volume.ephemeral.is_some() && !pod_name.is_empty())
        .map(|volume| format!("{pod_name}-{}", volume.name))
        .collect();
    for (index, volume) in list.iter().enumerate() {
        if claims.contains(&volume.name.as_str()) {
            continue; // the claim takes its place in every pod
        }
        let item = at.index(index);
        let before = out.len();
        source(volume, pod_name, item, out);
        volume_name(&volume.name, item.field("name"), out);
        if known.contains_key(volume.name.as_str()) {
            out.duplicate(item.field("name"), &*volume.name);
        }
        if out.len() == before {
            known.insert(volume.name.as_str(), kind_of(volume));
        }
        if let Some(claim) = &volume.persistent_volume_claim
            && created.contains(&claim.claim_name)
        {
            let why = "must not reference a PVC that gets created for an ephemeral volume";
            let at = item.field("persistentVolumeClaim");
            out.invalid(at.field("claimName"), &*claim.claim_name, why);
        }
    }
    for (index, claim) in claims.iter().enumerate() {
        if !claims[..index].contains(claim) {
            let item = at.index(list.len() + index);
            volume_name(claim, item.field("name"), out);
            known.insert(claim, Known::Claim);
        }
    }
    known
}

fn volume_name(name: &str, at: At<'_>, out: &mut Report) {
    if name.is_empty() {
        out.required(at, "");
    } else {
        out.faults(at, name, names::dns_label(name));
    }
}

fn kind_of(volume: &Volume) -> Known {
    if volume.persistent_volume_claim.is_some() || volume.ephemeral.is_some() {
        Known::Claim
    } else if volume.image.is_some() {
        Known::Image
    } else {
        Known::Other
    }
}

/// Exactly one source, and that one in order.
fn source(volume: &Volume, pod_name: &str, at: At<'_>, out: &mut Report) {
    let present = [
        ("emptyDir", volume.empty_dir.is_some()),
        ("hostPath", volume.host_path.is_some()),
        ("gitRepo", volume.git_repo.is_some()),
        ("gcePersistentDisk", volume.gce_persistent_disk.is_some()),
        ("awsElasticBlockStore", volume.aws_elastic_block_store.is_some()),
        ("secret", volume.secret.is_some()),
        ("nfs", volume.nfs.is_some()),
        ("iscsi", volume.iscsi.is_some()),
        ("glusterfs", volume.glusterfs.is_some()),
        ("flocker", volume.flocker.is_some()),
        ("persistentVolumeClaim", volume.persistent_volume_claim.is_some()),
        ("rbd", volume.rbd.is_some()),
        ("cinder", volume.cinder.is_some()),
        ("cephFS", volume.cephfs.is_some()),
        ("quobyte", volume.quobyte.is_some()),
        ("downwarAPI", volume.downward_api.is_some()),
        ("fc", volume.fc.is_some()),
        ("flexVolume", volume.flex_volume.is_some()),
        ("configMap", volume.config_map.is_some()),
        ("azureFile", volume.azure_file.is_some()),
        ("vsphereVolume", volume.vsphere_volume.is_some()),
        ("photonPersistentDisk", volume.photon_persistent_disk.is_some()),
        ("portworxVolume", volume.portworx_volume.is_some()),
        ("azureDisk", volume.azure_disk.is_some()),
        ("storageos", volume.storageos.is_some()),
        ("projected", volume.projected.is_some()),
        ("scaleIO", volume.scale_io.is_some()),
        ("csi", volume.csi.is_some()),
        ("ephemeral", volume.ephemeral.is_some()),
        ("image", volume.image.is_some()),
    ];
    let mut present = present.into_iter().filter(|(_, there)| *there).map(|(field, _)| field);
    let Some(first) = present.next() else {
        out.required(at, "must specify a volume type");
        return;
    };
    one_source(volume, first, pod_name, at, out);
    for another in present {
        out.forbidden(at.field(another), ONE_TYPE);
    }
}

fn one_source(volume: &Volume, first: &str, pod_name: &str, at: At<'_>, out: &mut Report) {
    let at_source = at.field(first);
    match first {
        "emptyDir" => {
            let limit = volume.empty_dir.as_ref().and_then(|source| source.size_limit.as_ref());
            if limit
                .is_some_and(|limit| Quantity::parse(&limit.0).map_or(true, Quantity::is_negative))
            {
                let why = "SizeLimit field must be a valid resource quantity";
                out.forbidden(at_source.field("sizeLimit"), why);
            }
        }
        "hostPath" => volume.host_path.iter().for_each(|s| host_path(s, at_source, out)),
        "secret" => volume.secret.iter().for_each(|s| secret(s, at_source, out)),
        "nfs" => volume.nfs.iter().for_each(|s| nfs(s, at_source, out)),
        "iscsi" => volume.iscsi.iter().for_each(|s| iscsi(s, &volume.name, at, out)),
        "persistentVolumeClaim" => {
            let claim = volume.persistent_volume_claim.as_ref();
            if claim.is_some_and(|claim| claim.claim_name.is_empty()) {
                out.required(at_source.field("claimName"), "");
            }
        }
        "downwarAPI" => {
            let at = at.field("downwardAPI");
            if let Some(source) = &volume.downward_api {
                mode(source.default_mode, at.field("defaultMode"), out);
                items(&source.items).iter().for_each(|file| downward_file(file, at, out));
            }
        }
        "configMap" => volume.config_map.iter().for_each(|s| config_map(s, at_source, out)),
        "projected" => volume.projected.iter().for_each(|s| projected(s, at_source, out)),
        "csi" => volume.csi.iter().for_each(|s| csi(s, at_source, out)),
        "ephemeral" => {
            let source = volume.ephemeral.iter();
            source.for_each(|s| ephemeral(s, &volume.name, pod_name, at_source, out));
        }
        "image" => {
            if let Some(source) = &volume.image {
                if text(&source.reference).is_empty() {
                    out.required(at_source.field("reference"), "");
                }
                let policy = text(&source.pull_policy);
                let known = ["Always", "IfNotPresent", "Never"];
                out.choice(at_source.field("pullPolicy"), policy, &known);
            }
        }
        _ => old_plugin(volume, at, out),
    }
}

/// Sources that no node serves any more keep their required fields.
fn old_plugin(volume: &Volume, at: At<'_>, out: &mut Report) {
    let mut need = |source: &str, field: &str, value: &str| {
        if value.is_empty() {
            out.required(at.field(source).field(field), "");
        }
    };
    if let Some(source) = &volume.git_repo {
        need("gitRepo", "repository", &source.repository);
    }
    if let Some(source) = &volume.gce_persistent_disk {
        need("persistentDisk", "pdName", &source.pd_name);
    }
    if let Some(source) = &volume.aws_elastic_block_store {
        need("awsElasticBlockStore", "volumeID", &source.volume_id);
    }
    if let Some(source) = &volume.glusterfs {
        need("glusterfs", "endpoints", &source.endpoints);
        need("glusterfs", "path", &source.path);
    }
    if let Some(source) = &volume.rbd {
        need("rbd", "image", &source.image);
        need("rbd", "monitors", source.monitors.first().map_or("", String::as_str));
    }
    if let Some(source) = &volume.cephfs {
        need("cephfs", "monitors", source.monitors.first().map_or("", String::as_str));
    }
    if let Some(source) = &volume.cinder {
        need("cinder", "volumeID", &source.volume_id);
    }
    if let Some(source) = &volume.flex_volume {
        need("flexVolume", "driver", &source.driver);
    }
    if let Some(source) = &volume.azure_file {
        need("azureFile", "secretName", &source.secret_name);
        need("azureFile", "shareName", &source.share_name);
    }
    if let Some(source) = &volume.azure_disk {
        need("azureDisk", "diskName", &source.disk_name);
        need("azureDisk", "diskURI", &source.disk_uri);
    }
    if let Some(source) = &volume.vsphere_volume {
        need("vsphereVolume", "volumePath", &source.volume_path);
    }
    if let Some(source) = &volume.portworx_volume {
        need("portworxVolume", "volumeID", &source.volume_id);
    }
}

pub(super) fn host_path(source: &HostPathVolumeSource, at: At<'_>, out: &mut Report) {
    if source.path.is_empty() {
        out.required(at.field("path"), "");
        return;
    }
    no_backsteps(&source.path, at.field("path"), out);
    if let Some(kind) = &source.type_ {
        let known = [
            "",
            "BlockDevice",
            "CharDevice",
            "Directory",
            "DirectoryOrCreate",
            "File",
            "FileOrCreate",
            "Socket",
        ];
        out.known(at.field("type"), kind, &known);
    }
}

pub(super) fn nfs(source: &NFSVolumeSource, at: At<'_>, out: &mut Report) {
    if source.server.is_empty() {
        out.required(at.field("server"), "");
    }
    if source.path.is_empty() {
        out.required(at.field("path"), "");
    }
    if !source.path.starts_with('/') {
        out.invalid(at.field("path"), &*source.path, "must be an absolute path");
    }
}

fn iscsi(source: &ISCSIVolumeSource, name: &str, at: At<'_>, out: &mut Report) {
    let at_source = at.field("iscsi");
    if source.target_portal.is_empty() {
        out.required(at_source.field("targetPortal"), "");
    }
    let known = ["iqn", "eui", "naa"].iter().any(|prefix| source.iqn.starts_with(prefix));
    if source.iqn.is_empty() {
        out.required(at_source.field("iqn"), "");
    } else if !known {
        let why = "must be valid format starting with iqn, eui, or naa";
        out.invalid(at_source.field("iqn"), &*source.iqn, why);
    }
    if !(0..=255).contains(&source.lun) {
        out.invalid(at_source.field("lun"), source.lun, &names::out_of_range(0, 255));
    }
    if source.initiator_name.is_some() && name.len() + 1 + source.target_portal.len() > 64 {
        let why = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters \
                   if iscsi.initiatorName is specified.";
        out.invalid(at.field("name"), name, why);
    }
}

fn secret(source: &SecretVolumeSource, at: At<'_>, out: &mut Report) {
    if text(&source.secret_name).is_empty() {
        out.required(at.field("secretName"), "");
    }
    mode(source.default_mode, at.field("defaultMode"), out);
    key_paths(items(&source.items), at, out);
}

fn config_map(source: &ConfigMapVolumeSource, at: At<'_>, out: &mut Report) {
    if source.name.is_empty() {
        out.required(at.field("name"), "");
    }
    mode(source.default_mode, at.field("defaultMode"), out);
    key_paths(items(&source.items), at, out);
}

fn csi(source: &CSIVolumeSource, at: At<'_>, out: &mut Report) {
    super::storage::driver_name(&source.driver, at.field("driver"), out);
    if let Some(secret) = &source.node_publish_secret_ref {
        if secret.name.is_empty() {
            out.required(at.field("nodePublishSecretRef").field("name"), "");
        } else {
            out.faults(at.field("name"), &secret.name, names::dns_subdomain(&secret.name));
        }
    }
}

fn ephemeral(
    source: &EphemeralVolumeSource,
    name: &str,
    pod_name: &str,
    at: At<'_>,
    out: &mut Report,
) {
    let at_template = at.field("volumeClaimTemplate");
    let Some(template) = &source.volume_claim_template else {
        out.required(at_template, "");
        return;
    };
    if let Some(meta) = &template.metadata {
        template_metadata(meta, at_template.field("metadata"), out);
    }
    claim_spec(&template.spec, at_template.field("spec"), out);
    if !pod_name.is_empty() && !name.is_empty() {
        let claim = format!("{pod_name}-{name}");
        for fault in names::dns_subdomain(&claim) {
            out.invalid(at.field("name"), name, &format!("PVC name {claim:?}: {fault}"));
        }
    }
}

/// Labels and annotations only: the rest is made from the pod.
fn template_metadata(meta: &ObjectMeta, at: At<'_>, out: &mut Report) {
    annotations(&meta.annotations, at.field("annotations"), out);
    labels(&meta.labels, at.field("labels"), out);
    for (field, set) in [
        ("name", meta.name.is_some()),
        ("generateName", meta.generate_name.is_some()),
        ("namespace", meta.namespace.is_some()),
        ("uid", meta.uid.is_some()),
        ("ownerReferences", meta.owner_references.is_some()),
        ("finalizers", meta.finalizers.is_some()),
    ] {
        if set {
            out.forbidden(at.field(field), "cannot be set");
        }
    }
}

/// A relative path that stays below where it starts.
pub(super) fn descending_path(path: &str, at: At<'_>, out: &mut Report) {
    if path.starts_with('/') {
        out.invalid(at, path, "must be a relative path");
    }
    no_backsteps(path, at, out);
}

/// Refuses `..` anywhere in a path.
pub(super) fn no_backsteps(path: &str, at: At<'_>, out: &mut Report) {
    if has_backsteps(path) {
        out.invalid(at, path, "must not contain '..'");
    }
}

pub(super) fn has_backsteps(path: &str) -> bool {
    path.split('/').any(|part| part == "..")
}
