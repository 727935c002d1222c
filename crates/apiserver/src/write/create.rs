//! POST: a new object.

use api::{ApiError, Object, Part, Resource};
use bytes::Bytes;
use http::{Response, StatusCode};
use store::{CommitError, Expect};

use super::{Draft, failed, fields, meta, put, read, stamp};
use crate::{ambient, answer::Body, call::Call, codec, contract::Operation, server::ApiServer};

/// How often a generated name is made anew when it is taken: upstream's 8.
const NAMES_MAX: usize = 8;
/// The longest base of a generated name in bytes: 63 less the five characters added.
const BASE_MAX_BYTES: usize = 58;

impl ApiServer {
    /// Creates an object from a body.
    pub(crate) async fn create(
        &self,
        call: &Call,
        resource: &'static dyn Resource,
        bytes: &[u8],
    ) -> Result<Response<Body>, ApiError> {
        let dry_run = call.dry_run()?;
        let object = read::object(call, resource, bytes)?;
        if resource.verbs() == ["create"] {
            let access = &self.options().access;
            let answer = access.review(&call.user, resource, &call.ask.namespace, object)?;
            return self.unstored(call, resource, StatusCode::CREATED, &*answer);
        }
        let bytes = self.create_object(call, resource, object, dry_run, false).await?;
        call.object(resource, StatusCode::CREATED, &bytes)
    }

    /// Answers with an object that is not stored.
    pub(crate) fn unstored(
        &self,
        call: &Call,
        resource: &'static dyn Resource,
        code: StatusCode,
        object: &dyn Object,
    ) -> Result<Response<Body>, ApiError> {
        let bytes = codec::unstored(&stamp(resource, object, None)?, None)?;
        call.object(resource, code, &bytes)
    }

    /// Creates this object; answers its stored bytes. `applied`: it knows its managers already.
    pub(crate) async fn create_object(
        &self,
        call: &Call,
        resource: &'static dyn Resource,
        mut object: Box<dyn Object>,
        dry_run: bool,
        applied: bool,
    ) -> Result<Bytes, ApiError> {
        meta::begin(call, resource, &mut *object, self.ambient())?;
        let managed = match applied {
            true => None,
            false => fields::note(call, resource, None, "", &mut *object)?,
        };
        let namespace = object.meta().namespace.clone().unwrap_or_default();
        let given = object.meta().name.clone().unwrap_or_default();
        self.check_namespace(resource, &namespace, &given)?;
        let turn = self.turn(resource, &namespace).await;
        let base = object.meta().generate_name.clone().unwrap_or_default();
        let generated = given.is_empty() && !base.is_empty();
        for try_ in 1.. {
            let mut draft_object = object.clone();
            if generated {
                draft_object.meta_mut().name = Some(self.generate(&base));
            }
            let name = draft_object.meta().name.clone().unwrap_or_default();
            let draft = Draft {
                operation: Operation::Create,
                resource,
                subresource: "",
                namespace: &namespace,
                name: &name,
                part: Part::Main,
                old: None,
                dry_run,
            };
            self.admit(call, &draft, Some(&mut draft_object))?;
            self.gates().prepare(resource, &mut *draft_object, None, Part::Main);
            let mut ops = self.allocate(None, &mut *draft_object)?;
            let mut value = draft_object.to_value();
            Self::check(call, &draft, &*draft_object, &value)?;
            ops.extend(self.charge(&turn, &draft, Some(&*draft_object))?);
            if self.count(&draft, &mut *draft_object)? {
                value = draft_object.to_value();
            }
            let value = codec::encode(resource, value, managed.clone())?;
            let key = resource.key(&namespace, &name);
            if dry_run {
                if self.store().get(&key).is_some() && !generated {
                    return Err(ApiError::already_exists(Call::about(resource), &name));
                }
                return codec::unstored(&value, None);
            }
            ops.insert(0, put(resource, key.clone(), Expect::Absent, &*draft_object, value));
            match self.commit(ops).await {
                Ok(committed) => return Ok(committed.rows[0].value.clone()),
                Err(CommitError::Refused { key: refused, .. }) => {
                    let own = *refused == *key;
                    if own && !(generated && try_ < NAMES_MAX) {
                        return Err(taken(resource, &name, generated));
                    }
                    if !own && try_ >= NAMES_MAX {
                        return Err(ApiError::internal("no free address was found in time"));
                    }
                }
                Err(error) => return Err(failed(&error)),
            }
        }
        Err(ApiError::internal("a create ran out of tries"))
    }

    fn generate(&self, base: &str) -> String {
        let mut base = base;
        while base.len() > BASE_MAX_BYTES {
            let last = base.char_indices().next_back().map_or(0, |(at, _)| at);
            base = &base[..last];
        }
        format!("{base}{}", ambient::suffix(self.ambient()))
    }
}

fn taken(resource: &'static dyn Resource, name: &str, generated: bool) -> ApiError {
    let mut error = ApiError::already_exists(Call::about(resource), name);
    if generated {
        error
            .message
            .push_str(", the server was not able to generate a unique name for the object");
    }
    error
}
