//! The kinds of the `events.k8s.io` group.

use k8s_openapi::api::events::v1::Event;

use crate::{
    columns::events as columns,
    defaults::events as defaults,
    fields::events as fields,
    prepare::events as prepare,
    resource::{Alias, Kind, Names, Scope, VERBS},
    validation::events as validation,
    warnings::events as warnings,
};

/// `events`
pub static EVENT: Kind<Event> = Kind {
    names: Names {
        group: "events.k8s.io",
        version: "v1",
        kind: "Event",
        plural: "events",
        singular: "event",
        short: &["ev"],
        categories: &[],
    },
    scope: Scope::Namespaced,
    verbs: VERBS,
    subresources: &[],
    alias: Some(&IN_CORE),
    create_on_update: true,
    unconditional_update: true,
    defaults: defaults::event,
    prepare: prepare::event,
    validate: validation::event,
    warnings: warnings::event,
    columns: columns::EVENT,
    row: columns::event,
    fields: fields::event,
};

/// Both groups show the same objects; core's form is the one stored.
static IN_CORE: Alias = Alias {
    group: "",
    plural: "events",
    renames: &[
        ("regarding", "involvedObject"),
        ("note", "message"),
        ("deprecatedFirstTimestamp", "firstTimestamp"),
        ("deprecatedLastTimestamp", "lastTimestamp"),
        ("deprecatedCount", "count"),
        ("deprecatedSource", "source"),
        ("reportingController", "reportingComponent"),
    ],
};
