//! `serviceaccounts/token`: what a token may be bound to, and for how long it counts.
//!
//! Source: kubernetes v1.36 `pkg/registry/core/serviceaccount/storage/token.go`.

use api::{
    ApiError,
    field::{Cause, Path},
    status::About,
};
use client::Identity;
use k8s_openapi::{
    api::{
        authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestStatus},
        core::v1::ServiceAccount,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::{
    AccessControl,
    node::node_name,
    restriction::other_uid,
    tokens::{Bound, Named},
};

/// Seconds that a token counts for when nobody says; upstream's default.
const EXPIRATION_DEFAULT_S: i64 = 3600;
/// The shortest; below, clients would do nothing but renew.
const EXPIRATION_MIN_S: i64 = 600;
/// The longest; upstream's.
const EXPIRATION_MAX_S: i64 = 1 << 32;

const REQUEST: About<'_> = About { group: "authentication.k8s.io", resource: "TokenRequest" };

impl AccessControl {
    pub(super) fn issue_token(
        &self,
        user: &Identity,
        account: &ServiceAccount,
        mut request: TokenRequest,
    ) -> Result<TokenRequest, ApiError> {
        let namespace = account.metadata.namespace.clone().unwrap_or_default();
        let name = account.metadata.name.clone().unwrap_or_default();
        let spec = request.spec.get_or_insert_default();
        let seconds = *spec.expiration_seconds.get_or_insert(EXPIRATION_DEFAULT_S);
        check_expiration(seconds)?;
        if let Some(node) = node_name(user) {
            self.restrict_token(node, &namespace, &name, spec)?;
        }
        let mut bound = Bound {
            serviceaccount: Named { name, uid: account.metadata.uid.clone().unwrap_or_default() },
            namespace,
            pod: None,
            secret: None,
            node: None,
            warnafter: None,
        };
        if let Some(reference) = &spec.bound_object_ref {
            self.bind(&mut bound, reference)?;
        }
        let audiences = spec.audiences.get_or_insert_default();
        if audiences.is_empty() {
            audiences.clone_from(&self.audiences);
        }
        let issued = self.tokens.issue(bound, audiences.clone(), seconds, &*self.ambient);
        let (token, expires) = issued
            .map_err(|error| ApiError::internal(format!("failed to generate token: {error}")))?;
        request.status = Some(TokenRequestStatus {
            token: Some(token),
            expiration_timestamp: Some(Time(expires)),
        });
        Ok(request)
    }

    fn bind(&self, bound: &mut Bound, reference: &BoundObjectReference) -> Result<(), ApiError> {
        let word = |word: &Option<String>| word.clone().unwrap_or_default();
        let (version, kind) = (word(&reference.api_version), word(&reference.kind));
        let (name, uid) = (word(&reference.name), word(&reference.uid));
        let account = &bound.serviceaccount.name;
        let place = (bound.namespace.clone(), name.clone());
        let facts = self.directory.facts();
        let missing = |plural| ApiError::not_found(About { group: "", resource: plural }, &name);
        let (group, version) = version.split_once('/').unwrap_or(("", &version));
        let found = match (group, kind.as_str()) {
            ("", "Pod") => {
                let pod = facts.pods.get(&place).ok_or_else(|| missing("pods"))?;
                if pod.account != *account {
                    let other = &pod.account;
                    return Err(ApiError::bad_request(format!(
                        "cannot bind token for serviceaccount {account:?} to pod running with serviceaccount name {other:?}"
                    )));
                }
                if !pod.node.is_empty() {
                    let uid = facts.nodes.get(&pod.node).map(|node| node.uid.clone());
                    bound.node =
                        Some(Named { name: pod.node.clone(), uid: uid.unwrap_or_default() });
                }
                let named = Named { name: name.clone(), uid: pod.living.uid.clone() };
                bound.pod.insert(named).uid.clone()
            }
            ("", "Secret") => {
                let secret = facts.secrets.get(&place).ok_or_else(|| missing("secrets"))?;
                let named = Named { name: name.clone(), uid: secret.uid.clone() };
                bound.secret.insert(named).uid.clone()
            }
            ("", "Node") => {
                let node = facts.nodes.get(&name).ok_or_else(|| missing("nodes"))?;
                let named = Named { name: name.clone(), uid: node.uid.clone() };
                bound.node.insert(named).uid.clone()
            }
            _ => {
                let type_name = format!("{group}/{version}, Kind={kind}");
                let why = format!("cannot bind token to object of type {type_name}");
                return Err(ApiError::bad_request(why));
            }
        };
        if !uid.is_empty() && uid != found {
            let about = About { group, resource: &kind };
            return Err(ApiError::conflict(about, &name, &other_uid(&uid)));
        }
        Ok(())
    }
}

fn check_expiration(seconds: i64) -> Result<(), ApiError> {
    let why = if seconds < EXPIRATION_MIN_S {
        "may not specify a duration less than 10 minutes"
    } else if seconds > EXPIRATION_MAX_S {
        "may not specify a duration larger than 2^32 seconds"
    } else {
        return Ok(());
    };
    let path = Path::new("spec").child("expirationSeconds");
    Err(ApiError::invalid(REQUEST, "", &[Cause::invalid(path, seconds, why)]))
}
