//! What is wrong with an object or a change, in upstream's words. The `authentication.k8s.io` group.

use k8s_openapi::api::authentication::v1::{SelfSubjectReview, TokenReview};

use crate::{field::Cause, resource::Part};

pub(crate) fn self_subject_review(
    _: &SelfSubjectReview,
    _: Option<&SelfSubjectReview>,
    _: Part,
) -> Vec<Cause> {
    Vec::new()
}

pub(crate) fn token_review(_: &TokenReview, _: Option<&TokenReview>, _: Part) -> Vec<Cause> {
    Vec::new()
}
