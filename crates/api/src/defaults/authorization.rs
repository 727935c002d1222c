//! What upstream fills in where a field is absent. The `authorization.k8s.io` group.

use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview,
};

pub(crate) fn local_subject_access_review(_: &mut LocalSubjectAccessReview) {}

pub(crate) fn self_subject_access_review(_: &mut SelfSubjectAccessReview) {}

pub(crate) fn self_subject_rules_review(_: &mut SelfSubjectRulesReview) {}

pub(crate) fn subject_access_review(_: &mut SubjectAccessReview) {}
