//! What is wrong with an object or a change, in upstream's words. The `coordination.k8s.io` group.

use k8s_openapi::api::coordination::v1::Lease;

use crate::{field::Cause, resource::Part};

pub(crate) fn lease(_: &Lease, _: Option<&Lease>, _: Part) -> Vec<Cause> {
    Vec::new()
}
