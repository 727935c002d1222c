//! What clients may not write: dropped, kept from the stored object, or set. The `authentication.k8s.io` group.

use k8s_openapi::api::authentication::v1::{SelfSubjectReview, TokenReview};

use crate::resource::Part;

pub(crate) fn self_subject_review(
    _: &mut SelfSubjectReview,
    _: Option<&SelfSubjectReview>,
    _: Part,
) {
}

pub(crate) fn token_review(_: &mut TokenReview, _: Option<&TokenReview>, _: Part) {}
