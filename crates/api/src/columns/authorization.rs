//! The columns of `kubectl get` and their cells. The `authorization.k8s.io` group.

use jiff::Timestamp;
use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview,
};
use serde_json::Value;

use crate::resource::Column;

pub(crate) static LOCAL_SUBJECT_ACCESS_REVIEW: &[Column] = &[];

pub(crate) fn local_subject_access_review(
    _: &LocalSubjectAccessReview,
    _: Timestamp,
) -> Vec<Value> {
    Vec::new()
}

pub(crate) static SELF_SUBJECT_ACCESS_REVIEW: &[Column] = &[];

pub(crate) fn self_subject_access_review(_: &SelfSubjectAccessReview, _: Timestamp) -> Vec<Value> {
    Vec::new()
}

pub(crate) static SELF_SUBJECT_RULES_REVIEW: &[Column] = &[];

pub(crate) fn self_subject_rules_review(_: &SelfSubjectRulesReview, _: Timestamp) -> Vec<Value> {
    Vec::new()
}

pub(crate) static SUBJECT_ACCESS_REVIEW: &[Column] = &[];

pub(crate) fn subject_access_review(_: &SubjectAccessReview, _: Timestamp) -> Vec<Value> {
    Vec::new()
}
