//! An object of any kind, reduced to its metadata: all that owners and namespaces care about.

use std::sync::Arc;

use api::k8s::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use crate::{Action, Target};

/// One object's identity and metadata.
#[derive(Debug, Clone, PartialEq)]
pub struct Meta {
    /// Which object.
    pub target: Target,
    /// Its metadata, managedFields dropped.
    pub meta: Arc<ObjectMeta>,
}

impl Meta {
    /// It has a deletion timestamp.
    #[must_use]
    pub fn deleting(&self) -> bool {
        self.meta.deletion_timestamp.is_some()
    }

    /// It bears this finalizer.
    #[must_use]
    pub fn holds(&self, finalizer: &str) -> bool {
        holds(&self.meta, finalizer)
    }

    /// The write that takes this finalizer off, if nothing else has changed since.
    #[must_use]
    pub fn release(&self, finalizer: &str, why: &str) -> Action {
        set_finalizers(self.target.clone(), &self.meta, why, |name| name != finalizer, None)
    }
}

/// These finalizers contain this one.
#[must_use]
pub fn holds(meta: &ObjectMeta, finalizer: &str) -> bool {
    meta.finalizers.iter().flatten().any(|name| name == finalizer)
}

/// The write that takes a finalizer off an object.
#[must_use]
pub fn release(target: Target, meta: &ObjectMeta, finalizer: &str, why: &str) -> Action {
    set_finalizers(target, meta, why, |name| name != finalizer, None)
}

/// The write that puts a finalizer on an object.
#[must_use]
pub fn hold(target: Target, meta: &ObjectMeta, finalizer: &str, why: &str) -> Action {
    set_finalizers(target, meta, why, |_| true, Some(finalizer))
}

fn set_finalizers(
    target: Target,
    meta: &ObjectMeta,
    why: &str,
    keep: impl Fn(&str) -> bool,
    add: Option<&str>,
) -> Action {
    let kept = meta.finalizers.iter().flatten().map(String::as_str).filter(|name| keep(name));
    let finalizers: Vec<&str> = kept.chain(add).collect();
    let finalizers = if finalizers.is_empty() { Value::Null } else { json!(finalizers) };
    let body = json!({"metadata": {
        "uid": meta.uid, "resourceVersion": meta.resource_version, "finalizers": finalizers,
    }});
    Action::merge(target, None, body, why)
}
