//! Zero values that upstream's encoding leaves out, dropped so that our JSON is byte-equal to its.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// A type whose zero value upstream does not print in fields marked `omitempty`.
pub(super) trait Zero {
    fn is_zero(&self) -> bool;
}

impl Zero for String {
    fn is_zero(&self) -> bool {
        self.is_empty()
    }
}

impl Zero for bool {
    fn is_zero(&self) -> bool {
        !*self
    }
}

impl Zero for i32 {
    fn is_zero(&self) -> bool {
        *self == 0
    }
}

impl<T> Zero for Vec<T> {
    fn is_zero(&self) -> bool {
        self.is_empty()
    }
}

impl<K, V> Zero for BTreeMap<K, V> {
    fn is_zero(&self) -> bool {
        self.is_empty()
    }
}

/// Drops a zero value. Not for fields that are pointers upstream: those keep `false` and `0`.
pub(super) fn omit<T: Zero>(field: &mut Option<T>) {
    if field.as_ref().is_some_and(Zero::is_zero) {
        *field = None;
    }
}

/// Fills an absent or empty text.
pub(super) fn text(field: &mut Option<String>, default: &str) {
    if field.as_ref().is_none_or(String::is_empty) {
        *field = Some(default.to_owned());
    }
}

/// Drops what metadata of any object does not print.
pub(super) fn metadata(meta: &mut ObjectMeta) {
    omit(&mut meta.annotations);
    omit(&mut meta.finalizers);
    omit(&mut meta.generate_name);
    omit(&mut meta.labels);
    omit(&mut meta.managed_fields);
    omit(&mut meta.name);
    omit(&mut meta.namespace);
    omit(&mut meta.owner_references);
    omit(&mut meta.resource_version);
    omit(&mut meta.uid);
    meta.self_link = None;
}
