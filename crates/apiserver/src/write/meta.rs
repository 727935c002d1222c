//! The metadata that is the server's: filled in, kept, guarded.

use api::{
    ApiError, Object, Resource,
    k8s::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};

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
}

/// Times in metadata have whole seconds.
pub(crate) fn whole_second(time: jiff::Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_second(time.as_second()).unwrap_or(time)
}
