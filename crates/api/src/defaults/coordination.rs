//! What upstream fills in where a field is absent. The `coordination.k8s.io` group.

use k8s_openapi::api::coordination::v1::Lease;

use super::omit::metadata;

pub(crate) fn lease(lease: &mut Lease) {
    metadata(&mut lease.metadata);
    lease.spec.get_or_insert_default();
}
