//! The kinds of the `scheduling.k8s.io` group.

use k8s_openapi::api::scheduling::v1::PriorityClass;

use crate::{
    columns::scheduling as columns,
    defaults::scheduling as defaults,
    fields::scheduling as fields,
    prepare::scheduling as prepare,
    resource::{Kind, Names, Scope, VERBS},
    validation::scheduling as validation,
    warnings::scheduling as warnings,
};

/// `priorityclasses`
pub static PRIORITY_CLASS: Kind<PriorityClass> = Kind {
    names: Names {
        group: "scheduling.k8s.io",
        version: "v1",
        kind: "PriorityClass",
        plural: "priorityclasses",
        singular: "priorityclass",
        short: &["pc"],
        categories: &[],
    },
    scope: Scope::Cluster,
    verbs: VERBS,
    subresources: &[],
    alias: None,
    create_on_update: false,
    unconditional_update: true,
    defaults: defaults::priority_class,
    prepare: prepare::priority_class,
    validate: validation::priority_class,
    warnings: warnings::priority_class,
    columns: columns::PRIORITY_CLASS,
    row: columns::priority_class,
    fields: fields::priority_class,
};
