//! The columns of `kubectl get` and their cells. The `authentication.k8s.io` group.

use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{SelfSubjectReview, TokenReview};
use serde_json::Value;

use crate::resource::Column;

pub(crate) static SELF_SUBJECT_REVIEW: &[Column] = &[];

pub(crate) fn self_subject_review(_: &SelfSubjectReview, _: Timestamp) -> Vec<Value> {
    Vec::new()
}

pub(crate) static TOKEN_REVIEW: &[Column] = &[];

pub(crate) fn token_review(_: &TokenReview, _: Timestamp) -> Vec<Value> {
    Vec::new()
}
