//! An API object whose kind is known only at run time, and its one JSON form.

use std::{any::Any, fmt};

use k8s_openapi::{
    Metadata, api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// What a k8s-openapi type must be to stand in the table of kinds.
///
/// Every generated top-level type with an `ObjectMeta` is one.
pub trait Typed:
    Metadata<Ty = ObjectMeta>
    + Serialize
    + DeserializeOwned
    + Clone
    + fmt::Debug
    + Send
    + Sync
    + 'static
{
}

impl<T> Typed for T where
    T: Metadata<Ty = ObjectMeta>
        + Serialize
        + DeserializeOwned
        + Clone
        + fmt::Debug
        + Send
        + Sync
        + 'static
{
}

/// An object of some kind of the table; handlers use it where they need not know which.
pub trait Object: Any + fmt::Debug + Send + Sync {
    /// Its metadata.
    fn meta(&self) -> &ObjectMeta;
    /// Its metadata, to change.
    fn meta_mut(&mut self) -> &mut ObjectMeta;
    /// Group and version as written in `apiVersion`.
    fn api_version(&self) -> &'static str;
    /// `CamelCase` kind.
    fn kind(&self) -> &'static str;
    /// Its JSON, with `apiVersion` and `kind`.
    fn to_value(&self) -> Value;
    /// A copy.
    fn boxed(&self) -> Box<dyn Object>;
    /// For `downcast_ref` to the k8s-openapi type.
    fn as_any(&self) -> &dyn Any;
    /// For `downcast_mut` to the k8s-openapi type.
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

impl<T: Typed> Object for T {
    fn meta(&self) -> &ObjectMeta {
        self.metadata()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.metadata_mut()
    }

    fn api_version(&self) -> &'static str {
        T::API_VERSION
    }

    fn kind(&self) -> &'static str {
        T::KIND
    }

    fn to_value(&self) -> Value {
        // k8s-openapi's types have string keys and no foreign serializers: nothing can fail.
        serde_json::to_value(self).unwrap_or(Value::Null)
    }

    fn boxed(&self) -> Box<dyn Object> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

/// How another object or an event names this one, in the version that is at hand.
pub fn reference<T: Typed>(object: &T) -> ObjectReference {
    let meta = object.metadata();
    ObjectReference {
        api_version: Some(T::API_VERSION.to_owned()),
        kind: Some(T::KIND.to_owned()),
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        field_path: None,
    }
}

impl Clone for Box<dyn Object> {
    fn clone(&self) -> Self {
        (**self).boxed()
    }
}

impl PartialEq for dyn Object {
    fn eq(&self, other: &Self) -> bool {
        self.to_value() == other.to_value()
    }
}
