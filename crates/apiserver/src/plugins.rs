//! Crate `admission` as one of the server's admissions: its rules, our store.

use std::sync::Arc;

use api::{
    ApiError, Object,
    k8s::api::{
        core::v1::{LimitRange, ServiceAccount},
        scheduling::v1::PriorityClass,
        storage::v1::StorageClass,
    },
};
use store::Store;

use crate::{
    contract::{Admission, Ambient, Operation, Write},
    lookup::Lookup,
};

/// What upstream's plugins decide that are on by default.
#[derive(Debug)]
pub struct Plugins {
    lookup: Lookup,
    ambient: Arc<dyn Ambient>,
}

impl Plugins {
    /// Over this store.
    #[must_use]
    pub fn new(store: Store, ambient: Arc<dyn Ambient>) -> Self {
        Self { lookup: Lookup::new(store), ambient }
    }
}

impl Admission for Plugins {
    fn admit(
        &self,
        write: &Write<'_>,
        object: Option<&mut Box<dyn Object>>,
        _: &mut Vec<String>,
    ) -> Result<(), ApiError> {
        let mut chance = [0_u8; 5];
        self.ambient.fill(&mut chance);
        let request = admission::Request {
            operation: match write.operation {
                Operation::Create => admission::Operation::Create,
                Operation::Update => admission::Operation::Update,
                Operation::Delete => admission::Operation::Delete,
            },
            resource: write.resource,
            subresource: write.subresource,
            namespace: write.namespace,
            name: write.name,
            old: write.old,
            chance,
        };
        admission::admit(&request, object.map(|object| &mut **object), &self.lookup)
    }
}

impl admission::Lookup for Lookup {
    fn service_account(&self, namespace: &str, name: &str) -> Option<ServiceAccount> {
        self.get(namespace, name)
    }

    fn priority_class(&self, name: &str) -> Option<PriorityClass> {
        self.get("", name)
    }

    fn priority_classes(&self) -> Vec<PriorityClass> {
        self.list("")
    }

    fn storage_class(&self, name: &str) -> Option<StorageClass> {
        self.get("", name)
    }

    fn storage_classes(&self) -> Vec<StorageClass> {
        self.list("")
    }

    fn limit_ranges(&self, namespace: &str) -> Vec<LimitRange> {
        // Without a namespace nothing is limited, and all ranges would be listed.
        if namespace.is_empty() { Vec::new() } else { self.list(namespace) }
    }
}
