//! What field selectors can ask of an object. The `core` group.

use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Event, LimitRange, Namespace, Node, ObjectReference, PersistentVolume,
    PersistentVolumeClaim, Pod, ResourceQuota, Secret, Service, ServiceAccount,
};

pub(crate) fn config_map(_: &ConfigMap) -> Vec<(&'static str, String)> {
    Vec::new()
}

pub(crate) fn endpoints(_: &Endpoints) -> Vec<(&'static str, String)> {
    Vec::new()
}

pub(crate) fn event(it: &Event) -> Vec<(&'static str, String)> {
    let source = it.source.as_ref().and_then(|source| source.component.as_ref());
    event_fields(&Asked {
        about: Some(&it.involved_object),
        reason: it.reason.as_ref(),
        controller: it.reporting_component.as_ref(),
        source,
        kind: it.type_.as_ref(),
    })
}

pub(crate) fn namespace(it: &Namespace) -> Vec<(&'static str, String)> {
    let phase = it.status.as_ref().and_then(|status| status.phase.clone());
    vec![("status.phase", phase.unwrap_or_default())]
}

pub(crate) fn node(it: &Node) -> Vec<(&'static str, String)> {
    // A node without the field is schedulable: clients ask for `=false`.
    let off = it.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false);
    vec![("spec.unschedulable", off.to_string())]
}

pub(crate) fn persistent_volume_claim(_: &PersistentVolumeClaim) -> Vec<(&'static str, String)> {
    Vec::new()
}

pub(crate) fn persistent_volume(_: &PersistentVolume) -> Vec<(&'static str, String)> {
    Vec::new()
}

pub(crate) fn pod(it: &Pod) -> Vec<(&'static str, String)> {
    let spec = it.spec.as_ref();
    let status = it.status.as_ref();
    let ips = status.and_then(|status| status.pod_ips.as_ref());
    // Upstream asks the first of podIPs; podIP alone appears in hand-made objects.
    let ip = ips.and_then(|ips| ips.first()).map(|ip| &ip.ip);
    let ip = ip.or_else(|| status.and_then(|status| status.pod_ip.as_ref()));
    let host_network = spec.and_then(|spec| spec.host_network).unwrap_or(false);
    let phase = status.and_then(|status| status.phase.as_ref());
    let nominated = status.and_then(|status| status.nominated_node_name.as_ref());
    vec![
        ("spec.nodeName", word(spec.and_then(|spec| spec.node_name.as_ref()))),
        ("spec.restartPolicy", word(spec.and_then(|spec| spec.restart_policy.as_ref()))),
        ("spec.schedulerName", word(spec.and_then(|spec| spec.scheduler_name.as_ref()))),
        ("spec.serviceAccountName", word(spec.and_then(|spec| spec.service_account_name.as_ref()))),
        ("spec.hostNetwork", host_network.to_string()),
        ("status.phase", word(phase)),
        ("status.podIP", word(ip)),
        ("status.nominatedNodeName", word(nominated)),
    ]
}

pub(crate) fn secret(it: &Secret) -> Vec<(&'static str, String)> {
    vec![("type", it.type_.clone().unwrap_or_default())]
}

pub(crate) fn limit_range(_: &LimitRange) -> Vec<(&'static str, String)> {
    Vec::new()
}

pub(crate) fn resource_quota(_: &ResourceQuota) -> Vec<(&'static str, String)> {
    Vec::new()
}

pub(crate) fn service_account(_: &ServiceAccount) -> Vec<(&'static str, String)> {
    Vec::new()
}

pub(crate) fn service(it: &Service) -> Vec<(&'static str, String)> {
    let spec = it.spec.clone().unwrap_or_default();
    vec![
        ("spec.clusterIP", spec.cluster_ip.unwrap_or_default()),
        ("spec.type", spec.type_.unwrap_or_default()),
    ]
}

/// What selectors ask of an event of either group, under the names of the core group.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) about: Option<&'a ObjectReference>,
    pub(crate) reason: Option<&'a String>,
    pub(crate) controller: Option<&'a String>,
    pub(crate) source: Option<&'a String>,
    pub(crate) kind: Option<&'a String>,
}

pub(crate) fn event_fields(it: &Asked<'_>) -> Vec<(&'static str, String)> {
    let none = ObjectReference::default();
    let about = it.about.unwrap_or(&none);
    let source = it.source.filter(|source| !source.is_empty()).or(it.controller);
    vec![
        ("involvedObject.kind", word(about.kind.as_ref())),
        ("involvedObject.namespace", word(about.namespace.as_ref())),
        ("involvedObject.name", word(about.name.as_ref())),
        ("involvedObject.uid", word(about.uid.as_ref())),
        ("involvedObject.apiVersion", word(about.api_version.as_ref())),
        ("involvedObject.resourceVersion", word(about.resource_version.as_ref())),
        ("involvedObject.fieldPath", word(about.field_path.as_ref())),
        ("reason", word(it.reason)),
        ("reportingComponent", word(it.controller)),
        ("source", word(source)),
        ("type", word(it.kind)),
    ]
}

fn word(word: Option<&String>) -> String {
    word.cloned().unwrap_or_default()
}
