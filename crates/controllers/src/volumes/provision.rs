//! The volume of the built-in class: a folder on the node that its first consumer runs on.

use std::collections::BTreeMap;

use api::{
    k8s::{
        api::core::v1::{
            LocalVolumeSource, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm,
            PersistentVolume, PersistentVolumeSpec, VolumeNodeAffinity,
        },
        apimachinery::pkg::apis::meta::v1::ObjectMeta,
    },
    object::reference,
};

use super::{
    LOCAL_PATH, LOCAL_PROVISIONER, PROVISIONED_BY, SELECTED_NODE, VOLUME_PROTECTION, claim::View,
};

/// The volume for this claim on its selected node; `None` until that node says where it keeps them.
pub(super) fn volume(view: &View) -> Option<PersistentVolume> {
    let class = view.class.as_ref()?;
    let meta = &view.claim.metadata;
    let annotations = meta.annotations.as_ref();
    let selected = annotations.and_then(|all| all.get(SELECTED_NODE));
    let node = match selected {
        Some(name) => view.nodes.iter().find(|node| node.metadata.name.as_ref() == Some(name))?,
        None => view.nodes.iter().find(|node| folder(node).is_some())?,
    };
    let name = format!("pvc-{}", meta.uid.as_deref()?);
    let spec = view.claim.spec.clone().unwrap_or_default();
    let requests = spec.resources.and_then(|resources| resources.requests).unwrap_or_default();
    let storage = requests.get("storage").cloned().unwrap_or_default();
    Some(PersistentVolume {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            annotations: Some(BTreeMap::from([(
                PROVISIONED_BY.to_owned(),
                LOCAL_PROVISIONER.to_owned(),
            )])),
            finalizers: Some(vec![VOLUME_PROTECTION.to_owned()]),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeSpec {
            access_modes: spec.access_modes,
            capacity: Some(BTreeMap::from([("storage".to_owned(), storage)])),
            claim_ref: Some(reference(&*view.claim)),
            local: Some(LocalVolumeSource {
                path: format!("{}/{name}", folder(node)?),
                fs_type: None,
            }),
            mount_options: class.mount_options.clone(),
            node_affinity: Some(only_on(hostname(node))),
            persistent_volume_reclaim_policy: class.reclaim_policy.clone(),
            storage_class_name: class.metadata.name.clone(),
            volume_mode: spec.volume_mode,
            ..PersistentVolumeSpec::default()
        }),
        status: None,
    })
}

fn folder(node: &api::k8s::api::core::v1::Node) -> Option<&str> {
    let annotations = node.metadata.annotations.as_ref()?;
    annotations.get(LOCAL_PATH).map(String::as_str)
}

fn hostname(node: &api::k8s::api::core::v1::Node) -> String {
    let labels = node.metadata.labels.as_ref();
    let label = labels.and_then(|labels| labels.get("kubernetes.io/hostname")).cloned();
    label.or_else(|| node.metadata.name.clone()).unwrap_or_default()
}

fn only_on(hostname: String) -> VolumeNodeAffinity {
    let requirement = NodeSelectorRequirement {
        key: "kubernetes.io/hostname".to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![hostname]),
    };
    let term = NodeSelectorTerm { match_expressions: Some(vec![requirement]), match_fields: None };
    VolumeNodeAffinity { required: Some(NodeSelector { node_selector_terms: vec![term] }) }
}
