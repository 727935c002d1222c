//! What clients may not write: dropped, kept from the stored object, or set. The `rbac.authorization.k8s.io` group.

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};

use crate::resource::Part;

pub(crate) fn cluster_role_binding(
    _: &mut ClusterRoleBinding,
    _: Option<&ClusterRoleBinding>,
    _: Part,
) {
}

pub(crate) fn cluster_role(_: &mut ClusterRole, _: Option<&ClusterRole>, _: Part) {}

pub(crate) fn role_binding(_: &mut RoleBinding, _: Option<&RoleBinding>, _: Part) {}

pub(crate) fn role(_: &mut Role, _: Option<&Role>, _: Part) {}
