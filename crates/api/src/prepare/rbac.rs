//! What clients may not write: dropped, kept from the stored object, or set. The `rbac.authorization.k8s.io` group.

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};

use super::metadata;
use crate::resource::Part;

pub(crate) fn cluster_role_binding(
    binding: &mut ClusterRoleBinding,
    old: Option<&ClusterRoleBinding>,
    _: Part,
) {
    metadata(&mut binding.metadata, old.map(|old| &old.metadata));
}

pub(crate) fn cluster_role(role: &mut ClusterRole, old: Option<&ClusterRole>, _: Part) {
    metadata(&mut role.metadata, old.map(|old| &old.metadata));
}

pub(crate) fn role_binding(binding: &mut RoleBinding, old: Option<&RoleBinding>, _: Part) {
    metadata(&mut binding.metadata, old.map(|old| &old.metadata));
}

pub(crate) fn role(role: &mut Role, old: Option<&Role>, _: Part) {
    metadata(&mut role.metadata, old.map(|old| &old.metadata));
}
