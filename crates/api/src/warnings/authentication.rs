//! What a `Warning` header says about an object. The `authentication.k8s.io` group.

use k8s_openapi::api::authentication::v1::{SelfSubjectReview, TokenReview};

pub(crate) fn self_subject_review(
    _: &SelfSubjectReview,
    _: Option<&SelfSubjectReview>,
) -> Vec<String> {
    Vec::new()
}

pub(crate) fn token_review(_: &TokenReview, _: Option<&TokenReview>) -> Vec<String> {
    Vec::new()
}
