//! Everything that upstream's admission plugins decide, as pure functions.
//!
//! ```text
//!   Request + object + Lookup ──▶ changed object, warnings | Refusal
//! ```
//!
//! `pods` fills in account, token, priority and tolerations; `storage` the default class and the
//! finalizers; `limits` what limit ranges say; `nodes` the first taint; `namespaces` those that
//! stay; `quota` what a write costs, which the server asks by itself.
//!
//! Source: kubernetes v1.36 `plugin/pkg/admission`, by the plugins that are on by default.

#![forbid(unsafe_code)]

mod limits;
mod namespaces;
mod nodes;
mod pods;
pub mod quota;
mod storage;
#[cfg(test)]
mod tests;

use api::{
    ApiError, Object, Resource,
    k8s::api::{
        core::v1::{LimitRange, ServiceAccount},
        scheduling::v1::PriorityClass,
        storage::v1::StorageClass,
    },
    status::About,
};

/// What is done to the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// It is new.
    Create,
    /// It replaces the stored one.
    Update,
    /// It is removed.
    Delete,
}

/// One write, beside its object.
#[derive(Debug)]
pub struct Request<'a> {
    /// What is done.
    pub operation: Operation,
    /// The kind.
    pub resource: &'static dyn Resource,
    /// Empty for the object itself.
    pub subresource: &'a str,
    /// Empty for cluster-scoped kinds.
    pub namespace: &'a str,
    /// Its name; empty until one is generated.
    pub name: &'a str,
    /// The stored object: update and delete.
    pub old: Option<&'a dyn Object>,
    /// Five random bytes, for names made here.
    pub chance: [u8; 5],
}

/// Other objects, as they are now.
pub trait Lookup {
    /// A service account.
    fn service_account(&self, namespace: &str, name: &str) -> Option<ServiceAccount>;
    /// A priority class.
    fn priority_class(&self, name: &str) -> Option<PriorityClass>;
    /// All priority classes.
    fn priority_classes(&self) -> Vec<PriorityClass>;
    /// A storage class.
    fn storage_class(&self, name: &str) -> Option<StorageClass>;
    /// All storage classes.
    fn storage_classes(&self) -> Vec<StorageClass>;
    /// The limit ranges of a namespace, by name.
    fn limit_ranges(&self, namespace: &str) -> Vec<LimitRange>;
}

/// Fills in what other objects give, or refuses. Idempotent. `object` is `None` for a delete.
///
/// # Errors
///
/// 403 with upstream's sentence; the answer to the client.
pub fn admit(
    request: &Request<'_>,
    object: Option<&mut dyn Object>,
    lookup: &dyn Lookup,
) -> Result<(), ApiError> {
    namespaces::keep(request)?;
    let Some(object) = object else { return Ok(()) };
    pods::admit(request, object, lookup)?;
    limits::admit(request, object, lookup)?;
    storage::admit(request, object, lookup)?;
    nodes::taint(request, object);
    Ok(())
}

impl Request<'_> {
    /// Whether it creates an object of this kind (not one of its subresources).
    fn creates(&self) -> bool {
        self.operation == Operation::Create && self.subresource.is_empty()
    }

    /// 403: `pods "x" is forbidden: why`.
    fn forbidden(&self, why: &str) -> ApiError {
        let names = self.resource.names();
        let about = About { group: names.group, resource: names.plural };
        ApiError::forbidden(about, self.name, why)
    }
}

fn typed<T: 'static>(object: &dyn Object) -> Option<&T> {
    object.as_any().downcast_ref()
}

fn typed_mut<T: 'static>(object: &mut dyn Object) -> Option<&mut T> {
    object.as_any_mut().downcast_mut()
}
