//! Names of objects, and what a cache must show of them.

use std::{fmt, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Which object, or whatever else is worked on by name; orders by namespace, then name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Key {
    /// Empty for cluster-scoped objects.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// Only where one queue holds keys of several kinds; otherwise empty.
    pub kind: &'static str,
}

impl Key {
    /// An object's key; the namespace is empty for cluster-scoped ones.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned(), kind: "" }
    }

    /// The key of the object with this metadata.
    #[must_use]
    pub fn of(meta: &ObjectMeta) -> Self {
        Self::new(
            meta.namespace.as_deref().unwrap_or_default(),
            meta.name.as_deref().unwrap_or_default(),
        )
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.kind.is_empty() { "" } else { " " };
        let slash = if self.namespace.is_empty() { "" } else { "/" };
        write!(f, "{}{kind}{}{slash}{}", self.kind, self.namespace, self.name)
    }
}

/// An index: its name, and the values under which an object is found.
pub type Index<K> = (&'static str, fn(&K) -> Vec<String>);

/// Which keys a change concerns, from the object before and after it.
pub type Concerns<K> = Box<dyn Fn(Option<&K>, Option<&K>) -> Vec<Key> + Send + Sync>;

/// Takes a key to look at again; quick, and never waits.
pub type Wake = Arc<dyn Fn(Key) + Send + Sync>;

/// What a cache must show before whoever wrote decides again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// Of the written object; empty for cluster-scoped ones.
    pub namespace: String,
    /// Of the written object.
    pub name: String,
    /// Of the written object; once this uid is gone there is nothing to wait for.
    pub uid: String,
    /// The version the server answered; `u64::MAX` after a deletion: only absence will do.
    pub version: u64,
    /// How many lists the cache had begun when the answer came; filled by [`AnyCache::expect`].
    pub lists: Option<u64>,
}

/// The version of an object as a number; 0 when it has none.
#[must_use]
pub fn version_of(meta: &ObjectMeta) -> u64 {
    meta.resource_version.as_deref().map_or(0, parse_version)
}

pub(crate) fn parse_version(text: &str) -> u64 {
    text.parse().unwrap_or(0)
}
