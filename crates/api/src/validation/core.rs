//! What is wrong with an object or a change, in upstream's words. The `core` group.

use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Event, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod,
    Secret, Service, ServiceAccount,
};

use crate::{field::Cause, resource::Part};

pub(crate) fn config_map(_: &ConfigMap, _: Option<&ConfigMap>, _: Part) -> Vec<Cause> {
    Vec::new()
}

pub(crate) fn endpoints(_: &Endpoints, _: Option<&Endpoints>, _: Part) -> Vec<Cause> {
    Vec::new()
}

pub(crate) fn event(_: &Event, _: Option<&Event>, _: Part) -> Vec<Cause> {
    Vec::new()
}

pub(crate) fn namespace(_: &Namespace, _: Option<&Namespace>, _: Part) -> Vec<Cause> {
    Vec::new()
}

pub(crate) fn node(_: &Node, _: Option<&Node>, _: Part) -> Vec<Cause> {
    Vec::new()
}

pub(crate) fn persistent_volume_claim(
    _: &PersistentVolumeClaim,
    _: Option<&PersistentVolumeClaim>,
    _: Part,
) -> Vec<Cause> {
    Vec::new()
}

pub(crate) fn persistent_volume(
    _: &PersistentVolume,
    _: Option<&PersistentVolume>,
    _: Part,
) -> Vec<Cause> {
    Vec::new()
}

pub(crate) fn pod(_: &Pod, _: Option<&Pod>, _: Part) -> Vec<Cause> {
    Vec::new()
}

pub(crate) fn secret(_: &Secret, _: Option<&Secret>, _: Part) -> Vec<Cause> {
    Vec::new()
}

pub(crate) fn service_account(
    _: &ServiceAccount,
    _: Option<&ServiceAccount>,
    _: Part,
) -> Vec<Cause> {
    Vec::new()
}

pub(crate) fn service(_: &Service, _: Option<&Service>, _: Part) -> Vec<Cause> {
    Vec::new()
}
