//! What clients may not write: dropped, kept from the stored object, or set. The `scheduling.k8s.io` group.

use k8s_openapi::api::scheduling::v1::PriorityClass;

use crate::resource::Part;

pub(crate) fn priority_class(_: &mut PriorityClass, _: Option<&PriorityClass>, _: Part) {}
