//! What is wrong with an object or a change, in upstream's words. The `authorization.k8s.io` group.
//!
//! Source: kubernetes v1.36 `pkg/apis/authorization/validation/validation.go`.

use k8s_openapi::{
    api::authorization::v1::{
        LocalSubjectAccessReview, NonResourceAttributes, ResourceAttributes,
        SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview,
        SubjectAccessReviewSpec,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde_json::Value;

use super::report::{At, Report, items, text};
use crate::{field::Cause, resource::Part};

pub(crate) fn local_subject_access_review(
    review: &LocalSubjectAccessReview,
    _: Option<&LocalSubjectAccessReview>,
    _: Part,
) -> Vec<Cause> {
    let mut out = Report::default();
    subject(&review.spec, &mut out);
    no_metadata(&review.metadata, true, &mut out);
    let namespace = text(&review.metadata.namespace);
    if let Some(about) = &review.spec.resource_attributes
        && text(&about.namespace) != namespace
    {
        let at = At::new("spec.resourceAttributes.namespace");
        out.invalid(at, text(&about.namespace), "must match metadata.namespace");
    }
    if let Some(about) = &review.spec.non_resource_attributes {
        let why = "disallowed on this kind of request";
        out.invalid_object(At::new("spec.nonResourceAttributes"), about, why);
    }
    out.into_causes()
}

pub(crate) fn self_subject_access_review(
    review: &SelfSubjectAccessReview,
    _: Option<&SelfSubjectAccessReview>,
    _: Part,
) -> Vec<Cause> {
    let mut out = Report::default();
    let spec = &review.spec;
    about(spec.resource_attributes.as_ref(), spec.non_resource_attributes.as_ref(), &mut out);
    no_metadata(&review.metadata, false, &mut out);
    out.into_causes()
}

pub(crate) fn self_subject_rules_review(
    _: &SelfSubjectRulesReview,
    _: Option<&SelfSubjectRulesReview>,
    _: Part,
) -> Vec<Cause> {
    Vec::new()
}

pub(crate) fn subject_access_review(
    review: &SubjectAccessReview,
    _: Option<&SubjectAccessReview>,
    _: Part,
) -> Vec<Cause> {
    let mut out = Report::default();
    subject(&review.spec, &mut out);
    no_metadata(&review.metadata, false, &mut out);
    out.into_causes()
}

fn subject(spec: &SubjectAccessReviewSpec, out: &mut Report) {
    about(spec.resource_attributes.as_ref(), spec.non_resource_attributes.as_ref(), out);
    if text(&spec.user).is_empty() && items(&spec.groups).is_empty() {
        let why = "at least one of user or group must be specified";
        out.invalid(At::new("spec").field("user"), "", why);
    }
}

fn about(
    resource: Option<&ResourceAttributes>,
    other: Option<&NonResourceAttributes>,
    out: &mut Report,
) {
    let at = At::new("spec");
    match (resource, other) {
        (Some(_), Some(other)) => {
            let why = "cannot be specified in combination with resourceAttributes";
            out.invalid_object(at.field("nonResourceAttributes"), other, why);
        }
        (None, None) => {
            let why =
                "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            out.invalid(at.field("resourceAttributes"), Value::Null, why);
        }
        _ => {}
    }
}

fn no_metadata(meta: &ObjectMeta, but_namespace: bool, out: &mut Report) {
    let mut rest = meta.clone();
    rest.managed_fields = None;
    rest.creation_timestamp = None;
    rest.uid = None;
    if but_namespace {
        rest.namespace = None;
    }
    if rest != ObjectMeta::default() {
        let why =
            if but_namespace { "must be empty except for namespace" } else { "must be empty" };
        out.invalid_object(At::new("metadata"), meta, why);
    }
}
