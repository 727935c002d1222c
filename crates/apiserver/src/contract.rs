//! What the server asks of its neighbours: who calls, may they, is the object admitted.
//!
//! ```text
//!   socket ──▶ Authenticator ──▶ Identity ──▶ Authorizer ──▶ Admission ──▶ store
//!   in-process ───────────────────▲ (request extension)
//! ```
//!
//! All of it is synchronous: what these need to know is in memory.

use std::{fmt, future::Future, pin::Pin};

use api::{ApiError, Object, Resource};
use bytes::Bytes;
use client::Identity;
use http::{Request, Response, request::Parts};
use jiff::Timestamp;
use k8s_openapi::api::{authentication::v1::TokenRequest, core::v1::ServiceAccount};
use rustls_pki_types::CertificateDer;

use crate::answer::{Body, RequestBody};

/// Tells who sent a request.
pub trait Authenticator: fmt::Debug + Send + Sync {
    /// Who sends this. `certificates` is the verified chain of the TLS client, leaf first; empty
    /// without one. A request that says nothing about its sender is `system:anonymous`.
    ///
    /// # Errors
    ///
    /// 401 when what the request says cannot be trusted.
    fn authenticate(
        &self,
        request: &Parts,
        certificates: &[CertificateDer<'static>],
    ) -> Result<Identity, ApiError>;
}

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes<'a> {
    /// Who.
    pub user: &'a Identity,
    /// `get`, `list`, `deletecollection` …; for paths that are no resource the method in lower case.
    pub verb: &'a str,
    /// To what.
    pub target: Subject<'a>,
}

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject<'a> {
    /// Objects.
    Resource {
        /// API group; empty for core.
        group: &'a str,
        /// API version.
        version: &'a str,
        /// Plural.
        resource: &'a str,
        /// Empty for the object itself.
        subresource: &'a str,
        /// Empty for cluster-scoped kinds and for all namespaces.
        namespace: &'a str,
        /// Empty where the request names none.
        name: &'a str,
    },
    /// Anything else: `/version`, `/metrics`.
    Path(&'a str),
}

/// Whether somebody may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Allow,
    /// No, and what upstream appends to the sentence; usually nothing.
    Deny(String),
}

/// Tells who may do what.
pub trait Authorizer: fmt::Debug + Send + Sync {
    /// Whether this may happen.
    fn authorize(&self, attributes: &Attributes<'_>) -> Decision;
}

/// The part of a write that admission sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A new object.
    Create,
    /// Another version of a stored object.
    Update,
    /// Its removal.
    Delete,
}

/// One write on its way to the store.
#[derive(Debug)]
pub struct Write<'a> {
    /// What is done.
    pub operation: Operation,
    /// Who does it.
    pub user: &'a Identity,
    /// The kind.
    pub resource: &'static dyn Resource,
    /// Empty for the object itself.
    pub subresource: &'a str,
    /// Empty for cluster-scoped kinds.
    pub namespace: &'a str,
    /// Empty for a create by `generateName` until the name is made.
    pub name: &'a str,
    /// The stored object: update and delete.
    pub old: Option<&'a dyn Object>,
    /// Nothing will be kept.
    pub dry_run: bool,
    /// The time of the request.
    pub now: Timestamp,
}

/// Changes or refuses writes by what other objects say.
pub trait Admission: fmt::Debug + Send + Sync {
    /// Fills in what other objects give (priority, token volume, default class …), or refuses.
    /// `object` is `None` for a delete. Sentences pushed to `warnings` become `Warning` headers.
    /// Runs again when a write is tried again: idempotent.
    ///
    /// # Errors
    ///
    /// Usually 403; the answer to the client.
    fn admit(
        &self,
        write: &Write<'_>,
        object: Option<&mut Box<dyn Object>>,
        warnings: &mut Vec<String>,
    ) -> Result<(), ApiError>;
}

/// Answers about access that are themselves API objects, and what it publishes.
pub trait Access: fmt::Debug + Send + Sync {
    /// Answers a create of a kind that is only ever created (`tokenreviews`,
    /// `subjectaccessreviews` …): the object with its status filled in.
    ///
    /// # Errors
    ///
    /// 400 or 422 when the question makes no sense; 404 for kinds it does not know.
    fn review(
        &self,
        user: &Identity,
        resource: &'static dyn Resource,
        namespace: &str,
        object: Box<dyn Object>,
    ) -> Result<Box<dyn Object>, ApiError>;

    /// Issues a token for this service account (`serviceaccounts/token`).
    ///
    /// # Errors
    ///
    /// 400, 404, 409 or 422 when the request asks for what cannot be bound.
    fn token(
        &self,
        user: &Identity,
        account: &ServiceAccount,
        request: TokenRequest,
    ) -> Result<TokenRequest, ApiError>;

    /// A published document, as `/openid/v1/jwks`: content type and body.
    fn document(&self, path: &str) -> Option<(&'static str, Bytes)>;
}

/// A request that is not for the server but for what runs on a node: `pods/exec`, `services/proxy` …
#[derive(Debug, Clone)]
pub struct Connection {
    /// Who; already allowed to.
    pub user: Identity,
    /// The kind: pods, services or nodes.
    pub resource: &'static dyn Resource,
    /// Empty for nodes.
    pub namespace: String,
    /// As in the URL: `name`, or `scheme:name:port` for proxies.
    pub name: String,
    /// `attach`, `exec`, `log`, `portforward` or `proxy`.
    pub subresource: String,
    /// What follows the subresource in the URL, without a leading slash.
    pub path: String,
}

/// An answer that is still being made.
pub type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, ApiError>> + Send>>;

/// Carries requests to nodes and pods.
pub trait Connect: fmt::Debug + Send + Sync {
    /// Passes this request on. The request still bears hyper's upgrade, if it is one.
    fn connect(&self, connection: Connection, request: Request<RequestBody>) -> Answering;
}

/// Where time and chance come from, so that a seed can replay a cluster.
pub trait Ambient: fmt::Debug + Send + Sync {
    /// The wall clock.
    fn now(&self) -> Timestamp;
    /// Fills the buffer with random bytes, fit for secrets.
    fn fill(&self, bytes: &mut [u8]);
}
