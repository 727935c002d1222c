//! The kinds of the `coordination.k8s.io` group.

use k8s_openapi::api::coordination::v1::Lease;

use crate::{
    columns::coordination as columns,
    defaults::coordination as defaults,
    fields::coordination as fields,
    prepare::coordination as prepare,
    resource::{Kind, Names, Scope, VERBS},
    validation::coordination as validation,
    warnings::coordination as warnings,
};

/// `leases`
pub static LEASE: Kind<Lease> = Kind {
    names: Names {
        group: "coordination.k8s.io",
        version: "v1",
        kind: "Lease",
        plural: "leases",
        singular: "lease",
        short: &[],
        categories: &[],
    },
    scope: Scope::Namespaced,
    verbs: VERBS,
    subresources: &[],
    alias: None,
    create_on_update: true,
    unconditional_update: true,
    defaults: defaults::lease,
    prepare: prepare::lease,
    validate: validation::lease,
    warnings: warnings::lease,
    columns: columns::LEASE,
    row: columns::lease,
    fields: fields::lease,
};
