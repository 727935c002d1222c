//! What field selectors can ask of an object. The `rbac.authorization.k8s.io` group.

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};

pub(crate) fn cluster_role_binding(_: &ClusterRoleBinding) -> Vec<(&'static str, String)> {
    Vec::new()
}

pub(crate) fn cluster_role(_: &ClusterRole) -> Vec<(&'static str, String)> {
    Vec::new()
}

pub(crate) fn role_binding(_: &RoleBinding) -> Vec<(&'static str, String)> {
    Vec::new()
}

pub(crate) fn role(_: &Role) -> Vec<(&'static str, String)> {
    Vec::new()
}
