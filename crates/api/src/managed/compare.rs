//! Which fields differ between two objects, and which an object has, as sets.

use serde_json::{Map, Value};

use super::set::{self, Set};
use crate::facts::{self, Field, ListType, Shape};

/// Fields that nobody owns, beside `apiVersion` and `kind`.
const UNOWNED_METADATA: [&str; 8] = [
    "clusterName",
    "creationTimestamp",
    "generation",
    "managedFields",
    "name",
    "namespace",
    "resourceVersion",
    "selfLink",
];

/// Which parts of an object a writer can own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scope {
    ignored: &'static [&'static str],
}

impl Scope {
    /// By the endpoint that is written to; empty for the object itself.
    pub(super) fn of(subresource: &str) -> Self {
        Self { ignored: if subresource == "status" { &["spec"] } else { &["status"] } }
    }

    /// Everything: what an object has at its first apply.
    pub(super) const ALL: Self = Self { ignored: &[] };

    pub(super) fn ignored(self) -> &'static [&'static str] {
        self.ignored
    }
}

/// What became of the fields.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Added or given another value.
    pub(super) touched: Set,
    /// No longer there.
    pub(super) removed: Set,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.touched.is_empty() && self.removed.is_empty()
    }
}

/// What differs between two objects of this shape, as far as it can be owned.
pub(super) fn compare(
    shape: Shape,
    old: Option<&Value>,
    new: Option<&Value>,
    scope: Scope,
) -> Changes {
    let mut changes = Changes::default();
    let (old, new) = (as_map(old), as_map(new));
    for_each_key(old, new, |key, old, new| {
        if matches!(key, "apiVersion" | "kind") || scope.ignored.contains(&key) {
            return;
        }
        let place = Place::of_field(shape, key);
        if key == "metadata" {
            let mut inner = Changes::default();
            for_each_key(as_map(old), as_map(new), |key, old, new| {
                if key != "uid" && !UNOWNED_METADATA.contains(&key) {
                    let place = Place::of_field(place.shape, key);
                    record(&mut inner, "f:", key, &place, old, new);
                }
            });
            adopt(&mut changes, "f:metadata".to_owned(), inner, false, false);
        } else {
            record(&mut changes, "f:", key, &place, old, new);
        }
    });
    changes
}

/// The fields that an applied object has, as far as they can be owned.
pub(super) fn fields_of(shape: Shape, object: &Value, scope: Scope) -> Set {
    let mut set = Set::new();
    for (key, value) in as_map(Some(object)).into_iter().flatten() {
        if matches!(key.as_str(), "apiVersion" | "kind") || scope.ignored.contains(&key.as_str()) {
            continue;
        }
        let place = Place::of_field(shape, key);
        if key == "metadata" {
            let mut inner = Set::new();
            for (key, value) in as_map(Some(value)).into_iter().flatten() {
                if key != "uid" && !UNOWNED_METADATA.contains(&key.as_str()) {
                    let place = Place::of_field(place.shape, key);
                    list_field(&mut inner, key, &place, value);
                }
            }
            set.extend(set::child(inner, false).map(|child| ("f:metadata".to_owned(), child)));
        } else {
            list_field(&mut set, key, &place, value);
        }
    }
    set
}

/// What is known of where a value stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) shape: Shape,
    pub(super) atomic: bool,
    list: Option<&'static ListType>,
    by_value: bool,
    /// An entry of a map of arbitrary keys.
    entry: bool,
}

impl Place {
    pub(super) fn of_shape(shape: Shape) -> Self {
        let atomic = match shape {
            Shape::Struct(id) => facts::types().get(id).atomic,
            _ => false,
        };
        Self { shape, atomic, list: None, by_value: false, entry: false }
    }

    /// The field of this name in an object of this shape.
    pub(super) fn of_field(shape: Shape, name: &str) -> Self {
        match (shape, facts::types().field(shape, name)) {
            (_, Some(field)) => Self::of_known(field),
            (Shape::Map(_), None) => {
                Self { entry: true, ..Self::of_shape(facts::types().inside(shape)) }
            }
            _ => Self::of_shape(Shape::Any),
        }
    }

    fn of_known(field: &'static Field) -> Self {
        let own = Self::of_shape(field.shape);
        Self {
            atomic: own.atomic || field.atomic,
            list: Some(&field.list),
            by_value: field.by_value,
            ..own
        }
    }

    /// How this place's values are told apart within; `None` for a single value.
    pub(super) fn granular(&self) -> Option<Granular> {
        if self.atomic {
            return None;
        }
        match (self.shape, self.list) {
            (Shape::Struct(_) | Shape::Map(_), _) => Some(Granular::Fields),
            (Shape::List(_), Some(ListType::Set)) => Some(Granular::Set),
            (Shape::List(_), Some(ListType::Map(keys))) => Some(Granular::Items(keys)),
            _ => None,
        }
    }

    /// The place of items of this list.
    pub(super) fn item(&self) -> Self {
        Self::of_shape(facts::types().inside(self.shape))
    }
}

/// How values within a value are told apart.
#[derive(Debug, Clone, Copy)]
pub(super) enum Granular {
    /// By name.
    Fields,
    /// By value.
    Set,
    /// By some of their fields.
    Items(&'static [&'static str]),
}

/// `k:{"name":"a"}` of an item of a list, `None` when it has none of the keys.
pub(super) fn item_key(keys: &[&str], item: &Value, shape: Shape) -> Option<String> {
    let map = item.as_object()?;
    let mut found = Map::new();
    for key in keys {
        match map.get(*key) {
            Some(value) if !value.is_null() => {
                found.insert((*key).to_owned(), value.clone());
            }
            _ => {
                if let Shape::Struct(id) = shape
                    && let Some(default) = facts::types().get(id).key_default(key)
                {
                    found.insert((*key).to_owned(), default.into());
                }
            }
        }
    }
    if found.is_empty() { None } else { Some(format!("k:{}", Value::Object(found))) }
}

/// The elements of a list with the names they have in sets; by position where nothing tells them
/// apart.
pub(super) fn items<'v>(how: Granular, list: &'v [Value], item: Shape) -> Vec<(String, &'v Value)> {
    let name = |(at, value): (usize, &'v Value)| {
        let name = match how {
            Granular::Items(keys) => item_key(keys, value, item),
            Granular::Set => Some(format!("v:{value}")),
            Granular::Fields => None,
        };
        (name.unwrap_or_else(|| format!("i:{at}")), value)
    };
    list.iter().enumerate().map(name).collect()
}

fn record(
    changes: &mut Changes,
    prefix: &str,
    key: &str,
    place: &Place,
    old: Option<&Value>,
    new: Option<&Value>,
) {
    if old == new {
        return;
    }
    // Absent is there but empty for what Go holds by value.
    let there = |value: Option<&Value>| place.by_value || value.is_some();
    let (had, has) = (there(old), there(new));
    let within = match place.granular() {
        Some(how) if !(is_bare(old) && is_bare(new)) => descend(place, how, old, new),
        _ => None,
    };
    let name = format!("{prefix}{key}");
    match within {
        Some(inner) => adopt(changes, name, inner, !had, !has),
        None => {
            let leaf = if new.is_none() { &mut changes.removed } else { &mut changes.touched };
            leaf.insert(name, Value::Object(Set::new()));
        }
    }
}

fn adopt(changes: &mut Changes, name: String, inner: Changes, added: bool, gone: bool) {
    if let Some(child) = set::child(inner.touched, added) {
        changes.touched.insert(name.clone(), child);
    }
    if let Some(child) = set::child(inner.removed, gone) {
        changes.removed.insert(name, child);
    }
}

/// The changes within a value; `None` when its type does not fit and it counts as one.
fn descend<'v>(
    place: &Place,
    how: Granular,
    old: Option<&'v Value>,
    new: Option<&'v Value>,
) -> Option<Changes> {
    let mut inner = Changes::default();
    if let Granular::Fields = how {
        if [old, new].into_iter().flatten().any(|value| !(value.is_object() || value.is_null())) {
            return None;
        }
        for_each_key(as_map(old), as_map(new), |key, old, new| {
            record(&mut inner, "f:", key, &Place::of_field(place.shape, key), old, new);
        });
        return Some(inner);
    }
    if [old, new].into_iter().flatten().any(|value| !(value.is_array() || value.is_null())) {
        return None;
    }
    let item = place.item();
    let (old, new) = (elements(how, old, item.shape), elements(how, new, item.shape));
    // Lists mostly keep their order: the same position is tried first.
    let find = |list: &[(String, &'v Value)], key: &str, at: usize| {
        let near = list.get(at).filter(|(one, _)| one == key);
        near.or_else(|| list.iter().find(|(one, _)| one == key)).map(|(_, value)| *value)
    };
    for (at, (key, value)) in new.iter().enumerate() {
        record(&mut inner, "", key, &item, find(&old, key, at), Some(value));
    }
    for (at, (key, value)) in old.iter().enumerate() {
        if find(&new, key, at).is_none() {
            record(&mut inner, "", key, &item, Some(value), None);
        }
    }
    Some(inner)
}

fn elements(how: Granular, list: Option<&Value>, item: Shape) -> Vec<(String, &Value)> {
    items(how, list.and_then(Value::as_array).map_or(&[][..], Vec::as_slice), item)
}

fn list_field(set: &mut Set, key: &str, place: &Place, value: &Value) {
    let (children, bare) = (children_of(place, value), is_bare(Some(value)));
    let member = match &children {
        None => true,
        Some(_) => place.entry || (bare && !value.is_array()),
    };
    set.extend(
        set::child(children.unwrap_or_default(), member).map(|child| (format!("f:{key}"), child)),
    );
}

/// The fields within a value; `None` when it is one value.
fn children_of(place: &Place, value: &Value) -> Option<Set> {
    let how = place.granular()?;
    let mut set = Set::new();
    match (how, value) {
        (Granular::Fields, Value::Object(map)) => {
            for (key, value) in map {
                list_field(&mut set, key, &Place::of_field(place.shape, key), value);
            }
        }
        (Granular::Set | Granular::Items(_), Value::Array(list)) => {
            let item = place.item();
            for (key, value) in items(how, list, item.shape) {
                let children = children_of(&item, value).unwrap_or_default();
                set.extend(set::child(children, true).map(|child| (key, child)));
            }
        }
        (_, Value::Null) => {}
        _ => return None,
    }
    Some(set)
}

/// Absent, null or empty.
fn is_bare(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Array(list)) => list.is_empty(),
        Some(Value::Object(map)) => map.is_empty(),
        Some(_) => false,
    }
}

fn as_map(value: Option<&Value>) -> Option<&Map<String, Value>> {
    value.and_then(Value::as_object)
}

/// Every key of either map, with what both have.
fn for_each_key<'v>(
    old: Option<&'v Map<String, Value>>,
    new: Option<&'v Map<String, Value>>,
    mut visit: impl FnMut(&str, Option<&'v Value>, Option<&'v Value>),
) {
    for (key, value) in new.into_iter().flatten() {
        visit(key, old.and_then(|map| map.get(key)), Some(value));
    }
    for (key, value) in old.into_iter().flatten() {
        if new.is_none_or(|map| !map.contains_key(key)) {
            visit(key, Some(value), None);
        }
    }
}
