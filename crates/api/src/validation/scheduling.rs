//! What is wrong with an object or a change, in upstream's words. The `scheduling.k8s.io` group.

use k8s_openapi::api::scheduling::v1::PriorityClass;

use crate::{field::Cause, resource::Part};

pub(crate) fn priority_class(_: &PriorityClass, _: Option<&PriorityClass>, _: Part) -> Vec<Cause> {
    Vec::new()
}
