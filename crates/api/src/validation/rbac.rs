//! What is wrong with an object or a change, in upstream's words. The `rbac.authorization.k8s.io` group.

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};

use crate::{field::Cause, resource::Part};

pub(crate) fn cluster_role_binding(
    _: &ClusterRoleBinding,
    _: Option<&ClusterRoleBinding>,
    _: Part,
) -> Vec<Cause> {
    Vec::new()
}

pub(crate) fn cluster_role(_: &ClusterRole, _: Option<&ClusterRole>, _: Part) -> Vec<Cause> {
    Vec::new()
}

pub(crate) fn role_binding(_: &RoleBinding, _: Option<&RoleBinding>, _: Part) -> Vec<Cause> {
    Vec::new()
}

pub(crate) fn role(_: &Role, _: Option<&Role>, _: Part) -> Vec<Cause> {
    Vec::new()
}
