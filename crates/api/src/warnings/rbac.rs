//! What a `Warning` header says about an object. The `rbac.authorization.k8s.io` group.

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};

pub(crate) fn cluster_role_binding(
    _: &ClusterRoleBinding,
    _: Option<&ClusterRoleBinding>,
) -> Vec<String> {
    Vec::new()
}

pub(crate) fn cluster_role(_: &ClusterRole, _: Option<&ClusterRole>) -> Vec<String> {
    Vec::new()
}

pub(crate) fn role_binding(_: &RoleBinding, _: Option<&RoleBinding>) -> Vec<String> {
    Vec::new()
}

pub(crate) fn role(_: &Role, _: Option<&Role>) -> Vec<String> {
    Vec::new()
}
