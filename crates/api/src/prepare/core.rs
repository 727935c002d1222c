//! What clients may not write: dropped, kept from the stored object, or set. The `core` group.

use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Event, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod,
    Secret, Service, ServiceAccount,
};

use crate::resource::Part;

pub(crate) fn config_map(_: &mut ConfigMap, _: Option<&ConfigMap>, _: Part) {}

pub(crate) fn endpoints(_: &mut Endpoints, _: Option<&Endpoints>, _: Part) {}

pub(crate) fn event(_: &mut Event, _: Option<&Event>, _: Part) {}

pub(crate) fn namespace(_: &mut Namespace, _: Option<&Namespace>, _: Part) {}

pub(crate) fn node(_: &mut Node, _: Option<&Node>, _: Part) {}

pub(crate) fn persistent_volume_claim(
    _: &mut PersistentVolumeClaim,
    _: Option<&PersistentVolumeClaim>,
    _: Part,
) {
}

pub(crate) fn persistent_volume(_: &mut PersistentVolume, _: Option<&PersistentVolume>, _: Part) {}

pub(crate) fn pod(_: &mut Pod, _: Option<&Pod>, _: Part) {}

pub(crate) fn secret(_: &mut Secret, _: Option<&Secret>, _: Part) {}

pub(crate) fn service_account(_: &mut ServiceAccount, _: Option<&ServiceAccount>, _: Part) {}

pub(crate) fn service(_: &mut Service, _: Option<&Service>, _: Part) {}
