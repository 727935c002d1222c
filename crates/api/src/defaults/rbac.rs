//! What upstream fills in where a field is absent. The `rbac.authorization.k8s.io` group.

use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, Role, RoleBinding, RoleRef, Subject,
};

use super::omit::{metadata, omit, text};

const GROUP: &str = "rbac.authorization.k8s.io";

pub(crate) fn cluster_role_binding(binding: &mut ClusterRoleBinding) {
    metadata(&mut binding.metadata);
    binding_fields(&mut binding.role_ref, &mut binding.subjects);
}

pub(crate) fn cluster_role(role: &mut ClusterRole) {
    metadata(&mut role.metadata);
}

pub(crate) fn role_binding(binding: &mut RoleBinding) {
    metadata(&mut binding.metadata);
    binding_fields(&mut binding.role_ref, &mut binding.subjects);
}

pub(crate) fn role(role: &mut Role) {
    metadata(&mut role.metadata);
}

fn binding_fields(role: &mut RoleRef, subjects: &mut Option<Vec<Subject>>) {
    text(&mut role.api_group, GROUP);
    omit(subjects);
    for subject in subjects.iter_mut().flatten() {
        omit(&mut subject.namespace);
        match subject.kind.as_str() {
            "User" | "Group" => text(&mut subject.api_group, GROUP),
            _ => omit(&mut subject.api_group),
        }
    }
}
