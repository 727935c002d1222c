//! What field selectors can ask of an object. The `authorization.k8s.io` group.

use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview,
};

pub(crate) fn local_subject_access_review(
    _: &LocalSubjectAccessReview,
) -> Vec<(&'static str, String)> {
    Vec::new()
}

pub(crate) fn self_subject_access_review(
    _: &SelfSubjectAccessReview,
) -> Vec<(&'static str, String)> {
    Vec::new()
}

pub(crate) fn self_subject_rules_review(_: &SelfSubjectRulesReview) -> Vec<(&'static str, String)> {
    Vec::new()
}

pub(crate) fn subject_access_review(_: &SubjectAccessReview) -> Vec<(&'static str, String)> {
    Vec::new()
}
