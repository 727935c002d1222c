//! The columns of `kubectl get` and their cells. The `core` group.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Event, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod,
    Secret, Service, ServiceAccount,
};
use serde_json::Value;

use crate::resource::Column;

pub(crate) static CONFIG_MAP: &[Column] = &[];

pub(crate) fn config_map(_: &ConfigMap, _: Timestamp) -> Vec<Value> {
    Vec::new()
}

pub(crate) static ENDPOINTS: &[Column] = &[];

pub(crate) fn endpoints(_: &Endpoints, _: Timestamp) -> Vec<Value> {
    Vec::new()
}

pub(crate) static EVENT: &[Column] = &[];

pub(crate) fn event(_: &Event, _: Timestamp) -> Vec<Value> {
    Vec::new()
}

pub(crate) static NAMESPACE: &[Column] = &[];

pub(crate) fn namespace(_: &Namespace, _: Timestamp) -> Vec<Value> {
    Vec::new()
}

pub(crate) static NODE: &[Column] = &[];

pub(crate) fn node(_: &Node, _: Timestamp) -> Vec<Value> {
    Vec::new()
}

pub(crate) static PERSISTENT_VOLUME_CLAIM: &[Column] = &[];

pub(crate) fn persistent_volume_claim(_: &PersistentVolumeClaim, _: Timestamp) -> Vec<Value> {
    Vec::new()
}

pub(crate) static PERSISTENT_VOLUME: &[Column] = &[];

pub(crate) fn persistent_volume(_: &PersistentVolume, _: Timestamp) -> Vec<Value> {
    Vec::new()
}

pub(crate) static POD: &[Column] = &[];

pub(crate) fn pod(_: &Pod, _: Timestamp) -> Vec<Value> {
    Vec::new()
}

pub(crate) static SECRET: &[Column] = &[];

pub(crate) fn secret(_: &Secret, _: Timestamp) -> Vec<Value> {
    Vec::new()
}

pub(crate) static SERVICE_ACCOUNT: &[Column] = &[];

pub(crate) fn service_account(_: &ServiceAccount, _: Timestamp) -> Vec<Value> {
    Vec::new()
}

pub(crate) static SERVICE: &[Column] = &[];

pub(crate) fn service(_: &Service, _: Timestamp) -> Vec<Value> {
    Vec::new()
}
