//! DELETE of one object and of collections.

use api::{
    ApiError, Resource,
    k8s::{
        api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Service, ServiceAccount},
        apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions},
    },
    status::About,
    validation,
};
use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value, json};
use store::{CommitError, Expect};

use super::{Draft, TRIES_MAX, deletion, failed, put, read, remove, stamp};
use crate::{
    answer::{self, Body},
    call::Call,
    codec::{self, Stored},
    contract::Operation,
    list,
    server::ApiServer,
};

/// How a deletion ended.
#[derive(Debug)]
pub(crate) struct Deleted {
    /// The last state, or the state in which it waits.
    pub(crate) value: Bytes,
    /// It is gone.
    pub(crate) gone: bool,
    uid: Option<String>,
}

impl ApiServer {
    /// DELETE of one object.
    pub(crate) async fn delete(
        &self,
        call: &Call,
        resource: &'static dyn Resource,
        bytes: &[u8],
    ) -> Result<Response<Body>, ApiError> {
        let options = read_options(call, bytes)?;
        let (namespace, name) = (&call.ask.namespace, &call.ask.name);
        let deleted = self.delete_object(call, resource, namespace, name, &options).await?;
        let foreground = options.propagation_policy.as_deref() == Some("Foreground")
            || options.orphan_dependents == Some(false);
        let code = if !deleted.gone && foreground { StatusCode::ACCEPTED } else { StatusCode::OK };
        if !deleted.gone || returns_object(resource) {
            return call.object(resource, code, &deleted.value);
        }
        let names = resource.names();
        let mut details = json!({ "name": name, "kind": names.plural, "uid": deleted.uid });
        if let (Value::Object(details), false) = (&mut details, names.group.is_empty()) {
            details.insert("group".to_owned(), names.group.into());
        }
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
            "details": details,
        });
        Ok(answer::json(code, status.to_string()))
    }

    /// DELETE of all objects that a selector matches.
    pub(crate) async fn delete_collection(
        &self,
        call: &Call,
        resource: &'static dyn Resource,
        bytes: &[u8],
    ) -> Result<Response<Body>, ApiError> {
        let options = read_options(call, bytes)?;
        let filter = list::selector(resource, &call.query)?;
        let prefix = list::collection(resource, &call.ask.namespace);
        let listing = self.store().list(&prefix, None, 0);
        let limit = call.query.get("limit").and_then(|text| text.parse::<usize>().ok());
        let limit = limit.filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        let selected = listing.rows.iter().filter(|row| filter.matches_index(&row.index));
        let mut values = Vec::new();
        for row in selected.take(limit) {
            let name = row.key.strip_prefix(&prefix).unwrap_or_default();
            let namespace = &call.ask.namespace;
            match self.delete_object(call, resource, namespace, name, &options).await {
                Ok(deleted) => values.push(deleted.value),
                Err(error) if error.reason == api::Reason::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        list::of_values(call, resource, &values, self.store().revision())
    }

    /// Deletes one object, or marks it; tried again when another writer is faster.
    pub(crate) async fn delete_object(
        &self,
        call: &Call,
        resource: &'static dyn Resource,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Deleted, ApiError> {
        let key = resource.key(namespace, name);
        let dry_run = options.dry_run.as_ref().is_some_and(|words| !words.is_empty());
        let about = Call::about(resource);
        let turn = self.turn(resource, namespace).await;
        for _ in 0..TRIES_MAX {
            let row = self.store().get(&key).ok_or_else(|| ApiError::not_found(about, name))?;
            let stored = Stored::read(resource, row)?;
            let draft = Draft {
                operation: Operation::Delete,
                resource,
                subresource: "",
                namespace,
                name,
                part: api::Part::Main,
                old: Some(&*stored.object),
                dry_run,
            };
            self.admit(call, &draft, None)?;
            let revision = stored.row.revision;
            let uid = stored.object.meta().uid.clone();
            let fate = deletion::fate(resource, &*stored.object, revision, options, call.now)?;
            let expect = Expect::At(revision);
            let (mut ops, gone) = match &fate {
                deletion::Fate::Waits => {
                    return Ok(Deleted { value: stored.row.value.clone(), gone: false, uid });
                }
                deletion::Fate::Mark(next) => {
                    let value = stamp(resource, &**next, stored.managed.clone())?;
                    (vec![put(resource, key.clone(), expect, &**next, value)], false)
                }
                deletion::Fate::Remove(last) => {
                    let value = stamp(resource, &**last, stored.managed.clone())?;
                    (vec![remove(key.clone(), expect, value)], true)
                }
            };
            if dry_run {
                let object = fate.object().unwrap_or(&*stored.object);
                let value = stamp(resource, object, stored.managed)?;
                let value = codec::unstored(&value, Some(revision))?;
                return Ok(Deleted { value, gone, uid });
            }
            if gone {
                ops.extend(self.release(&*stored.object));
                ops.extend(self.charge(&turn, &draft, None)?);
            }
            match self.commit(ops).await {
                Ok(committed) => {
                    let value = committed.rows[0].value.clone();
                    return Ok(Deleted { value, gone, uid });
                }
                Err(CommitError::Refused { .. }) => {}
                Err(error) => return Err(failed(&error)),
            }
        }
        Err(ApiError::modified(about, name))
    }
}

/// Kinds whose DELETE answers the object, not a Status.
fn returns_object(resource: &'static dyn Resource) -> bool {
    use std::any::TypeId;
    let id = resource.type_id();
    [
        TypeId::of::<Pod>(),
        TypeId::of::<Service>(),
        TypeId::of::<ServiceAccount>(),
        TypeId::of::<PersistentVolume>(),
        TypeId::of::<PersistentVolumeClaim>(),
    ]
    .contains(&id)
}

/// The options of a deletion: its body, or else its query.
///
/// # Errors
///
/// 400 when the body cannot be read, 422 when the options contradict each other.
pub(crate) fn read_options(call: &Call, bytes: &[u8]) -> Result<DeleteOptions, ApiError> {
    let mut options = if bytes.is_empty() {
        from_query(call)?
    } else {
        read::other(call, "DeleteOptions", bytes)?
    };
    if options.dry_run.as_ref().is_none_or(Vec::is_empty) && call.dry_run()? {
        options.dry_run = Some(vec!["All".to_owned()]);
    }
    check(&options)?;
    Ok(options)
}

fn from_query(call: &Call) -> Result<DeleteOptions, ApiError> {
    let query = &call.query;
    let grace = query.get("gracePeriodSeconds").map(str::parse::<i64>).transpose();
    let grace_period_seconds = grace.map_err(|error| {
        ApiError::bad_request(format!("gracePeriodSeconds cannot be read: {error}"))
    })?;
    let uid = query.get("preconditions.uid").map(ToOwned::to_owned);
    Ok(DeleteOptions {
        grace_period_seconds,
        orphan_dependents: query.switch("orphanDependents"),
        propagation_policy: query.get("propagationPolicy").map(ToOwned::to_owned),
        preconditions: uid.map(|uid| Preconditions { uid: Some(uid), ..Preconditions::default() }),
        ..DeleteOptions::default()
    })
}

fn check(options: &DeleteOptions) -> Result<(), ApiError> {
    let causes = validation::delete_options(options);
    if causes.is_empty() {
        return Ok(());
    }
    let about = About { group: "meta.k8s.io", resource: "DeleteOptions" };
    Err(ApiError::invalid(about, "", &causes))
}
