//! The kinds of the `rbac.authorization.k8s.io` group.

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};

use crate::{
    columns::rbac as columns,
    defaults::rbac as defaults,
    fields::rbac as fields,
    prepare::rbac as prepare,
    resource::{Kind, Names, Scope, VERBS},
    validation::rbac as validation,
    warnings::rbac as warnings,
};

/// `clusterrolebindings`
pub static CLUSTER_ROLE_BINDING: Kind<ClusterRoleBinding> = Kind {
    names: Names {
        group: "rbac.authorization.k8s.io",
        version: "v1",
        kind: "ClusterRoleBinding",
        plural: "clusterrolebindings",
        singular: "clusterrolebinding",
        short: &[],
        categories: &[],
    },
    scope: Scope::Cluster,
    verbs: VERBS,
    subresources: &[],
    alias: None,
    create_on_update: false,
    unconditional_update: true,
    defaults: defaults::cluster_role_binding,
    prepare: prepare::cluster_role_binding,
    validate: validation::cluster_role_binding,
    warnings: warnings::cluster_role_binding,
    columns: columns::CLUSTER_ROLE_BINDING,
    row: columns::cluster_role_binding,
    fields: fields::cluster_role_binding,
};

/// `clusterroles`
pub static CLUSTER_ROLE: Kind<ClusterRole> = Kind {
    names: Names {
        group: "rbac.authorization.k8s.io",
        version: "v1",
        kind: "ClusterRole",
        plural: "clusterroles",
        singular: "clusterrole",
        short: &[],
        categories: &[],
    },
    scope: Scope::Cluster,
    verbs: VERBS,
    subresources: &[],
    alias: None,
    create_on_update: false,
    unconditional_update: true,
    defaults: defaults::cluster_role,
    prepare: prepare::cluster_role,
    validate: validation::cluster_role,
    warnings: warnings::cluster_role,
    columns: columns::CLUSTER_ROLE,
    row: columns::cluster_role,
    fields: fields::cluster_role,
};

/// `rolebindings`
pub static ROLE_BINDING: Kind<RoleBinding> = Kind {
    names: Names {
        group: "rbac.authorization.k8s.io",
        version: "v1",
        kind: "RoleBinding",
        plural: "rolebindings",
        singular: "rolebinding",
        short: &[],
        categories: &[],
    },
    scope: Scope::Namespaced,
    verbs: VERBS,
    subresources: &[],
    alias: None,
    create_on_update: false,
    unconditional_update: true,
    defaults: defaults::role_binding,
    prepare: prepare::role_binding,
    validate: validation::role_binding,
    warnings: warnings::role_binding,
    columns: columns::ROLE_BINDING,
    row: columns::role_binding,
    fields: fields::role_binding,
};

/// `roles`
pub static ROLE: Kind<Role> = Kind {
    names: Names {
        group: "rbac.authorization.k8s.io",
        version: "v1",
        kind: "Role",
        plural: "roles",
        singular: "role",
        short: &[],
        categories: &[],
    },
    scope: Scope::Namespaced,
    verbs: VERBS,
    subresources: &[],
    alias: None,
    create_on_update: false,
    unconditional_update: true,
    defaults: defaults::role,
    prepare: prepare::role,
    validate: validation::role,
    warnings: warnings::role,
    columns: columns::ROLE,
    row: columns::role,
    fields: fields::role,
};
