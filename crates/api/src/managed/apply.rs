//! Server-side apply: one manager's wish, merged into an object by who owns what.

use serde_json::{Map, Value};
use thiserror::Error;

use super::{
    Writer,
    compare::{self, Granular, Place, Scope},
    entries::{Entries, Entry, Operation, time},
    put_managed,
    set::{self, Set},
    take_managed,
};
use crate::{
    facts,
    resource::Names,
    status::{ApiError, Reason},
};

/// A field that another manager owns and the wish would change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// `"kubectl" using apps/v1`
    pub manager: String,
    /// `.spec.replicas`
    pub field: String,
}

/// Why an apply is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ApplyError {
    /// The body carries `managedFields`: whoever applies must not.
    #[error("metadata.managedFields must be nil")]
    ManagedFieldsSet,
    /// Others own fields that would change; `force` takes them over.
    #[error("{}", conflict_message(.0))]
    Conflicts(Vec<Conflict>),
}

impl From<ApplyError> for ApiError {
    fn from(error: ApplyError) -> Self {
        let message = error.to_string();
        match error {
            ApplyError::ManagedFieldsSet => ApiError::bad_request(message),
            ApplyError::Conflicts(conflicts) => {
                let refusal = ApiError::new(Reason::Conflict, message);
                conflicts.iter().fold(refusal, |refusal, conflict| {
                    let why = format!("conflict with {}", conflict.manager);
                    refusal.with_cause("FieldManagerConflict", &why, &conflict.field)
                })
            }
        }
    }
}

/// Applies a wish to an object (`None`: it is created), and gives the object as it is to be, with its
/// new `managedFields`; not yet defaulted or checked.
///
/// Fields that the manager applied before and no longer wishes go, unless someone else owns them. An
/// object that no one has managed is held by `before-first-apply`. When nothing changes the answer
/// equals `live`.
///
/// # Errors
///
/// When others own fields that would change, without `force`; when the wish carries `managedFields`.
pub fn apply(
    kind: &Names,
    live: Option<&Value>,
    wish: &Value,
    force: bool,
    writer: &Writer<'_>,
) -> Result<Value, ApplyError> {
    let mut wish = wish.clone();
    if take_managed(&mut wish).is_some_and(|said| said.as_array().is_none_or(|all| !all.is_empty()))
    {
        return Err(ApplyError::ManagedFieldsSet);
    }
    let (shape, version) = (facts::of_kind(kind), kind.api_version());
    let scope = Scope::of(writer.subresource);
    if let Value::Object(map) = &mut wish {
        map.retain(|key, _| !scope.ignored().contains(&key.as_str()));
    }
    let mut entries = read_entries(kind, live, writer);
    let last = entries.take(Operation::Apply, writer, &version);
    let wished = compare::fields_of(shape, &wish, scope);
    let place = Place::of_shape(shape);
    let mut object = match live {
        Some(live) => merge(&place, live.clone(), wish),
        None => wish,
    };
    if let Some(last) = &last {
        let mut held: Vec<&Set> = entries.iter().map(|entry| &entry.fields).collect();
        held.push(&wished);
        prune(&place, &mut object, &last.fields, &held);
    }
    let changes = compare::compare(shape, live, Some(&object), Scope::ALL);
    let conflicts = conflicts(&entries, &changes.touched);
    if !force && !conflicts.is_empty() {
        return Err(ApplyError::Conflicts(conflicts));
    }
    for entry in entries.iter_mut() {
        entry.lose(&changes.touched);
        entry.lose(&changes.removed);
    }
    let same = last.as_ref().is_some_and(|last| last.fields == wished && last.version == version);
    let time = match last {
        // Only a changed wish has a new time.
        Some(last) if same && changes.is_empty() => last.time,
        _ => time(writer),
    };
    entries.push(Entry {
        manager: writer.manager.to_owned(),
        operation: Operation::Apply,
        version,
        subresource: writer.subresource.to_owned(),
        time,
        fields: wished,
    });
    take_managed(&mut object);
    put_managed(&mut object, entries.write());
    Ok(object)
}

fn read_entries(kind: &Names, live: Option<&Value>, writer: &Writer<'_>) -> Entries {
    let stored = live.and_then(|live| live.get("metadata")?.get("managedFields"));
    let mut entries = Entries::read_either(None, stored.cloned());
    if entries.is_empty() && live.is_some() {
        let all = compare::compare(facts::of_kind(kind), None, live, Scope::ALL).touched;
        let earlier = Writer { manager: "before-first-apply", subresource: "", now: writer.now };
        entries.add(Operation::Update, &earlier, &kind.api_version(), all);
    }
    entries
}

fn conflicts(entries: &Entries, touched: &Set) -> Vec<Conflict> {
    let mut out = Vec::new();
    for entry in entries.iter() {
        for path in set::common(&entry.fields, touched) {
            out.push(Conflict { manager: entry.shown(), field: set::display(&path) });
        }
    }
    out.sort_by(|a, b| (&a.manager, &a.field).cmp(&(&b.manager, &b.field)));
    out
}

fn conflict_message(conflicts: &[Conflict]) -> String {
    if let [one] = conflicts {
        return format!(
            "Apply failed with 1 conflict: conflict with {}: {}",
            one.manager, one.field
        );
    }
    let mut parts: Vec<String> = Vec::new();
    let mut last = "";
    for conflict in conflicts {
        if conflict.manager != last {
            parts.push(format!("conflicts with {}:", conflict.manager));
            last = &conflict.manager;
        }
        parts.push(format!("- {}", conflict.field));
    }
    format!("Apply failed with {} conflicts: {}", conflicts.len(), parts.join("\n"))
}

/// Lays a wish over a value: maps and keyed lists by their parts, all else whole.
fn merge(place: &Place, live: Value, wish: Value) -> Value {
    match (place.granular(), live, wish) {
        (Some(Granular::Fields), Value::Object(mut live), Value::Object(wish)) => {
            for (key, wished) in wish {
                let inner = Place::of_field(place.shape, &key);
                let merged = match live.remove(&key) {
                    Some(old) => merge(&inner, old, wished),
                    None => wished,
                };
                live.insert(key, merged);
            }
            Value::Object(live)
        }
        (Some(how), Value::Array(live), Value::Array(wish)) => merge_list(place, how, &live, &wish),
        (_, _, wish) => wish,
    }
}

/// Wished items in their order; the others stay before what they stood before.
fn merge_list(place: &Place, how: Granular, live: &[Value], wish: &[Value]) -> Value {
    let item = place.item();
    let (live, wish) =
        (compare::items(how, live, item.shape), compare::items(how, wish, item.shape));
    let has = |list: &[(String, &Value)], key: &str| list.iter().any(|(one, _)| one == key);
    let (mut out, mut next) = (Vec::new(), 0);
    let take_wish = |out: &mut Vec<Value>, (key, wished): &(String, &Value)| {
        let old = live.iter().find(|(one, _)| one == key);
        out.push(match old {
            Some((_, old)) => merge(&item, (*old).clone(), (*wished).clone()),
            None => (*wished).clone(),
        });
    };
    for (key, value) in &live {
        if !has(&wish, key) {
            out.push((*value).clone());
            continue;
        }
        // One that both have: all wished up to the next that both have.
        while let Some(wished) = wish.get(next) {
            take_wish(&mut out, wished);
            next += 1;
            if has(&live, &wished.0) {
                break;
            }
        }
    }
    for wished in &wish[next..] {
        take_wish(&mut out, wished);
    }
    Value::Array(out)
}

/// Takes out of a value what `last` has and none of `held` has, itself or below.
fn prune(place: &Place, value: &mut Value, last: &Set, held: &[&Set]) {
    match (place.granular(), value) {
        (Some(Granular::Fields), Value::Object(map)) => {
            for (element, child) in last {
                let Some(key) = element.strip_prefix("f:") else { continue };
                let inner = Place::of_field(place.shape, key);
                let Some(found) = map.get_mut(key) else { continue };
                if !keep(&inner, found, element, child, held) {
                    map.remove(key);
                }
            }
        }
        (Some(how), Value::Array(list)) => {
            let item = place.item();
            let names: Vec<String> =
                compare::items(how, list, item.shape).into_iter().map(|(name, _)| name).collect();
            let mut names = names.into_iter();
            list.retain_mut(|value| {
                let Some(element) = names.next() else { return true };
                last.get(&element).is_none_or(|child| keep(&item, value, &element, child, held))
            });
        }
        _ => {}
    }
}

/// Prunes within a value; whether anything of it stays.
fn keep(place: &Place, value: &mut Value, element: &str, child: &Value, held: &[&Set]) -> bool {
    let Value::Object(child) = child else { return true };
    let below: Vec<&Set> =
        held.iter().filter_map(|set| set.get(element).and_then(Value::as_object)).collect();
    if below.is_empty() && set::is_member(child) {
        return false;
    }
    // A leaf of someone else's is theirs as a whole.
    let was_bare = is_empty(value);
    prune(place, value, child, &below);
    was_bare || !is_empty(value) || below.iter().any(|set| set::is_member(set))
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}
