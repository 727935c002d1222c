//! What clients may not write: dropped, kept from the stored object, or set. The `stead.io` group.

use super::{generation, metadata};
use crate::{policy::StatefulSetPolicy, resource::Part};

pub(crate) fn stateful_set_policy(
    policy: &mut StatefulSetPolicy,
    old: Option<&StatefulSetPolicy>,
    part: Part,
) {
    metadata(&mut policy.metadata, old.map(|old| &old.metadata));
    match (old, part) {
        (None, _) => {
            generation(&mut policy.metadata, None, true);
            policy.status = None;
        }
        (Some(old), Part::Main) => {
            policy.status.clone_from(&old.status);
            generation(&mut policy.metadata, Some(&old.metadata), policy.spec != old.spec);
        }
        (Some(old), Part::Status) => policy.spec.clone_from(&old.spec),
    }
}
