//! What upstream fills in where a field is absent. The `core` group.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{
    ConfigMap, Event, LimitRange, Namespace, Node, ObjectReference, ResourceQuota, Secret,
    ServiceAccount,
};

use super::omit::{metadata, omit, text};
pub(crate) use super::{
    pod::pod,
    service::{endpoints, service},
    volume::{persistent_volume, persistent_volume_claim},
};
use crate::quantity;

/// The label every namespace bears: its own name.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

pub(crate) fn config_map(map: &mut ConfigMap) {
    metadata(&mut map.metadata);
    omit(&mut map.binary_data);
    omit(&mut map.data);
}

pub(crate) fn event(event: &mut Event) {
    metadata(&mut event.metadata);
    event.source.get_or_insert_default();
    event.reporting_component.get_or_insert_default();
    event.reporting_instance.get_or_insert_default();
    omit(&mut event.action);
    omit(&mut event.count);
    omit(&mut event.message);
    omit(&mut event.reason);
    omit(&mut event.type_);
    reference(&mut event.involved_object);
}

/// Drops what a reference does not print.
pub(super) fn reference(reference: &mut ObjectReference) {
    omit(&mut reference.api_version);
    omit(&mut reference.field_path);
    omit(&mut reference.kind);
    omit(&mut reference.name);
    omit(&mut reference.namespace);
    omit(&mut reference.resource_version);
    omit(&mut reference.uid);
}

pub(crate) fn namespace(namespace: &mut Namespace) {
    metadata(&mut namespace.metadata);
    if let Some(name) = &namespace.metadata.name {
        let labels = namespace.metadata.labels.get_or_insert_default();
        labels.insert(NAMESPACE_NAME.to_owned(), name.clone());
    }
    omit(&mut namespace.spec.get_or_insert_default().finalizers);
    let status = namespace.status.get_or_insert_default();
    text(&mut status.phase, "Active");
    omit(&mut status.conditions);
}

pub(crate) fn node(node: &mut Node) {
    metadata(&mut node.metadata);
    let spec = node.spec.get_or_insert_default();
    omit(&mut spec.external_id);
    omit(&mut spec.pod_cidr);
    omit(&mut spec.pod_cidrs);
    omit(&mut spec.provider_id);
    omit(&mut spec.taints);
    omit(&mut spec.unschedulable);
    for taint in spec.taints.iter_mut().flatten() {
        omit(&mut taint.value);
    }
    let status = node.status.get_or_insert_default();
    omit(&mut status.phase);
    status.daemon_endpoints.get_or_insert_default().kubelet_endpoint.get_or_insert_default();
    status.node_info.get_or_insert_default();
    omit(&mut status.capacity);
    if status.allocatable.is_none() {
        status.allocatable.clone_from(&status.capacity);
    }
    let lists = [&mut status.capacity, &mut status.allocatable];
    lists.into_iter().flatten().for_each(quantity::canonicalise_list);
}

/// What a container may have is what it gets where it names nothing, and what it is sure of is that.
pub(crate) fn limit_range(range: &mut LimitRange) {
    metadata(&mut range.metadata);
    for item in range.spec.iter_mut().flat_map(|spec| spec.limits.iter_mut()) {
        if item.type_ == "Container" {
            let max = item.max.clone().unwrap_or_default();
            let default = item.default.get_or_insert_default();
            for (name, value) in max {
                default.entry(name).or_insert(value);
            }
            let (default, min) = (default.clone(), item.min.clone().unwrap_or_default());
            let request = item.default_request.get_or_insert_default();
            for (name, value) in default.into_iter().chain(min) {
                request.entry(name).or_insert(value);
            }
        }
        let lists = [
            &mut item.max,
            &mut item.min,
            &mut item.default,
            &mut item.default_request,
            &mut item.max_limit_request_ratio,
        ];
        for list in lists {
            omit(list);
            list.iter_mut().for_each(quantity::canonicalise_list);
        }
    }
}

pub(crate) fn resource_quota(quota: &mut ResourceQuota) {
    metadata(&mut quota.metadata);
    let spec = quota.spec.get_or_insert_default();
    omit(&mut spec.hard);
    omit(&mut spec.scopes);
    spec.hard.iter_mut().for_each(quantity::canonicalise_list);
    let status = quota.status.get_or_insert_default();
    for list in [&mut status.hard, &mut status.used] {
        omit(list);
        list.iter_mut().for_each(quantity::canonicalise_list);
    }
}

/// `stringData` is for writing only: it is folded into `data`, where it wins.
pub(crate) fn secret(secret: &mut Secret) {
    metadata(&mut secret.metadata);
    text(&mut secret.type_, "Opaque");
    for (key, text) in secret.string_data.take().into_iter().flatten() {
        secret.data.get_or_insert_default().insert(key, ByteString(text.into_bytes()));
    }
    omit(&mut secret.data);
}

pub(crate) fn service_account(account: &mut ServiceAccount) {
    metadata(&mut account.metadata);
    omit(&mut account.secrets);
    omit(&mut account.image_pull_secrets);
}
