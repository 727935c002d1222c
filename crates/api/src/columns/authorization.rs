//! The columns of `kubectl get` and their cells. The `authorization.k8s.io` group.

use jiff::Timestamp;
use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview,
};
use serde_json::Value;

use super::{DEFAULT, default_row};
use crate::resource::Column;

pub(crate) static LOCAL_SUBJECT_ACCESS_REVIEW: &[Column] = DEFAULT;

pub(crate) fn local_subject_access_review(
    it: &LocalSubjectAccessReview,
    _: Timestamp,
) -> Vec<Value> {
    default_row(&it.metadata)
}

pub(crate) static SELF_SUBJECT_ACCESS_REVIEW: &[Column] = DEFAULT;

pub(crate) fn self_subject_access_review(it: &SelfSubjectAccessReview, _: Timestamp) -> Vec<Value> {
    default_row(&it.metadata)
}

pub(crate) static SELF_SUBJECT_RULES_REVIEW: &[Column] = DEFAULT;

pub(crate) fn self_subject_rules_review(it: &SelfSubjectRulesReview, _: Timestamp) -> Vec<Value> {
    default_row(&it.metadata)
}

pub(crate) static SUBJECT_ACCESS_REVIEW: &[Column] = DEFAULT;

pub(crate) fn subject_access_review(it: &SubjectAccessReview, _: Timestamp) -> Vec<Value> {
    default_row(&it.metadata)
}
