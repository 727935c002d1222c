//! What is wrong with an object or a change, in upstream's words. The `coordination.k8s.io` group.
//!
//! Source: kubernetes v1.36 `pkg/apis/coordination/validation/validation.go`.

use k8s_openapi::api::coordination::v1::Lease;

use super::report::{At, Report, text};
use crate::{field::Cause, names, resource::Part};

pub(crate) fn lease(lease: &Lease, _: Option<&Lease>, _: Part) -> Vec<Cause> {
    let mut out = Report::default();
    let Some(spec) = &lease.spec else { return Vec::new() };
    let at = At::new("spec");
    if let Some(seconds) = spec.lease_duration_seconds.filter(|seconds| *seconds <= 0) {
        out.invalid(at.field("leaseDurationSeconds"), seconds, "must be greater than 0");
    }
    out.not_negative(at.field("leaseTransitions"), i64::from(spec.lease_transitions.unwrap_or(0)));
    if let Some(strategy) = &spec.strategy {
        let at = at.field("strategy");
        if strategy.contains('/') {
            out.faults(at.field("strategy"), strategy, names::qualified_name(strategy));
        } else {
            out.known(at.field("strategy"), strategy, &["OldestEmulationVersion"]);
        }
    }
    if !text(&spec.preferred_holder).is_empty() && text(&spec.strategy).is_empty() {
        let why = "may only be specified if `strategy` is defined";
        out.forbidden(at.field("preferredHolder"), why);
    }
    out.into_causes()
}
