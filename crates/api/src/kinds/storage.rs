//! The kinds of the `storage.k8s.io` group.

use k8s_openapi::api::storage::v1::StorageClass;

use crate::{
    columns::storage as columns,
    defaults::storage as defaults,
    fields::storage as fields,
    prepare::storage as prepare,
    resource::{Kind, Names, Scope, VERBS},
    validation::storage as validation,
    warnings::storage as warnings,
};

/// `storageclasses`
pub static STORAGE_CLASS: Kind<StorageClass> = Kind {
    names: Names {
        group: "storage.k8s.io",
        version: "v1",
        kind: "StorageClass",
        plural: "storageclasses",
        singular: "storageclass",
        short: &["sc"],
        categories: &[],
    },
    scope: Scope::Cluster,
    verbs: VERBS,
    subresources: &[],
    alias: None,
    create_on_update: false,
    unconditional_update: true,
    defaults: defaults::storage_class,
    prepare: prepare::storage_class,
    validate: validation::storage_class,
    warnings: warnings::storage_class,
    columns: columns::STORAGE_CLASS,
    row: columns::storage_class,
    fields: fields::storage_class,
};
