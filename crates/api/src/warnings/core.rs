//! What a `Warning` header says about an object. The `core` group.

use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Event, LimitRange, Namespace, Node, PersistentVolume,
    PersistentVolumeClaim, Pod, ResourceQuota, Secret, Service, ServiceAccount,
};

use crate::field::Path;

pub(crate) fn config_map(_: &ConfigMap, _: Option<&ConfigMap>) -> Vec<String> {
    Vec::new()
}

pub(crate) fn endpoints(_: &Endpoints, _: Option<&Endpoints>) -> Vec<String> {
    vec!["v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice".to_owned()]
}

pub(crate) fn event(_: &Event, _: Option<&Event>) -> Vec<String> {
    Vec::new()
}

pub(crate) fn namespace(_: &Namespace, _: Option<&Namespace>) -> Vec<String> {
    Vec::new()
}

pub(crate) fn node(_: &Node, _: Option<&Node>) -> Vec<String> {
    Vec::new()
}

pub(crate) fn persistent_volume_claim(
    claim: &PersistentVolumeClaim,
    _: Option<&PersistentVolumeClaim>,
) -> Vec<String> {
    let mut out = Vec::new();
    if let Some(spec) = &claim.spec {
        super::pod::claim_spec(spec, &Path::new("spec"), &mut out);
    }
    out
}

pub(crate) fn persistent_volume(
    volume: &PersistentVolume,
    _: Option<&PersistentVolume>,
) -> Vec<String> {
    let spec = volume.spec.as_ref();
    let recycled =
        spec.and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref()) == Some("Recycle");
    if recycled {
        let why = "The Recycle reclaim policy is deprecated. Instead, the recommended approach is \
                   to use dynamic provisioning.";
        vec![format!("spec.persistentVolumeReclaimPolicy: {why}")]
    } else {
        Vec::new()
    }
}

pub(crate) fn pod(pod: &Pod, old: Option<&Pod>) -> Vec<String> {
    let unchanged = old.is_some_and(|old| old.spec == pod.spec);
    match &pod.spec {
        Some(spec) if !unchanged => super::pod::pod(spec, &pod.metadata, &Path::default()),
        _ => Vec::new(),
    }
}

pub(crate) fn limit_range(_: &LimitRange, _: Option<&LimitRange>) -> Vec<String> {
    Vec::new()
}

pub(crate) fn resource_quota(_: &ResourceQuota, _: Option<&ResourceQuota>) -> Vec<String> {
    Vec::new()
}

pub(crate) fn secret(_: &Secret, _: Option<&Secret>) -> Vec<String> {
    Vec::new()
}

pub(crate) fn service_account(_: &ServiceAccount, _: Option<&ServiceAccount>) -> Vec<String> {
    Vec::new()
}

pub(crate) fn service(service: &Service, _: Option<&Service>) -> Vec<String> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let headless = spec.cluster_ip.as_deref() == Some("None");
    let mut out = Vec::new();
    if headless && spec.load_balancer_ip.is_some() {
        let why = "ignored when `.spec.clusterIP` is set to \"None\"";
        out.push(format!("spec.loadBalancerIP: {why}"));
    }
    if headless && spec.session_affinity.as_deref() == Some("ClientIP") {
        out.push("spec.SessionAffinity is ignored for headless services".to_owned());
    }
    out
}
