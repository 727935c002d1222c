//! Every change of a stored object: PUT, PATCH, `status`, `scale`, `finalize`, `binding`.

use std::sync::Arc;

use api::{ApiError, Object, Part, Resource, k8s::api::core::v1::Namespace};
use bytes::Bytes;
use http::{Response, StatusCode};
use store::{CommitError, Expect, Row};

use super::{Draft, TRIES_MAX, failed, fields, meta, put, read, remove};
use crate::{
    answer::Body,
    call::Call,
    codec::{self, Stored},
    contract::Operation,
    quota::Turn,
    server::ApiServer,
};

/// What is changed, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) resource: &'static dyn Resource,
    /// Empty for the object itself.
    pub(crate) subresource: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) part: Part,
    pub(crate) dry_run: bool,
    /// The change is the server's own (a binding, a finalize): no rules of clients' updates.
    pub(crate) own: bool,
    /// The new object knows its managers already (server-side apply).
    pub(crate) applied: bool,
}

/// Makes the new object of the stored one.
pub(crate) type Make<'a> = &'a mut (dyn FnMut(&Stored) -> Result<Box<dyn Object>, ApiError> + Send);

/// What one try came to.
enum Tried {
    Done(Bytes),
    Again,
}

impl ApiServer {
    /// PUT of an object or its status.
    pub(crate) async fn update(
        &self,
        call: &Call,
        resource: &'static dyn Resource,
        part: Part,
        bytes: &[u8],
    ) -> Result<Response<Body>, ApiError> {
        let mut object = read::object(call, resource, bytes)?;
        let name = call.ask.name.as_str();
        meta::same_name(object.meta_mut(), name)?;
        meta::place(call, resource, object.meta_mut(), true)?;
        let dry_run = call.dry_run()?;
        let key = resource.key(&call.ask.namespace, name);
        if part == Part::Main && resource.create_on_update() && self.store().get(&key).is_none() {
            self.allow_create(call)?;
            object.meta_mut().resource_version = None;
            let bytes = self.create_object(call, resource, object, dry_run, false).await?;
            return call.object(resource, StatusCode::CREATED, &bytes);
        }
        let target = Target {
            resource,
            subresource: &call.ask.subresource,
            namespace: &call.ask.namespace,
            name,
            part,
            dry_run,
            own: false,
            applied: false,
        };
        let bytes = self.replace(call, target, &mut |_| Ok(object.clone())).await?;
        call.object(resource, StatusCode::OK, &bytes)
    }

    /// A PUT or apply that creates needs that right, too.
    pub(crate) fn allow_create(&self, call: &Call) -> Result<(), ApiError> {
        let mut ask = call.ask.clone();
        ask.verb = "create";
        self.authorize(&call.user, &ask)
    }

    /// Changes a stored object; answers its stored bytes. A conflict with another writer is tried
    /// again unless the new object names the version it replaces.
    pub(crate) async fn replace(
        &self,
        call: &Call,
        target: Target<'_>,
        make: Make<'_>,
    ) -> Result<Bytes, ApiError> {
        let resource = target.resource;
        let key = resource.key(target.namespace, target.name);
        let turn = self.turn(resource, target.namespace).await;
        for _ in 0..TRIES_MAX {
            let row = self.store().get(&key);
            let about = Call::about(resource);
            let row = row.ok_or_else(|| ApiError::not_found(about, target.name))?;
            let stored = Stored::read(resource, row)?;
            let new = make(&stored)?;
            if let Tried::Done(bytes) = self.try_replace(call, target, &turn, &stored, new).await? {
                return Ok(bytes);
            }
        }
        Err(ApiError::modified(Call::about(resource), target.name))
    }

    async fn try_replace(
        &self,
        call: &Call,
        target: Target<'_>,
        turn: &Turn,
        stored: &Stored,
        mut new: Box<dyn Object>,
    ) -> Result<Tried, ApiError> {
        let resource = target.resource;
        let old = &*stored.object;
        check_preconditions(target, &*new, stored)?;
        meta::keep(new.meta_mut(), old.meta());
        let draft = Draft {
            operation: Operation::Update,
            resource,
            subresource: target.subresource,
            namespace: target.namespace,
            name: target.name,
            part: target.part,
            old: Some(old),
            dry_run: target.dry_run,
        };
        let mut ops = Vec::new();
        let mut managed = None;
        if target.own {
            managed.clone_from(&stored.managed);
        } else {
            if !target.applied {
                let subresource = target.subresource;
                managed = fields::note(call, resource, Some(stored), subresource, &mut *new)?;
            }
            self.gates().prepare(resource, &mut *new, Some(old), target.part);
            self.admit(call, &draft, Some(&mut new))?;
            ops = self.allocate(Some(old), &mut *new)?;
        }
        let mut value = new.to_value();
        if !target.own {
            Self::check(call, &draft, &*new, &value)?;
        }
        let gone = is_gone(&*new);
        ops.extend(self.charge(turn, &draft, Some(&*new).filter(|_| !gone))?);
        if self.count(&draft, &mut *new)? {
            value = new.to_value();
        }
        let value = codec::encode(resource, value, managed)?;
        if codec::unchanged(&stored.row, &value) && ops.is_empty() && !gone {
            return Ok(Tried::Done(stored.row.value.clone()));
        }
        if target.dry_run {
            return codec::unstored(&value, Some(stored.row.revision)).map(Tried::Done);
        }
        let expect = Expect::At(stored.row.revision);
        let key = resource.key(target.namespace, target.name);
        if gone {
            ops.extend(self.release(&*new));
            ops.insert(0, remove(key, expect, value));
        } else {
            ops.insert(0, put(resource, key, expect, &*new, value));
        }
        match self.commit(ops).await {
            Ok(committed) => Ok(Tried::Done(first_value(&committed.rows))),
            Err(CommitError::Refused { .. }) => Ok(Tried::Again),
            Err(error) => Err(failed(&error)),
        }
    }
}

fn first_value(rows: &[Arc<Row>]) -> Bytes {
    rows.first().map(|row| row.value.clone()).unwrap_or_default()
}

/// The version that an object says it replaces.
fn version_of(object: &dyn Object) -> Option<&str> {
    object.meta().resource_version.as_deref().filter(|version| !matches!(*version, "" | "0"))
}

/// Refuses a new object that names another version than the stored one, or has another uid.
///
/// # Errors
///
/// 409.
fn check_preconditions(
    target: Target<'_>,
    new: &dyn Object,
    stored: &Stored,
) -> Result<(), ApiError> {
    let about = Call::about(target.resource);
    let old = stored.object.meta();
    let uid = new.meta().uid.as_deref().filter(|uid| !uid.is_empty());
    if let (Some(new), Some(old)) = (uid, old.uid.as_deref())
        && new != old
    {
        let why =
            format!("Precondition failed: UID in precondition: {new}, UID in object meta: {old}");
        return Err(ApiError::conflict(about, target.name, &why));
    }
    let found = stored.row.revision.to_string();
    match version_of(new).filter(|version| *version != found) {
        None => Ok(()),
        Some(_) => Err(ApiError::modified(about, target.name)),
    }
}

/// Nothing holds this object any more: it was marked for deletion and its last finalizer is gone.
pub(super) fn is_gone(object: &dyn Object) -> bool {
    let meta = object.meta();
    let held = meta.finalizers.as_ref().is_some_and(|names| !names.is_empty())
        || meta.deletion_grace_period_seconds.is_some_and(|seconds| seconds > 0);
    if meta.deletion_timestamp.is_none() || held {
        return false;
    }
    match object.as_any().downcast_ref::<Namespace>() {
        Some(namespace) => {
            let spec = namespace.spec.as_ref();
            spec.and_then(|spec| spec.finalizers.as_ref()).is_none_or(Vec::is_empty)
        }
        None => true,
    }
}
