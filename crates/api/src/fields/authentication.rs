//! What field selectors can ask of an object. The `authentication.k8s.io` group.

use k8s_openapi::api::authentication::v1::{SelfSubjectReview, TokenReview};

pub(crate) fn self_subject_review(_: &SelfSubjectReview) -> Vec<(&'static str, String)> {
    Vec::new()
}

pub(crate) fn token_review(_: &TokenReview) -> Vec<(&'static str, String)> {
    Vec::new()
}
