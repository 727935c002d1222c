//! What clients may not write: dropped, kept from the stored object, or set. The `core` group.

use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Event, LimitRange, Namespace, NamespaceStatus, Node, PersistentVolume,
    PersistentVolumeClaim, PersistentVolumeClaimStatus, PersistentVolumeStatus, Pod, PodCondition,
    PodStatus, ResourceQuota, Secret, ServiceAccount,
};

pub(crate) use super::service::service;
use super::{generation, metadata, qos_class};
use crate::resource::Part;

/// What keeps a namespace until its content is gone.
const NAMESPACE_FINALIZER: &str = "kubernetes";

pub(crate) fn config_map(map: &mut ConfigMap, old: Option<&ConfigMap>, _: Part) {
    metadata(&mut map.metadata, old.map(|old| &old.metadata));
}

pub(crate) fn endpoints(endpoints: &mut Endpoints, old: Option<&Endpoints>, _: Part) {
    metadata(&mut endpoints.metadata, old.map(|old| &old.metadata));
}

pub(crate) fn event(event: &mut Event, old: Option<&Event>, _: Part) {
    metadata(&mut event.metadata, old.map(|old| &old.metadata));
}

pub(crate) fn namespace(namespace: &mut Namespace, old: Option<&Namespace>, part: Part) {
    metadata(&mut namespace.metadata, old.map(|old| &old.metadata));
    match (old, part) {
        (None, _) => {
            let phase = Some("Active".to_owned());
            namespace.status = Some(NamespaceStatus { phase, ..NamespaceStatus::default() });
            let spec = namespace.spec.get_or_insert_default();
            let finalizers = spec.finalizers.get_or_insert_default();
            if !finalizers.iter().any(|name| name == NAMESPACE_FINALIZER) {
                finalizers.push(NAMESPACE_FINALIZER.to_owned());
            }
        }
        (Some(old), Part::Main) => {
            namespace.spec.clone_from(&old.spec);
            namespace.status.clone_from(&old.status);
        }
        (Some(old), Part::Status) => namespace.spec.clone_from(&old.spec),
    }
}

/// The change through `finalize`: only the finalizers of the spec are the client's.
pub fn finalize(namespace: &mut Namespace, old: &Namespace) {
    metadata(&mut namespace.metadata, Some(&old.metadata));
    namespace.status.clone_from(&old.status);
}

/// A node may be created with its status: that is how nodes register.
pub(crate) fn node(node: &mut Node, old: Option<&Node>, part: Part) {
    metadata(&mut node.metadata, old.map(|old| &old.metadata));
    if let Some(spec) = &mut node.spec {
        match (&spec.pod_cidr, &spec.pod_cidrs) {
            (Some(network), None) => spec.pod_cidrs = Some(vec![network.clone()]),
            (None, Some(networks)) => spec.pod_cidr = networks.first().cloned(),
            _ => {}
        }
    }
    match (old, part) {
        (None, _) => {}
        (Some(old), Part::Main) => node.status.clone_from(&old.status),
        (Some(old), Part::Status) => node.spec.clone_from(&old.spec),
    }
}

pub(crate) fn persistent_volume_claim(
    claim: &mut PersistentVolumeClaim,
    old: Option<&PersistentVolumeClaim>,
    part: Part,
) {
    metadata(&mut claim.metadata, old.map(|old| &old.metadata));
    match (old, part) {
        (None, _) => {
            let phase = Some("Pending".to_owned());
            let status = PersistentVolumeClaimStatus { phase, ..Default::default() };
            claim.status = Some(status);
        }
        (Some(old), Part::Main) => claim.status.clone_from(&old.status),
        (Some(old), Part::Status) => claim.spec.clone_from(&old.spec),
    }
}

pub(crate) fn persistent_volume(
    volume: &mut PersistentVolume,
    old: Option<&PersistentVolume>,
    part: Part,
) {
    metadata(&mut volume.metadata, old.map(|old| &old.metadata));
    match (old, part) {
        (None, _) => {
            volume.status = Some(PersistentVolumeStatus {
                phase: Some("Pending".to_owned()),
                last_phase_transition_time: volume.metadata.creation_timestamp.clone(),
                ..PersistentVolumeStatus::default()
            });
        }
        (Some(old), Part::Main) => volume.status.clone_from(&old.status),
        (Some(old), Part::Status) => volume.spec.clone_from(&old.spec),
    }
}

pub(crate) fn pod(pod: &mut Pod, old: Option<&Pod>, part: Part) {
    metadata(&mut pod.metadata, old.map(|old| &old.metadata));
    let Some(old) = old else {
        generation(&mut pod.metadata, None, true);
        pod.status = Some(PodStatus {
            phase: Some("Pending".to_owned()),
            qos_class: Some(qos_class(pod).to_owned()),
            conditions: gated(pod),
            ..PodStatus::default()
        });
        return;
    };
    match part {
        Part::Main => {
            pod.status.clone_from(&old.status);
            generation(&mut pod.metadata, Some(&old.metadata), pod.spec != old.spec);
        }
        Part::Status => {
            pod.spec.clone_from(&old.spec);
            // Only the main endpoint changes who owns a pod.
            pod.metadata.owner_references.clone_from(&old.metadata.owner_references);
            let class = old.status.as_ref().and_then(|status| status.qos_class.clone());
            let status = pod.status.get_or_insert_default();
            if status.qos_class.is_none() {
                status.qos_class = class;
            }
        }
    }
}

/// Why a pod with gates is not scheduled, said from its first moment.
fn gated(pod: &Pod) -> Option<Vec<PodCondition>> {
    let gates = pod.spec.as_ref()?.scheduling_gates.as_ref()?;
    if gates.is_empty() {
        return None;
    }
    Some(vec![PodCondition {
        type_: "PodScheduled".to_owned(),
        status: "False".to_owned(),
        reason: Some("SchedulingGated".to_owned()),
        message: Some("Scheduling is blocked due to non-empty scheduling gates".to_owned()),
        ..PodCondition::default()
    }])
}

pub(crate) fn limit_range(range: &mut LimitRange, old: Option<&LimitRange>, _: Part) {
    metadata(&mut range.metadata, old.map(|old| &old.metadata));
}

/// Its status is the server's own, counted with every write that it concerns.
pub(crate) fn resource_quota(quota: &mut ResourceQuota, old: Option<&ResourceQuota>, part: Part) {
    metadata(&mut quota.metadata, old.map(|old| &old.metadata));
    match (old, part) {
        (None, _) => quota.status = None,
        (Some(old), Part::Main) => quota.status.clone_from(&old.status),
        (Some(old), Part::Status) => quota.spec.clone_from(&old.spec),
    }
}

pub(crate) fn secret(secret: &mut Secret, old: Option<&Secret>, _: Part) {
    metadata(&mut secret.metadata, old.map(|old| &old.metadata));
}

pub(crate) fn service_account(account: &mut ServiceAccount, old: Option<&ServiceAccount>, _: Part) {
    metadata(&mut account.metadata, old.map(|old| &old.metadata));
}
