//! What upstream fills in where a field is absent. The `coordination.k8s.io` group.

use k8s_openapi::api::coordination::v1::Lease;

pub(crate) fn lease(_: &mut Lease) {}
