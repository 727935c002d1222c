//! What clients may not write: dropped, kept from the stored object, or set. The `scheduling.k8s.io` group.

use k8s_openapi::api::scheduling::v1::PriorityClass;

use super::{generation, metadata};
use crate::resource::Part;

/// Nothing that a generation counts can change in a class.
pub(crate) fn priority_class(class: &mut PriorityClass, old: Option<&PriorityClass>, _: Part) {
    metadata(&mut class.metadata, old.map(|old| &old.metadata));
    generation(&mut class.metadata, old.map(|old| &old.metadata), false);
}
