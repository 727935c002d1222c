//! What a `Warning` header says about an object. The `coordination.k8s.io` group.

use k8s_openapi::api::coordination::v1::Lease;

pub(crate) fn lease(_: &Lease, _: Option<&Lease>) -> Vec<String> {
    Vec::new()
}
