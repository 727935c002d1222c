//! Every write: body -> object -> defaults -> admission -> validation -> canonical JSON -> commit.
//!
//! ```text
//! create ─┐
//! update ─┤                                  ┌─ unchanged: no commit
//! patch  ─┼─▶ Draft (object, old, part) ──▶ stamp ─┼─ dry-run: no commit
//! status ─┤                                  ├─ last finalizer gone: delete
//! scale  ─┘                                  └─ commit at the version seen
//! ```

mod apply;
mod create;
mod delete;
mod deletion;
mod fields;
mod meta;
mod patch;
mod read;
mod replace;
mod subresource;

use api::{ApiError, Object, Part, Reason, Resource, selector, unsupported, validation};
use serde_json::Value;
use store::{Change, CommitError, Op};

pub(crate) use self::{meta::whole_second, replace::Target};
use crate::{
    call::Call,
    codec,
    contract::{Operation, Write},
    server::ApiServer,
};

/// How often a write is tried again on a conflict of its own making: upstream's 5.
const TRIES_MAX: usize = 5;

/// A write on its way: what stands in the request and in the store.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    pub(crate) operation: Operation,
    pub(crate) resource: &'static dyn Resource,
    pub(crate) subresource: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) part: Part,
    pub(crate) old: Option<&'a dyn Object>,
    pub(crate) dry_run: bool,
}

impl ApiServer {
    /// Asks every admission in turn.
    pub(crate) fn admit(
        &self,
        call: &Call,
        draft: &Draft<'_>,
        mut object: Option<&mut Box<dyn Object>>,
    ) -> Result<(), ApiError> {
        let write = Write {
            operation: draft.operation,
            user: &call.user,
            resource: draft.resource,
            subresource: draft.subresource,
            namespace: draft.namespace,
            name: draft.name,
            old: draft.old,
            dry_run: draft.dry_run,
            now: call.now,
        };
        let mut warnings = Vec::new();
        for admission in &self.options().admission {
            admission.admit(&write, object.as_deref_mut(), &mut warnings)?;
        }
        call.warn(warnings);
        Ok(())
    }

    /// Refuses what is wrong with the object; notes what is doubtful. `value` is the object, too.
    pub(crate) fn check(
        call: &Call,
        draft: &Draft<'_>,
        object: &dyn Object,
        value: &Value,
    ) -> Result<(), ApiError> {
        let resource = draft.resource;
        let old = draft.old.map(Object::meta);
        let mut causes = validation::metadata(resource, object.meta(), old);
        causes.extend(resource.validate(object, draft.old, draft.part));
        if !causes.is_empty() {
            let name = object.meta().name.as_deref().unwrap_or_default();
            return Err(ApiError::invalid(Call::about_kind(resource), name, &causes));
        }
        if draft.part == Part::Main {
            call.warn(resource.warnings(object, draft.old));
            if unsupported::concerns(resource) {
                let used = unsupported::fields(resource, value).into_iter();
                let told = "is not supported by this version of stead and has no effect";
                call.warn(used.map(|path| format!("{path} {told}")));
            }
        }
        Ok(())
    }

    /// Refuses to create in a namespace that is not there, or is going.
    pub(crate) fn check_namespace(
        &self,
        resource: &'static dyn Resource,
        namespace: &str,
        name: &str,
    ) -> Result<(), ApiError> {
        if !resource.namespaced() {
            return Ok(());
        }
        let about = api::status::About { group: "", resource: "namespaces" };
        let row = self.store().get(&format!("/core/namespaces/{namespace}"));
        let row = row.ok_or_else(|| ApiError::not_found(about, namespace))?;
        if selector::index::Index::read(&row.index).field("status.phase") == "Terminating" {
            let why = format!(
                "unable to create new content in namespace {namespace} because it is being \
                 terminated"
            );
            let cause = format!("namespace {namespace} is being terminated");
            return Err(ApiError::forbidden(Call::about(resource), name, &why).with_cause(
                "NamespaceTerminating",
                &cause,
                "metadata.namespace",
            ));
        }
        Ok(())
    }
}

/// The op that stores this object.
pub(crate) fn put(
    resource: &'static dyn Resource,
    key: String,
    expect: store::Expect,
    object: &dyn Object,
    stamp: store::Stamp,
) -> Op {
    let index = selector::index::of(resource, object).into();
    Op { key, expect, change: Change::Put { value: stamp, index } }
}

/// The op that removes this object.
pub(crate) fn remove(key: String, expect: store::Expect, stamp: store::Stamp) -> Op {
    Op { key, expect, change: Change::Delete { value: stamp } }
}

/// The answer to a commit that failed for no fault of the client.
pub(crate) fn failed(error: &CommitError) -> ApiError {
    match error {
        CommitError::Closed => {
            ApiError::new(Reason::ServiceUnavailable, "the server is shutting down")
        }
        CommitError::Journal(source) => ApiError::internal(format!("{error}: {source}")),
        CommitError::Refused { .. } => ApiError::internal(error),
    }
}

/// The canonical bytes of an object with these managed fields, unless it carries them itself.
pub(crate) fn stamp(
    resource: &'static dyn Resource,
    object: &dyn Object,
    managed: Option<Value>,
) -> Result<store::Stamp, ApiError> {
    codec::encode(resource, object.to_value(), managed)
}
