//! The columns of `kubectl get` and their cells. The `rbac.authorization.k8s.io` group.

use jiff::Timestamp;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use serde_json::Value;

use crate::resource::Column;

pub(crate) static CLUSTER_ROLE_BINDING: &[Column] = &[];

pub(crate) fn cluster_role_binding(_: &ClusterRoleBinding, _: Timestamp) -> Vec<Value> {
    Vec::new()
}

pub(crate) static CLUSTER_ROLE: &[Column] = &[];

pub(crate) fn cluster_role(_: &ClusterRole, _: Timestamp) -> Vec<Value> {
    Vec::new()
}

pub(crate) static ROLE_BINDING: &[Column] = &[];

pub(crate) fn role_binding(_: &RoleBinding, _: Timestamp) -> Vec<Value> {
    Vec::new()
}

pub(crate) static ROLE: &[Column] = &[];

pub(crate) fn role(_: &Role, _: Timestamp) -> Vec<Value> {
    Vec::new()
}
