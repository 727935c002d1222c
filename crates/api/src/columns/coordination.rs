//! The columns of `kubectl get` and their cells. The `coordination.k8s.io` group.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use serde_json::Value;

use super::{AGE, NAME, age_of, name, or_empty, text};
use crate::resource::Column;

pub(crate) static LEASE: &[Column] = &[
    NAME,
    text(
        "Holder",
        "holderIdentity contains the identity of the holder of a current lease. If Coordinated Leader Election is used, the holder identity must be equal to the elected LeaseCandidate.metadata.name field.",
    ),
    AGE,
];

pub(crate) fn lease(it: &Lease, now: Timestamp) -> Vec<Value> {
    let holder = it.spec.as_ref().and_then(|spec| spec.holder_identity.as_ref());
    vec![name(&it.metadata), or_empty(holder).into(), age_of(&it.metadata, now)]
}
