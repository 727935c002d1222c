//! What a `Warning` header says about an object. The `stead.io` group.

use crate::policy::StatefulSetPolicy;

pub(crate) fn stateful_set_policy(
    _: &StatefulSetPolicy,
    _: Option<&StatefulSetPolicy>,
) -> Vec<String> {
    Vec::new()
}
