//! The kinds of the `authorization.k8s.io` group.

use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview,
};

use crate::{
    columns::authorization as columns,
    defaults::authorization as defaults,
    fields::authorization as fields,
    prepare::authorization as prepare,
    resource::{Kind, Names, Scope},
    validation::authorization as validation,
    warnings::authorization as warnings,
};

/// `localsubjectaccessreviews`
pub static LOCAL_SUBJECT_ACCESS_REVIEW: Kind<LocalSubjectAccessReview> = Kind {
    names: Names {
        group: "authorization.k8s.io",
        version: "v1",
        kind: "LocalSubjectAccessReview",
        plural: "localsubjectaccessreviews",
        singular: "localsubjectaccessreview",
        short: &[],
        categories: &[],
    },
    scope: Scope::Namespaced,
    verbs: &["create"],
    subresources: &[],
    alias: None,
    create_on_update: false,
    unconditional_update: true,
    defaults: defaults::local_subject_access_review,
    prepare: prepare::local_subject_access_review,
    validate: validation::local_subject_access_review,
    warnings: warnings::local_subject_access_review,
    columns: columns::LOCAL_SUBJECT_ACCESS_REVIEW,
    row: columns::local_subject_access_review,
    fields: fields::local_subject_access_review,
};

/// `selfsubjectaccessreviews`
pub static SELF_SUBJECT_ACCESS_REVIEW: Kind<SelfSubjectAccessReview> = Kind {
    names: Names {
        group: "authorization.k8s.io",
        version: "v1",
        kind: "SelfSubjectAccessReview",
        plural: "selfsubjectaccessreviews",
        singular: "selfsubjectaccessreview",
        short: &[],
        categories: &[],
    },
    scope: Scope::Cluster,
    verbs: &["create"],
    subresources: &[],
    alias: None,
    create_on_update: false,
    unconditional_update: true,
    defaults: defaults::self_subject_access_review,
    prepare: prepare::self_subject_access_review,
    validate: validation::self_subject_access_review,
    warnings: warnings::self_subject_access_review,
    columns: columns::SELF_SUBJECT_ACCESS_REVIEW,
    row: columns::self_subject_access_review,
    fields: fields::self_subject_access_review,
};

/// `selfsubjectrulesreviews`
pub static SELF_SUBJECT_RULES_REVIEW: Kind<SelfSubjectRulesReview> = Kind {
    names: Names {
        group: "authorization.k8s.io",
        version: "v1",
        kind: "SelfSubjectRulesReview",
        plural: "selfsubjectrulesreviews",
        singular: "selfsubjectrulesreview",
        short: &[],
        categories: &[],
    },
    scope: Scope::Cluster,
    verbs: &["create"],
    subresources: &[],
    alias: None,
    create_on_update: false,
    unconditional_update: true,
    defaults: defaults::self_subject_rules_review,
    prepare: prepare::self_subject_rules_review,
    validate: validation::self_subject_rules_review,
    warnings: warnings::self_subject_rules_review,
    columns: columns::SELF_SUBJECT_RULES_REVIEW,
    row: columns::self_subject_rules_review,
    fields: fields::self_subject_rules_review,
};

/// `subjectaccessreviews`
pub static SUBJECT_ACCESS_REVIEW: Kind<SubjectAccessReview> = Kind {
    names: Names {
        group: "authorization.k8s.io",
        version: "v1",
        kind: "SubjectAccessReview",
        plural: "subjectaccessreviews",
        singular: "subjectaccessreview",
        short: &[],
        categories: &[],
    },
    scope: Scope::Cluster,
    verbs: &["create"],
    subresources: &[],
    alias: None,
    create_on_update: false,
    unconditional_update: true,
    defaults: defaults::subject_access_review,
    prepare: prepare::subject_access_review,
    validate: validation::subject_access_review,
    warnings: warnings::subject_access_review,
    columns: columns::SUBJECT_ACCESS_REVIEW,
    row: columns::subject_access_review,
    fields: fields::subject_access_review,
};
