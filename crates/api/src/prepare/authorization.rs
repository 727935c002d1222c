//! What clients may not write: dropped, kept from the stored object, or set. The `authorization.k8s.io` group.

use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview,
};

use crate::resource::Part;

pub(crate) fn local_subject_access_review(
    _: &mut LocalSubjectAccessReview,
    _: Option<&LocalSubjectAccessReview>,
    _: Part,
) {
}

pub(crate) fn self_subject_access_review(
    _: &mut SelfSubjectAccessReview,
    _: Option<&SelfSubjectAccessReview>,
    _: Part,
) {
}

pub(crate) fn self_subject_rules_review(
    _: &mut SelfSubjectRulesReview,
    _: Option<&SelfSubjectRulesReview>,
    _: Part,
) {
}

pub(crate) fn subject_access_review(
    _: &mut SubjectAccessReview,
    _: Option<&SubjectAccessReview>,
    _: Part,
) {
}
