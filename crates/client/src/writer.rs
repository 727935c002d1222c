//! Writes: create, update, patch, delete, bind, for any kind of the table, over JSON.
//!
//! One path for all kinds keeps the binary small, and an answer is read only as far as the
//! caller needs it: which version the object has now.

use api::{Object, Resource, resource};
use http::{Method, Request, header};
use serde::Deserialize;
use serde_json::{Value, json};
use thiserror::Error;

use crate::{Expectation, go_text, key::parse_version};

/// Writes as one caller; clones share the connection.
#[derive(Clone)]
pub struct Writer {
    client: kube::Client,
    agent: String,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("agent", &self.agent).finish_non_exhaustive()
    }
}

/// How a patch is merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    /// RFC 7386.
    Json,
    /// With upstream's list keys.
    Strategic,
}

/// What must still be true of an object for it to be deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preconditions {
    /// It is this object, not a namesake.
    pub uid: Option<String>,
    /// Nobody changed it since.
    pub resource_version: Option<String>,
}

/// How an object is deleted; the default leaves all to the object and its kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deletion {
    /// Seconds from asking to killing; `None` leaves the object's own.
    pub grace_period_s: Option<i64>,
    /// `Background`, `Foreground` or `Orphan`.
    pub propagation_policy: Option<&'static str>,
}

/// Why a write was refused, by what the caller can do about it.
#[derive(Debug, Error)]
pub enum WriteError {
    /// 404: it is gone.
    #[error("{0}")]
    NotFound(String),
    /// 409 on create: the name is taken.
    #[error("{0}")]
    AlreadyExists(String),
    /// 409: the object is not the one, or not in the version, that was seen.
    #[error("{0}")]
    Conflict(String),
    /// The server said no in another way; the text is its own.
    #[error("{message}")]
    Refused {
        /// HTTP status.
        code: u16,
        /// `Forbidden`, `Invalid` …
        reason: String,
        /// The server's sentence.
        message: String,
    },
    /// No such kind in the table: a programmer's mistake.
    #[error("no kind {kind:?} in group {group:?} is known")]
    UnknownKind {
        /// API group; empty for core.
        group: String,
        /// `CamelCase` kind.
        kind: String,
    },
    /// The request did not reach the server, or its answer did not reach us: it may have happened.
    #[error("the API server did not answer")]
    Unanswered(#[source] kube::Error),
    /// The request could not be built, or the answer is no JSON.
    #[error("the API server's answer cannot be read")]
    Unreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What the server answered to a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// API group; empty for core.
    pub group: &'static str,
    /// `CamelCase` kind.
    pub kind: &'static str,
    /// What the cache must show before the writer decides again.
    pub expectation: Expectation,
}

/// As much of an answer as decides what to wait for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    kind: String,
    metadata: AnswerMeta,
    details: Option<AnswerDetails>,
    code: u16,
    reason: String,
    message: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct AnswerMeta {
    name: String,
    uid: String,
    resource_version: String,
    deletion_timestamp: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct AnswerDetails {
    uid: String,
}

impl Writer {
    /// Writes through `client`, telling the server that `agent` does (`User-Agent`).
    #[must_use]
    pub fn new(client: kube::Client, agent: &str) -> Self {
        Self { client, agent: agent.to_owned() }
    }

    /// Creates `object` under its own name.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; `AlreadyExists` among them.
    pub async fn create(&self, object: &dyn Object) -> Result<Written, WriteError> {
        let resource = entry(object)?;
        let namespace = object.meta().namespace.clone().unwrap_or_default();
        let path = path(resource, &namespace, None, None);
        let body = object.to_value();
        let answer = self.send(Method::POST, &path, "application/json", &body).await?;
        Ok(written(resource, &namespace, &answer))
    }

    /// Replaces `object`, or its `subresource`, if its uid and version are still the stored ones.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; `Conflict` when someone wrote meanwhile.
    pub async fn update(
        &self,
        object: &dyn Object,
        subresource: Option<&str>,
    ) -> Result<Written, WriteError> {
        let resource = entry(object)?;
        let meta = object.meta();
        let namespace = meta.namespace.clone().unwrap_or_default();
        let path = path(resource, &namespace, meta.name.as_deref(), subresource);
        let body = object.to_value();
        let answer = self.send(Method::PUT, &path, "application/json", &body).await?;
        Ok(written(resource, &namespace, &answer))
    }

    /// Changes a part of an object.
    ///
    /// # Errors
    ///
    /// [`WriteError`].
    pub async fn patch(
        &self,
        resource: &'static dyn Resource,
        (namespace, name): (&str, &str),
        subresource: Option<&str>,
        merge: Merge,
        body: &Value,
    ) -> Result<Written, WriteError> {
        let path = path(resource, namespace, Some(name), subresource);
        let content = match merge {
            Merge::Json => "application/merge-patch+json",
            Merge::Strategic => "application/strategic-merge-patch+json",
        };
        let answer = self.send(Method::PATCH, &path, content, body).await?;
        Ok(written(resource, namespace, &answer))
    }

    /// Deletes an object if the preconditions hold.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; `NotFound` when it is gone already.
    pub async fn delete(
        &self,
        resource: &'static dyn Resource,
        (namespace, name): (&str, &str),
        preconditions: &Preconditions,
        how: &Deletion,
    ) -> Result<Written, WriteError> {
        let mut options = json!({"apiVersion": "v1", "kind": "DeleteOptions"});
        let mut conditions = serde_json::Map::new();
        if let Some(uid) = &preconditions.uid {
            conditions.insert("uid".to_owned(), json!(uid));
        }
        if let Some(version) = &preconditions.resource_version {
            conditions.insert("resourceVersion".to_owned(), json!(version));
        }
        if !conditions.is_empty() {
            options["preconditions"] = Value::Object(conditions);
        }
        if let Some(seconds) = how.grace_period_s {
            options["gracePeriodSeconds"] = json!(seconds);
        }
        if let Some(policy) = how.propagation_policy {
            options["propagationPolicy"] = json!(policy);
        }
        let path = path(resource, namespace, Some(name), None);
        let answer = self.send(Method::DELETE, &path, "application/json", &options).await?;
        let mut written = written(resource, namespace, &answer);
        written.expectation.name = name.to_owned();
        if answer.kind == "Status" || answer.metadata.deletion_timestamp.is_none() {
            // It went at once: there is no newer version to wait for.
            written.expectation.version = u64::MAX;
            if let Some(details) = &answer.details {
                written.expectation.uid.clone_from(&details.uid);
            }
            if let (true, Some(uid)) = (written.expectation.uid.is_empty(), &preconditions.uid) {
                written.expectation.uid.clone_from(uid);
            }
        }
        Ok(written)
    }

    /// Binds a pod to a node, if the pod still is the one with this uid.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; `Conflict` when it is bound already or another one has its name.
    pub async fn bind(
        &self,
        (namespace, name): (&str, &str),
        uid: &str,
        node: &str,
    ) -> Result<(), WriteError> {
        let body = json!({
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"namespace": namespace, "name": name, "uid": uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        });
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/binding");
        self.send(Method::POST, &path, "application/json", &body).await.map(drop)
    }

    /// Reads an object live: its uid, and since when it is being deleted.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; `NotFound` when there is none of this name.
    pub async fn live(
        &self,
        resource: &'static dyn Resource,
        (namespace, name): (&str, &str),
    ) -> Result<(String, Option<String>), WriteError> {
        let path = path(resource, namespace, Some(name), None);
        let answer = self.request(Method::GET, &path, "application/json", Vec::new()).await?;
        Ok((answer.metadata.uid, answer.metadata.deletion_timestamp))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        content: &str,
        body: &Value,
    ) -> Result<Answer, WriteError> {
        // The data of a ControllerRevision may not change: upstream's server compares its bytes.
        let bytes = go_text::to_vec(body).map_err(|e| WriteError::Unreadable(Box::new(e)))?;
        self.request(method, path, content, bytes).await
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        content: &str,
        bytes: Vec<u8>,
    ) -> Result<Answer, WriteError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, content)
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, &self.agent)
            .body(kube::client::Body::from(bytes))
            .map_err(|error| WriteError::Unreadable(Box::new(error)))?;
        let response = self.client.send(request).await.map_err(WriteError::Unanswered)?;
        let status = response.status();
        let bytes = response.into_body().collect_bytes().await.map_err(WriteError::Unanswered)?;
        if status.is_success() {
            return serde_json::from_slice(&bytes)
                .map_err(|error| WriteError::Unreadable(Box::new(error)));
        }
        let refusal = serde_json::from_slice::<Answer>(&bytes).unwrap_or_else(|_| Answer {
            code: status.as_u16(),
            reason: status.canonical_reason().unwrap_or("Unknown").to_owned(),
            message: String::from_utf8_lossy(&bytes).into_owned(),
            ..Answer::default()
        });
        Err(refused(status.as_u16(), refusal))
    }
}

fn refused(code: u16, answer: Answer) -> WriteError {
    match (code, answer.reason.as_str()) {
        (404, _) => WriteError::NotFound(answer.message),
        (409, "AlreadyExists") => WriteError::AlreadyExists(answer.message),
        (409, _) => WriteError::Conflict(answer.message),
        _ => WriteError::Refused { code, reason: answer.reason, message: answer.message },
    }
}

fn entry(object: &dyn Object) -> Result<&'static dyn Resource, WriteError> {
    let group = object.api_version().split_once('/').map_or("", |(group, _)| group);
    resource::by_kind(group, object.kind()).ok_or_else(|| WriteError::UnknownKind {
        group: group.to_owned(),
        kind: object.kind().to_owned(),
    })
}

fn written(resource: &'static dyn Resource, namespace: &str, answer: &Answer) -> Written {
    Written {
        group: resource.names().group,
        kind: resource.names().kind,
        expectation: Expectation {
            namespace: namespace.to_owned(),
            name: answer.metadata.name.clone(),
            uid: answer.metadata.uid.clone(),
            version: parse_version(&answer.metadata.resource_version),
            lists: None,
        },
    }
}

/// `/apis/apps/v1/namespaces/default/statefulsets/web/status`
fn path(
    resource: &'static dyn Resource,
    namespace: &str,
    name: Option<&str>,
    subresource: Option<&str>,
) -> String {
    let names = resource.names();
    let mut path = names.root();
    if resource.namespaced() {
        path.push_str("/namespaces/");
        path.push_str(namespace);
    }
    path.push('/');
    path.push_str(names.plural);
    for part in [name, subresource].into_iter().flatten() {
        path.push('/');
        path.push_str(part);
    }
    path
}
