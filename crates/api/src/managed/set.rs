//! Sets of fields as FieldsV1 trees: `{"f:spec": {"f:replicas": {}}, "f:data": {".": {}, "f:a": {}}}`.
//!
//! A child that is empty or has `.` is a member; one that has only children is on the way to some.

use serde_json::{Map, Value};

/// A tree; at the root, empty means no field.
pub(super) type Set = Map<String, Value>;

const SELF: &str = ".";

/// Whether this child is a member itself.
pub(super) fn is_member(child: &Set) -> bool {
    child.is_empty() || child.contains_key(SELF)
}

/// A child of these children that is a member or not; `None` when there is nothing of it.
pub(super) fn child(mut children: Set, member: bool) -> Option<Value> {
    match (children.is_empty(), member) {
        (true, false) => None,
        (false, true) => {
            children.insert(SELF.to_owned(), Value::Object(Set::new()));
            Some(Value::Object(children))
        }
        _ => Some(Value::Object(children)),
    }
}

/// Adds all of `from`.
pub(super) fn union(into: &mut Set, from: Set) {
    for (key, theirs) in from {
        let Value::Object(theirs) = theirs else { continue };
        let Some(Value::Object(ours)) = into.get_mut(&key) else {
            into.insert(key, Value::Object(theirs));
            continue;
        };
        let member = is_member(ours) || is_member(&theirs);
        let mut children = without_self(std::mem::take(ours));
        union(&mut children, without_self(theirs));
        if let Some(merged) = child(children, member) {
            into.insert(key, merged);
        }
    }
}

/// Takes away the members of `minus`; their children stay.
pub(super) fn difference(from: &mut Set, minus: &Set) {
    for (key, theirs) in minus {
        let (Value::Object(theirs), Some(Value::Object(ours))) = (theirs, from.get_mut(key)) else {
            continue;
        };
        let member = is_member(ours) && !is_member(theirs);
        let mut children = without_self(std::mem::take(ours));
        difference(&mut children, theirs);
        match child(children, member) {
            Some(rest) => {
                from.insert(key.clone(), rest);
            }
            None => {
                from.remove(key);
            }
        }
    }
}

/// The members of both, as paths of elements.
pub(super) fn common<'s>(a: &'s Set, b: &'s Set) -> Vec<Vec<&'s str>> {
    fn walk<'s>(a: &'s Set, b: &'s Set, path: &mut Vec<&'s str>, out: &mut Vec<Vec<&'s str>>) {
        for (key, ours) in a {
            let (Value::Object(ours), Some(Value::Object(theirs))) = (ours, b.get(key)) else {
                continue;
            };
            if key == SELF {
                continue;
            }
            path.push(key);
            if is_member(ours) && is_member(theirs) {
                out.push(path.clone());
            }
            walk(ours, theirs, path, out);
            path.pop();
        }
    }
    let mut out = Vec::new();
    walk(a, b, &mut Vec::new(), &mut out);
    out
}

/// `.spec.containers[name="a"].image`, as conflicts name a field.
pub(super) fn display(path: &[&str]) -> String {
    let mut out = String::new();
    for element in path {
        match element.split_at_checked(2) {
            Some(("f:", name)) => {
                out.push('.');
                out.push_str(name);
            }
            Some(("k:", keys)) => {
                let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
                let keys: Vec<String> =
                    keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
                out.push_str(&format!("[{}]", keys.join(",")));
            }
            Some(("v:", value)) => out.push_str(&format!("[={value}]")),
            Some((_, index)) => out.push_str(&format!("[{index}]")),
            None => {}
        }
    }
    out
}

fn without_self(mut set: Set) -> Set {
    set.remove(SELF);
    set
}
