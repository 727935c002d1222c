//! What is wrong with an object or a change, in upstream's words. The `rbac.authorization.k8s.io` group.
//!
//! Source: kubernetes v1.36 `pkg/apis/rbac/validation/validation.go`.

use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};

use super::{
    report::{At, Report, items, text},
    selector::label_selector,
};
use crate::{field::Cause, names, resource::Part};

const GROUP: &str = "rbac.authorization.k8s.io";

pub(crate) fn cluster_role_binding(
    binding: &ClusterRoleBinding,
    old: Option<&ClusterRoleBinding>,
    _: Part,
) -> Vec<Cause> {
    let mut out = Report::default();
    role_ref(&binding.role_ref, old.map(|old| &old.role_ref), &["ClusterRole"], &mut out);
    subjects(items(&binding.subjects), false, &mut out);
    out.into_causes()
}

pub(crate) fn role_binding(
    binding: &RoleBinding,
    old: Option<&RoleBinding>,
    _: Part,
) -> Vec<Cause> {
    let mut out = Report::default();
    let kinds = ["Role", "ClusterRole"];
    role_ref(&binding.role_ref, old.map(|old| &old.role_ref), &kinds, &mut out);
    subjects(items(&binding.subjects), true, &mut out);
    out.into_causes()
}

pub(crate) fn cluster_role(role: &ClusterRole, _: Option<&ClusterRole>, _: Part) -> Vec<Cause> {
    let mut out = Report::default();
    rules(items(&role.rules), false, &mut out);
    if let Some(aggregation) = &role.aggregation_rule {
        let at = At::new("aggregationRule");
        let at = at.field("clusterRoleSelectors");
        let selectors = items(&aggregation.cluster_role_selectors);
        if selectors.is_empty() {
            out.required(
                at,
                "at least one clusterRoleSelector required if aggregationRule is non-nil",
            );
        }
        for (index, selector) in selectors.iter().enumerate() {
            label_selector(selector, at.index(index), &mut out);
        }
    }
    out.into_causes()
}

pub(crate) fn role(role: &Role, _: Option<&Role>, _: Part) -> Vec<Cause> {
    let mut out = Report::default();
    rules(items(&role.rules), true, &mut out);
    out.into_causes()
}

fn rules(rules: &[PolicyRule], namespaced: bool, out: &mut Report) {
    let list = At::new("rules");
    for (index, rule) in rules.iter().enumerate() {
        let at = list.index(index);
        if rule.verbs.is_empty() {
            out.required(at.field("verbs"), "verbs must contain at least one value");
        }
        let (groups, resources) = (items(&rule.api_groups), items(&rule.resources));
        let (resource_names, urls) = (items(&rule.resource_names), items(&rule.non_resource_urls));
        if !urls.is_empty() {
            let at = at.field("nonResourceURLs");
            if namespaced {
                let why = "namespaced rules cannot apply to non-resource URLs";
                out.invalid_object(at, &urls, why);
            }
            if !groups.is_empty() || !resources.is_empty() || !resource_names.is_empty() {
                let why = "rules cannot apply to both regular resources and non-resource URLs";
                out.invalid_object(at, &urls, why);
            }
            continue;
        }
        if groups.is_empty() {
            let why = "resource rules must supply at least one api group";
            out.required(at.field("apiGroups"), why);
        }
        if resources.is_empty() {
            let why = "resource rules must supply at least one resource";
            out.required(at.field("resources"), why);
        }
    }
}

fn role_ref(new: &RoleRef, old: Option<&RoleRef>, kinds: &[&str], out: &mut Report) {
    let at = At::new("roleRef");
    out.known(at.field("apiGroup"), text(&new.api_group), &[GROUP]);
    out.known(at.field("kind"), &new.kind, kinds);
    if new.name.is_empty() {
        out.required(at.field("name"), "");
    } else {
        out.faults(at.field("name"), &new.name, names::path_segment(&new.name));
    }
    if old.is_some_and(|old| old != new) {
        out.invalid_object(at, new, "cannot change roleRef");
    }
}

fn subjects(subjects: &[Subject], namespaced: bool, out: &mut Report) {
    let list = At::new("subjects");
    for (index, subject) in subjects.iter().enumerate() {
        let at = list.index(index);
        let name = subject.name.as_str();
        if name.is_empty() {
            out.required(at.field("name"), "");
        }
        let group = text(&subject.api_group);
        match subject.kind.as_str() {
            "ServiceAccount" => {
                if !name.is_empty() {
                    out.faults(at.field("name"), name, names::dns_subdomain(name));
                }
                if !group.is_empty() {
                    out.not_supported(at.field("apiGroup"), group, &[""]);
                }
                if !namespaced && text(&subject.namespace).is_empty() {
                    out.required(at.field("namespace"), "");
                }
            }
            kind @ ("User" | "Group") => {
                if name.is_empty() {
                    let word = kind.to_ascii_lowercase();
                    out.invalid(at.field("name"), "", &format!("{word} name cannot be empty"));
                }
                out.known(at.field("apiGroup"), group, &[GROUP]);
            }
            other => {
                out.not_supported(at.field("kind"), other, &["ServiceAccount", "User", "Group"]);
            }
        }
    }
}
