//! What clients may not write: dropped, kept from the stored object, or set. The `coordination.k8s.io` group.

use k8s_openapi::api::coordination::v1::Lease;

use crate::resource::Part;

pub(crate) fn lease(_: &mut Lease, _: Option<&Lease>, _: Part) {}
