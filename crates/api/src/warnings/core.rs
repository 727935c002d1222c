//! What a `Warning` header says about an object. The `core` group.

use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Event, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod,
    Secret, Service, ServiceAccount,
};

pub(crate) fn config_map(_: &ConfigMap, _: Option<&ConfigMap>) -> Vec<String> {
    Vec::new()
}

pub(crate) fn endpoints(_: &Endpoints, _: Option<&Endpoints>) -> Vec<String> {
    Vec::new()
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
    _: &PersistentVolumeClaim,
    _: Option<&PersistentVolumeClaim>,
) -> Vec<String> {
    Vec::new()
}

pub(crate) fn persistent_volume(_: &PersistentVolume, _: Option<&PersistentVolume>) -> Vec<String> {
    Vec::new()
}

pub(crate) fn pod(_: &Pod, _: Option<&Pod>) -> Vec<String> {
    Vec::new()
}

pub(crate) fn secret(_: &Secret, _: Option<&Secret>) -> Vec<String> {
    Vec::new()
}

pub(crate) fn service_account(_: &ServiceAccount, _: Option<&ServiceAccount>) -> Vec<String> {
    Vec::new()
}

pub(crate) fn service(_: &Service, _: Option<&Service>) -> Vec<String> {
    Vec::new()
}
