//! What field selectors can ask of an object. The `core` group.

use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Event, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod,
    Secret, Service, ServiceAccount,
};

pub(crate) fn config_map(_: &ConfigMap) -> Vec<(&'static str, String)> {
    Vec::new()
}

pub(crate) fn endpoints(_: &Endpoints) -> Vec<(&'static str, String)> {
    Vec::new()
}

pub(crate) fn event(_: &Event) -> Vec<(&'static str, String)> {
    Vec::new()
}

pub(crate) fn namespace(_: &Namespace) -> Vec<(&'static str, String)> {
    Vec::new()
}

pub(crate) fn node(_: &Node) -> Vec<(&'static str, String)> {
    Vec::new()
}

pub(crate) fn persistent_volume_claim(_: &PersistentVolumeClaim) -> Vec<(&'static str, String)> {
    Vec::new()
}

pub(crate) fn persistent_volume(_: &PersistentVolume) -> Vec<(&'static str, String)> {
    Vec::new()
}

pub(crate) fn pod(_: &Pod) -> Vec<(&'static str, String)> {
    Vec::new()
}

pub(crate) fn secret(_: &Secret) -> Vec<(&'static str, String)> {
    Vec::new()
}

pub(crate) fn service_account(_: &ServiceAccount) -> Vec<(&'static str, String)> {
    Vec::new()
}

pub(crate) fn service(_: &Service) -> Vec<(&'static str, String)> {
    Vec::new()
}
