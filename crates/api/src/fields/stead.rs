//! What field selectors can ask of an object. The `stead.io` group.

use crate::policy::StatefulSetPolicy;

pub(crate) fn stateful_set_policy(_: &StatefulSetPolicy) -> Vec<(&'static str, String)> {
    Vec::new()
}
