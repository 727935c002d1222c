//! Namespaces: one that is being deleted loses its content, pods first, and then itself.
//!
//! Source: kubernetes v1.36 `pkg/controller/namespace/deletion`, with ordered deletion.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use api::k8s::{
    api::core::v1::{Namespace, NamespaceCondition},
    apimachinery::pkg::apis::meta::v1::Time,
};
use jiff::Timestamp;

use crate::{Action, Plan, meta::Meta};

/// The finalizer in `spec.finalizers` that stands for a namespace's content.
const CONTENT: &str = "kubernetes";

/// Deletions that one plan orders at the most; the rest follows when these are gone.
const BATCH_MAX: usize = 500;

/// What the decision about one namespace may see.
#[derive(Debug, Clone)]
pub struct View {
    /// The namespace.
    pub namespace: Arc<Namespace>,
    /// Everything in it, of every kind.
    pub content: Vec<Meta>,
    /// The one clock reading.
    pub now: Timestamp,
}

/// Decides what to do next for one namespace. Total and deterministic.
#[must_use]
pub fn reconcile(view: &View) -> Plan {
    let namespace = &view.namespace;
    let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.as_ref());
    let held = finalizers.is_some_and(|names| names.iter().any(|name| name == CONTENT));
    if namespace.metadata.deletion_timestamp.is_none() || !held {
        return Plan::default();
    }
    let mut plan = Plan::default();
    if view.content.is_empty() {
        let mut empty = (**namespace).clone();
        let spec = empty.spec.get_or_insert_default();
        spec.finalizers.get_or_insert_default().retain(|name| name != CONTENT);
        plan.actions.push(Action::update(empty, Some("finalize"), "nothing is left in it"));
        return plan;
    }
    let pods = view.content.iter().any(is_pod);
    let due = view.content.iter().filter(|object| !object.deleting() && is_pod(object) == pods);
    for object in due.take(BATCH_MAX) {
        plan.actions.push(Action::delete(object.target.clone(), "its namespace is being deleted"));
    }
    plan.actions.extend(conditions(view));
    plan
}

fn is_pod(object: &Meta) -> bool {
    object.target.kind == "Pod" && object.target.group.is_empty()
}

/// Says on the namespace what keeps it.
fn conditions(view: &View) -> Option<Action> {
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    let mut finalizers: BTreeMap<&str, usize> = BTreeMap::new();
    for object in &view.content {
        let Some(resource) = object.target.resource() else { continue };
        let names = resource.names();
        let kind = match names.group {
            "" => format!("{}.", names.plural),
            group => format!("{}.{group}", names.plural),
        };
        *kinds.entry(kind).or_default() += 1;
        for name in object.meta.finalizers.iter().flatten() {
            *finalizers.entry(name).or_default() += 1;
        }
    }
    let left = kinds.iter().map(|(kind, count)| format!("{kind} has {count} resource instances"));
    let left = format!("Some resources are remaining: {}", left.collect::<Vec<_>>().join(", "));
    let held: Vec<String> = finalizers
        .iter()
        .map(|(name, count)| format!("{name} in {count} resource instances"))
        .collect();
    let mut wanted = vec![("NamespaceContentRemaining", "SomeResourcesRemain", left)];
    if !held.is_empty() {
        let held =
            format!("Some content in the namespace has finalizers remaining: {}", held.join(", "));
        wanted.push(("NamespaceFinalizersRemaining", "SomeFinalizersRemain", held));
    }
    let mut changed = (*view.namespace).clone();
    let status = changed.status.get_or_insert_default();
    let conditions = status.conditions.get_or_insert_default();
    let before = conditions.clone();
    for (kind, reason, message) in wanted {
        set(conditions, kind, reason, message, view.now);
    }
    (before != *conditions)
        .then(|| Action::update(changed, Some("status"), "what is left has changed").in_group(1))
}

fn set(
    conditions: &mut Vec<NamespaceCondition>,
    kind: &str,
    reason: &str,
    message: String,
    now: Timestamp,
) {
    let old = conditions.iter().position(|condition| condition.type_ == kind);
    let since = old
        .filter(|at| conditions[*at].status == "True")
        .and_then(|at| conditions[at].last_transition_time.clone());
    let condition = NamespaceCondition {
        type_: kind.to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_transition_time: since.or(Some(Time(now))),
    };
    match old {
        Some(at) => conditions[at] = condition,
        None => conditions.push(condition),
    }
}
