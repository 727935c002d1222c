//! What field selectors can ask of an object. The `scheduling.k8s.io` group.

use k8s_openapi::api::scheduling::v1::PriorityClass;

pub(crate) fn priority_class(_: &PriorityClass) -> Vec<(&'static str, String)> {
    Vec::new()
}
