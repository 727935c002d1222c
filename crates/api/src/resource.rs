//! The table of kinds: one entry per kind, everything else derived from it.
//!
//! Routes, discovery, OpenAPI, storage keys, `get` columns and short names: none of them lists
//! kinds by hand. To add a kind, add an entry under `kinds/`; the tests below then judge it.
//!
//! ```text
//!   Kind<StatefulSet> { names, defaults(&mut T), validate(&T, old), row(&T, now), .. }
//!        └── seen by handlers as &'static dyn Resource, over Box<dyn Object> and bytes
//! ```

use std::{any::TypeId, fmt};

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    field::Cause,
    kinds,
    object::{Object, Typed},
};

/// Every kind this server knows, in the order discovery shows them.
#[must_use]
pub fn all() -> &'static [&'static dyn Resource] {
    kinds::ALL
}

/// The entry of this group and plural, as in URLs.
#[must_use]
pub fn by_plural(group: &str, plural: &str) -> Option<&'static dyn Resource> {
    all().iter().copied().find(|r| r.names().group == group && r.names().plural == plural)
}

/// The entry of this group and kind, as in `apiVersion` and `kind`.
#[must_use]
pub fn by_kind(group: &str, kind: &str) -> Option<&'static dyn Resource> {
    all().iter().copied().find(|r| r.names().group == group && r.names().kind == kind)
}

/// The entry of this k8s-openapi type.
///
/// # Panics
///
/// When the type has no entry: a programmer's mistake that any first use shows.
#[must_use]
pub fn of<T: Typed>() -> &'static dyn Resource {
    let wanted = TypeId::of::<T>();
    let found = all().iter().copied().find(|r| r.type_id() == wanted);
    found.unwrap_or_else(|| panic!("{} has no entry in kinds/", T::KIND))
}

/// What a kind is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Names {
    /// API group; empty for core.
    pub group: &'static str,
    /// The one version served and stored.
    pub version: &'static str,
    /// `CamelCase` singular, as in `kind: StatefulSet`.
    pub kind: &'static str,
    /// Lower-case plural, as in URLs.
    pub plural: &'static str,
    /// Lower-case singular.
    pub singular: &'static str,
    /// What `kubectl get` also accepts.
    pub short: &'static [&'static str],
    /// Groups such as `all`.
    pub categories: &'static [&'static str],
}

impl Names {
    /// `apps/v1`, or `v1` in the core group.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `/apis/apps/v1` or `/api/v1`.
    #[must_use]
    pub fn root(&self) -> String {
        if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        }
    }
}

/// Where objects of a kind live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// In a namespace.
    Namespaced,
    /// In the cluster as a whole.
    Cluster,
}

/// A part of an object with its own URL and writers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subresource {
    /// Last segment of the URL.
    pub name: &'static str,
    /// Group of the kind it speaks; empty for core.
    pub group: &'static str,
    /// Version of the kind it speaks.
    pub version: &'static str,
    /// The kind it speaks.
    pub kind: &'static str,
    /// What may be done with it.
    pub verbs: &'static [&'static str],
}

/// What may be done with most kinds.
pub const VERBS: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// One column of `kubectl get`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Heading, as `Ready`.
    pub name: &'static str,
    /// OpenAPI type: string, integer, date, boolean.
    pub kind: &'static str,
    /// OpenAPI format; `name` for the name column.
    pub format: &'static str,
    /// 0 is always shown, 1 with `-o wide`.
    pub priority: i32,
    /// What the column means.
    pub description: &'static str,
}

/// What the writers of one endpoint may change; the rest is taken from the stored object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The object itself: `status` is kept where the kind has that subresource.
    Main,
    /// `status`: all but status and metadata is kept.
    Status,
}

/// One kind of object, described once, over its k8s-openapi type.
///
/// All functions are pure; what needs other objects is admission.
#[derive(Debug)]
pub struct Kind<T: 'static> {
    /// What it is called.
    pub names: Names,
    /// Where its objects live.
    pub scope: Scope,
    /// What may be done with it.
    pub verbs: &'static [&'static str],
    /// Parts with their own URL.
    pub subresources: &'static [Subresource],
    /// `Some` where another entry's storage is shared under other field names (events).
    pub alias: Option<&'static Alias>,
    /// Whether PUT of an absent name creates it.
    pub create_on_update: bool,
    /// Whether PUT may leave resourceVersion out.
    pub unconditional_update: bool,
    /// Fills in what upstream fills in. Idempotent.
    pub defaults: fn(&mut T),
    /// Drops and sets what clients may not: called before validation, with the stored object on update.
    pub prepare: fn(&mut T, Option<&T>, Part),
    /// What is wrong with it, or with the change from the stored object.
    pub validate: fn(&T, Option<&T>, Part) -> Vec<Cause>,
    /// What a `Warning` header says about it.
    pub warnings: fn(&T, Option<&T>) -> Vec<String>,
    /// The columns of `kubectl get`, `Name` first.
    pub columns: &'static [Column],
    /// One cell a column: string, integer or boolean.
    pub row: fn(&T, Timestamp) -> Vec<Value>,
    /// What field selectors can ask beyond `metadata.name` and `metadata.namespace`.
    pub fields: fn(&T) -> Vec<(&'static str, String)>,
}

/// How an entry reads another entry's stored objects: its fields under other names.
#[derive(Debug)]
pub struct Alias {
    /// Group of the entry that stores.
    pub group: &'static str,
    /// Plural of the entry that stores.
    pub plural: &'static str,
    /// Pairs of (top-level field here, top-level field in storage).
    pub renames: &'static [(&'static str, &'static str)],
}

/// A [`Kind`] whose type is forgotten.
pub trait Resource: fmt::Debug + Send + Sync {
    /// What it is called.
    fn names(&self) -> &Names;
    /// Where its objects live.
    fn scope(&self) -> Scope;
    /// What may be done with it.
    fn verbs(&self) -> &'static [&'static str];
    /// Parts with their own URL.
    fn subresources(&self) -> &'static [Subresource];
    /// Whose storage it reads, if not its own.
    fn alias(&self) -> Option<&'static Alias>;
    /// Whether PUT of an absent name creates it.
    fn create_on_update(&self) -> bool;
    /// Whether PUT may leave resourceVersion out.
    fn unconditional_update(&self) -> bool;
    /// The k8s-openapi type behind it.
    fn type_id(&self) -> TypeId;
    /// Reads the typed object; unknown fields are dropped (`facts` finds them).
    ///
    /// # Errors
    ///
    /// serde's, when a field has the wrong type.
    fn decode(&self, value: &Value) -> Result<Box<dyn Object>, serde_json::Error>;
    /// Fills in what upstream fills in.
    fn apply_defaults(&self, object: &mut dyn Object);
    /// Drops and sets what clients may not.
    fn prepare(&self, object: &mut dyn Object, old: Option<&dyn Object>, part: Part);
    /// What is wrong with it.
    fn validate(&self, object: &dyn Object, old: Option<&dyn Object>, part: Part) -> Vec<Cause>;
    /// What a `Warning` header says about it.
    fn warnings(&self, object: &dyn Object, old: Option<&dyn Object>) -> Vec<String>;
    /// The columns of `kubectl get`.
    fn columns(&self) -> &'static [Column];
    /// Its cells.
    fn row(&self, object: &dyn Object, now: Timestamp) -> Vec<Value>;
    /// What field selectors can ask.
    fn fields(&self, object: &dyn Object) -> Vec<(&'static str, String)>;
}

impl dyn Resource + '_ {
    /// Whether it has this subresource.
    #[must_use]
    pub fn subresource(&self, name: &str) -> Option<&'static Subresource> {
        self.subresources().iter().find(|sub| sub.name == name)
    }

    /// Whether objects live in a namespace.
    #[must_use]
    pub fn namespaced(&self) -> bool {
        self.scope() == Scope::Namespaced
    }

    /// Where its objects are stored: `/apps/statefulsets/` (core: `/core/pods/`).
    #[must_use]
    pub fn prefix(&self) -> String {
        let (group, plural) = match self.alias() {
            Some(alias) => (alias.group, alias.plural),
            None => (self.names().group, self.names().plural),
        };
        format!("/{}/{plural}/", if group.is_empty() { "core" } else { group })
    }

    /// Where one object is stored: prefix, namespace and a slash where it has one, name.
    #[must_use]
    pub fn key(&self, namespace: &str, name: &str) -> String {
        if self.namespaced() {
            format!("{}{namespace}/{name}", self.prefix())
        } else {
            format!("{}{name}", self.prefix())
        }
    }
}

impl<T: Typed> Kind<T> {
    fn typed<'a>(&self, object: &'a dyn Object) -> &'a T {
        object.as_any().downcast_ref().unwrap_or_else(|| self.mixed_up(object))
    }

    fn mixed_up(&self, object: &dyn Object) -> ! {
        panic!("a {} was given to the entry of {}", object.kind(), self.names.kind)
    }
}

impl<T: Typed> Resource for Kind<T> {
    fn names(&self) -> &Names {
        &self.names
    }

    fn scope(&self) -> Scope {
        self.scope
    }

    fn verbs(&self) -> &'static [&'static str] {
        self.verbs
    }

    fn subresources(&self) -> &'static [Subresource] {
        self.subresources
    }

    fn alias(&self) -> Option<&'static Alias> {
        self.alias
    }

    fn create_on_update(&self) -> bool {
        self.create_on_update
    }

    fn unconditional_update(&self) -> bool {
        self.unconditional_update
    }

    fn type_id(&self) -> TypeId {
        TypeId::of::<T>()
    }

    fn decode(&self, value: &Value) -> Result<Box<dyn Object>, serde_json::Error> {
        Ok(Box::new(<T as serde::Deserialize>::deserialize(value)?))
    }

    fn apply_defaults(&self, object: &mut dyn Object) {
        match object.as_any_mut().downcast_mut() {
            Some(typed) => (self.defaults)(typed),
            None => self.mixed_up(object),
        }
    }

    fn prepare(&self, object: &mut dyn Object, old: Option<&dyn Object>, part: Part) {
        let old = old.map(|old| self.typed(old));
        match object.as_any_mut().downcast_mut() {
            Some(typed) => (self.prepare)(typed, old, part),
            None => self.mixed_up(object),
        }
    }

    fn validate(&self, object: &dyn Object, old: Option<&dyn Object>, part: Part) -> Vec<Cause> {
        (self.validate)(self.typed(object), old.map(|old| self.typed(old)), part)
    }

    fn warnings(&self, object: &dyn Object, old: Option<&dyn Object>) -> Vec<String> {
        (self.warnings)(self.typed(object), old.map(|old| self.typed(old)))
    }

    fn columns(&self) -> &'static [Column] {
        self.columns
    }

    fn row(&self, object: &dyn Object, now: Timestamp) -> Vec<Value> {
        (self.row)(self.typed(object), now)
    }

    fn fields(&self, object: &dyn Object) -> Vec<(&'static str, String)> {
        (self.fields)(self.typed(object))
    }
}
