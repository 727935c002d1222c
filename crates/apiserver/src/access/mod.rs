//! Who calls, and may they: authentication, roles, nodes, tokens, and the certificates behind it.
//!
//! ```text
//!   store's log ──▶ Directory (roles, bindings, pods …)         bootstrap_roles ──▶ first objects
//!                        │
//!   certificate, token ──┴▶ authn ▶ Identity ▶ masters? ▶ node ▶ rbac ▶ Allow | Deny
//!                                                 write ▶ restriction, escalation (Admission)
//! ```
//!
//! All of it is synchronous, over maps that are folded from the log before anyone can read a row.

mod authn;
mod bootstrap;
mod bootstrap_roles;
mod directory;
mod escalation;
mod kubeconfig;
mod node;
mod pki;
mod rbac;
mod reconcile;
mod restriction;
mod reviews;
#[cfg(test)]
mod tests;
mod token_request;
mod tokens;

use std::sync::Arc;

use api::{ApiError, Object, Resource};
use bytes::Bytes;
use client::Identity;
use http::request::Parts;
use k8s_openapi::api::{authentication::v1::TokenRequest, core::v1::ServiceAccount};
use rustls_pki_types::CertificateDer;

pub(crate) use self::reconcile::{Reconciled, reconcile};
pub use self::{
    bootstrap::objects as bootstrap_objects,
    directory::Directory,
    kubeconfig::{Kubeconfig, User},
    pki::{Credential, Pki, PkiError, Subject as CertificateSubject, server_config},
    tokens::{ISSUER, TokenKeyError},
};
use self::{rbac::MASTERS, tokens::Tokens};
use crate::contract::{
    Access, Admission, Ambient, Attributes, Authenticator, Authorizer, Decision, Write,
};

/// Authentication, authorization and what belongs to them, over one directory.
#[derive(Debug)]
pub struct AccessControl {
    directory: Arc<Directory>,
    ambient: Arc<dyn Ambient>,
    tokens: Tokens,
    /// What a token must be for to be taken here.
    audiences: Vec<String>,
    /// Where the server is, as other parties of its tokens reach it: `https://10.0.0.1:6443`.
    server: String,
}

impl AccessControl {
    /// Over a directory that observes the store.
    ///
    /// `key_pem` signs service-account tokens (`Pki::token_key_pem`); `server` is the URL that
    /// the published documents point to.
    ///
    /// # Errors
    ///
    /// When the key cannot be used.
    pub fn new(
        directory: Arc<Directory>,
        ambient: Arc<dyn Ambient>,
        key_pem: &str,
        server: &str,
    ) -> Result<Self, TokenKeyError> {
        Ok(Self {
            directory,
            ambient,
            tokens: Tokens::new(key_pem)?,
            audiences: vec![ISSUER.to_owned()],
            server: server.to_owned(),
        })
    }

    /// Whether this may happen, and by what; or what to append to the refusal.
    fn decide(&self, attributes: &Attributes<'_>) -> (Decision, String) {
        let user = attributes.user;
        if user.groups.iter().any(|group| group == MASTERS) {
            return (Decision::Allow, String::new());
        }
        let facts = self.directory.facts();
        let mut whys = Vec::new();
        if let Some(node) = node::node_name(user) {
            match node::decide(&facts, node, attributes) {
                Ok(()) => return (Decision::Allow, String::new()),
                Err(why) => whys.push(why),
            }
        }
        let namespace = match attributes.target {
            crate::contract::Subject::Resource { namespace, .. } => namespace,
            crate::contract::Subject::Path(_) => "",
        };
        let grants = rbac::grants(&facts, user, namespace);
        for grant in &grants.grants {
            let mut rules = grant.rules.iter().flat_map(|rules| rules.iter());
            if rules.any(|rule| rbac::allows(rule, attributes)) {
                return (Decision::Allow, format!("RBAC: allowed by {}", grant.source()));
            }
        }
        whys.push(grants.fault());
        whys.retain(|why| !why.is_empty());
        let why = whys.join("\n");
        (Decision::Deny(why.clone()), why)
    }
}

impl Authenticator for AccessControl {
    fn authenticate(
        &self,
        request: &Parts,
        certificates: &[CertificateDer<'static>],
    ) -> Result<Identity, ApiError> {
        self.identify(&request.headers, certificates)
    }
}

impl Authorizer for AccessControl {
    fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        self.decide(attributes).0
    }
}

impl Admission for AccessControl {
    fn admit(
        &self,
        write: &Write<'_>,
        object: Option<&mut Box<dyn Object>>,
        _warnings: &mut Vec<String>,
    ) -> Result<(), ApiError> {
        let object: Option<&dyn Object> = object.map(|object| &**object);
        if let Some(node) = node::node_name(write.user) {
            self.restrict_node(node, write, object)?;
        }
        object.map_or(Ok(()), |object| self.confirm_no_escalation(write, object))
    }
}

impl Access for AccessControl {
    fn review(
        &self,
        user: &Identity,
        resource: &'static dyn Resource,
        namespace: &str,
        object: Box<dyn Object>,
    ) -> Result<Box<dyn Object>, ApiError> {
        self.answer_review(user, resource, namespace, object)
    }

    fn token(
        &self,
        user: &Identity,
        account: &ServiceAccount,
        request: TokenRequest,
    ) -> Result<TokenRequest, ApiError> {
        self.issue_token(user, account, request)
    }

    fn document(&self, path: &str) -> Option<(&'static str, Bytes)> {
        match path {
            "/openid/v1/jwks" => Some(("application/jwk-set+json", self.tokens.key_set())),
            "/.well-known/openid-configuration" => {
                Some(("application/json", self.tokens.configuration(&self.server)))
            }
            _ => None,
        }
    }
}
