//! Strategic merge patches: objects merge by field, lists by the merge keys of `facts`.
//!
//! Directives in a patch: `$patch` (replace, delete, merge) in an object or a list's item;
//! `$retainKeys`, `$deleteFromPrimitiveList/f` and `$setElementOrder/f` beside a field f.
//!
//! Source: apimachinery v1.36 `pkg/util/strategicpatch/patch.go`, whose order of list items clients
//! see: items of the patch keep the patch's order, others go where they stood.

use serde_json::{Map, Value};
use thiserror::Error;

use crate::facts::{self, Field, Shape, Strategy};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_ITEMS: &str = "$deleteFromPrimitiveList/";
const ORDER: &str = "$setElementOrder/";

/// Why a strategic merge patch cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StrategicError {
    /// A directive beside a field has the wrong form.
    #[error("{0}")]
    Malformed(String),
    /// `$patch` says something unheard of.
    #[error("{0}")]
    Directive(String),
    /// An item of a list of objects lacks the field that tells it apart.
    #[error("map: {item} does not contain declared merge key: {key}")]
    NoMergeKey {
        /// The item, as Go prints maps.
        item: String,
        /// The field it lacks.
        key: String,
    },
}

/// Lays a patch over an object of this shape.
///
/// # Errors
///
/// When a directive or an item of the patch is malformed.
pub fn strategic(live: Value, patch: Value, shape: Shape) -> Result<Value, StrategicError> {
    match (live, patch) {
        (Value::Object(live), Value::Object(patch)) => {
            Ok(Value::Object(merge_map(live, patch, shape)?))
        }
        (_, patch) => Ok(patch),
    }
}

fn merge_map(
    mut live: Map<String, Value>,
    mut patch: Map<String, Value>,
    shape: Shape,
) -> Result<Map<String, Value>, StrategicError> {
    match directive(&patch) {
        None => {}
        Some("replace") => {
            patch.remove(PATCH);
            return Ok(patch);
        }
        Some("delete") => return Ok(Map::new()),
        Some("merge") => {
            patch.remove(PATCH);
        }
        Some(other) => {
            let item = go_map(&patch);
            let why = format!("unknown patch type: {other} in map: {item}");
            return Err(StrategicError::Directive(why));
        }
    }
    retain_keys(&mut live, &mut patch)?;
    merge_ordered_lists(&mut live, &mut patch, shape)?;
    for (key, patched) in patch {
        if let Some(field) = key.strip_prefix(DELETE_ITEMS) {
            delete_items(&mut live, field, &patched)?;
            continue;
        }
        let old = live.remove(&key);
        let field = field_of(shape, &key);
        let strategy = field.map(|field| field.strategy).unwrap_or_default();
        let inner = inner_shape(shape, field);
        let merged = match (old, patched) {
            (_, Value::Null) => continue,
            (Some(Value::Object(old)), Value::Object(new)) if !strategy.replace => {
                Value::Object(merge_map(old, new, inner)?)
            }
            (Some(Value::Array(old)), Value::Array(new)) if strategy.merge => {
                Value::Array(merge_list(old, new, strategy, facts::types().inside(inner))?)
            }
            (_, new) => match clean(new) {
                Some(new) => new,
                None => continue,
            },
        };
        live.insert(key, merged);
    }
    Ok(live)
}

fn field_of(shape: Shape, key: &str) -> Option<&'static Field> {
    facts::types().field(shape, key)
}

fn inner_shape(shape: Shape, field: Option<&Field>) -> Shape {
    match (shape, field) {
        (_, Some(field)) => field.shape,
        (Shape::Map(_), None) => facts::types().inside(shape),
        _ => Shape::Any,
    }
}

fn directive(map: &Map<String, Value>) -> Option<&str> {
    map.get(PATCH).map(|word| word.as_str().unwrap_or("<nil>"))
}

fn retain_keys(
    live: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
) -> Result<(), StrategicError> {
    let Some(kept) = patch.remove(RETAIN_KEYS) else {
        return Ok(());
    };
    let Value::Array(kept) = kept else {
        return Err(StrategicError::Malformed("invalid patch format of retainKeys".to_owned()));
    };
    let is_kept = |key: &str| kept.iter().any(|one| one.as_str() == Some(key));
    let is_plain = |key: &str| !key.starts_with('$');
    if patch.iter().any(|(key, value)| is_plain(key) && !value.is_null() && !is_kept(key)) {
        return Err(StrategicError::Malformed("invalid patch format of retainKeys".to_owned()));
    }
    live.retain(|key, _| is_kept(key));
    Ok(())
}

fn delete_items(
    live: &mut Map<String, Value>,
    field: &str,
    gone: &Value,
) -> Result<(), StrategicError> {
    let Value::Array(gone) = gone else {
        let why = "invalid patch format of primitive list";
        return Err(StrategicError::Malformed(why.to_owned()));
    };
    if let Some(Value::Array(items)) = live.get_mut(field) {
        items.retain(|item| !gone.contains(item));
        if items.is_empty() {
            live.remove(field);
        }
    }
    Ok(())
}

/// Fields whose order the patch states; they are merged here and taken out of the patch.
fn merge_ordered_lists(
    live: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
    shape: Shape,
) -> Result<(), StrategicError> {
    let fields: Vec<String> =
        patch.keys().filter_map(|key| key.strip_prefix(ORDER)).map(str::to_owned).collect();
    for name in fields {
        let Some(Value::Array(order)) = patch.remove(&format!("{ORDER}{name}")) else {
            let why = "invalid patch format of setElementOrder list";
            return Err(StrategicError::Malformed(why.to_owned()));
        };
        let field = field_of(shape, &name);
        let strategy = field.map(|field| field.strategy).unwrap_or_default();
        let item_shape = facts::types().inside(inner_shape(shape, field));
        let new = match patch.remove(&name) {
            None => None,
            Some(Value::Array(new)) => Some(new),
            // Null or another type: there is no list to order.
            Some(other) => {
                patch.insert(name, other);
                continue;
            }
        };
        let old = match live.get(&name) {
            Some(Value::Array(old)) => Some(old.clone()),
            _ => None,
        };
        if let Some(new) = &new {
            in_order(new, &order, strategy)?;
        }
        let merged = match (&old, new) {
            (None, None) => continue,
            (Some(old), None) => old.clone(),
            (None, Some(new)) => match clean(Value::Array(new)) {
                Some(Value::Array(new)) => new,
                _ => Vec::new(),
            },
            (Some(old), Some(new)) if strategy.merge => {
                merge_list(old.clone(), new, strategy, item_shape)?
            }
            (Some(_), Some(new)) => new,
        };
        let old = old.unwrap_or_default();
        live.insert(name, Value::Array(arrange(merged, &order, &old, strategy.merge_key)));
    }
    Ok(())
}

fn in_order(new: &[Value], order: &[Value], strategy: Strategy) -> Result<(), StrategicError> {
    let mut rest = order.iter();
    for item in new {
        if item.get(PATCH).is_some() {
            continue;
        }
        if !rest.any(|place| same(place, item, strategy.merge_key)) {
            let why = format!(
                "The order in patch list:\n{}\n doesn't match {} list:\n{}\n",
                go_list(new),
                "$setElementOrder",
                go_list(order)
            );
            return Err(StrategicError::Malformed(why));
        }
    }
    Ok(())
}

fn merge_list(
    old: Vec<Value>,
    new: Vec<Value>,
    strategy: Strategy,
    item_shape: Shape,
) -> Result<Vec<Value>, StrategicError> {
    let objects = old.first().or_else(|| new.first()).is_some_and(Value::is_object);
    if !objects {
        let mut merged = old.clone();
        merged.extend(new.iter().cloned());
        let mut seen: Vec<Value> = Vec::with_capacity(merged.len());
        for item in merged {
            if !seen.contains(&item) {
                seen.push(item);
            }
        }
        return Ok(arrange(seen, &new, &old, None));
    }
    let Some(key) = strategy.merge_key else {
        return Ok(new);
    };
    let (old, new) = obey_items(old, new, key)?;
    let mut merged = old.clone();
    for item in &new {
        let Value::Object(map) = item.clone() else {
            return Err(no_key(item, key));
        };
        if !map.contains_key(key) {
            return Err(no_key(item, key));
        }
        match merged.iter_mut().find(|one| same(one, item, Some(key))) {
            Some(place) => {
                if let Value::Object(live) = place.take() {
                    *place = Value::Object(merge_map(live, map, item_shape)?);
                }
            }
            None => merged.extend(clean(Value::Object(map))),
        }
    }
    Ok(arrange(merged, &new, &old, Some(key)))
}

/// Carries out items that are directives: `{"$patch": "delete", "name": "x"}` and
/// `{"$patch": "replace"}`, which replaces the whole list.
fn obey_items(
    mut old: Vec<Value>,
    new: Vec<Value>,
    key: &str,
) -> Result<(Vec<Value>, Vec<Value>), StrategicError> {
    let mut kept = Vec::with_capacity(new.len());
    let mut replaced = false;
    for item in new {
        match item.as_object().and_then(directive) {
            None => kept.push(item),
            Some("replace") => replaced = true,
            Some("delete") => {
                if item.get(key).is_none() {
                    return Err(no_key(&item, key));
                }
                old.retain(|one| !same(one, &item, Some(key)));
            }
            Some("merge") => {
                let why = "merging lists cannot yet be specified in the patch";
                return Err(StrategicError::Directive(why.to_owned()));
            }
            Some(other) => {
                let shown = item.as_object().map(go_map).unwrap_or_default();
                let why = format!("unknown patch type: {other} in map: {shown}");
                return Err(StrategicError::Directive(why));
            }
        }
    }
    if replaced {
        old.clear();
    }
    Ok((old, kept))
}

/// Items that `order` names, in its order; the others before the first named one that stood
/// behind them.
fn arrange(items: Vec<Value>, order: &[Value], before: &[Value], key: Option<&str>) -> Vec<Value> {
    let place = |list: &[Value], item: &Value| list.iter().position(|one| same(one, item, key));
    let (mut named, mut others): (Vec<_>, Vec<_>) =
        items.into_iter().partition(|item| place(order, item).is_some());
    named.sort_by_key(|item| place(order, item));
    // Where it is not known the item is new, and stays last of its kind.
    others.sort_by_key(|item| place(before, item).unwrap_or(usize::MAX));
    let mut named = named.into_iter().peekable();
    let mut others = others.into_iter().peekable();
    let mut all = Vec::with_capacity(named.len() + others.len());
    loop {
        match (others.peek(), named.peek()) {
            (None, None) => return all,
            (Some(_), None) => all.extend(others.next()),
            (None, Some(_)) => all.extend(named.next()),
            (Some(other), Some(one)) => {
                let first = match (place(before, other), place(before, one)) {
                    (Some(other), Some(one)) => other < one,
                    _ => false,
                };
                all.extend(if first { others.next() } else { named.next() });
            }
        }
    }
}

fn same(a: &Value, b: &Value, key: Option<&str>) -> bool {
    match key {
        Some(key) if a.is_object() && b.is_object() => {
            matches!((a.get(key), b.get(key)), (Some(a), Some(b)) if a == b)
        }
        _ => a == b,
    }
}

/// A new subtree without nulls and directives; `None` where nothing is to be added.
fn clean(value: Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Object(mut map) => {
            if directive(&map) == Some("delete") {
                return None;
            }
            map.retain(|key, _| !key.starts_with('$'));
            Some(Value::Object(
                map.into_iter().filter_map(|(key, value)| Some((key, clean(value)?))).collect(),
            ))
        }
        Value::Array(items) => {
            let is_replace = |item: &Value| {
                item.as_object().is_some_and(|map| directive(map) == Some("replace"))
            };
            let kept = items.into_iter().filter(|item| !is_replace(item));
            Some(Value::Array(kept.filter_map(clean).collect()))
        }
        scalar => Some(scalar),
    }
}

fn no_key(item: &Value, key: &str) -> StrategicError {
    let item = item.as_object().map_or_else(|| go_value(item), go_map);
    StrategicError::NoMergeKey { item, key: key.to_owned() }
}

/// `map[a:1 b:[x y]]`, as Go prints.
fn go_map(map: &Map<String, Value>) -> String {
    let mut pairs: Vec<String> =
        map.iter().map(|(key, value)| format!("{key}:{}", go_value(value))).collect();
    pairs.sort_unstable();
    format!("map[{}]", pairs.join(" "))
}

fn go_list(items: &[Value]) -> String {
    let items: Vec<String> = items.iter().map(go_value).collect();
    format!("[{}]", items.join(" "))
}

fn go_value(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => go_list(items),
        Value::Object(map) => go_map(map),
        other => other.to_string(),
    }
}
