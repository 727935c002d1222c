//! What field selectors can ask of an object. The `coordination.k8s.io` group.

use k8s_openapi::api::coordination::v1::Lease;

pub(crate) fn lease(_: &Lease) -> Vec<(&'static str, String)> {
    Vec::new()
}
