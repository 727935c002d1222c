//! The metadata that is the server's: filled in, kept, guarded.

use api::{
    ApiError, Object, Resource,
    field::{Cause, Path},
    k8s::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use serde_json::Value;

use crate::{ambient, call::Call, contract::Ambient};

/// Fills in a new object's metadata.
///
/// # Errors
///
/// 400 when the namespaces of body and URL differ.
pub(super) fn begin(
    call: &Call,
    resource: &'static dyn Resource,
    object: &mut dyn Object,
    ambient: &dyn Ambient,
) -> Result<(), ApiError> {
    let meta = object.meta_mut();
    place(call, resource, meta, false)?;
    if meta.resource_version.as_deref().is_some_and(|version| !matches!(version, "" | "0")) {
        let text = "resourceVersion should not be set on objects to be created";
        return Err(ApiError::new(api::Reason::InternalError, text));
    }
    meta.resource_version = None;
    meta.uid = Some(ambient::uid(ambient));
    meta.creation_timestamp = Some(Time(whole_second(call.now)));
    meta.deletion_timestamp = None;
    meta.deletion_grace_period_seconds = None;
    meta.self_link = None;
    meta.generation = None;
    Ok(())
}

/// Makes body and URL agree on the namespace.
///
/// # Errors
///
/// 400 when they do not.
pub(super) fn place(
    call: &Call,
    resource: &'static dyn Resource,
    meta: &mut ObjectMeta,
    update: bool,
) -> Result<(), ApiError> {
    if !resource.namespaced() {
        meta.namespace = None;
        return Ok(());
    }
    let wanted = &call.ask.namespace;
    match meta.namespace.as_deref() {
        None | Some("") => meta.namespace = Some(wanted.clone()),
        Some(given) if given != wanted && update => {
            return Err(ApiError::bad_request(format!(
                "the namespace of the object ({given}) does not match the namespace on the \
                 request ({wanted})"
            )));
        }
        Some(given) if given != wanted => {
            return Err(ApiError::bad_request(
                "the namespace of the provided object does not match the namespace sent on the \
                 request",
            ));
        }
        Some(_) => {}
    }
    Ok(())
}

/// Makes body and URL agree on the name.
///
/// # Errors
///
/// 400 when they do not.
pub(super) fn same_name(meta: &mut ObjectMeta, name: &str) -> Result<(), ApiError> {
    match meta.name.as_deref() {
        None | Some("") => {
            meta.name = Some(name.to_owned());
            Ok(())
        }
        Some(given) if given == name => Ok(()),
        Some(given) => Err(ApiError::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({name})"
        ))),
    }
}

/// Keeps what an update may leave out or may not change.
pub(super) fn keep(new: &mut ObjectMeta, old: &ObjectMeta) {
    let fill = |new: &mut Option<String>, old: &Option<String>| {
        if new.as_deref().is_none_or(str::is_empty) {
            new.clone_from(old);
        }
    };
    fill(&mut new.uid, &old.uid);
    if new.creation_timestamp.is_none() {
        new.creation_timestamp.clone_from(&old.creation_timestamp);
    }
    if new.deletion_timestamp.is_none() {
        new.deletion_timestamp.clone_from(&old.deletion_timestamp);
    }
    if new.deletion_grace_period_seconds.is_none() {
        new.deletion_grace_period_seconds = old.deletion_grace_period_seconds;
    }
    fill(&mut new.generate_name, &old.generate_name);
    new.self_link = None;
    new.generation = old.generation;
    new.resource_version = None;
}

/// What is wrong with the metadata of an object of any kind.
pub(super) fn validate(object: &dyn Object, old: Option<&dyn Object>) -> Vec<Cause> {
    let meta = object.meta();
    let path = Path::new("metadata");
    let mut causes = Vec::new();
    if meta.name.as_deref().is_none_or(str::is_empty) && old.is_none() {
        causes.push(Cause::required(path.child("name"), "name or generateName is required"));
    }
    let Some(old) = old.map(|old| old.meta()) else { return causes };
    let mut fixed = |field: &str, same: bool, value: Value| {
        if !same {
            causes.push(Cause::invalid(path.child(field), value, "field is immutable"));
        }
    };
    fixed("name", meta.name == old.name, text(meta.name.as_deref()));
    fixed("uid", meta.uid == old.uid, text(meta.uid.as_deref()));
    let same =
        seconds(meta.creation_timestamp.as_ref()) == seconds(old.creation_timestamp.as_ref());
    fixed("creationTimestamp", same, time(meta.creation_timestamp.as_ref()));
    let same =
        seconds(meta.deletion_timestamp.as_ref()) == seconds(old.deletion_timestamp.as_ref());
    if !same && old.deletion_timestamp.is_none() {
        let detail = "field is immutable; may only be changed via deletion";
        let value = time(meta.deletion_timestamp.as_ref());
        causes.push(Cause::invalid(path.child("deletionTimestamp"), value, detail));
    } else {
        fixed("deletionTimestamp", same, time(meta.deletion_timestamp.as_ref()));
    }
    let (new_s, old_s) = (meta.deletion_grace_period_seconds, old.deletion_grace_period_seconds);
    let value = new_s.map_or(Value::Null, Value::from);
    if new_s != old_s {
        let detail = "field is immutable; may only be changed via deletion";
        causes.push(Cause::invalid(path.child("deletionGracePeriodSeconds"), value, detail));
    }
    causes.extend(new_finalizers(meta, old, &path));
    causes
}

fn new_finalizers(meta: &ObjectMeta, old: &ObjectMeta, path: &Path) -> Option<Cause> {
    old.deletion_timestamp.as_ref()?;
    let known = old.finalizers.as_deref().unwrap_or_default();
    let new: Vec<&String> =
        meta.finalizers.iter().flatten().filter(|name| !known.contains(name)).collect();
    if new.is_empty() {
        return None;
    }
    let quoted: Vec<String> = new.iter().map(|name| format!("{name:?}")).collect();
    let detail = format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers \
         []string{{{}}}",
        quoted.join(", ")
    );
    Some(Cause::forbidden(path.child("finalizers"), &detail))
}

fn text(value: Option<&str>) -> Value {
    value.unwrap_or_default().into()
}

fn time(value: Option<&Time>) -> Value {
    value.map_or(Value::Null, |time| time.0.to_string().into())
}

fn seconds(value: Option<&Time>) -> Option<i64> {
    value.map(|time| time.0.as_second())
}

/// Times in metadata have whole seconds.
pub(crate) fn whole_second(time: jiff::Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_second(time.as_second()).unwrap_or(time)
}
