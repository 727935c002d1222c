//! What upstream fills in where a field is absent. The `authentication.k8s.io` group.

use k8s_openapi::api::authentication::v1::{SelfSubjectReview, TokenRequest, TokenReview};

/// Seconds a token lives when its request names no time: one hour.
const TOKEN_LIFE_S: i64 = 3600;

pub(crate) fn self_subject_review(_: &mut SelfSubjectReview) {}

pub(crate) fn token_review(_: &mut TokenReview) {}

/// Defaults of the body of `serviceaccounts/token`, which no entry of the table speaks.
pub fn token_request(request: &mut TokenRequest) {
    let spec = &mut request.spec;
    spec.get_or_insert_default().expiration_seconds.get_or_insert(TOKEN_LIFE_S);
}
