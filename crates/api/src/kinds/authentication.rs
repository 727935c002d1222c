//! The kinds of the `authentication.k8s.io` group.

use k8s_openapi::api::authentication::v1::{SelfSubjectReview, TokenReview};

use crate::{
    columns::authentication as columns,
    defaults::authentication as defaults,
    fields::authentication as fields,
    prepare::authentication as prepare,
    resource::{Kind, Names, Scope},
    validation::authentication as validation,
    warnings::authentication as warnings,
};

/// `selfsubjectreviews`
pub static SELF_SUBJECT_REVIEW: Kind<SelfSubjectReview> = Kind {
    names: Names {
        group: "authentication.k8s.io",
        version: "v1",
        kind: "SelfSubjectReview",
        plural: "selfsubjectreviews",
        singular: "selfsubjectreview",
        short: &[],
        categories: &[],
    },
    scope: Scope::Cluster,
    verbs: &["create"],
    subresources: &[],
    alias: None,
    create_on_update: false,
    unconditional_update: true,
    defaults: defaults::self_subject_review,
    prepare: prepare::self_subject_review,
    validate: validation::self_subject_review,
    warnings: warnings::self_subject_review,
    columns: columns::SELF_SUBJECT_REVIEW,
    row: columns::self_subject_review,
    fields: fields::self_subject_review,
};

/// `tokenreviews`
pub static TOKEN_REVIEW: Kind<TokenReview> = Kind {
    names: Names {
        group: "authentication.k8s.io",
        version: "v1",
        kind: "TokenReview",
        plural: "tokenreviews",
        singular: "tokenreview",
        short: &[],
        categories: &[],
    },
    scope: Scope::Cluster,
    verbs: &["create"],
    subresources: &[],
    alias: None,
    create_on_update: false,
    unconditional_update: true,
    defaults: defaults::token_review,
    prepare: prepare::token_review,
    validate: validation::token_review,
    warnings: warnings::token_review,
    columns: columns::TOKEN_REVIEW,
    row: columns::token_review,
    fields: fields::token_review,
};
