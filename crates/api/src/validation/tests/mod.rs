//! Rows: what is wrong with an object, text for text.

mod apps;
mod core;
mod others;
mod stead;

use expect_test::Expect;
use serde_json::{Value, json};

use crate::{
    object::Object,
    resource::{self, Part, Resource},
    validation::metadata,
};

/// An object as it stands before validation: decoded and defaulted.
fn object(entry: &'static dyn Resource, value: &Value) -> Box<dyn Object> {
    let mut object = entry.decode(value).unwrap();
    entry.apply_defaults(object.as_mut());
    object
}

/// All faults, a line each, of a creation or a change, metadata first.
fn faults(group: &str, plural: &str, new: &Value, old: Option<&Value>, part: Part) -> String {
    let entry = resource::by_plural(group, plural).unwrap();
    let new = object(entry, new);
    let old = old.map(|old| object(entry, old));
    let mut causes = metadata(entry, new.meta(), old.as_ref().map(|old| old.meta()));
    causes.extend(entry.validate(new.as_ref(), old.as_deref(), part));
    causes.iter().map(|cause| format!("{cause}\n")).collect()
}

/// The faults of creating this.
fn check(group: &str, plural: &str, new: &Value, wanted: &Expect) {
    wanted.assert_eq(&faults(group, plural, new, None, Part::Main));
}

/// The faults of changing `old` into `new`.
fn check_update(group: &str, plural: &str, new: &Value, old: &Value, wanted: &Expect) {
    wanted.assert_eq(&faults(group, plural, new, Some(old), Part::Main));
}

/// `base` with these values at these JSON pointers; `null` removes.
fn with(base: &Value, changes: &[(&str, Value)]) -> Value {
    let mut value = base.clone();
    for (pointer, new) in changes {
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        let parent = value.pointer_mut(parent).unwrap_or_else(|| panic!("{pointer}"));
        match parent {
            Value::Array(list) => list[field.parse::<usize>().unwrap()] = new.clone(),
            Value::Object(map) if new.is_null() => {
                map.remove(field);
            }
            Value::Object(map) => {
                map.insert(field.to_owned(), new.clone());
            }
            other => panic!("{pointer}: {other}"),
        }
    }
    value
}

fn pod() -> Value {
    json!({
        "metadata": {"name": "p", "namespace": "default", "resourceVersion": "1"},
        "spec": {"containers": [{"name": "c", "image": "nginx"}]},
    })
}

fn set() -> Value {
    json!({
        "metadata": {"name": "web", "namespace": "default", "resourceVersion": "1"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "serviceName": "s",
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "nginx"}]},
            },
        },
    })
}

/// Rules meet every kind of the table bare, tomorrow's too, and judge alike what is prepared twice.
#[test]
fn every_kind_stands_being_almost_empty() {
    let mut judged = 0;
    for entry in resource::all() {
        let value = json!({"metadata": {"name": "a", "namespace": "b", "resourceVersion": "1"}});
        let Ok(mut new) = entry.decode(&value) else { continue };
        entry.apply_defaults(new.as_mut());
        entry.prepare(new.as_mut(), None, Part::Main);
        let old = new.clone();
        entry.warnings(new.as_ref(), Some(old.as_ref()));
        entry.validate(new.as_ref(), None, Part::Main);
        for part in [Part::Main, Part::Status] {
            entry.prepare(new.as_mut(), Some(old.as_ref()), part);
            entry.validate(new.as_ref(), Some(old.as_ref()), part);
            assert_eq!(new.to_value(), old.to_value(), "{entry:?}");
        }
        judged += 1;
    }
    assert_eq!(judged, resource::all().len());
}
