//! What a newer stead adds to the roles and bindings of an older one's cluster.
//!
//! Nothing is taken away: what a person has added stays. One that a person has annotated with
//! `rbac.authorization.kubernetes.io/autoupdate: "false"` is left alone.
//!
//! Source: kubernetes v1.36 `pkg/registry/rbac/reconciliation`, `reconcile_role.go` and
//! `reconcile_rolebindings.go`, as `storage_rbac.go` calls them at each start.

use std::collections::BTreeMap;

use api::Object;
use k8s_openapi::{
    api::rbac::v1::{
        ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::escalation::{break_down, compact, covers};

/// The annotation by which a person keeps a role or binding as it is.
pub(super) const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// What is to be done with a role or binding that is there.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reconciled {
    /// It has all that it should.
    Same,
    /// It becomes this.
    Update(Box<dyn Object>),
    /// A binding to another role: which role it gives can never change, so it is made anew.
    Anew,
}

/// Compares what is there with what a new cluster would have; other kinds are always the same.
pub(crate) fn reconcile(held: &dyn Object, wanted: &dyn Object) -> Reconciled {
    let annotations = held.meta().annotations.as_ref();
    if annotations.and_then(|all| all.get(AUTOUPDATE)).is_some_and(|value| value == "false") {
        return Reconciled::Same;
    }
    let mut new = held.boxed();
    let told = merge_meta(new.meta_mut(), wanted.meta());
    let (held, wanted) = (held.as_any(), wanted.as_any());
    let added = if let (Some(new), Some(wanted)) =
        (new.as_any_mut().downcast_mut::<ClusterRole>(), wanted.downcast_ref::<ClusterRole>())
    {
        add_rules(&mut new.rules, wanted.rules.as_ref())
    } else if let (Some(new), Some(wanted)) =
        (new.as_any_mut().downcast_mut::<Role>(), wanted.downcast_ref::<Role>())
    {
        add_rules(&mut new.rules, wanted.rules.as_ref())
    } else {
        let binding = |one: &dyn std::any::Any| -> Option<(RoleRef, Option<Vec<Subject>>)> {
            if let Some(one) = one.downcast_ref::<ClusterRoleBinding>() {
                return Some((one.role_ref.clone(), one.subjects.clone()));
            }
            let one = one.downcast_ref::<RoleBinding>()?;
            Some((one.role_ref.clone(), one.subjects.clone()))
        };
        let (Some((old_role, _)), Some((role, subjects))) = (binding(held), binding(wanted)) else {
            return Reconciled::Same;
        };
        if old_role != role {
            return Reconciled::Anew;
        }
        match new.as_any_mut().downcast_mut::<ClusterRoleBinding>() {
            Some(new) => add_subjects(&mut new.subjects, subjects),
            None => match new.as_any_mut().downcast_mut::<RoleBinding>() {
                Some(new) => add_subjects(&mut new.subjects, subjects),
                None => false,
            },
        }
    };
    if told || added { Reconciled::Update(new) } else { Reconciled::Same }
}

/// Labels and annotations that are missing; a value that somebody changed stays.
fn merge_meta(held: &mut ObjectMeta, wanted: &ObjectMeta) -> bool {
    let pairs = [(&mut held.labels, &wanted.labels), (&mut held.annotations, &wanted.annotations)];
    let mut changed = false;
    for (held, wanted) in pairs {
        let mut all: BTreeMap<String, String> = wanted.clone().unwrap_or_default();
        all.extend(held.clone().unwrap_or_default());
        changed |= all != held.clone().unwrap_or_default();
        if !all.is_empty() {
            *held = Some(all);
        }
    }
    changed
}

fn add_rules(held: &mut Option<Vec<PolicyRule>>, wanted: Option<&Vec<PolicyRule>>) -> bool {
    let rules = held.clone().unwrap_or_default();
    let parts = wanted.into_iter().flatten().flat_map(break_down);
    let missing: Vec<PolicyRule> =
        parts.filter(|part| !rules.iter().any(|rule| covers(rule, part))).collect();
    let changed = !missing.is_empty();
    if changed {
        held.get_or_insert_default().extend(compact(missing));
    }
    changed
}

fn add_subjects(held: &mut Option<Vec<Subject>>, wanted: Option<Vec<Subject>>) -> bool {
    let before = held.as_ref().map_or(0, Vec::len);
    for subject in wanted.into_iter().flatten() {
        let all = held.get_or_insert_default();
        if !all.contains(&subject) {
            all.push(subject);
        }
    }
    held.as_ref().map_or(0, Vec::len) != before
}
