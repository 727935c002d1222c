//! The kinds of the `apps` group.

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};

use crate::{
    columns::apps as columns,
    defaults::apps as defaults,
    fields::apps as fields,
    prepare::apps as prepare,
    resource::{Kind, Names, Scope, Subresource, VERBS},
    validation::apps as validation,
    warnings::apps as warnings,
};

/// `controllerrevisions`
pub static CONTROLLER_REVISION: Kind<ControllerRevision> = Kind {
    names: Names {
        group: "apps",
        version: "v1",
        kind: "ControllerRevision",
        plural: "controllerrevisions",
        singular: "controllerrevision",
        short: &[],
        categories: &[],
    },
    scope: Scope::Namespaced,
    verbs: VERBS,
    subresources: &[],
    alias: None,
    create_on_update: false,
    unconditional_update: true,
    defaults: defaults::controller_revision,
    prepare: prepare::controller_revision,
    validate: validation::controller_revision,
    warnings: warnings::controller_revision,
    columns: columns::CONTROLLER_REVISION,
    row: columns::controller_revision,
    fields: fields::controller_revision,
};

/// `statefulsets`
pub static STATEFUL_SET: Kind<StatefulSet> = Kind {
    names: Names {
        group: "apps",
        version: "v1",
        kind: "StatefulSet",
        plural: "statefulsets",
        singular: "statefulset",
        short: &["sts"],
        categories: &["all"],
    },
    scope: Scope::Namespaced,
    verbs: VERBS,
    subresources: &[
        Subresource {
            name: "scale",
            group: "autoscaling",
            version: "v1",
            kind: "Scale",
            verbs: &["get", "patch", "update"],
        },
        Subresource {
            name: "status",
            group: "apps",
            version: "v1",
            kind: "StatefulSet",
            verbs: &["get", "patch", "update"],
        },
    ],
    alias: None,
    create_on_update: false,
    unconditional_update: true,
    defaults: defaults::stateful_set,
    prepare: prepare::stateful_set,
    validate: validation::stateful_set,
    warnings: warnings::stateful_set,
    columns: columns::STATEFUL_SET,
    row: columns::stateful_set,
    fields: fields::stateful_set,
};
