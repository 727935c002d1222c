//! The kinds of the `discovery.k8s.io` group.

use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::{
    columns::discovery as columns,
    defaults::discovery as defaults,
    fields::discovery as fields,
    prepare::discovery as prepare,
    resource::{Kind, Names, Scope, VERBS},
    validation::discovery as validation,
    warnings::discovery as warnings,
};

/// `endpointslices`
pub static ENDPOINT_SLICE: Kind<EndpointSlice> = Kind {
    names: Names {
        group: "discovery.k8s.io",
        version: "v1",
        kind: "EndpointSlice",
        plural: "endpointslices",
        singular: "endpointslice",
        short: &[],
        categories: &[],
    },
    scope: Scope::Namespaced,
    verbs: VERBS,
    subresources: &[],
    alias: None,
    create_on_update: true,
    unconditional_update: true,
    defaults: defaults::endpoint_slice,
    prepare: prepare::endpoint_slice,
    validate: validation::endpoint_slice,
    warnings: warnings::endpoint_slice,
    columns: columns::ENDPOINT_SLICE,
    row: columns::endpoint_slice,
    fields: fields::endpoint_slice,
};
