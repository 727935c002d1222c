//! What is wrong with an object or a change, in upstream's words. The `authorization.k8s.io` group.

use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview,
};

use crate::{field::Cause, resource::Part};

pub(crate) fn local_subject_access_review(
    _: &LocalSubjectAccessReview,
    _: Option<&LocalSubjectAccessReview>,
    _: Part,
) -> Vec<Cause> {
    Vec::new()
}

pub(crate) fn self_subject_access_review(
    _: &SelfSubjectAccessReview,
    _: Option<&SelfSubjectAccessReview>,
    _: Part,
) -> Vec<Cause> {
    Vec::new()
}

pub(crate) fn self_subject_rules_review(
    _: &SelfSubjectRulesReview,
    _: Option<&SelfSubjectRulesReview>,
    _: Part,
) -> Vec<Cause> {
    Vec::new()
}

pub(crate) fn subject_access_review(
    _: &SubjectAccessReview,
    _: Option<&SubjectAccessReview>,
    _: Part,
) -> Vec<Cause> {
    Vec::new()
}
