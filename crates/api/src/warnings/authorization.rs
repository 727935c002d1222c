//! What a `Warning` header says about an object. The `authorization.k8s.io` group.

use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview,
};

pub(crate) fn local_subject_access_review(
    _: &LocalSubjectAccessReview,
    _: Option<&LocalSubjectAccessReview>,
) -> Vec<String> {
    Vec::new()
}

pub(crate) fn self_subject_access_review(
    _: &SelfSubjectAccessReview,
    _: Option<&SelfSubjectAccessReview>,
) -> Vec<String> {
    Vec::new()
}

pub(crate) fn self_subject_rules_review(
    _: &SelfSubjectRulesReview,
    _: Option<&SelfSubjectRulesReview>,
) -> Vec<String> {
    Vec::new()
}

pub(crate) fn subject_access_review(
    _: &SubjectAccessReview,
    _: Option<&SubjectAccessReview>,
) -> Vec<String> {
    Vec::new()
}
