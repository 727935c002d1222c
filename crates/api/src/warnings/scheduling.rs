//! What a `Warning` header says about an object. The `scheduling.k8s.io` group.

use k8s_openapi::api::scheduling::v1::PriorityClass;

pub(crate) fn priority_class(_: &PriorityClass, _: Option<&PriorityClass>) -> Vec<String> {
    Vec::new()
}
