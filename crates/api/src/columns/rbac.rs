//! The columns of `kubectl get` and their cells. The `rbac.authorization.k8s.io` group.

use jiff::Timestamp;
use k8s_openapi::{
    api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding, RoleRef, Subject},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde_json::Value;

use super::{AGE, DEFAULT, NAME, age_of, default_row, name, or_empty, text, wide};
use crate::resource::Column;

pub(crate) static CLUSTER_ROLE_BINDING: &[Column] = &[
    NAME,
    text(
        "Role",
        "RoleRef can only reference a ClusterRole in the global namespace. If the RoleRef cannot be resolved, the Authorizer must return an error. This field is immutable.",
    ),
    AGE,
    wide("Users", "Users in the clusterRoleBinding"),
    wide("Groups", "Groups in the clusterRoleBinding"),
    wide("ServiceAccounts", "ServiceAccounts in the clusterRoleBinding"),
];

pub(crate) static ROLE_BINDING: &[Column] = &[
    NAME,
    text(
        "Role",
        "RoleRef can reference a Role in the current namespace or a ClusterRole in the global namespace. If the RoleRef cannot be resolved, the Authorizer must return an error. This field is immutable.",
    ),
    AGE,
    wide("Users", "Users in the roleBinding"),
    wide("Groups", "Groups in the roleBinding"),
    wide("ServiceAccounts", "ServiceAccounts in the roleBinding"),
];

pub(crate) static CLUSTER_ROLE: &[Column] = DEFAULT;

pub(crate) static ROLE: &[Column] = DEFAULT;

pub(crate) fn cluster_role_binding(it: &ClusterRoleBinding, now: Timestamp) -> Vec<Value> {
    binding(&it.metadata, &it.role_ref, it.subjects.as_deref(), now)
}

pub(crate) fn cluster_role(it: &ClusterRole, _: Timestamp) -> Vec<Value> {
    default_row(&it.metadata)
}

pub(crate) fn role_binding(it: &RoleBinding, now: Timestamp) -> Vec<Value> {
    binding(&it.metadata, &it.role_ref, it.subjects.as_deref(), now)
}

pub(crate) fn role(it: &Role, _: Timestamp) -> Vec<Value> {
    default_row(&it.metadata)
}

fn binding(
    meta: &ObjectMeta,
    role: &RoleRef,
    subjects: Option<&[Subject]>,
    now: Timestamp,
) -> Vec<Value> {
    let of = |kind: &str| {
        let those = subjects.unwrap_or_default().iter().filter(|subject| subject.kind == kind);
        let names = those.map(|subject| match kind {
            "ServiceAccount" => {
                format!("{}/{}", or_empty(subject.namespace.as_ref()), subject.name)
            }
            _ => subject.name.clone(),
        });
        names.collect::<Vec<_>>().join(", ").into()
    };
    vec![
        name(meta),
        format!("{}/{}", role.kind, role.name).into(),
        age_of(meta, now),
        of("User"),
        of("Group"),
        of("ServiceAccount"),
    ]
}
