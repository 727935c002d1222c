//! What upstream fills in where a field is absent. The `rbac.authorization.k8s.io` group.

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};

pub(crate) fn cluster_role_binding(_: &mut ClusterRoleBinding) {}

pub(crate) fn cluster_role(_: &mut ClusterRole) {}

pub(crate) fn role_binding(_: &mut RoleBinding) {}

pub(crate) fn role(_: &mut Role) {}
