//! What upstream fills in where a field is absent. The `scheduling.k8s.io` group.

use k8s_openapi::api::scheduling::v1::PriorityClass;

use super::omit::{metadata, omit};

pub(crate) fn priority_class(class: &mut PriorityClass) {
    metadata(&mut class.metadata);
    class.preemption_policy.get_or_insert_with(|| "PreemptLowerPriority".to_owned());
    class.value.get_or_insert(0);
    omit(&mut class.description);
    omit(&mut class.global_default);
}
