//! Upstream's feature gates that whoever runs the cluster may set, as far as they change an object.

use k8s_openapi::api::apps::v1::StatefulSet;

use super::apps;
use crate::{Object, Part, Resource};

/// Which gates are open; by default those that upstream 1.36 opens, which is none of these.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gates {
    /// `MaxUnavailableStatefulSet`: a set's `maxUnavailable` is kept, and 1 where it is absent. Closed,
    /// the field stays only where it is stored already (G1, D5).
    pub max_unavailable_stateful_set: bool,
}

impl Gates {
    /// [`Resource::prepare`] under these gates.
    pub fn prepare(
        self,
        resource: &'static dyn Resource,
        object: &mut dyn Object,
        old: Option<&dyn Object>,
        part: Part,
    ) {
        if self.max_unavailable_stateful_set
            && let Some(set) = object.as_any_mut().downcast_mut::<StatefulSet>()
        {
            let old = old.and_then(|old| old.as_any().downcast_ref::<StatefulSet>());
            return apps::stateful_set_with_max_unavailable(set, old, part);
        }
        resource.prepare(object, old, part);
    }
}
