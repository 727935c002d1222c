//! What upstream fills in where a field is absent. The `core` group.

use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Event, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod,
    Secret, Service, ServiceAccount,
};

pub(crate) fn config_map(_: &mut ConfigMap) {}

pub(crate) fn endpoints(_: &mut Endpoints) {}

pub(crate) fn event(_: &mut Event) {}

pub(crate) fn namespace(_: &mut Namespace) {}

pub(crate) fn node(_: &mut Node) {}

pub(crate) fn persistent_volume_claim(_: &mut PersistentVolumeClaim) {}

pub(crate) fn persistent_volume(_: &mut PersistentVolume) {}

pub(crate) fn pod(_: &mut Pod) {}

pub(crate) fn secret(_: &mut Secret) {}

pub(crate) fn service_account(_: &mut ServiceAccount) {}

pub(crate) fn service(_: &mut Service) {}
