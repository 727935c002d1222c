//! The kinds of our own group, `stead.io`.

use crate::{
    columns::stead as columns,
    defaults::stead as defaults,
    fields::stead as fields,
    policy::StatefulSetPolicy,
    prepare::stead as prepare,
    resource::{Kind, Names, Scope, Subresource, VERBS},
    validation::stead as validation,
    warnings::stead as warnings,
};

/// `statefulsetpolicies`
pub static STATEFUL_SET_POLICY: Kind<StatefulSetPolicy> = Kind {
    names: Names {
        group: "stead.io",
        version: "v1alpha1",
        kind: "StatefulSetPolicy",
        plural: "statefulsetpolicies",
        singular: "statefulsetpolicy",
        short: &["stsp"],
        categories: &[],
    },
    scope: Scope::Namespaced,
    verbs: VERBS,
    subresources: &[Subresource {
        name: "status",
        group: "stead.io",
        version: "v1alpha1",
        kind: "StatefulSetPolicy",
        verbs: &["get", "patch", "update"],
    }],
    alias: None,
    create_on_update: false,
    unconditional_update: false,
    defaults: defaults::stateful_set_policy,
    prepare: prepare::stateful_set_policy,
    validate: validation::stateful_set_policy,
    warnings: warnings::stateful_set_policy,
    columns: columns::STATEFUL_SET_POLICY,
    row: columns::stateful_set_policy,
    fields: fields::stateful_set_policy,
};
