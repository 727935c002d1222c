//! Server-side apply: PATCH with a manager's whole wish.

use api::{
    ApiError, Part, Reason, Resource, decode, facts,
    field::{Cause, Path},
    managed::{self, Writer},
    status::About,
};
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::{fields, meta, read};
use crate::{answer::Body, call::Call, codec::Stored, server::ApiServer};

impl ApiServer {
    /// Applies a wish: changes the stored object, or creates it.
    pub(crate) async fn apply(
        &self,
        call: &Call,
        resource: &'static dyn Resource,
        part: Part,
        bytes: &[u8],
    ) -> Result<Response<Body>, ApiError> {
        check_options(call)?;
        let decoded = decode::object(resource, bytes, decode::Format::Yaml)?;
        read::heed(call, resource, decoded.strict)?;
        let mut wish = decoded.value;
        name_it(&mut wish, &call.ask.name);
        let manager = fields::manager(call)?;
        let writer =
            Writer { manager: &manager, subresource: &call.ask.subresource, now: call.now };
        let force = call.query.flag("force");
        let applied = |live: Option<&Value>| -> Result<_, ApiError> {
            let names = resource.names();
            let value = managed::apply(names, live, &wish, force, &writer)?;
            let findings = decode::check(facts::of_kind(names), &value, names)?;
            read::heed(call, resource, findings)?;
            let mut object = read::typed(resource, value)?;
            meta::same_name(object.meta_mut(), &call.ask.name)?;
            meta::place(call, resource, object.meta_mut(), true)?;
            Ok(object)
        };
        let (namespace, name) = (&call.ask.namespace, &call.ask.name);
        if part == Part::Main && self.store().get(&resource.key(namespace, name)).is_none() {
            self.allow_create(call)?;
            if let Some(uid) = wish.pointer("/metadata/uid").and_then(Value::as_str) {
                let why = format!(
                    "uid mismatch: the provided object specified uid {uid}, and no existing object \
                     was found"
                );
                return Err(ApiError::conflict(Call::about(resource), name, &why));
            }
            let made =
                self.create_object(call, resource, applied(None)?, call.dry_run()?, true).await;
            match made {
                Ok(bytes) => return call.object(resource, StatusCode::CREATED, &bytes),
                // Someone else was faster: then it is a change.
                Err(error) if error.reason == Reason::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        let mut target = Self::target(call, resource, part, false)?;
        target.applied = true;
        let mut make = |stored: &Stored| applied(Some(&stored.whole()));
        let bytes = self.replace(call, target, &mut make).await?;
        call.object(resource, StatusCode::OK, &bytes)
    }
}

/// The name may be left to the URL; its owners are noted in metadata all the same.
fn name_it(wish: &mut Value, name: &str) {
    let Value::Object(map) = wish else { return };
    let metadata = map.entry("metadata").or_insert_with(|| json!({}));
    if let Value::Object(metadata) = metadata {
        metadata.entry("name").or_insert_with(|| name.into());
    }
}

fn check_options(call: &Call) -> Result<(), ApiError> {
    if call.query.get("fieldManager").is_some() {
        return Ok(());
    }
    let cause = Cause::required(Path::new("fieldManager"), "is required for apply patch");
    let about = About { group: "meta.k8s.io", resource: "PatchOptions" };
    Err(ApiError::invalid(about, "", &[cause]))
}
