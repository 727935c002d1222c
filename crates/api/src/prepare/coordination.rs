//! What clients may not write: dropped, kept from the stored object, or set. The `coordination.k8s.io` group.

use k8s_openapi::api::coordination::v1::Lease;

use super::metadata;
use crate::resource::Part;

pub(crate) fn lease(lease: &mut Lease, old: Option<&Lease>, _: Part) {
    metadata(&mut lease.metadata, old.map(|old| &old.metadata));
}
