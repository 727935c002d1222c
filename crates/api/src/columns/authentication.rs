//! The columns of `kubectl get` and their cells. The `authentication.k8s.io` group.

use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{SelfSubjectReview, TokenReview};
use serde_json::Value;

use super::{DEFAULT, default_row};
use crate::resource::Column;

pub(crate) static SELF_SUBJECT_REVIEW: &[Column] = DEFAULT;

pub(crate) fn self_subject_review(it: &SelfSubjectReview, _: Timestamp) -> Vec<Value> {
    default_row(&it.metadata)
}

pub(crate) static TOKEN_REVIEW: &[Column] = DEFAULT;

pub(crate) fn token_review(it: &TokenReview, _: Timestamp) -> Vec<Value> {
    default_row(&it.metadata)
}
