//! Which objects a quota with scopes is about.

use api::{
    Object,
    k8s::api::core::v1::{
        Pod, PodAffinityTerm, PodSpec, ResourceQuota, ScopedResourceSelectorRequirement,
    },
    prepare::qos_class,
};

/// Whether the quota is about this object: all its scopes match. Scopes are of pods only.
pub(super) fn matches(quota: &ResourceQuota, object: &dyn Object) -> bool {
    let Some(spec) = &quota.spec else { return true };
    let rules = spec.scope_selector.iter().flat_map(|all| all.match_expressions.iter().flatten());
    let named = spec.scopes.iter().flatten().map(|scope| ScopedResourceSelectorRequirement {
        scope_name: scope.clone(),
        operator: "Exists".to_owned(),
        values: None,
    });
    let pod = object.as_any().downcast_ref::<Pod>();
    rules.cloned().chain(named).all(|rule| pod.is_some_and(|pod| holds(&rule, pod)))
}

fn holds(rule: &ScopedResourceSelectorRequirement, pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let limited = spec.active_deadline_seconds.is_some_and(|seconds| seconds >= 0);
    match rule.scope_name.as_str() {
        "Terminating" => limited,
        "NotTerminating" => !limited,
        "BestEffort" => qos_class(pod) == "BestEffort",
        "NotBestEffort" => qos_class(pod) != "BestEffort",
        "PriorityClass" => has_class(rule, spec),
        "CrossNamespacePodAffinity" => reaches_out(spec),
        _ => false,
    }
}

fn has_class(rule: &ScopedResourceSelectorRequirement, spec: &PodSpec) -> bool {
    let class = spec.priority_class_name.as_deref().unwrap_or_default();
    let listed = rule.values.iter().flatten().any(|value| value == class);
    match rule.operator.as_str() {
        "Exists" => !class.is_empty(),
        "DoesNotExist" => class.is_empty(),
        "In" => !class.is_empty() && listed,
        "NotIn" => class.is_empty() || !listed,
        _ => false,
    }
}

/// An affinity term that looks at pods of other namespaces.
fn reaches_out(spec: &PodSpec) -> bool {
    let out = |term: &PodAffinityTerm| {
        term.namespaces.as_ref().is_some_and(|all| !all.is_empty())
            || term.namespace_selector.is_some()
    };
    let Some(affinity) = &spec.affinity else { return false };
    let mut terms: Vec<&PodAffinityTerm> = Vec::new();
    if let Some(with) = &affinity.pod_affinity {
        terms.extend(with.required_during_scheduling_ignored_during_execution.iter().flatten());
        let preferred = with.preferred_during_scheduling_ignored_during_execution.iter().flatten();
        terms.extend(preferred.map(|one| &one.pod_affinity_term));
    }
    if let Some(against) = &affinity.pod_anti_affinity {
        terms.extend(against.required_during_scheduling_ignored_during_execution.iter().flatten());
        let preferred = against.preferred_during_scheduling_ignored_during_execution.iter();
        terms.extend(preferred.flatten().map(|one| &one.pod_affinity_term));
    }
    terms.into_iter().any(out)
}
